// SPDX-License-Identifier: Apache-2.0
//! How long a machine with many load-balancers takes from the start of slb until the kernel serves all of them, beside the
//! quickest way there is to put the same services into it, and beside `ipvsadm -R`. All in one boot of the lab's fast kernel, in
//! turns; each time on a host of its own. Only the ratios mean something elsewhere.
//!
//! | | what it does |
//! | --- | --- |
//! | packed | makes 22,000 IPVS requests and sends them, about 500 at a time, and nothing else: the limit |
//! | programmed | reads the store, plans, and programs the same services, with the parts that slb is made of |
//! | slb | the program, from its start: checks, programs, binds, translates and announces, until it says that it is ready |
//! | ipvsadm | reads the same services as text; once, since it takes long |
//!
//! The first two run in this process, with memory that it has already: the fast kernel takes about 0.15 ms for a page that is touched
//! for the first time, a hundred times as long as others do, and that would be most of what is measured. slb has it all to pay.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints; what goes wrong panics")]

use std::{
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use ipvs::{Client, Destination, Forward, Request, Service, ServiceId, scheduler};
use slb_core::{
    model::{
        Advertise, Backend, BackendId, BackendSettings, CheckMarks, LoadBalancer, LoadBalancerId, Name, Phase, Port,
        Protocol, ServiceSettings, Target, Time, Vip,
    },
    plan::{Observed, Scope, Stage, plan},
    ports::{Dataplane, Store, Verdict, Write},
    state::State,
    step::Step,
};
use slb_dataplane::Ipvs;
use slb_lab::{Node, Segment};
use slb_store::Redb;
use uuid::Uuid;

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

const LOAD_BALANCERS: u32 = 2_000;
const BACKENDS: u32 = 10;
const FIRST_VIP: u32 = u32::from_be_bytes([10, 80, 0, 1]);
const LAST_VIP: u32 = FIRST_VIP + LOAD_BALANCERS - 1;
const FIRST_BACKEND: u32 = u32::from_be_bytes([10, 96, 0, 1]);
const PORT: u16 = 6443;
/// About as many requests as travel in one send.
const SERVICES_A_PACK: usize = 46;

/// How often each is measured; the best counts, since what else happens on a machine only adds.
const ROUNDS: usize = 7;
/// How many times as long as the limit programming may take.
const AIM: f64 = 2.0;
/// The store that every start begins with.
const STATE: &str = "/run/cold-start";

fn cold_start() {
    keep_memory();
    on_a_runtime(fill_the_store());
    // A host that goes makes work for the kernel at a time of its own, and services of all hosts are in one table of the kernel's:
    // the hosts stay to the end, and each is emptied at once.
    let rounds: Vec<_> = (0..ROUNDS).map(|_| (Host::new(), Host::new(), Host::new())).collect();
    let (mut packed, mut programmed, mut slb) = (Vec::new(), Vec::new(), Vec::new());
    for (one, two, three) in &rounds {
        packed.push(time_packed(&one.node));
        programmed.push(time_programmed(&two.node));
        slb.push(time_slb(&three.node));
    }
    let host = Host::new();
    let ipvsadm = time_ipvsadm(&host.node);
    let (packed, programmed, slb) = (best(packed), best(programmed), best(slb));
    let ratio = |time: Duration| time.as_secs_f64() / packed.as_secs_f64();
    println!("{LOAD_BALANCERS} load-balancers of {BACKENDS} backends, best of {ROUNDS}");
    for (name, time) in [("packed", packed), ("programmed", programmed), ("slb", slb), ("ipvsadm -R", ipvsadm)] {
        println!("{name:<12}{:>8.3} s{:>8.2} x", time.as_secs_f64(), ratio(time));
    }
    assert!(ratio(programmed) <= AIM, "programming takes more than {AIM} times as long as the limit");
}

/// The allocator of glibc gives back what is larger than the largest piece that was ever freed, mallopt(3), `M_MMAP_THRESHOLD`; let
/// that be more than anything here.
fn keep_memory() {
    drop(std::hint::black_box(vec![1_u8; 24 << 20]));
}

fn vips() -> impl Iterator<Item = Ipv4Addr> {
    (FIRST_VIP..=LAST_VIP).map(Ipv4Addr::from)
}

fn backends() -> impl Iterator<Item = Ipv4Addr> {
    (FIRST_BACKEND..FIRST_BACKEND + BACKENDS).map(Ipv4Addr::from)
}

async fn fill_the_store() {
    let port = Port::try_from(i64::from(PORT)).unwrap();
    let backends: Arc<[Backend]> = backends()
        .map(|ip| {
            Backend::new(
                BackendId(Uuid::new_v4()),
                Target { ip: ip.try_into().unwrap(), port: Some(port) },
                BackendSettings::default(),
            )
        })
        .collect();
    let record = |(serial, vip)| LoadBalancer {
        id: LoadBalancerId(Uuid::new_v4()),
        serial,
        name: Name::try_from(format!("load-balancer {serial}")).unwrap(),
        vips: Vip::try_from(vip).unwrap().into(),
        port,
        marked: None,
        protocol: Protocol::Tcp,
        backends: Some(Arc::clone(&backends)),
        phase: Phase::Active,
        advertise: Advertise::Always,
        source_nat: slb_core::model::SourceNat::default(),
        service: ServiceSettings::default(),
        check: None,
        fallback: None,
        drain: None,
        check_marks: CheckMarks::default(),
        origin: slb_core::model::Origin::default(),
    };
    let writes = (1..).zip(vips()).map(record).map(|record| Write::Put(Arc::new(record))).collect();
    Redb::open(Path::new(STATE)).unwrap().commit(writes).await.unwrap();
}

struct Host {
    node: Node,
    _network: Segment,
}

impl Host {
    fn new() -> Self {
        let segment = Segment::new();
        Self { node: segment.host("lb", "192.168.0.1/24"), _network: segment }
    }
}

fn time_packed(host: &Node) -> Duration {
    host.inside(|| {
        on_a_runtime(async {
            let mut client = Client::open().await.unwrap();
            let vips: Vec<_> = vips().collect();
            let start = Instant::now();
            for vips in vips.chunks(SERVICES_A_PACK) {
                let requests: Vec<_> = vips.iter().flat_map(|vip| requests_for(*vip)).collect();
                let answers = client.batch(&requests).await.unwrap();
                assert!(answers.iter().all(Result::is_ok));
            }
            let time = start.elapsed();
            client.execute(Request::Flush).await.unwrap();
            time
        })
    })
}

fn time_programmed(host: &Node) -> Duration {
    let state = state_for(host);
    host.inside(|| {
        on_a_runtime(async {
            let mut store = Redb::open(Path::new(&state)).unwrap();
            let mut ipvs = Ipvs::open().await.unwrap();
            let start = Instant::now();
            let snapshot = store.load().await.unwrap();
            let state = State::restore(snapshot.load_balancers, snapshot.last_serial).unwrap();
            let observed = Observed { services: ipvs.observe().await.unwrap(), ..Observed::default() };
            let steps = plan(&state, &observed, &Scope::All, Time::FIRST).remove(&Stage::Program).unwrap();
            let of_ipvs = |step: Step| if let Step::Dataplane(step) = step { Some(step) } else { None };
            let steps: Vec<_> = steps.into_iter().filter_map(of_ipvs).collect();
            let verdicts = ipvs.apply(&steps).await;
            let time = start.elapsed();
            assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Applied)));
            assert_eq!(verdicts.len(), (LOAD_BALANCERS * (1 + BACKENDS)) as usize);
            Client::open().await.unwrap().execute(Request::Flush).await.unwrap();
            time
        })
    })
}

fn time_slb(host: &Node) -> Duration {
    let state = state_for(host);
    let range = format!("{}-{}", Ipv4Addr::from(FIRST_VIP), Ipv4Addr::from(LAST_VIP));
    let words = ["server", "--arp", "--adapter", "eth0", "--ipamRange", &range, "--stateDir", &state];
    let start = Instant::now();
    let mut slb = host.spawn(SLB, &words);
    slb.line("ready", |line| line.contains("] ready"));
    let time = start.elapsed();
    assert_eq!(count(host), (LOAD_BALANCERS as usize, (LOAD_BALANCERS * BACKENDS) as usize));
    let bound = host.sh("ip -o -4 addr show dev eth0");
    assert_eq!(bound.lines().filter(|line| line.contains("/32")).count(), LOAD_BALANCERS as usize);
    slb.kill();
    host.run(SLB, &["cleanup", "--stateDir", &state]);
    time
}

fn time_ipvsadm(host: &Node) -> Duration {
    let mut text = String::new();
    for request in vips().flat_map(requests_for) {
        writeln!(text, "{request}").unwrap();
    }
    let file = format!("{STATE}.ipvsadm");
    fs::write(&file, text).unwrap();
    let start = Instant::now();
    host.sh(&format!("ipvsadm -R <{file}"));
    let time = start.elapsed();
    assert_eq!(count(host).0, LOAD_BALANCERS as usize);
    time
}

fn state_for(host: &Node) -> String {
    let state = format!("{STATE}-{}", host.name());
    host.sh(&format!("cp -r {STATE} {state}"));
    state
}

/// A service and its destinations.
fn requests_for(vip: Ipv4Addr) -> impl Iterator<Item = Request> {
    let id = ServiceId::tcp(vip.into(), PORT);
    let add = move |ip: Ipv4Addr| Request::NewDestination(id, Destination::new(ip.into(), PORT, Forward::Masquerade));
    [Request::NewService(Service::new(id, scheduler::RR))].into_iter().chain(backends().map(add))
}

/// Services and destinations.
fn count(host: &Node) -> (usize, usize) {
    host.inside(|| {
        on_a_runtime(async {
            let (mut services, mut destinations) = (0, 0);
            let each = |_, of_it: Vec<_>| {
                services += 1;
                destinations += of_it.len();
            };
            Client::open().await.unwrap().each(each).await.unwrap();
            (services, destinations)
        })
    })
}

fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn best(times: Vec<Duration>) -> Duration {
    times.into_iter().min().unwrap()
}

slb_lab::main! { fast: [cold_start] }

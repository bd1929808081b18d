// SPDX-License-Identifier: Apache-2.0
//! A table of 10,000 routes to one peer: how long it takes from the moment the session is established until the peer has all of
//! them, and how much memory the announcer holds then. In one boot of the lab's fast kernel, in turns, on topologies of the same kind;
//! the peer is BIRD.
//!
//! | | what announces |
//! | --- | --- |
//! | gobgpd | a routing daemon with this table and nothing else |
//! | speaker | slb's, in a process of its own, with this table and nothing else |
//! | slb | the program with 10,000 load-balancers: their records, services, addresses and routes |

#![expect(clippy::unwrap_used, reason = "what goes wrong panics")]

#[path = "binary.rs"]
mod binary;

use std::{
    fs,
    io::{BufRead, BufReader, Write as _},
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use slb_advert::bgp::{Bgp, Speaker};
use slb_core::{
    model::{Advertise, LoadBalancer, LoadBalancerId, Name, Phase, Port, Protocol, ServiceSettings, Vip},
    peer::PeerSettings,
    ports::{Advertiser, Store, Write},
    prefix::Aggregation,
    step::AdvertStep,
};
use slb_lab::{
    Node, Place, Process, Segment, Server,
    findings::{self, median, tell},
    harness::{self, Test},
    wait,
};
use slb_store::Redb;
use uuid::Uuid;

use self::binary::SLB;

const ROUTES: u32 = 10_000;
const FIRST_VIP: u32 = u32::from_be_bytes([10, 80, 0, 1]);
/// How often each announces the table.
const ROUNDS: usize = 7;
/// What the others are compared with.
const REFERENCE: &str = "gobgpd";
/// slb, all of it, may take this part of its time.
const TIME: f64 = 1.0;
/// The speaker may hold this part of its memory.
const MEMORY: f64 = 0.2;
/// Makes this program the speaker.
const SPEAK: &str = "speak";
/// The store of both.
const STATE: &str = "/run/tables";

/// A host that announces, and a BIRD that listens.
struct Site {
    lb: Node,
    _bird: Process,
    control: String,
    _router: Node,
    _segment: Segment,
}

impl Site {
    fn new() -> Self {
        let segment = Segment::new();
        let (lb, router) = (segment.host("lb", "10.0.0.1/24"), segment.host("router", "10.0.0.254/24"));
        lb.sh("ip link set lo up");
        let folder = format!("/run/bird-{}", router.name());
        let control = format!("{folder}/bird.ctl");
        fs::create_dir_all(&folder).unwrap();
        let config = "router id 10.0.0.254;
            protocol device {}
            protocol bgp slb {
                local 10.0.0.254 as 65530; neighbor 10.0.0.1 as 65000;
                connect delay time 1; connect retry time 1; error wait time 1, 1;
                ipv4 { import all; export none; };
            }";
        fs::write(format!("{folder}/bird.conf"), config).unwrap();
        let bird = router.spawn("bird", &["-f", "-c", &format!("{folder}/bird.conf"), "-s", &control]);
        wait::until("BIRD to listen", || UnixStream::connect(&control).ok());
        Self { lb, _bird: bird, control, _router: router, _segment: segment }
    }

    /// What BIRD answers, on its control socket.
    fn ask(&self, words: &str) -> String {
        let mut stream = UnixStream::connect(&self.control).unwrap();
        writeln!(stream, "{words}").unwrap();
        let mut answer = String::new();
        // A line that ends an answer has a space after its four digits; the first one greets.
        for line in BufReader::new(stream).lines().map(Result::unwrap).skip(1) {
            answer += &line;
            answer.push('\n');
            if line.as_bytes().get(4) == Some(&b' ') && line.starts_with(|digit: char| digit.is_ascii_digit()) {
                break;
            }
        }
        answer
    }

    fn routes(&self) -> Option<u32> {
        let answer = self.ask("show route count");
        let (_, total) = answer.split_once("Total: ")?;
        total.split(' ').next()?.parse().ok()
    }

    fn wait_for_routes(&self, routes: u32) {
        wait::until("the routes", || (self.routes() == Some(routes)).then_some(()));
    }

    /// From the moment a new session is established until BIRD has all routes, in seconds.
    fn time(&self) -> f64 {
        self.ask("disable slb");
        self.wait_for_routes(0);
        self.ask("enable slb");
        while !self.ask("show protocols slb").contains("Established") {}
        let start = Instant::now();
        while self.routes() != Some(ROUTES) {}
        start.elapsed().as_secs_f64()
    }
}

fn tables() {
    on_a_runtime(fill_the_store());
    let (one, two, three) = (Site::new(), Site::new(), Site::new());
    let gobgpd = gobgpd(&one.lb);
    let mut driver = start(&one.lb, &["--gobgp", "127.0.0.1:50051"]);
    one.wait_for_routes(ROUTES);
    // The routes stay with gobgpd.
    driver.process().kill();
    let speaker = two.lb.spawn("/proc/self/exe", &[SPEAK]);
    two.wait_for_routes(ROUTES);
    let words = ["--bgpAs", "65000", "--bgpRouterId", "10.0.0.1", "--bgpPeer", "10.0.0.254:65530"];
    let mut slb = start(&three.lb, &words);
    three.wait_for_routes(ROUTES);
    let sites = [&one, &two, &three];
    let processes = [gobgpd.id(), speaker.id(), slb.process().id()];
    let [mut times, mut held] = [const { [const { Vec::new() }; 3] }; 2];
    for _ in 0..ROUNDS {
        for (at, site) in sites.iter().enumerate() {
            times[at].push(site.time());
            held[at].push(memory(processes[at]));
        }
    }
    for (at, who) in [REFERENCE, "speaker", "slb"].iter().enumerate() {
        tell("time", who, "s", &times[at]);
        tell("memory", who, "KiB", &held[at]);
    }
    let ([theirs, _, ours], [most, least, _]) = (times.map(|all| median(&all)), held.map(|all| median(&all)));
    assert!(ours <= TIME * theirs, "slb takes more than {TIME} of {REFERENCE}'s time");
    assert!(least <= MEMORY * most, "the speaker holds more than {MEMORY} of {REFERENCE}'s memory");
}

fn vips() -> impl Iterator<Item = Vip> {
    (FIRST_VIP..FIRST_VIP + ROUTES).map(|vip| Vip::try_from(Ipv4Addr::from(vip)).unwrap())
}

/// Announces the table until it is killed.
async fn speak() {
    let speaker = Speaker::new(65_000, Ipv4Addr::new(10, 0, 0, 1));
    let mut bgp = Bgp::new(speaker, PeerSettings::default(), Aggregation::NONE);
    bgp.apply(&vips().map(AdvertStep::Advertise).collect::<Vec<_>>()).await;
    bgp.add_peer("10.0.0.254:65530".parse().unwrap());
    bgp.begin();
    std::future::pending().await
}

async fn fill_the_store() {
    let port = Port::try_from(80).unwrap();
    let record = |(serial, vip): (u64, Vip)| LoadBalancer {
        id: LoadBalancerId(Uuid::new_v4()),
        serial,
        name: Name::try_from(format!("load-balancer {serial}")).unwrap(),
        vips: vip.into(),
        port,
        marked: None,
        protocol: Protocol::Tcp,
        backends: None,
        advertise: Advertise::default(),
        source_nat: slb_core::model::SourceNat::default(),
        service: ServiceSettings::default(),
        check: None,
        extras: None,
        origin: slb_core::model::Origin::default(),
        phase: Phase::Active,
    };
    let writes = (1..).zip(vips()).map(|each| Write::Put(Arc::new(record(each)))).collect();
    Redb::open(Path::new(STATE)).unwrap().commit(writes).await.unwrap();
}

fn start<'a>(lb: &'a Node, more: &[&str]) -> Server<'a> {
    let state = format!("{STATE}-{}", lb.name());
    lb.sh(&format!("cp -r {STATE} {state}"));
    let range = format!("{}-{}", Ipv4Addr::from(FIRST_VIP), Ipv4Addr::from(FIRST_VIP + ROUTES - 1));
    let words = ["--adapter", "lo", "--bgp", "--ipamRange", &range, "--stateDir", &state];
    Server::start(lb, SLB, &[&words[..], more].concat())
}

fn gobgpd(lb: &Node) -> Process {
    let file = format!("/run/tables-{}.toml", lb.name());
    let config = "[global.config]\nas = 65000\nrouter-id = \"10.0.0.1\"\n\
                  [[neighbors]]\n[neighbors.config]\nneighbor-address = \"10.0.0.254\"\npeer-as = 65530\n";
    fs::write(&file, config).unwrap();
    let gobgpd = lb.spawn("gobgpd", &["-f", &file, "--log-plain"]);
    gobgpd.line("a peer", |line| line.contains("Peer Up"));
    gobgpd
}

/// What a process holds of the machine's memory, in KiB: `VmRSS` of proc(5).
fn memory(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    held.trim().trim_end_matches(" kB").parse().unwrap()
}

fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(SPEAK) {
        on_a_runtime(speak());
    }
    let all = [Test { place: Place::fast, name: "fast::tables", body: tables }];
    findings::main("tables", &[REFERENCE], || harness::run(&all))
}

// SPDX-License-Identifier: Apache-2.0
//! From an empty kernel until all services and backends are in it.
//!
//! | | what it does |
//! | --- | --- |
//! | packed | makes the IPVS requests and sends them packed, and nothing else: the limit |
//! | programmed | reads the store, plans, and programs the same services, with the parts that slb is made of |
//! | slb | the program, from its start until the last backend is there; it checks the machine before |
//! | slb, pages | takes as many pages of memory as slb has taken by then, and touches each |
//! | slb, ready | the same program until it says so: all is bound, translated and announced, too |
//! | keepalived | from its start until the last backend is there; no addresses, no checks |
//! | ipvsadm | reads the same services as text |
//!
//! The first two run in this process, with memory that it has already: the fast kernel takes about 0.02 ms for a page that is touched
//! for the first time, many times as long as others do, and that would be most of what is measured. slb has it all to pay.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use ipvs::Client;
use slb_core::{
    model::Time,
    plan::{Observed, Scope, Stage, plan},
    ports::{Dataplane, Store, Verdict},
    state::State,
    step::Step,
};
use slb_dataplane::Ipvs;
use slb_store::Redb;

use slb_lab::{Process, findings::tell_at};

use crate::{
    fleet::{Fleet, Host, file, on_a_runtime},
    limit,
    process::{self, SLB},
};

const ROOM: &str = "coldStart";
/// How many load-balancers, and how often each is measured.
const SCALES: [(u32, usize); 4] = [(100, 5), (1_000, 3), (2_000, 3), (10_000, 3)];
/// Between two looks at what is in the kernel.
const LOOK: Duration = Duration::from_millis(5);

pub fn measure() {
    keep_memory();
    for (load_balancers, rounds) in SCALES {
        measure_at(Fleet(load_balancers), rounds);
    }
}

fn measure_at(fleet: Fleet, rounds: usize) {
    let tell = |what, times: &[f64]| tell_at(ROOM, what, fleet.0, "s", times);
    // A host that goes makes work for the kernel at a time of its own, and services of all hosts are in one table of the kernel's:
    // the hosts stay to the end, and each is emptied at once.
    let hosts: Vec<_> = (0..rounds).map(|_| [(); 5].map(|()| Host::new())).collect();
    let (mut packed, mut programmed) = (Vec::new(), Vec::new());
    let (mut slb, mut pages, mut ready) = (Vec::new(), Vec::new(), Vec::new());
    let (mut keepalived, mut ipvsadm) = (Vec::new(), Vec::new());
    for [one, two, three, four, five] in &hosts {
        packed.push(one.node.inside(|| limit::send(fleet)).as_secs_f64());
        assert_eq!(one.objects(), fleet.objects());
        one.flush();
        programmed.push(time_programmed(fleet, two).as_secs_f64());
        two.flush();
        let (until_there, until_ready, pages_by_then) = time_slb(fleet, three);
        slb.push(until_there.as_secs_f64());
        ready.push(until_ready.as_secs_f64());
        pages.push(limit::touch(pages_by_then).as_secs_f64());
        three.flush();
        keepalived.push(time_keepalived(fleet, four).as_secs_f64());
        four.flush();
        ipvsadm.push(time_ipvsadm(fleet, five).as_secs_f64());
        five.flush();
    }
    tell("packed", &packed);
    tell("programmed", &programmed);
    tell("slb", &slb);
    tell("slb, pages", &pages);
    tell("slb, ready", &ready);
    tell("keepalived", &keepalived);
    tell("ipvsadm -R", &ipvsadm);
}

/// Has this process keep as much memory as the largest plan takes: the first piece of that size is mapped for itself and given back, and the next
/// ones, since one so large was freed, are of the heap and stay there (mallopt(3), `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD`).
fn keep_memory() {
    for pieces in [1, 2] {
        drop(std::hint::black_box(vec![vec![1_u8; 31 << 20]; pieces]));
    }
}

fn time_programmed(fleet: Fleet, host: &Host) -> Duration {
    let folder = fleet.store(&host.node);
    host.node.inside(|| {
        on_a_runtime(async {
            let mut store = Redb::open(Path::new(&folder)).unwrap();
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
            assert_eq!(verdicts.len(), fleet.objects() as usize);
            time
        })
    })
}

/// Until all is there, until it is ready, and how many pages it had touched by the first.
fn time_slb(fleet: Fleet, host: &Host) -> (Duration, Duration, usize) {
    let (folder, range) = (fleet.store(&host.node), fleet.range(0));
    let words = ["server", "--arp", "--adapter", "eth0", "--ipamRange", &range, "--stateDir", &folder];
    let start = Instant::now();
    let mut slb = host.node.spawn(SLB, &words);
    wait_for(fleet, host, &mut slb);
    let there = start.elapsed();
    let pages = process::pages(&slb);
    process::wait_for(&mut slb);
    let ready = start.elapsed();
    assert_eq!(host.objects(), fleet.objects());
    let bound = host.node.sh("ip -o -4 addr show dev eth0");
    assert_eq!(bound.lines().filter(|line| line.contains("/32")).count(), fleet.0 as usize);
    slb.kill();
    (there, ready, pages)
}

fn time_keepalived(fleet: Fleet, host: &Host) -> Duration {
    // Another one may have the number of one that was killed, by the file of its number.
    let config = file(&format!("keepalived-{}", host.node.name()), &fleet.for_keepalived());
    let pids = [format!("--pid={config}.pid"), format!("--checkers_pid={config}-check.pid")];
    let words = ["--dont-fork", "--check", "--log-console", "--no-syslog", "--use-file", &config];
    let start = Instant::now();
    let mut keepalived = host.node.spawn("keepalived", &[&words[..], &[&pids[0], &pids[1]]].concat());
    wait_for(fleet, host, &mut keepalived);
    let time = start.elapsed();
    assert_eq!(host.objects(), fleet.objects());
    keepalived.kill();
    time
}

/// Returns when the program has put the last of the fleet into the kernel.
fn wait_for(fleet: Fleet, host: &Host, program: &mut Process) {
    host.node.inside(|| {
        on_a_runtime(async {
            let mut client = Client::open().await.unwrap();
            while !fleet.is_there(&mut client).await {
                assert!(program.ended().is_none(), "it ended: {}", program.said().join("\n"));
                tokio::time::sleep(LOOK).await;
            }
        });
    });
}

fn time_ipvsadm(fleet: Fleet, host: &Host) -> Duration {
    let file = file("ipvsadm", &fleet.for_ipvsadm());
    let start = Instant::now();
    host.node.sh(&format!("ipvsadm -R <{file}"));
    let time = start.elapsed();
    assert_eq!(host.objects(), fleet.objects());
    time
}

// SPDX-License-Identifier: Apache-2.0
//! Mixed load through the user-space data plane while backends are added, removed, killed, drained and weighed: nobody fails but whose backend
//! was taken away, and slb has as many descriptors and as much memory in the end as in the beginning.
//!
//! Twenty seconds of it are a test. `make soak` takes ten minutes, `make soak SOAK_SECONDS=3600` an hour. What is random is the same with
//! the same `SLB_SOAK_SEED`, but not when it happens.
//!
//! [`clients`] ask, [`backend`]s answer, the [`operator`] changes things, [`history`] knows whose fault a failure is, and [`usage`] is what is measured.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "soak/backend.rs"]
mod backend;
#[path = "soak/clients.rs"]
mod clients;
#[path = "soak/history.rs"]
mod history;
#[path = "soak/operator.rs"]
mod operator;
#[path = "soak/usage.rs"]
mod usage;

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use slb_lab::{Dice, Loopback, loopback::free_port, wait};

use self::{
    clients::{CLIENTS, Load, Tally},
    history::History,
    operator::{Done, Operator},
    usage::Usage,
};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

const VIP: Ipv4Addr = Ipv4Addr::new(127, 0, 6, 85);
/// Of the test.
const SECONDS: u64 = 20;
const SEED: u64 = 20_261_121;
/// Threads, buffers and pipes are there after so long.
const WARM_UP: Duration = Duration::from_secs(5);
const SAMPLES: Duration = Duration::from_millis(250);
/// The first part of the time after that is compared with the last: of ten minutes, a minute.
const PARTS: usize = 10;
/// The mean of the last part may be more by a fifth and this much: how many clients of which kind are at it is chance.
const SLACK: Usage = Usage { descriptors: 40, memory: 4 * 1024 };

/// Empty pipes that a worker keeps, and what a runtime has.
const KEPT_BY_A_WORKER: u64 = 2 * 64 + 8;

#[test]
fn hours_of_everything_leave_nothing_behind() {
    let number = |name: &str, default| env::var(name).map_or(default, |text| text.parse().expect(name));
    let time = Duration::from_secs(number("SLB_SOAK_SECONDS", SECONDS));
    let mut dice = Dice::new(number("SLB_SOAK_SEED", SEED));
    let (server, load_balancers, vip) = start();
    let load = Load { vip, history: History::default(), stop: AtomicBool::new(false), tally: Tally::default() };
    let before = Usage::of(server.process().id()).unwrap();
    let mut samples = Vec::new();
    // Backends stay until the last client has what it asked for.
    let (done, _backends) = thread::scope(|scope| {
        let operator = Operator::new(&server, &load, &load_balancers);
        // Also when something fails: the clients would go on for ever.
        let stop = Stop(&load);
        for (kind, many) in CLIENTS {
            for _ in 0..many {
                let (load, dice) = (&load, Dice::new(dice.roll(u64::MAX >> 34)));
                scope.spawn(move || load.run(kind, dice));
            }
        }
        let operating = scope.spawn(|| {
            // Nobody goes on when it fails.
            let _stop = Stop(&load);
            operator.run(dice)
        });
        let (start, end) = (Instant::now() + WARM_UP, Instant::now() + WARM_UP + time);
        while Instant::now() < end && !load.stop.load(Ordering::Acquire) {
            thread::sleep(SAMPLES);
            if Instant::now() > start {
                samples.push(Usage::of(server.process().id()).unwrap());
            }
        }
        drop(stop);
        operating.join().expect("an operator that finds nothing wrong")
    });
    let part = (samples.len() / PARTS).max(1);
    let means: Vec<Usage> = samples.chunks_exact(part).map(Usage::mean).collect();
    let (first, last) = (means[0], means[means.len() - 1]);
    report(time, &done, &load.tally, before, &means);
    let failures = load.tally.failures.lock().unwrap();
    assert!(
        failures.is_empty(),
        "{} failures that nothing explains: {:#?}",
        failures.len(),
        &failures[..failures.len().min(20)]
    );
    assert!(last.descriptors <= first.descriptors * 6 / 5 + SLACK.descriptors, "descriptors: {first:?}, {last:?}");
    assert!(last.memory <= first.memory * 6 / 5 + SLACK.memory, "memory: {first:?}, {last:?}");

    let workers = thread::available_parallelism().map_or(1, |many| many.get() as u64);
    wait::until("all connections to be over", || {
        let now = Usage::of(server.process().id()).unwrap();
        (now.descriptors <= before.descriptors + workers * KEPT_BY_A_WORKER).then_some(())
    });
    for load_balancer in &load_balancers {
        wait::until("no connection to be counted", || {
            let path = format!("/loadbalancer/{}/statistics", load_balancer["uuid"].as_str().unwrap());
            let counted = server.show(&path);
            ["activeConnections", "inactiveConnections"].iter().all(|name| counted[name] == 0).then_some(())
        });
    }
}

/// A server with a load-balancer for each protocol on one endpoint.
fn start() -> (Loopback, Vec<Value>, SocketAddr) {
    let state_dir = format!("{}/soak", env!("CARGO_TARGET_TMPDIR"));
    let _ = std::fs::remove_dir_all(&state_dir);
    let vip = SocketAddr::from((VIP, free_port(VIP)));
    let range = VIP.to_string();
    // Clients of UDP are many, and each is remembered for that long.
    let options = ["--adapter", "lo", "--ipamRange", &range, "--stateDir", &state_dir, "--udpTimeout", "3s"];
    let server = Loopback::start(SLB, &options);
    let load_balancers = ["tcp", "udp"].map(|protocol| {
        let check = json!({"type": "tcp", "interval": "500ms", "timeout": "500ms", "rise": 1, "fall": 2});
        let body = json!({
            "eip": range, "port": vip.port(), "protocol": protocol, "scheduler": "wrr", "healthCheck": check,
        });
        server.create("/loadbalancer", &body.to_string())
    });
    (server, load_balancers.to_vec(), vip)
}

/// Ends the load when it is dropped.
struct Stop<'a>(&'a Load);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

#[expect(clippy::print_stdout, reason = "it is what `make soak` is for")]
fn report(time: Duration, done: &Done, tally: &Tally, before: Usage, means: &[Usage]) {
    println!("{} s; backends: {done:?}", time.as_secs());
    for ((kind, _), answered) in CLIENTS.iter().zip(&tally.answered) {
        println!("{kind:?}: {} requests answered", answered.load(Ordering::Relaxed));
    }
    let [killed, removed] = [&tally.killed, &tally.removed].map(|count| count.load(Ordering::Relaxed));
    println!("{killed} failed because their backend was killed, {removed} because it was removed with its connections");
    println!("{} failed for no such reason", tally.failures.lock().unwrap().len());
    println!("before: {} descriptors, {} kB resident", before.descriptors, before.memory);
    for usage in means {
        println!("on average: {} descriptors, {} kB resident", usage.descriptors, usage.memory);
    }
}

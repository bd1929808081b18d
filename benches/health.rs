// SPDX-License-Identifier: Apache-2.0
//! 10,000 backends that are checked by one process, slb's and then keepalived's, in turns: how late the checks are, and what processor time
//! and memory they take.
//!
//! | where | how often |
//! | --- | --- |
//! | this machine's kernel, in a network namespace with nothing but loopback | every second |
//! | the lab's fast kernel | every 20 s: its one processor is good for some hundred connections a second |
//!
//! The first has no need of IPVS: where the kernel has none, a stand-in tells keepalived that it had.
//!
//! All of it is seen from the server's side, which notes when it accepted a connection for which backend. The time between two for the same
//! backend should be the interval; how much more or less it was is how late one of them was.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints; what goes wrong panics")]

#[path = "health/checker.rs"]
mod checker;
#[path = "health/server.rs"]
mod server;

use std::{
    collections::BTreeMap,
    env,
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use slb_lab::{
    Node, Place,
    findings::{self, median, tell},
    harness::{self, Test},
};

use self::{
    checker::{CHECK, Checker},
    server::Server,
};

/// How often each backend is checked on this machine's kernel, and on the lab's.
const HERE: Duration = Duration::from_secs(1);
const IN_THE_LAB: Duration = Duration::from_secs(20);
/// Makes the benchmark compare on this machine's kernel, in the network namespace that it is in.
const COMPARE: &str = "compare";
/// slb may have so much of keepalived's.
const AIMS: [(&str, f64); 3] = [("late, 99 %", 1.25), ("processor for a check", 1.1), ("memory", 1.0)];
/// Intervals before it is measured, since what is new comes at once and what starts takes memory; and intervals that are measured.
const WARM_UP: u32 = 2;
const MEASURED: u32 = 2;
/// How often each is measured.
const ROUNDS: usize = 3;
/// Who slb is compared with.
const REFERENCE: &str = "keepalived";
/// At least so long, each.
const SHORTEST: Duration = Duration::from_secs(10);

/// On the kernel of this machine, in a network namespace that goes with the process.
fn here() {
    let program = env::current_exe().unwrap();
    let mut unshare = Command::new("unshare");
    let status = unshare.args(["--user", "--map-root-user", "--net"]).arg(program).arg(COMPARE).status().unwrap();
    assert!(status.success(), "on this machine's kernel");
}

fn side_by_side() {
    let host = Node::new("checks");
    host.sh("sysctl -qw net.core.somaxconn=65535");
    host.inside(|| compare(IN_THE_LAB));
}

fn compare(interval: Duration) {
    let has_ipvs = Path::new("/proc/net/ip_vs").exists() || env::var_os("SLB_LAB_PLACE").is_some();
    let (mut slb, mut keepalived) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        slb.push(measure(interval, |port| Checker::slb(port, interval)));
        keepalived.push(measure(interval, |port| Checker::keepalived(port, interval, has_ipvs)));
    }
    let mut ratios = BTreeMap::new();
    for (at, (what, unit, _)) in slb[0].figures().into_iter().enumerate() {
        let room = format!("every {} s: {what}", interval.as_secs());
        let [ours, theirs] =
            [&slb, &keepalived].map(|all| all.iter().map(|each| each.figures()[at].2).collect::<Vec<_>>());
        tell(&room, "slb", unit, &ours);
        tell(&room, REFERENCE, unit, &theirs);
        ratios.insert(what, median(&ours) / median(&theirs));
    }
    for (what, aim) in AIMS {
        assert!(ratios[what] <= aim, "{what}: more than {aim} of {REFERENCE}'s");
    }
}

/// What was seen of one that checks.
struct Found {
    /// In a second.
    checks: f64,
    /// Half of the checks, 99 in 100, and all are no later, in seconds.
    late: [f64; 3],
    /// Processor time of a check, in seconds: whoever does not keep up does not save any.
    processor: f64,
    /// Memory, in KiB.
    memory: f64,
}

impl Found {
    /// With names and units.
    fn figures(&self) -> [(&'static str, &'static str, f64); 6] {
        let [half, most, all] = self.late;
        [
            ("checks in a second", "", self.checks),
            ("late, half", "s", half),
            ("late, 99 %", "s", most),
            ("late, all", "s", all),
            ("processor for a check", "s", self.processor),
            ("memory", "KiB", self.memory),
        ]
    }
}

/// Lets one check for a while.
fn measure(interval: Duration, start: impl FnOnce(u16) -> Checker) -> Found {
    let server = Server::start();
    let checker = start(server.port);
    thread::sleep((interval * WARM_UP).max(SHORTEST));
    let (start, before) = (Instant::now(), checker.processor_time());
    thread::sleep((interval * MEASURED).max(SHORTEST));
    let (end, after) = (Instant::now(), checker.processor_time());
    let memory = checker.memory();
    let arrivals: Vec<_> = server.stop().into_iter().filter(|(_, at)| (start..end).contains(at)).collect();
    let checks = arrivals.len() as f64;
    let mut late = Vec::new();
    let mut last = BTreeMap::new();
    for (backend, at) in arrivals {
        if let Some(before) = last.insert(backend, at) {
            late.push((at - before).abs_diff(interval));
        }
    }
    assert_eq!(last.len(), server::backends().count(), "some were not checked");
    late.sort_unstable();
    let part = |percent: usize| late[(late.len() - 1) * percent / 100].as_secs_f64();
    Found {
        checks: checks / (end - start).as_secs_f64(),
        late: [part(50), part(99), part(100)],
        processor: (after - before).as_secs_f64() / checks,
        memory,
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [word, port, seconds] = &words[..]
        && word == CHECK
    {
        let check = checker::check(port.parse().unwrap(), Duration::from_secs(seconds.parse().unwrap()));
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(check);
    }
    if let [word] = &words[..]
        && word == COMPARE
    {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success(), "loopback");
        compare(HERE);
        return ExitCode::SUCCESS;
    }
    findings::main("health", &[REFERENCE], || {
        if env::var_os("SLB_LAB_PLACE").is_none() && !findings::is_listing() {
            here();
        }
        harness::run(&[Test { place: Place::fast, name: "fast::side_by_side", body: side_by_side }])
    })
}

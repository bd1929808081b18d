// SPDX-License-Identifier: Apache-2.0
//! 10,000 backends that are checked by one process: how late the checks are, and what processor time and memory they take.
//!
//! | | where | how often |
//! | --- | --- | --- |
//! | alone | on this machine's kernel, loopback only | every second |
//! | side by side | in one boot of the lab's fast kernel, slb and then keepalived with the same checks, against the same server | every 20 s: its one processor is good for some hundred connections a second |
//!
//! All of it is seen from the server's side, which notes when it accepted a connection for which backend. The time between two for the same
//! backend should be the interval; how much more or less it was is how late one of them was.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints; what goes wrong panics")]

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use slb_core::{
    checker::{Beginning, Checker, Watch},
    model::{
        LoadBalancerId,
        check::{Check, Question, Timing},
    },
};
use slb_health::{Checks, Commands};
use slb_lab::{
    Node, Process,
    harness::{self, Test},
    kernel::Kernel,
};
use tokio::net::TcpSocket;
use uuid::Uuid;

/// Every address of 127.0.0.0/8 is one of any host.
const FIRST_BACKEND: u32 = u32::from_be_bytes([127, 96, 0, 1]);
const BACKENDS: u32 = 10_000;
/// slb may hold this part of the other's memory. Processor time and lateness are shown: docs/benchmarks.md says what they depend on.
const AIM: f64 = 1.0;
/// Makes this program the one that checks: followed by a port and an interval in seconds.
const CHECK: &str = "check";

/// How often each backend is checked on this machine's kernel, and on the lab's.
const ALONE: Duration = Duration::from_secs(1);
const SIDE_BY_SIDE: Duration = Duration::from_secs(20);
/// Intervals before it is measured, since what is new comes at once and what starts takes memory; and intervals that are measured.
const WARM_UP: u32 = 2;
const MEASURED: u32 = 2;
/// How often each is measured side by side; the best counts, since what else happens on a machine only adds.
const ROUNDS: usize = 2;
/// At least so long, each.
const SHORTEST: Duration = Duration::from_secs(10);

fn backends() -> impl Iterator<Item = Ipv4Addr> {
    (FIRST_BACKEND..FIRST_BACKEND + BACKENDS).map(Ipv4Addr::from)
}

/// On the kernel of this machine.
fn alone() {
    let server = Server::start();
    let words = [CHECK.to_owned(), server.port.to_string(), ALONE.as_secs().to_string()];
    let mut slb = Command::new("/proc/self/exe").args(words).spawn().unwrap();
    let found = measure(server, slb.id(), ALONE);
    slb.kill().unwrap();
    slb.wait().unwrap();
    println!("{BACKENDS} backends every {ALONE:?}, alone");
    show(&[("slb", &found)]);
}

fn side_by_side() {
    let host = Node::new("checks");
    host.sh("sysctl -qw net.core.somaxconn=65535");
    let (mut slb, mut keepalived) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let server = host.inside(Server::start);
        let words = [server.port.to_string(), SIDE_BY_SIDE.as_secs().to_string()];
        let mut process = host.spawn("/proc/self/exe", &[CHECK, &words[0], &words[1]]);
        slb.push(measure(server, process.id(), SIDE_BY_SIDE));
        process.kill();
        let server = host.inside(Server::start);
        let mut process = start_keepalived(&host, server.port);
        keepalived.push(measure(server, process.id(), SIDE_BY_SIDE));
        process.signal(Signal::TERM);
        process.wait();
    }
    let (slb, keepalived) = (best(slb), best(keepalived));
    println!("{BACKENDS} backends every {SIDE_BY_SIDE:?}, side by side");
    show(&[("slb", &slb), ("keepalived", &keepalived)]);
    let ratios = [
        ("late, 99 %", slb.late[1].as_secs_f64() / keepalived.late[1].as_secs_f64()),
        ("processor", slb.processor / keepalived.processor),
        ("memory", slb.memory / keepalived.memory),
    ];
    for (what, ratio) in ratios {
        println!("{what:<12}{ratio:>8.2} x");
    }
    assert!(ratios[2].1 <= AIM, "slb holds more than {AIM} of keepalived's memory");
}

/// What was seen of one that checks.
struct Found {
    checks: f64,
    /// Half of the checks, 99 in 100, and all are no later.
    late: [Duration; 3],
    /// Processor time, as a share of one processor.
    processor: f64,
    /// Memory, in KiB.
    memory: f64,
}

/// The best of each.
fn best(all: Vec<Found>) -> Found {
    let least = |a: Found, b: Found| Found {
        checks: a.checks.max(b.checks),
        late: [0, 1, 2].map(|part| a.late[part].min(b.late[part])),
        processor: a.processor.min(b.processor),
        memory: a.memory.min(b.memory),
    };
    all.into_iter().reduce(least).unwrap()
}

/// Lets it check for a while.
fn measure(server: Server, process: u32, interval: Duration) -> Found {
    thread::sleep((interval * WARM_UP).max(SHORTEST));
    let (start, before) = (Instant::now(), processor_time(process));
    thread::sleep((interval * MEASURED).max(SHORTEST));
    let (end, after) = (Instant::now(), processor_time(process));
    let memory = family(process).into_iter().map(memory).sum();
    let mut late = Vec::new();
    let mut last = BTreeMap::new();
    let arrivals = server.stop().into_iter().filter(|(_, at)| (start..end).contains(at));
    for (backend, at) in arrivals {
        if let Some(before) = last.insert(backend, at) {
            late.push((at - before).abs_diff(interval));
        }
    }
    assert_eq!(last.len(), backends().count(), "some were not checked");
    late.sort_unstable();
    let part = |percent: usize| late[(late.len() - 1) * percent / 100];
    let time = end - start;
    Found {
        checks: late.len() as f64 / (time - interval).as_secs_f64(),
        late: [part(50), part(99), part(100)],
        processor: (after - before).as_secs_f64() / time.as_secs_f64(),
        memory,
    }
}

fn show(all: &[(&str, &Found)]) {
    println!("            checks/s  late: half      99 %       all   processor   memory");
    for (name, found) in all {
        let [half, most, last] = found.late.map(|late| late.as_secs_f64() * 1e3);
        let (checks, processor, memory) = (found.checks, found.processor * 100.0, found.memory / 1024.0);
        println!(
            "{name:<12}{checks:>8.0}{half:>10.1} ms{most:>7.1} ms{last:>7.1} ms{processor:>9.1} %{memory:>6.1} MiB"
        );
    }
}

/// Accepts connections to every backend, and notes when.
struct Server {
    port: u16,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(IpAddr, Instant)>>,
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind_device(Some(b"lo")).unwrap();
            socket.bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
            socket.listen(65_535).unwrap().into_std().unwrap()
        });
        listener.set_nonblocking(false).unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut arrivals = Vec::with_capacity(1 << 20);
            while !over.load(Ordering::Relaxed) {
                let (connection, _) = listener.accept().unwrap();
                // A connection that was reset still knows.
                arrivals.push((connection.local_addr().unwrap().ip(), Instant::now()));
            }
            arrivals
        });
        Self { port, is_over, thread }
    }

    fn stop(self) -> Vec<(IpAddr, Instant)> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn start_keepalived(host: &Node, port: u16) -> Process {
    let interval = SIDE_BY_SIDE.as_secs();
    let mut config =
        format!("virtual_server 10.80.0.1 80 {{\n delay_loop {interval}\n lb_algo rr\n lb_kind NAT\n protocol TCP\n");
    for backend in backends() {
        writeln!(config, " real_server {backend} {port} {{\n  TCP_CHECK {{\n   connect_timeout 1\n  }}\n }}").unwrap();
    }
    config.push_str("}\n");
    let file = "/run/keepalived.conf";
    fs::write(file, config).unwrap();
    let pids = ["-p", "/run/keepalived.pid", "-c", "/run/keepalived-checkers.pid"];
    host.spawn("keepalived", &[&["--dont-fork", "--log-console", "--check", "-f", file][..], &pids].concat())
}

/// A process and its children.
fn family(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    let children = children.split_whitespace().map(|child| child.parse().unwrap());
    [process].into_iter().chain(children).collect()
}

/// The processor time that a process and its children took: `utime` and `stime` of proc(5).
fn processor_time(process: u32) -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let ticks = |process| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().unwrap()).sum::<u32>()
    };
    TICK * family(process).into_iter().map(ticks).sum::<u32>()
}

/// What a process holds of the machine's memory, in KiB: `VmRSS` of proc(5).
fn memory(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    held.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Checks until it is killed.
async fn check(port: u16, interval: Duration) {
    let timing = Timing::every(interval).unwrap();
    let check = Arc::new(Check { question: Question::Tcp, timing, port: None, source: None });
    let watch = |backend| Watch { target: SocketAddr::from((backend, port)), check: Arc::clone(&check) };
    let mut checks = Checks::start(Commands::Refused).unwrap();
    checks.set(LoadBalancerId(Uuid::nil()), backends().map(|backend| (watch(backend), Beginning::New)).collect());
    loop {
        for change in checks.next().await {
            let (standing, reason) = (change.now.standing.as_str(), change.reason.unwrap_or_default());
            println!("{} is {standing}: {reason}", change.watch.target);
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [word, port, seconds] = &words[..]
        && word == CHECK
    {
        let check = check(port.parse().unwrap(), Duration::from_secs(seconds.parse().unwrap()));
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(check);
    }
    let is_inside = env::var_os("SLB_LAB_KERNEL").is_some();
    if !is_inside && !words.iter().any(|word| word == "--list") {
        alone();
    }
    harness::run(&[Test { kernel: Kernel::fast, name: "fast::side_by_side", body: side_by_side }])
}

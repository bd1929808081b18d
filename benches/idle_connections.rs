// SPDX-License-Identifier: Apache-2.0
//! What connections cost on which nothing happens, relayed by slb and by HAProxy, in turns, on this machine's loopback: memory of the
//! process for each, and processor time of all while nothing is sent; then the same while a few clients have stopped to read what
//! their backend goes on to send. Needs no root; without HAProxy slb is measured alone.
//!
//! Memory is the growth of `VmRSS` since the program was ready. Both ends are in this process, so that it is not counted; what the kernel
//! holds for the sockets is the same for both and not counted either.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints; what goes wrong panics")]

#[path = "binary.rs"]
mod binary;

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{self, Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use slb_lab::findings::{self, median, tell};

use self::binary::SLB;

/// So many connections if there are files for them: each takes two here, and two of the program that relays.
const MOST: usize = 10_000;
/// Of these, have stopped to read.
const SLOW: usize = 100;
/// How often each is measured.
const ROUNDS: usize = 3;
/// How long it is watched that nothing happens.
const WATCH: Duration = Duration::from_secs(30);
/// Exchanged on each connection before it is idle.
const QUESTION: [u8; 512] = [7; 512];
/// How long either may take to be ready.
const DEADLINE: Duration = Duration::from_secs(30);
/// slb may hold so many KiB for each connection, and while nothing happens use this part of a processor: what its timers take.
const MEMORY: f64 = 4.0;
const PROCESSOR: f64 = 0.002;
/// proc(5) counts processor time in these.
const TICK: Duration = Duration::from_millis(10);

/// A program that relays. It ends when this is dropped.
struct Relay {
    child: Child,
    folder: PathBuf,
    at: SocketAddr,
}

/// What was found.
struct Cost {
    /// In KiB for each connection.
    memory: f64,
    /// Of one processor: with idle connections, and with slow readers among them.
    idle: f64,
    slow: f64,
    /// Growth by slow readers, in KiB for each.
    slow_memory: f64,
}

impl Relay {
    fn slb(backend: SocketAddr) -> Self {
        let (folder, [api, port]) = (folder(), [free_port(), free_port()]);
        let at = SocketAddr::from(([127, 0, 8, 85], port));
        let mut slb = Command::new(SLB);
        slb.args(["server", "--dataplane", "user", "--adapter", "lo", "--ipamRange", "127.0.8.85", "--address"]);
        slb.args(["127.0.0.1", "--port", &api.to_string(), "--stateDir"]).arg(folder.join("state"));
        let relay = Self::start(&mut slb, folder, at);
        let backend = format!(r#"{{"ip":"{}","port":{}}}"#, backend.ip(), backend.port());
        let body = format!(r#"{{"name":"idle","port":{port},"backends":[{backend}]}}"#);
        let mut api = connected((Ipv4Addr::LOCALHOST, api).into());
        let head =
            format!("POST /loadbalancer HTTP/1.1\r\nHost: slb\r\nConnection: close\r\nContent-Length: {}", body.len());
        api.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        api.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        relay
    }

    fn haproxy(backend: SocketAddr, most: usize) -> Self {
        let (folder, at) = (folder(), SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let file = folder.join("haproxy.cfg");
        let most = most + 100;
        let config = format!(
            "global\n maxconn {most}\ndefaults\n mode tcp\n maxconn {most}\n timeout connect 5s\n timeout client 15m\n \
             timeout server 15m\nlisten idle\n bind {at}\n server one {backend}\n"
        );
        fs::write(&file, config).unwrap();
        Self::start(Command::new("haproxy").args(["-db", "-q", "-f"]).arg(&file), folder, at)
    }

    fn start(command: &mut Command, folder: PathBuf, at: SocketAddr) -> Self {
        Self { child: command.stderr(Stdio::null()).spawn().unwrap(), folder, at }
    }

    /// `VmRSS` in KiB.
    fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let held = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        held.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// `utime` and `stime`.
    fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        TICK * fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().unwrap()).sum::<u32>()
    }

    /// Of one processor, while nothing is sent.
    fn watched(&self) -> f64 {
        let before = self.processor_time();
        thread::sleep(WATCH);
        (self.processor_time() - before).as_secs_f64() / WATCH.as_secs_f64()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("slb-bench-idle-{}", process::id()));
    fs::create_dir(&folder).unwrap();
    folder
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Once somebody listens.
fn connected(at: SocketAddr) -> TcpStream {
    let start = Instant::now();
    loop {
        match TcpStream::connect(at) {
            Ok(stream) => return stream,
            Err(error) => assert!(start.elapsed() < DEADLINE, "{at}: {error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Both ends of a connection on which something has been said and answered.
fn exchange(at: SocketAddr, backend: &TcpListener) -> [TcpStream; 2] {
    let mut client = connected(at);
    client.write_all(&QUESTION).unwrap();
    let (mut server, _) = backend.accept().unwrap();
    let mut heard = QUESTION;
    server.read_exact(&mut heard).unwrap();
    server.write_all(&heard).unwrap();
    client.read_exact(&mut heard).unwrap();
    [client, server]
}

/// Sends until neither the other end nor whoever is between takes more.
fn fill(server: &TcpStream) {
    const ENOUGH: Duration = Duration::from_millis(50);
    server.set_nonblocking(true).unwrap();
    let (mut last, mut taken) = (Instant::now(), 0);
    while last.elapsed() < ENOUGH {
        match (&*server).write(&[0; 64 * 1024]) {
            Ok(sent) => {
                taken += sent;
                last = Instant::now();
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                thread::sleep(ENOUGH / 10);
            }
        }
    }
    assert_ne!(taken, 0, "nobody is slow");
}

fn measure(backend: &TcpListener, relay: &Relay, many: usize) -> Cost {
    drop(exchange(relay.at, backend));
    let before = relay.memory();
    let ends: Vec<_> = (0..many).map(|_| exchange(relay.at, backend)).collect();
    #[expect(clippy::cast_precision_loss, reason = "it is a few thousand")]
    let each = |growth: f64, many: usize| growth / many as f64;
    let with_all = relay.memory();
    let idle = relay.watched();
    let watched = relay.memory();
    ends.iter().take(SLOW).for_each(|[_, server]| fill(server));
    let slow_memory = each(relay.memory() - watched, SLOW);
    Cost { memory: each(with_all - before, many), idle, slow: relay.watched(), slow_memory }
}

fn show(name: &str, costs: &[Cost]) {
    let all = |of: fn(&Cost) -> f64| costs.iter().map(of).collect::<Vec<f64>>();
    tell("memory of a connection", name, "KiB", &all(|cost| cost.memory));
    tell("memory of a slow reader", name, "KiB", &all(|cost| cost.slow_memory));
    tell("processor with idle connections", name, "s/s", &all(|cost| cost.idle));
    tell("processor with slow readers among them", name, "s/s", &all(|cost| cost.slow));
}

fn main() -> ExitCode {
    findings::main("idle_connections", &["HAProxy"], compare)
}

fn compare() -> ExitCode {
    if findings::is_listing() {
        return ExitCode::SUCCESS;
    }
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let files = usize::try_from(maximum.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let many = MOST.min(files / 3);
    println!("{many} connections, {SLOW} slow readers, watched for {WATCH:?}");
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = backend.local_addr().unwrap();

    let haproxy = Command::new("haproxy").arg("-v").stdout(Stdio::null()).status();
    let has_haproxy = haproxy.is_ok_and(|status| status.success());
    let (mut slb, mut haproxy) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        slb.push(measure(&backend, &Relay::slb(at), many));
        if has_haproxy {
            haproxy.push(measure(&backend, &Relay::haproxy(at, many), many));
        }
    }
    show("slb", &slb);
    if has_haproxy {
        show("HAProxy", &haproxy);
    } else {
        println!("HAProxy is not installed");
    }
    let ours = |of: fn(&Cost) -> f64| median(&slb.iter().map(of).collect::<Vec<_>>());
    let [memory, idle, slow] = [ours(|cost| cost.memory), ours(|cost| cost.idle), ours(|cost| cost.slow)];
    if memory > MEMORY || idle.max(slow) > PROCESSOR {
        println!("slb may hold {MEMORY} KiB for each, and use {PROCESSOR} of a processor");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

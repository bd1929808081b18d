// SPDX-License-Identifier: Apache-2.0
//! What is sent through the proxies: iperf3 to iperf3, and wrk to a small nginx.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{self, Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use slb_lab::wait;

/// Where the backends listen, on the same ports as the proxies.
pub const BACKEND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
pub const PORTS: [u16; 2] = [IPERF, HTTP];
const IPERF: u16 = 5201;
/// The backend listens there all the time.
pub const HTTP: u16 = 80;

/// How long each is measured.
const SECONDS: &str = "1";

#[derive(Clone, Copy)]
pub enum Load {
    /// One way, as much as goes.
    Stream,
    /// Each on a connection of its own.
    Requests,
}

/// Bytes or requests.
pub struct Done {
    pub amount: f64,
    /// In a second.
    pub rate: f64,
}

impl Load {
    /// For a heading.
    pub fn what(self) -> &'static str {
        match self {
            Self::Stream => "throughput",
            Self::Requests => "a request on each",
        }
    }

    /// Of its rates.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Stream => "B/s",
            Self::Requests => "/s",
        }
    }

    /// Over so many connections at a time, to a proxy or to the backend.
    pub fn run(self, address: Ipv4Addr, connections: usize) -> Done {
        match self {
            Self::Stream => stream(address, connections),
            Self::Requests => requests(address, connections),
        }
    }
}

fn stream(address: Ipv4Addr, connections: usize) -> Done {
    let words = ["--server", "--bind", &BACKEND.to_string(), "--one-off", "--forceflush", "--interval", "0"];
    let mut server = Command::new("iperf3").args(words).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening") {
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "{line}");
    }
    let (address, connections) = (address.to_string(), connections.to_string());
    let words = ["--client", &address, "--parallel", &connections, "--time", SECONDS, "--interval", "0", "--json"];
    let report: Value = serde_json::from_str(&run("iperf3", &words)).unwrap();
    said.read_to_string(&mut line).unwrap();
    assert!(server.wait().unwrap().success(), "{line}");
    let received = &report["end"]["sum_received"];
    let number = |name: &str| received[name].as_f64().unwrap();
    Done { amount: number("bytes"), rate: number("bits_per_second") / 8.0 }
}

fn requests(address: Ipv4Addr, connections: usize) -> Done {
    let (url, connections) = (format!("http://{address}/"), connections.to_string());
    let words =
        ["--threads", "1", "--connections", &connections, "--duration", SECONDS, "--header", "Connection: close", &url];
    let report = run("wrk", &words);
    let is_bad = ["Socket errors", "Non-2xx"].iter().any(|word| report.contains(word));
    assert!(!is_bad, "{report}");
    let number = |line: &str, word: usize| line.split_whitespace().nth(word).unwrap().parse().unwrap();
    let amount = report.lines().find(|line| line.contains(" requests in ")).unwrap();
    let rate = report.lines().find(|line| line.starts_with("Requests/sec:")).unwrap();
    Done { amount: number(amount, 0), rate: number(rate, 1) }
}

fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output().expect(program);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Answers requests. It ends when this is dropped.
pub struct Backends {
    nginx: Child,
    folder: PathBuf,
}

impl Backends {
    pub fn start() -> Self {
        let folder = env::temp_dir().join(format!("slb-versus-{}", process::id()));
        fs::create_dir(&folder).unwrap();
        let file = folder.join("configuration");
        let text = format!(
            "user root;\ndaemon off;\npid nginx.pid;\nworker_processes 1;\nevents {{ worker_connections 4096; }}\n\
             http {{ access_log off; server {{ listen {BACKEND}:{HTTP} backlog=4096; return 200 \"hello\"; }} }}\n"
        );
        fs::write(&file, text).unwrap();
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(&folder).arg("-c").arg(&file).args(["-e", "stderr"]);
        let nginx = nginx.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait::until("nginx", || TcpStream::connect((BACKEND, HTTP)).ok());
        Self { nginx, folder }
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        // SIGKILL would leave its worker.
        kill_process(Pid::from_child(&self.nginx), Signal::TERM).unwrap();
        self.nginx.wait().unwrap();
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

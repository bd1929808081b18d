// SPDX-License-Identifier: Apache-2.0
//! The programs that check, and what the kernel says of them.

use std::{
    env,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use slb_core::{
    checker::{Beginning, Checker as _, Watch},
    model::{
        LoadBalancerId,
        check::{Address, Check, Question, Timing},
    },
};
use slb_health::{Checks, Commands};
use uuid::Uuid;

use crate::server::backends;

/// Makes the benchmark the program that checks: followed by a port and an interval in seconds.
pub const CHECK: &str = "check";

/// A program that checks all backends. It ends when this is dropped.
pub struct Checker {
    child: Child,
    folder: PathBuf,
}

impl Checker {
    /// slb's checks, without the rest of it.
    pub fn slb(port: u16, interval: Duration) -> Self {
        let folder = folder();
        // A program of its own, so that it shares no memory with the server.
        let program = folder.join("checks");
        fs::copy("/proc/self/exe", &program).unwrap();
        let words = [CHECK.to_owned(), port.to_string(), interval.as_secs().to_string()];
        Self::start(Command::new(program).args(words), folder)
    }

    /// keepalived with the same checks; with the stand-in if there is no IPVS.
    pub fn keepalived(port: u16, interval: Duration, has_ipvs: bool) -> Self {
        let folder = folder();
        let file = |name| folder.join(name);
        let interval = interval.as_secs();
        let mut config = format!(
            "virtual_server 10.80.0.1 80 {{\n delay_loop {interval}\n lb_algo rr\n lb_kind NAT\n protocol TCP\n"
        );
        for backend in backends() {
            writeln!(config, " real_server {backend} {port} {{\n  TCP_CHECK {{\n   connect_timeout 1\n  }}\n }}")
                .unwrap();
        }
        config.push_str("}\n");
        fs::write(file("conf"), config).unwrap();
        let mut keepalived = Command::new("keepalived");
        keepalived.args(["--dont-fork", "--no-syslog", "--check", "-f"]).arg(file("conf"));
        keepalived.arg("-p").arg(file("pid")).arg("-c").arg(file("checkers.pid"));
        if !has_ipvs {
            keepalived.env("LD_PRELOAD", stand_in(&folder));
        }
        Self::start(keepalived.stdout(Stdio::null()).stderr(Stdio::null()), folder)
    }

    fn start(command: &mut Command, folder: PathBuf) -> Self {
        Self { child: command.stdin(Stdio::null()).spawn().unwrap(), folder }
    }

    /// The processor time that it and its children took: `utime` and `stime` of proc(5).
    pub fn processor_time(&self) -> Duration {
        const TICK: Duration = Duration::from_millis(10);
        let ticks = |process| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
            let (_, fields) = stat.rsplit_once(") ").unwrap();
            fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().unwrap()).sum::<u32>()
        };
        TICK * self.family().into_iter().map(ticks).sum::<u32>()
    }

    /// What it and its children hold of the machine's memory, in KiB, each page counted once: `Pss` of proc(5).
    pub fn memory(&self) -> f64 {
        let held = |process| {
            let map = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
            let held = map.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
            held.trim().trim_end_matches(" kB").parse::<f64>().unwrap()
        };
        self.family().into_iter().map(held).sum()
    }

    /// The process and its children.
    fn family(&self) -> Vec<u32> {
        let process = self.child.id();
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
        let children = children.split_whitespace().map(|child| child.parse().unwrap());
        [process].into_iter().chain(children).collect()
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        // SIGKILL would leave keepalived's child.
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap();
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// A folder for the files of one of them.
fn folder() -> PathBuf {
    let folder = env::temp_dir().join(format!("slb-bench-health-{}", process::id()));
    fs::create_dir(&folder).unwrap();
    folder
}

/// The library that answers keepalived for IPVS.
fn stand_in(folder: &Path) -> PathBuf {
    let library = folder.join("ipvs_stand_in.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/health/ipvs_stand_in.c");
    let status = Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).status().unwrap();
    assert!(status.success(), "the stand-in for IPVS does not compile");
    library
}

/// Checks until it is ended.
pub async fn check(port: u16, interval: Duration) {
    let timing = Timing::every(interval).unwrap();
    let check =
        Arc::new(Check { question: Question::Tcp, timing, address: Address::default(), port: None, source: None });
    let watch = |backend| Watch {
        target: SocketAddr::from((backend, port)),
        check: Arc::clone(&check),
        through: None,
        proxy_protocol: None,
    };
    let mut checks = Checks::start(Commands::Refused).unwrap();
    checks.set(LoadBalancerId(Uuid::nil()), backends().map(|backend| (watch(backend), Beginning::New)).collect());
    loop {
        for change in checks.next().await {
            let (standing, reason) = (change.now.standing.as_str(), change.reason.unwrap_or_default());
            println!("{} is {standing}: {reason}", change.watch.target);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! A client, a director between two segments, and three backends whose way back leads through it. The client's addresses are seen by the
//! backends.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ipvs::{Client, ServiceId};
use serde_json::{Value, json};
use slb_lab::{Node, Process, Segment, Server};
use tokio::time::sleep;

use crate::{binary::SLB, web::Web};

pub const PORT: u16 = 80;
pub const INTERVAL: Duration = Duration::from_secs(1);
pub const TIMEOUT: Duration = Duration::from_millis(500);
pub const FALL: u32 = 2;
/// After a failure that has not decided yet.
const AGAIN: Duration = Duration::from_millis(500);

const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const NAMES: [&str; 3] = ["one", "two", "three"];
/// What a backend's host does to have a link and a way back.
const CONNECT: &str = "ip link set eth0 up; ip route replace default via 10.2.0.1";
const WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

pub struct Site {
    pub director: Node,
    pub client: Node,
    pub hosts: [Node; 3],
    webs: [Mutex<Option<Web>>; 3],
    _segments: [Segment; 2],
}

impl Site {
    pub fn new() -> Self {
        let (front, back) = (Segment::new(), Segment::new());
        let director = front.host("director", "10.1.0.1/24");
        back.connect(&director, "eth1", "10.2.0.1/24");
        director.sh("sysctl -qw net.ipv4.ip_forward=1");
        let client = front.host("client", "10.1.0.2/24");
        // Enough that no port is used twice within two minutes, for which the kernels remember a connection.
        client.sh("ip route add default via 10.1.0.1; sysctl -qw net.ipv4.ip_local_port_range='1024 65535'");
        let hosts = [0, 1, 2].map(|at| {
            let host = back.host(NAMES[at], &format!("{}/24", address(at)));
            // What lists rules loads them, too.
            host.sh(&format!("iptables-legacy -S >/dev/null; {CONNECT}"));
            host
        });
        let webs = [0, 1, 2].map(|at| Mutex::new(Some(Web::start(&hosts[at], PORT, NAMES[at]))));
        Self { director, client, hosts, webs, _segments: [front, back] }
    }

    pub fn vip() -> SocketAddr {
        (VIP, PORT).into()
    }

    /// Starts the server of a backend, in place of the one that was there.
    pub fn serve(&self, at: usize) {
        *self.web(at) = Some(Web::start(&self.hosts[at], PORT, NAMES[at]));
    }

    /// Kills the server of a backend.
    pub fn kill(&self, at: usize) {
        drop(self.web(at).take());
    }

    /// Gives a backend's host its link again.
    pub fn connect(&self, at: usize) {
        self.hosts[at].sh(CONNECT);
    }

    /// Waits until a backend is checked, and says when that was.
    pub fn next_check(&self, at: usize) -> Instant {
        self.web(at).as_ref().unwrap().next_check()
    }

    fn web(&self, at: usize) -> MutexGuard<'_, Option<Web>> {
        self.webs[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn name(at: usize) -> &'static str {
        NAMES[at]
    }

    /// slb with no peer: nothing is probed, and the VIPs are on the loopback adapter.
    pub fn start_slb(&self) -> Server<'_> {
        let state = format!("/run/failover-{}", self.director.name());
        let words = ["--adapter", "lo", "--bgp", "--bgpAs", "65000", "--bgpRouterId", "10.1.0.1", "--stateDir", &state];
        Server::start(&self.director, SLB, &[&words[..], &["--ipamRange", "203.0.113.1-203.0.113.99"]].concat())
    }

    /// The load-balancer on [`Self::vip`].
    pub fn balance(server: &Server<'_>) -> Value {
        let backends: Vec<_> = [0, 1, 2].map(|at| json!({"ip": address(at), "port": PORT})).into();
        let text = |time: Duration| format!("{}ms", time.as_millis());
        let check = json!({"type": "tcp", "interval": text(INTERVAL), "timeout": text(TIMEOUT), "fall": FALL,
            "fastInterval": text(AGAIN), "rise": 1});
        let asked = json!({"name": "web", "port": PORT, "scheduler": "rr", "sourceNat": "never", "backends": backends,
            "healthCheck": check});
        let web = server.create(&asked.to_string());
        assert_eq!(slb_lab::site::endpoint(&web), Self::vip());
        web
    }

    /// Sets the kernel as slb does.
    pub fn set_as_slb_does(&self) {
        let settings = ["conntrack", "conn_reuse_mode", "expire_nodest_conn", "expire_quiescent_template"];
        self.director.sh(&settings.map(|name| format!("sysctl -qw net.ipv4.vs.{name}=1\n")).concat());
    }

    /// keepalived with the same load-balancer: `retry` counts the checks after the first that fails, and a failed backend gets weight 0.
    pub fn start_keepalived(&self) -> Process {
        let backends: String = [0, 1, 2]
            .map(|at| format!("real_server {} {PORT} {{\n weight 1\n TCP_CHECK {{\n }}\n }}\n", address(at)))
            .concat();
        let (interval, timeout, again) = (INTERVAL.as_secs_f64(), TIMEOUT.as_secs_f64(), AGAIN.as_secs_f64());
        let retry = FALL - 1;
        let config = format!(
            "virtual_server {VIP} {PORT} {{
                protocol TCP\n lvs_sched rr\n lvs_method NAT\n inhibit_on_failure
                delay_loop {interval}\n connect_timeout {timeout}\n retry {retry}\n delay_before_retry {again}\n warmup 0
                {backends}
            }}"
        );
        let path = format!("/run/keepalived-{}", self.director.name());
        fs::write(&path, config).unwrap();
        self.director.sh(&format!("ip addr add {VIP}/32 dev lo"));
        let pids = [format!("--pid={path}.pid"), format!("--checkers_pid={path}-check.pid")];
        let words = ["--dont-fork", "--check", "--log-console", "--log-detail", "--no-syslog", "--use-file", &path];
        let keepalived = self.director.spawn("keepalived", &[&words[..], &[&pids[0], &pids[1]]].concat());
        for at in 0..3 {
            self.when_weight(at, |weight| weight > 0);
        }
        keepalived
    }

    /// Waits until the weight of a backend is such; 0 also if the kernel does not know it. Says when it was.
    pub fn when_weight(&self, at: usize, is_such: fn(u32) -> bool) -> Instant {
        let look = async {
            let mut client = Client::open().await.unwrap();
            let start = Instant::now();
            loop {
                let destinations = client.destinations(&ServiceId::tcp(VIP.into(), PORT)).await.unwrap_or_default();
                let mut requested = destinations.iter().map(ipvs::ObservedDestination::as_requested);
                let weight = requested.find(|one| one.id.address == address(at)).map_or(0, |one| one.weight);
                if is_such(weight) {
                    return Instant::now();
                }
                assert!(start.elapsed() < WITHIN, "the weight of {} remains {weight}", NAMES[at]);
                sleep(PAUSE).await;
            }
        };
        self.director.inside(|| on_a_runtime(look))
    }
}

/// The address of a backend.
pub fn address(at: usize) -> IpAddr {
    Ipv4Addr::new(10, 2, 0, 11 + u8::try_from(at).unwrap()).into()
}

pub fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

// SPDX-License-Identifier: Apache-2.0
//! Bytes through a VIP that slb has set, and through one with the same services, address and source NAT set by hand: iperf3 over one
//! connection, in turns.

use slb_lab::{
    Node, Process, Segment, Server,
    findings::{median, tell_at},
};

use crate::process::SLB;

const ROOM: &str = "throughput";
/// This kernel passes half as much on in one second as in the next.
const ROUNDS: usize = 15;
/// Of the throughput by hand, slb reaches at least this part.
const AIM: f64 = 0.9;
const PORT: u16 = 5201;
const VIP: &str = "192.168.0.85";

/// What balances, a client and a backend.
struct Site {
    lb: Node,
    client: Node,
    _iperf: Process,
    _backend: Node,
    _segment: Segment,
}

impl Site {
    fn new() -> Self {
        let segment = Segment::new();
        let [lb, client, backend] = [("lb", 1), ("client", 10), ("backend", 11)]
            .map(|(name, last)| segment.host(name, &format!("192.168.0.{last}/24")));
        let iperf = backend.spawn("iperf3", &["--server", "--forceflush"]);
        iperf.line("that it listens", |line| line.contains("Server listening"));
        Self { lb, client, _iperf: iperf, _backend: backend, _segment: segment }
    }

    /// Bits in a second.
    fn measure(&self) -> f64 {
        let said = self.client.sh(&format!("iperf3 --client {VIP} --time 1 --omit 1 --json"));
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        said["end"]["sum_received"]["bits_per_second"].as_f64().unwrap()
    }
}

pub fn measure() {
    let (ours, by_hand) = (Site::new(), Site::new());
    let state = format!("/run/state-{}", ours.lb.name());
    let words = ["--arp", "--adapter", "eth0", "--ipamRange", VIP, "--arpProbeInterval", "20ms", "--stateDir", &state];
    let slb = Server::start(&ours.lb, SLB, &words);
    let backend = format!(r#"{{"ip":"192.168.0.11","port":{PORT}}}"#);
    let _ = slb.create(&format!(r#"{{"name":"iperf","port":{PORT},"backends":[{backend}]}}"#));
    by_hand.lb.sh(&format!(
        "sysctl -q net.ipv4.ip_forward=1 net.ipv4.vs.conntrack=1
        ipvsadm -A -t {VIP}:{PORT} -s rr
        ipvsadm -a -t {VIP}:{PORT} -r 192.168.0.11:{PORT} -m
        iptables-legacy -t nat -A POSTROUTING -m ipvs --vaddr {VIP} --vdir ORIGINAL -j MASQUERADE
        ip addr add {VIP}/32 dev eth0"
    ));
    let (mut through_slb, mut through_hand) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut both = [(&ours, &mut through_slb), (&by_hand, &mut through_hand)];
        both.rotate_left(round % 2);
        both.into_iter().for_each(|(site, found)| found.push(site.measure()));
    }
    tell_at(ROOM, "slb", 1, "bit/s", &through_slb);
    tell_at(ROOM, "by hand", 1, "bit/s", &through_hand);
    let ratio = median(&through_slb) / median(&through_hand);
    assert!(ratio >= AIM, "slb's VIP has {ratio:.2} of the throughput of one set by hand");
}

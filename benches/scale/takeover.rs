// SPDX-License-Identifier: Apache-2.0
//! A host that takes over 1,000 VIPs: from the start of the program until another host on the segment has heard of each by gratuitous ARP.
//!
//! | | what it does |
//! | --- | --- |
//! | sent | sends one for each from a packet socket, and nothing else: the limit |
//! | slb | has the store of the host that is gone: programs, binds and announces them |
//! | keepalived | is the only one of its VRRP group, and always would be; binds and announces them, all at once |
//! | keepalived, spread | the same, one frame in so many milliseconds as slb (`vrrp_garp_interval`), which spares switches that police ARP |
//!
//! "From the first" is without the start. slb sends 500 frames a second after the first 16: `advert/src/segment/timing.rs` says why.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::Read,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use slb_lab::{Node, Segment, findings::tell_at};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    fleet::{Fleet, file},
    limit,
    process::SLB,
};

const ROOM: &str = "takeOver";
const FLEET: Fleet = Fleet(1_000);
const ROUNDS: usize = 4;
/// How large the buffers of sockets may be: all that is sent at once has room.
const LARGEST_BUFFER: (&str, usize) = ("/proc/sys/net/core/rmem_max", 16 << 20);
/// Much longer than any of them takes.
const LATEST: Duration = Duration::from_secs(60);

pub fn measure() {
    fs::write(LARGEST_BUFFER.0, LARGEST_BUFFER.1.to_string()).unwrap();
    let takings: [(&str, TakeOver); 4] = [
        ("sent", sent),
        ("slb", slb),
        ("keepalived", || keepalived("")),
        ("keepalived, spread", || keepalived("global_defs {\nvrrp_garp_interval 0.002\n}\n")),
    ];
    let mut found: [Vec<Heard>; 4] = Default::default();
    for round in 0..ROUNDS {
        // Each is once after each other one: what is left to be done of one slows the next down.
        for turn in 0..takings.len() {
            let at = (turn + round) % takings.len();
            found[at].push(takings[at].1());
        }
    }
    for ((what, _), all) in takings.iter().zip(&found) {
        let seconds =
            |time: fn(&Heard) -> Duration| all.iter().map(|heard| time(heard).as_secs_f64()).collect::<Vec<_>>();
        tell_at(ROOM, what, FLEET.0, "s", &seconds(|heard| heard.all));
        tell_at(ROOM, &format!("{what}, from the first"), FLEET.0, "s", &seconds(|heard| heard.all - heard.first));
    }
}

type TakeOver = fn() -> Heard;

/// After so long.
struct Heard {
    first: Duration,
    all: Duration,
}

fn sent() -> Heard {
    let site = Site::new();
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| site.lb.inside(|| limit::announce("eth0", FLEET.vips())));
        site.hear(start)
    })
}

fn slb() -> Heard {
    let site = Site::new();
    let (folder, range) = (FLEET.store(&site.lb), FLEET.range(0));
    let words = ["server", "--arp", "--adapter", "eth0", "--ipamRange", &range, "--stateDir", &folder];
    let start = Instant::now();
    let mut slb = site.lb.spawn(SLB, &words);
    let heard = site.hear(start);
    slb.kill();
    site.lb.sh("ipvsadm -C");
    heard
}

/// All but the first are left out of its advertisements, which have no room for them.
fn keepalived(set: &str) -> Heard {
    let site = Site::new();
    let mut vips = FLEET.vips();
    let mut text = String::from(set);
    text.push_str("vrrp_instance all {\nstate MASTER\ninterface eth0\nvirtual_router_id 51\npriority 255\n");
    writeln!(text, "virtual_ipaddress {{\n{}/32\n}}\nvirtual_ipaddress_excluded {{", vips.next().unwrap()).unwrap();
    vips.for_each(|vip| writeln!(text, "{vip}/32").unwrap());
    text.push_str("}\n}\n");
    // Another one may have the number of one that was killed.
    let config = file(&format!("keepalived-{}", site.lb.name()), &text);
    let pids = [format!("--pid={config}.pid"), format!("--vrrp_pid={config}-vrrp.pid")];
    let words = ["--dont-fork", "--vrrp", "--log-console", "--no-syslog", "--use-file", &config];
    let start = Instant::now();
    let mut keepalived = site.lb.spawn("keepalived", &[&words[..], &[&pids[0], &pids[1]]].concat());
    let heard = site.hear(start);
    keepalived.kill();
    heard
}

/// A host that takes over, and one that hears all ARP.
struct Site {
    lb: Node,
    ears: Socket,
    _other: Node,
    _segment: Segment,
}

impl Site {
    fn new() -> Self {
        let segment = Segment::new();
        let [lb, other] =
            [("lb", 1), ("other", 2)].map(|(name, last)| segment.host(name, &format!("192.168.0.{last}/24")));
        let protocol = Protocol::from(i32::from(limit::ARP.to_be()));
        let ears = other.inside(|| Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).unwrap());
        ears.set_recv_buffer_size(LARGEST_BUFFER.1).unwrap();
        ears.set_read_timeout(Some(LATEST)).unwrap();
        Self { lb, ears, _other: other, _segment: segment }
    }

    /// Hears until all have been told of.
    fn hear(&self, start: Instant) -> Heard {
        let mut left: BTreeSet<Ipv4Addr> = FLEET.vips().collect();
        let mut first = None;
        while !left.is_empty() {
            let mut packet = [0; 64];
            let heard = (&self.ears).read(&mut packet);
            assert!(
                heard.is_ok() && start.elapsed() < LATEST,
                "{} of {} are not told of: {heard:?}",
                left.len(),
                FLEET.0
            );
            if left.remove(&limit::announced(&packet)) {
                first.get_or_insert_with(|| start.elapsed());
            }
        }
        Heard { first: first.unwrap(), all: start.elapsed() }
    }
}

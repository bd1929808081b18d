// SPDX-License-Identifier: Apache-2.0
//! How long a route takes: from a POST until the router's kernel has it, and from a DELETE until it has not, beside
//! `gobgp global rib add` and `del` on a topology of the same kind. In one boot of the lab's fast kernel, in turns.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints; what goes wrong panics")]

#[expect(dead_code, reason = "the tests ask BIRD for more")]
#[path = "../advert/tests/bgp/bird.rs"]
mod bird;

use std::{
    fs,
    time::{Duration, Instant},
};

use bird::Bird;
use slb_lab::{Node, Process, Segment, Server, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

/// How often each is measured; the median counts.
const ROUNDS: u8 = 21;
/// slb may take this part of the other's time.
const AIM: f64 = 0.5;

/// A host that announces, a BIRD that listens, and what its kernel says of its routes.
struct Site {
    lb: Node,
    _router: Node,
    _bird: Bird,
    changes: Process,
    _segment: Segment,
}

impl Site {
    fn new() -> Self {
        let segment = Segment::new();
        let (lb, router) = (segment.host("lb", "10.0.0.1/24"), segment.host("router", "10.0.0.254/24"));
        lb.sh("ip link set lo up");
        let bird = Bird::start(&router, "10.0.0.254", 65_000, 65_530, None);
        let changes = router.spawn("ip", &["-4", "monitor", "route"]);
        wait::until("the monitor to listen", || {
            router.sh("ip route replace 198.51.100.0/24 via 10.0.0.1 && ip route del 198.51.100.0/24");
            changes.said().iter().any(|line| line.contains("198.51.100.0")).then_some(())
        });
        Self { lb, _router: router, _bird: bird, changes, _segment: segment }
    }

    /// The time from the beginning of the work until the router's kernel says so.
    fn time(&self, said: &str, work: impl FnOnce()) -> Duration {
        let start = Instant::now();
        work();
        self.changes.line(said, |line| line.starts_with(said));
        start.elapsed()
    }
}

fn routes() {
    let (ours, theirs) = (Site::new(), Site::new());
    let words = ["--adapter", "lo", "--bgp", "--bgpAs", "65000", "--bgpRouterId", "10.0.0.1"];
    let more =
        ["--bgpPeer", "10.0.0.254:65530", "--ipamRange", "203.0.113.1-203.0.113.99", "--stateDir", "/run/routes"];
    let mut server = Server::start(&ours.lb, SLB, &[&words[..], &more].concat());
    server.process().line("a peer", |line| line.contains("Peer Up"));
    let _gobgpd = gobgpd(&theirs.lb);
    let [mut announced, mut withdrawn] = [(); 2].map(|()| (Vec::new(), Vec::new()));
    for round in 1..=ROUNDS {
        let route = format!("203.0.113.{round} via 10.0.0.1 ");
        let gone = format!("Deleted {route}");
        let mut created = None;
        let time = ours.time(&route, || created = Some(server.create(r#"{"name":"x","port":80}"#)));
        announced.0.push(time);
        let gobgp = |verb: &str| {
            let words = ["global", "rib", verb, &format!("203.0.113.{round}/32"), "nexthop", "10.0.0.1"];
            theirs.lb.run("gobgp", &words);
        };
        announced.1.push(theirs.time(&route, || gobgp("add")));
        withdrawn.0.push(ours.time(&gone, || server.delete(&created.unwrap())));
        withdrawn.1.push(theirs.time(&gone, || gobgp("del")));
    }
    for (what, (slb, gobgp)) in [("announced", announced), ("withdrawn", withdrawn)] {
        let [slb, gobgp] = [slb, gobgp].map(|times| median(times).as_secs_f64());
        println!("{what:<12}slb {:>6.1} ms  gobgp {:>6.1} ms  {:>5.2} x", slb * 1e3, gobgp * 1e3, slb / gobgp);
        assert!(slb <= AIM * gobgp, "slb takes more than {AIM} of the other's time");
    }
}

/// A gobgpd that has its session.
fn gobgpd(lb: &Node) -> Process {
    let file = format!("/run/routes-{}.toml", lb.name());
    let config = "[global.config]\nas = 65000\nrouter-id = \"10.0.0.1\"\n\
                  [[neighbors]]\n[neighbors.config]\nneighbor-address = \"10.0.0.254\"\npeer-as = 65530\n";
    fs::write(&file, config).unwrap();
    let gobgpd = lb.spawn("gobgpd", &["-f", &file, "--log-plain"]);
    gobgpd.line("a peer", |line| line.contains("Peer Up"));
    gobgpd
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

slb_lab::main! { fast: [routes] }

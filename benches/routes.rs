// SPDX-License-Identifier: Apache-2.0
//! How long a route takes: from a POST until the router's kernel has it, and from a DELETE until it has not, beside
//! `gobgp global rib add` and `del` on a topology of the same kind, and beside slb that has a gobgpd announce. In one boot of the lab's
//! fast kernel, in turns.

#![expect(clippy::unwrap_used, reason = "what goes wrong panics")]

#[path = "binary.rs"]
mod binary;
#[expect(dead_code, reason = "the tests ask BIRD for more")]
#[path = "../advert/tests/bgp/bird.rs"]
mod bird;

use std::{fs, process::ExitCode, time::Instant};

use bird::Bird;
use slb_lab::{
    Node, Place, Process, Segment, Server,
    findings::{self, median, tell},
    harness::{self, Test},
    wait,
};

use self::binary::SLB;

/// How often each is measured; the median counts.
const ROUNDS: u8 = 21;
/// slb may take this part of the other's time.
const AIM: f64 = 0.5;
/// The other.
const REFERENCE: &str = "gobgp";

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

    /// The time from the beginning of the work until the router's kernel says so, in seconds.
    fn time(&self, said: &str, work: impl FnOnce()) -> f64 {
        let start = Instant::now();
        work();
        self.changes.line(said, |line| line.starts_with(said));
        start.elapsed().as_secs_f64()
    }
}

fn routes() {
    let (ours, driven, theirs) = (Site::new(), Site::new(), Site::new());
    let _gobgpds = [gobgpd(&driven.lb), gobgpd(&theirs.lb)];
    let words = ["--bgpAs", "65000", "--bgpRouterId", "10.0.0.1", "--bgpPeer", "10.0.0.254:65530"];
    let (server, driver) = (start(&ours.lb, &words), start(&driven.lb, &["--gobgp", "127.0.0.1:50051"]));
    let [mut announced, mut withdrawn] = [const { [const { Vec::new() }; 3] }; 2];
    for round in 1..=ROUNDS {
        let route = format!("203.0.113.{round} via 10.0.0.1 ");
        let gone = format!("Deleted {route}");
        for (at, site, server) in [(0, &ours, &server), (1, &driven, &driver)] {
            let mut created = None;
            announced[at].push(site.time(&route, || created = Some(server.create(r#"{"name":"x","port":80}"#))));
            withdrawn[at].push(site.time(&gone, || server.delete(&created.unwrap())));
        }
        let gobgp = |verb: &str| {
            let words = ["global", "rib", verb, &format!("203.0.113.{round}/32"), "nexthop", "10.0.0.1"];
            theirs.lb.run("gobgp", &words);
        };
        announced[2].push(theirs.time(&route, || gobgp("add")));
        withdrawn[2].push(theirs.time(&gone, || gobgp("del")));
    }
    for (what, times) in [("announced", announced), ("withdrawn", withdrawn)] {
        for (who, times) in ["slb", "slb by gobgpd", REFERENCE].iter().zip(&times) {
            tell(what, who, "s", times);
        }
        let [slb, driver, gobgp] = times.map(|times| median(&times));
        assert!(slb.max(driver) <= AIM * gobgp, "slb takes more than {AIM} of the other's time");
    }
}

fn start<'a>(lb: &'a Node, more: &[&str]) -> Server<'a> {
    let state = format!("/run/routes-{}", lb.name());
    let words = ["--adapter", "lo", "--bgp", "--ipamRange", "203.0.113.1-203.0.113.99", "--stateDir", &state];
    let mut server = Server::start(lb, SLB, &[&words[..], more].concat());
    server.process().line("a peer", |line| line.contains("Peer Up"));
    server
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

fn main() -> ExitCode {
    let all = [Test { place: Place::fast, name: "fast::routes", body: routes }];
    findings::main("routes", &[REFERENCE], || harness::run(&all))
}

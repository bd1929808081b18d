// SPDX-License-Identifier: Apache-2.0
//! Real peers: BIRD, FRR and GoBGP hold sessions with the speaker and put its routes where they belong.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "bgp/bird.rs"]
mod bird;
#[path = "bgp/frr.rs"]
mod frr;
#[path = "bgp/gobgp.rs"]
mod gobgp;

use std::{net::IpAddr, time::Duration};

use bird::Bird;
use frr::Frr;
use gobgp::Gobgp;
use slb_advert::bgp::{Bgp, PeerSettings, PeerStatus, Speaker, State};
use slb_core::{
    model::Vip,
    ports::Advertiser,
    step::AdvertStep::{Advertise, Withdraw},
};
use slb_lab::{Node, Segment};

/// A load-balancer and a router on one segment, with IPv4 and IPv6.
struct Site {
    _segment: Segment,
    lb: Node,
    router: Node,
}

const OWN: u32 = 65_000;
const ROUTERS: u32 = 65_530;

impl Site {
    fn new() -> Self {
        let segment = Segment::new();
        let (lb, router) = (segment.host("lb", "10.0.0.1/24"), segment.host("router", "10.0.0.254/24"));
        lb.sh("ip -6 addr add fd00::1/64 dev eth0 nodad");
        router.sh("ip -6 addr add fd00::fe/64 dev eth0 nodad && sysctl -qw net.ipv4.ip_forward=1");
        Self { _segment: segment, lb, router }
    }

    /// Runs a speaker on the load-balancer.
    fn speak(&self, story: impl AsyncFnOnce(Bgp) + Send) {
        self.lb.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let bgp = Bgp::new(Speaker { asn: OWN, router_id: "10.0.0.1".parse().unwrap() });
                bgp.begin();
                story(bgp).await;
            });
        });
    }

    /// The VIPs that the router's kernel has routes to, all by way of the load-balancer.
    fn routes(&self) -> Vec<String> {
        let table = self.router.sh("ip -4 route show");
        let of_vips: Vec<&str> = table.lines().filter(|line| line.starts_with("203.0.113.")).collect();
        let by_lb = |line: &&str| line.contains("via 10.0.0.1 ") || line.contains("via inet6 fd00::1 ");
        assert!(of_vips.iter().all(by_lb), "{table}");
        of_vips.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }
}

fn vip(last: u8) -> Vip {
    format!("203.0.113.{last}").parse().unwrap()
}

/// Waits until it is so, while the speaker goes on.
async fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1200 {
        if let Some(found) = check() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not seen: {what}")
}

fn peer(bgp: &Bgp, address: &str) -> PeerStatus {
    let address: IpAddr = address.parse().unwrap();
    bgp.peers().into_iter().find(|peer| peer.address == address).unwrap()
}

async fn established(bgp: &Bgp, address: &str) {
    until("an established session", || (peer(bgp, address).state == State::Established).then_some(())).await;
}

/// The sessions that each implementation is tried with: its address, a password, its AS.
const SESSIONS: [(&str, Option<&str>, u32); 5] = [
    ("10.0.0.254", None, ROUTERS),
    ("10.0.0.254", Some("secret"), ROUTERS),
    ("fd00::fe", None, ROUTERS),
    ("fd00::fe", Some("secret"), 4_200_000_001),
    ("10.0.0.254", None, OWN),
];

/// Routes come with their VIPs and go with them.
fn routes_come_and_go<R>(start: fn(&Node, &str, u32, u32, Option<&str>) -> R, table: fn(&Site) -> Vec<String>) {
    for (address, password, asn) in SESSIONS {
        let site = Site::new();
        let _router = start(&site.router, address, OWN, asn, password);
        site.speak(async |mut bgp| {
            bgp.apply(&[Advertise(vip(1)), Advertise(vip(2))]).await;
            let password = password.map(|password| password.to_owned().try_into().unwrap());
            bgp.add_peer(PeerSettings { password, ..PeerSettings::new(address.parse().unwrap(), asn) });
            established(&bgp, address).await;
            let has = |last: &[u8]| {
                let expected: Vec<_> = last.iter().map(|last| vip(*last).to_string()).collect();
                (table(&site) == expected).then_some(())
            };
            until("both routes", || has(&[1, 2])).await;
            bgp.apply(&[Withdraw(vip(1)), Advertise(vip(3))]).await;
            until("another route", || has(&[2, 3])).await;
            bgp.leave("that is all");
            until("no route", || has(&[])).await;
        });
    }
}

fn bird_gets_the_routes() {
    routes_come_and_go(Bird::start, Site::routes);
}

fn frr_gets_the_routes() {
    routes_come_and_go(Frr::start, Site::routes);
}

fn gobgp_gets_the_routes() {
    routes_come_and_go(Gobgp::start, |site| {
        Gobgp::routes(&site.router).into_iter().map(|prefix| prefix.trim_end_matches("/32").to_owned()).collect()
    });
}

slb_lab::main! { fast: [bird_gets_the_routes, frr_gets_the_routes, gobgp_gets_the_routes] }

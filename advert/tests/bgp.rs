// SPDX-License-Identifier: Apache-2.0
//! Real peers: BIRD, FRR and GoBGP hold sessions with the speaker and put its routes where they belong.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "bgp/bird.rs"]
mod bird;
#[path = "bgp/frr.rs"]
mod frr;
#[path = "bgp/gobgp.rs"]
mod gobgp;
#[path = "bgp/incoming.rs"]
mod incoming;
#[path = "bgp/shutdown.rs"]
mod shutdown;

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use bird::Bird;
use frr::Frr;
use gobgp::Gobgp;
use incoming::{
    a_router_that_restarted_hears_nothing_on_the_old_connection, a_router_that_restarted_is_heard_at_once,
    asking_again_and_again_fills_no_memory, both_ends_may_connect, nobody_connects_before_the_beginning,
    of_two_connections_one_stays, peers_that_connect_get_the_routes, strangers_are_refused,
    who_listens_connects_as_well,
};
use shutdown::a_router_is_asked_to_prefer_other_ways_before_the_session_ends;
use slb_advert::bgp::{Bgp, Speaker};
use slb_core::{
    model::{Family, Vip},
    peer::{Communities, Peer, PeerSettings},
    ports::Advertiser,
    prefix::Aggregation,
    routing::{PeerState, PeerStatus, Routing},
    step::AdvertStep::{Advertise, Withdraw},
};
use slb_lab::{Node, Segment};

/// A load-balancer and a router on one segment, with IPv4 and IPv6.
struct Site {
    segment: Segment,
    lb: Node,
    router: Node,
    aggregation: Aggregation,
}

const OWN: u32 = 65_000;
const ROUTERS: u32 = 65_530;

impl Site {
    fn new() -> Self {
        let segment = Segment::new();
        let (lb, router) = (segment.host("lb", "10.0.0.1/24"), segment.host("router", "10.0.0.254/24"));
        lb.sh("ip -6 addr add fd00::1/64 dev eth0 nodad");
        router.sh("ip -6 addr add fd00::fe/64 dev eth0 nodad && sysctl -qw net.ipv4.ip_forward=1");
        Self { segment, lb, router, aggregation: Aggregation::NONE }
    }

    /// Runs a speaker on the load-balancer.
    fn speak(&self, story: impl AsyncFnOnce(Bgp) + Send) {
        self.speak_as("10.0.0.1", story);
    }

    /// Runs one with this identifier.
    fn speak_as(&self, identifier: &str, story: impl AsyncFnOnce(Bgp) + Send) {
        self.prepare(identifier, async |bgp| {
            bgp.begin();
            story(bgp).await;
        });
    }

    /// Runs one that has not begun.
    fn prepare(&self, identifier: &str, story: impl AsyncFnOnce(Bgp) + Send) {
        self.lb.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let speaker = Speaker {
                    next_hop_ipv6: Some("fd00::1".parse().unwrap()),
                    ..Speaker::new(OWN, identifier.parse().unwrap())
                };
                let bgp = Bgp::new(speaker, PeerSettings::default(), self.aggregation);
                story(bgp).await;
            });
        });
    }

    /// The VIPs that the router's kernel has routes to, all by way of the load-balancer.
    fn routes(&self) -> Vec<String> {
        let table = self.router.sh("ip -4 route show; ip -6 route show");
        let is_vip = |line: &&str| line.starts_with("203.0.113.") || line.starts_with("2001:db8::");
        let of_vips: Vec<&str> = table.lines().filter(is_vip).collect();
        let ways = ["via 10.0.0.1 ", "via inet6 fd00::1 ", "via fd00::1 "];
        let by_lb = |line: &&str| ways.iter().any(|way| line.contains(way));
        assert!(of_vips.iter().all(by_lb), "{table}");
        of_vips.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }
}

fn vip(last: u8) -> Vip {
    format!("203.0.113.{last}").parse().unwrap()
}

fn vip_v6(last: u8) -> Vip {
    format!("2001:db8::{last}").parse().unwrap()
}

/// Of 16 addresses.
fn networks() -> Aggregation {
    Aggregation::NONE.with(Family::Ipv4, 28).unwrap().with(Family::Ipv6, 124).unwrap()
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

fn peer_of(text: &str) -> Peer {
    text.parse().unwrap()
}

fn peer(bgp: &Bgp, address: &str) -> PeerStatus {
    let address: IpAddr = address.parse().unwrap();
    bgp.peers().into_iter().find(|status| status.peer.address.address() == address).unwrap()
}

async fn established(bgp: &Bgp, address: &str) {
    until("an established session", || (peer(bgp, address).state == PeerState::Established).then_some(())).await;
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
            bgp.apply(&[Advertise(vip(1)), Advertise(vip(2)), Advertise(vip_v6(1)), Advertise(vip_v6(2))]).await;
            let password = password.map(|password| password.to_owned().try_into().unwrap());
            let address_of = address.parse::<IpAddr>().unwrap().try_into().unwrap();
            bgp.add_peer(Peer { password, ..Peer::new(address_of, asn.try_into().unwrap()) });
            established(&bgp, address).await;
            let has = |last: &[u8]| {
                let both = last.iter().map(|last| vip(*last)).chain(last.iter().map(|last| vip_v6(*last)));
                let expected: Vec<_> = both.map(|vip| vip.to_string()).collect();
                (table(&site) == expected).then_some(())
            };
            until("both routes", || has(&[1, 2])).await;
            bgp.apply(&[Withdraw(vip(1)), Advertise(vip(3)), Withdraw(vip_v6(1)), Advertise(vip_v6(3))]).await;
            until("another route", || has(&[2, 3])).await;
            let status = peer(&bgp, address);
            let session = status.session.unwrap();
            assert_eq!((session.router_id, status.routes_announced), ("10.0.0.254".parse().unwrap(), 4));
            let (sent, received) = (status.traffic.sent, status.traffic.received);
            // All routes of a family in one message, and their end; a route less and a route more.
            assert_eq!((sent.update, sent.notification), (8, 0));
            // A router that is just starting may hang up at first.
            assert!(sent.open >= received.open && received.open > 0);
            assert!(sent.keepalive > 0 && received.keepalive > 0);
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
        let alone = |prefix: String| prefix.trim_end_matches("/32").trim_end_matches("/128").to_owned();
        Gobgp::routes(&site.router).into_iter().map(alone).collect()
    });
}

/// A network stays as long as there is a VIP in it, over a refresh and a new session.
fn networks_stay_as_long_as_there_is_a_vip_in_them() {
    let site = Site { aggregation: networks(), ..Site::new() };
    let start = || Bird::start(&site.router, "10.0.0.254", OWN, ROUTERS, None);
    let bird = start();
    site.speak(async |mut bgp| {
        let has = |prefixes: &[&str]| (site.routes() == prefixes).then_some(());
        bgp.add_peer(peer_of("10.0.0.254:65530"));
        bgp.apply(&[Advertise(vip(1)), Advertise(vip(2)), Advertise(vip(17)), Advertise(vip_v6(1))]).await;
        until("networks", || has(&["203.0.113.0/28", "203.0.113.16/28", "2001:db8::/124"])).await;
        bgp.apply(&[Advertise(vip_v6(2)), Advertise(vip_v6(20)), Withdraw(vip_v6(1)), Withdraw(vip_v6(20))]).await;
        bgp.apply(&[Withdraw(vip(1)), Withdraw(vip(17)), Advertise(vip(33))]).await;
        until("other networks", || has(&["203.0.113.0/28", "203.0.113.32/28", "2001:db8::/124"])).await;
        let birdc = format!("birdc -s /run/bird-{}/bird.ctl", site.router.name());
        site.router.sh(&format!("{birdc} reload in slb"));
        let refreshed = || peer(&bgp, "10.0.0.254").traffic.received.route_refresh > 0;
        until("a refresh", || refreshed().then_some(())).await;
        drop(bird);
        error(&bgp, "10.0.0.254", "").await;
        bgp.apply(&[Withdraw(vip(33)), Withdraw(vip_v6(2))]).await;
        let _bird = start();
        until("one network", || has(&["203.0.113.0/28"])).await;
        bgp.apply(&[Withdraw(vip(2))]).await;
        until("no network", || has(&[])).await;
    });
}

/// Whatever was asked for is what the router sees.
fn routes_have_the_attributes_that_were_asked_for() {
    for (asn, of_the_path) in [(ROUTERS, "BGP.as_path: 65000 65000 65000"), (OWN, "BGP.local_pref: 200")] {
        let site = Site::new();
        // The next hop is a third host's.
        let _other = site.segment.host("other", "10.0.0.7/24");
        let _bird = Bird::start(&site.router, "10.0.0.254", OWN, asn, None);
        site.speak(async |mut bgp| {
            bgp.apply(&[Advertise(vip(1))]).await;
            let communities = ["65000:80", "no-export", "65000:1:2"].map(|text| text.parse().unwrap());
            let settings = PeerSettings {
                med: Some(7),
                local_pref: Some(200),
                prepend: Some(2.try_into().unwrap()),
                next_hop: Some("10.0.0.7".parse::<IpAddr>().unwrap().try_into().unwrap()),
                communities: Some(Communities::try_from_iter(communities).unwrap()),
                source: Some(peer_of("10.0.0.1:1").address),
                ..PeerSettings::default()
            };
            bgp.add_peer(Peer { settings, ..peer_of(&format!("10.0.0.254:{asn}")) });
            let expected = [
                of_the_path,
                "BGP.next_hop: 10.0.0.7",
                "BGP.med: 7",
                "BGP.community: (65000,80) (65535,65281)",
                "BGP.large_community: (65000, 1, 2)",
            ];
            let shown = || Bird::route(&site.router, "203.0.113.1");
            let seen = || expected.iter().all(|line| shown().contains(line)).then_some(());
            until("all attributes", seen).await;
        });
    }
}

/// Both ends check that nobody in between counted packets down (RFC 5082); a peer further away is not heard.
fn packets_come_from_one_hop_away() {
    let site = Site::new();
    let words = "local 10.0.0.254 as 65530; neighbor 10.0.0.1 as 65000; ttl security on;";
    let _bird = Bird::run(&site.router, words);
    let gtsm = PeerSettings { gtsm: Some(true), ..PeerSettings::default() };
    site.speak(async |mut bgp| {
        bgp.apply(&[Advertise(vip(1))]).await;
        bgp.add_peer(Peer { settings: gtsm.clone(), ..peer_of("10.0.0.254:65530") });
        established(&bgp, "10.0.0.254").await;
        until("the route", || (!site.routes().is_empty()).then_some(())).await;
        site.router.sh("iptables-legacy -t mangle -A OUTPUT -p tcp -j TTL --ttl-set 254");
        bgp.add_peer(Peer { settings: gtsm, ..peer_of("10.0.0.254:65530") });
        error(&bgp, "10.0.0.254", "could not connect: no answer within 5 s").await;
    });
}

/// Waits for an error of the peer that holds these words.
async fn error(bgp: &Bgp, address: &str, words: &str) {
    let told = || peer(bgp, address).last_error.filter(|error| error.contains(words));
    until(words, told).await;
    assert_ne!(peer(bgp, address).state, PeerState::Established);
}

fn a_peer_that_is_not_the_expected_one_is_named() {
    let site = Site::new();
    let _bird = Bird::start(&site.router, "10.0.0.254", OWN, 65_531, None);
    site.speak(async |bgp| {
        bgp.add_peer(peer_of("10.0.0.254:65530"));
        error(&bgp, "10.0.0.254", "the peer is AS 65531, not AS 65530").await;
        bgp.add_peer(peer_of("10.0.0.254:65531:secret"));
        error(&bgp, "10.0.0.254", "could not connect: no answer within 5 s").await;
        bgp.add_peer(peer_of("10.0.0.254:65531"));
        established(&bgp, "10.0.0.254").await;
        assert_eq!(peer(&bgp, "10.0.0.254").last_error, None);
        assert!(bgp.remove_peer("10.0.0.254".parse::<IpAddr>().unwrap().try_into().unwrap()));
        assert!(bgp.peers().is_empty());
    });
}

fn a_peer_that_was_away_gets_all_routes_again() {
    let site = Site::new();
    let start = || Bird::start(&site.router, "10.0.0.254", OWN, ROUTERS, None);
    let bird = start();
    site.speak(async |mut bgp| {
        bgp.apply(&[Advertise(vip(1))]).await;
        bgp.add_peer(peer_of("10.0.0.254:65530"));
        established(&bgp, "10.0.0.254").await;
        drop(bird);
        error(&bgp, "10.0.0.254", "").await;
        bgp.apply(&[Withdraw(vip(1)), Advertise(vip(2)), Advertise(vip(3))]).await;
        let _bird = start();
        until("the routes of now", || (site.routes() == ["203.0.113.2", "203.0.113.3"]).then_some(())).await;
        assert_eq!(peer(&bgp, "10.0.0.254").times_established, 2);
    });
}

/// OPEN of AS 65530 with a hold time of 3 s, and KEEPALIVE, byte by byte.
fn greeting() -> Vec<u8> {
    let marker = [0xff_u8; 16];
    let open = [0, 29, 1, 4, 0xff, 0xfa, 0, 3, 10, 0, 0, 254, 0];
    [&marker[..], &open, &marker, &[0, 19, 4]].concat()
}

fn bad_company_is_left_and_tried_again() {
    let garbage: Vec<u8> = (0..=255_u8).cycle().take(9_000).collect();
    for (said, expected) in
        [(garbage, "what is no message: connection not synchronized"), (greeting(), "the peer was silent for 3 s")]
    {
        let site = Site::new();
        let listener = site.router.inside(|| std::net::TcpListener::bind("10.0.0.254:179").unwrap());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // The second time shows that it is tried again; after that, nobody listens any more.
                for _ in 0..2 {
                    let (mut stream, _) = listener.accept().unwrap();
                    stream.write_all(&said).unwrap();
                    // Until the speaker has had enough.
                    let _ = stream.read_to_end(&mut Vec::new());
                }
            });
            site.speak(async |bgp| {
                bgp.add_peer(peer_of("10.0.0.254:65530"));
                error(&bgp, "10.0.0.254", expected).await;
                error(&bgp, "10.0.0.254", "could not connect: Connection refused").await;
            });
        });
    }
}

/// Nobody says that the other end is gone: only silence tells.
fn a_dead_link_is_noticed_and_the_session_comes_back_with_it() {
    let site = Site::new();
    let _bird = Bird::start(&site.router, "10.0.0.254", OWN, ROUTERS, None);
    site.speak(async |mut bgp| {
        bgp.apply(&[Advertise(vip(1))]).await;
        let hold_time = Some(Duration::from_secs(3).try_into().unwrap());
        let settings = PeerSettings { hold_time, ..PeerSettings::default() };
        bgp.add_peer(Peer { settings, ..peer_of("10.0.0.254:65530") });
        established(&bgp, "10.0.0.254").await;
        until("the route", || (!site.routes().is_empty()).then_some(())).await;
        let table = |verb: &str| {
            site.router.sh(&format!("iptables-legacy {verb} INPUT -j DROP && iptables-legacy {verb} OUTPUT -j DROP"));
        };
        table("-A");
        error(&bgp, "10.0.0.254", "").await;
        table("-D");
        established(&bgp, "10.0.0.254").await;
        until("the route again", || (!site.routes().is_empty()).then_some(())).await;
    });
}

/// A router may send all that it knows. It is taken off the wire and forgotten.
fn a_full_table_costs_nothing() {
    const MESSAGES: u32 = 1_250;
    const PREFIXES: u32 = 800;
    // ORIGIN, AS_PATH and NEXT_HOP.
    let attributes = [0x40, 1, 1, 0, 0x40, 2, 4, 2, 1, 0xff, 0xfa, 0x40, 3, 4, 10, 0, 0, 254];
    let site = Site::new();
    let listener = site.router.inside(|| std::net::TcpListener::bind("10.0.0.254:179").unwrap());
    let (done, sent) = tokio::sync::oneshot::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&greeting()).unwrap();
            for message in 0..MESSAGES {
                let prefixes = (0..PREFIXES).flat_map(|prefix| {
                    let [_, a, b, c] = (message * PREFIXES + prefix).to_be_bytes();
                    [32, 100 + a, b, c, 1]
                });
                let body = [0, 0, 0, attributes.len() as u8].into_iter().chain(attributes).chain(prefixes);
                let body: Vec<u8> = body.collect();
                let length = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
                stream.write_all(&[&[0xff; 16], &length[..], &[2], &body].concat()).unwrap();
            }
            done.send(()).unwrap();
            // What the speaker sends keeps the connection open until it leaves.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        site.speak(async move |bgp| {
            bgp.add_peer(peer_of("10.0.0.254:65530"));
            established(&bgp, "10.0.0.254").await;
            let before = resident();
            sent.await.unwrap();
            assert_eq!(peer(&bgp, "10.0.0.254").state, PeerState::Established);
            let grown = resident().saturating_sub(before);
            assert!(grown < 4 << 20, "{MESSAGES} x {PREFIXES} prefixes took {grown} bytes");
            bgp.leave("");
        });
    });
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// As many NLRI to a message as fit; BIRD has them all.
fn ten_thousand_routes_are_packed() {
    let site = Site::new();
    let _bird = Bird::start(&site.router, "10.0.0.254", OWN, ROUTERS, None);
    site.speak(async |mut bgp| {
        let vips: Vec<_> =
            (0..10_000_u32).map(|number| Advertise(Ipv4Addr::from(0x6440_0000 + number).try_into().unwrap())).collect();
        bgp.apply(&vips).await;
        bgp.add_peer(peer_of("10.0.0.254:65530"));
        established(&bgp, "10.0.0.254").await;
        let count = || site.router.sh("ip -4 route show | grep -c ^100.64. || true").trim() == "10000";
        until("all routes", || count().then_some(())).await;
    });
}

slb_lab::main! {
    fast: [
        bird_gets_the_routes,
        frr_gets_the_routes,
        gobgp_gets_the_routes,
        networks_stay_as_long_as_there_is_a_vip_in_them,
        routes_have_the_attributes_that_were_asked_for,
        packets_come_from_one_hop_away,
        peers_that_connect_get_the_routes,
        both_ends_may_connect,
        of_two_connections_one_stays,
        a_router_that_restarted_is_heard_at_once,
        a_router_that_restarted_hears_nothing_on_the_old_connection,
        nobody_connects_before_the_beginning,
        asking_again_and_again_fills_no_memory,
        strangers_are_refused,
        who_listens_connects_as_well,
        a_router_is_asked_to_prefer_other_ways_before_the_session_ends,
        a_peer_that_is_not_the_expected_one_is_named,
        a_peer_that_was_away_gets_all_routes_again,
        bad_company_is_left_and_tried_again,
        a_dead_link_is_noticed_and_the_session_comes_back_with_it,
        a_full_table_costs_nothing,
        ten_thousand_routes_are_packed,
    ],
}

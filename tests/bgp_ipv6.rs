// SPDX-License-Identifier: Apache-2.0
//! VIPs of IPv6 at layer 3: a router learns of them by BGP, from slb or from a GoBGP, and clients behind it reach the backends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../advert/tests/bgp/bird.rs"]
mod bird;
#[path = "bgp/daemon.rs"]
mod daemon;
#[path = "bgp/routed.rs"]
mod routed;

use std::net::SocketAddr;

use bird::Bird;
use daemon::{Daemon, Version};
use routed::Site;
use serde_json::Value;
use slb_lab::{Server, http, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

const OWN: u32 = 65_000;
const ROUTERS: u32 = 65_530;
const VIP: &str = "2001:db8::10";

fn start<'a>(site: &'a Site, more: &[&str]) -> Server<'a> {
    let state_dir = format!("/run/state-{}", site.lb.name());
    let range = "203.0.113.10-203.0.113.50,2001:db8::10-2001:db8::ffff";
    let words = ["--adapter", "lo", "--bgp", "--ipamRange", range, "--stateDir", &state_dir];
    Server::start(&site.lb, SLB, &[&words[..], more].concat())
}

fn speak<'a>(site: &'a Site, peer: &str, more: &[&str]) -> Server<'a> {
    let words = ["--bgpAs", "65000", "--bgpRouterId", "10.0.0.1", "--bgpPeer", peer];
    start(site, &[&words[..], more].concat())
}

fn create(server: &Server<'_>) -> Value {
    server.create(
        r#"{"name":"web","port":80,"eip":"2001:db8::10","backends":[{"ip":"fd00::11","port":80},{"ip":"fd00::12","port":80}]}"#,
    )
}

/// The whole way, and that nothing of it is left afterwards.
fn clients_reach_the_backends(site: &Site, server: &Server<'_>, before: &str) {
    let web = create(server);
    wait::until("the route", || site.has_route(VIP).then_some(()));
    assert!(Bird::route(&site.router, VIP).contains("BGP.next_hop: fd00::1"));
    assert_eq!(server.ask("GET", "/bgp/routes", "").body, format!("[{{\"prefix\":\"{VIP}/128\"}}]\n"));
    let at = SocketAddr::new(VIP.parse().unwrap(), 80);
    let mut answers: Vec<_> = (0..4).map(|_| http::get(&site.client, at).unwrap()).collect();
    answers.sort_unstable();
    assert_eq!(answers, ["one", "one", "two", "two"]);
    server.delete(&web);
    wait::until("no route", || (!site.has_route(VIP)).then_some(()));
    assert_eq!(site.lb.tables(), before);
}

fn a_router_with_an_address_of_ipv6_is_told() {
    let site = Site::new();
    let _web = site.web();
    let before = site.lb.tables();
    let _bird = Bird::start(&site.router, "fd00::fe", OWN, ROUTERS, Some("secret"));
    let server = speak(&site, "[fd00::fe]:65530:secret", &[]);
    clients_reach_the_backends(&site, &server, &before);
}

fn a_router_with_an_address_of_ipv4_needs_a_next_hop() {
    let site = Site::new();
    let _web = site.web();
    let before = site.lb.tables();
    let _bird = Bird::start(&site.router, "10.0.0.254", OWN, ROUTERS, None);
    let mut server = speak(&site, "10.0.0.254:65530", &[]);
    server.process().line("that it is up", |said| said.contains("Peer Up"));
    let web = create(&server);
    let line = server.process().line("why not", |said| said.contains("no IPv6 routes are announced"));
    assert!(line.contains("--bgpNextHopIpv6"), "{line}");
    let peers = server.ask("GET", "/bgp/peers", "").json();
    assert!(peers[0]["lastError"].as_str().unwrap().contains("--bgpNextHopIpv6"), "{peers}");
    server.delete(&web);
    server.stop();

    let server = speak(&site, "10.0.0.254:65530", &["--bgpNextHopIpv6", "fd00::1"]);
    clients_reach_the_backends(&site, &server, &before);
}

fn both_vips_of_a_load_balancer_are_told() {
    let site = Site::new();
    let _bird = Bird::start(&site.router, "fd00::fe", OWN, ROUTERS, None);
    let before = site.lb.tables();
    let server = speak(&site, "[fd00::fe]:65530", &[]);
    let has = |route: &str| site.router.sh("ip route show; ip -6 route show").contains(route);
    let both = server.create(r#"{"name":"web","port":80,"family":"dual"}"#);
    wait::until("both routes", || (has("203.0.113.10") && has(VIP)).then_some(()));
    let routes = server.ask("GET", "/bgp/routes", "").body;
    assert_eq!(routes, format!("[{{\"prefix\":\"203.0.113.10/32\"}},{{\"prefix\":\"{VIP}/128\"}}]\n"));
    server.delete(&both);
    wait::until("no route", || (!has("203.0.113.10") && !has(VIP)).then_some(()));
    assert_eq!(site.lb.tables(), before);
}

/// With graceful restart, a router keeps the routes of both families while slb is away, and has them in the same place afterwards.
fn a_restart_moves_no_route() {
    let site = Site::new();
    let _bird = Bird::start(&site.router, "fd00::fe", OWN, ROUTERS, None);
    let server = speak(&site, "[fd00::fe]:65530", &[]);
    let _ = (create(&server), server.create(r#"{"name":"web","port":80}"#));
    wait::until("both routes", || {
        (site.has_route(VIP) && site.router.sh("ip route show").contains("203.0.113.10")).then_some(())
    });
    let watch = site.router.spawn("ip", &["monitor", "route"]);
    server.kill();
    let mut server = speak(&site, "[fd00::fe]:65530", &[]);
    server.process().line("that it is up again", |said| said.contains("Peer Up"));
    site.router.sh("ip -6 route add 2001:db8:ffff::/48 dev lo");
    watch.line("the mark", |said| said.contains("2001:db8:ffff::/48"));
    let moved: Vec<String> = watch.said().into_iter().filter(|said| said.contains("Deleted")).collect();
    assert!(!moved.iter().any(|said| said.contains(VIP) || said.contains("203.0.113.10")), "{moved:?}");
    assert!(site.has_route(VIP));
}

fn a_gobgp_is_told(version: Version) {
    let site = Site::new();
    let _web = site.web();
    let _bird = Bird::start(&site.router, "10.0.0.254", OWN, ROUTERS, None);
    let mut daemon = Daemon::start(&site.lb, version);
    let before = site.lb.tables();
    let options = ["--gobgp", "127.0.0.1:50051", "--bgpNextHopIpv6", "fd00::1"];
    let server = start(&site, &options);
    clients_reach_the_backends(&site, &server, &before);
    // What an earlier process left is found again, and taken away if it is not wanted any more.
    let _ = create(&server);
    wait::until("the route", || site.has_route(VIP).then_some(()));
    server.kill();
    let mut server = start(&site, &options);
    let lines = server.process();
    lines.line("that it announces", |said| said.contains("announcing by GoBGP"));
    assert!(!lines.said().iter().any(|said| said.contains("in line")), "{:?}", lines.said());
    assert!(daemon.process.ended().is_none() && daemon.gobgp(&["global", "rib", "-a", "ipv6"]).contains(VIP));
    server.stop();
    let elsewhere = format!("/run/elsewhere-{}", site.lb.name());
    let words = ["server", "--adapter", "lo", "--bgp", "--ipamRange", "203.0.113.10", "--stateDir", &elsewhere];
    let _server = site.lb.spawn(SLB, &[&words[..], &options].concat());
    wait::until("no route", || (!site.has_route(VIP)).then_some(()));
}

fn gobgp_3_is_told() {
    a_gobgp_is_told(Version::Three);
}

fn gobgp_4_is_told() {
    a_gobgp_is_told(Version::Four);
}

slb_lab::main! {
    fast: [
        a_router_with_an_address_of_ipv6_is_told,
        a_router_with_an_address_of_ipv4_needs_a_next_hop,
        both_vips_of_a_load_balancer_are_told,
        a_restart_moves_no_route,
        gobgp_3_is_told,
        gobgp_4_is_told,
    ],
}

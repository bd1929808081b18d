// SPDX-License-Identifier: Apache-2.0
//! Layer 3 where a GoBGP runs already: slb has it announce the VIPs.

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
use slb_lab::{Server, http, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

const VIP: &str = "203.0.113.10";

fn start<'a>(site: &'a Site, state: &str, options: &[&str]) -> Server<'a> {
    let state_dir = format!("/run/{state}-{}", site.lb.name());
    let words = ["--adapter", "lo", "--bgp", "--gobgp", "127.0.0.1:50051"];
    let more = ["--ipamRange", "203.0.113.10-203.0.113.50", "--stateDir", &state_dir];
    Server::start(&site.lb, SLB, &[&words[..], &more, options].concat())
}

fn bird(site: &Site) -> Bird {
    Bird::start(&site.router, "10.0.0.254", 65_000, 65_530, None)
}

fn clients_reach_the_backends(version: Version) {
    let site = Site::new();
    let (_web, _bird) = (site.web(), bird(&site));
    let _daemon = Daemon::start(&site.lb, version);
    let before = site.lb.tables();
    let mut server = start(&site, "state", &[]);
    server.process().line("that it is up", |said| said.contains("Peer Up Key=10.0.0.254 State=BGP_FSM_ESTABLISHED"));
    let peers = server.ask("GET", "/bgp/peers", "").json();
    assert_eq!(peers.as_array().map(Vec::len), Some(1), "{peers}");
    let peer = &peers[0];
    assert_eq!((&peer["address"], &peer["as"]), (&"10.0.0.254".into(), &65_530.into()), "{peers}");
    assert_eq!((&peer["state"], &peer["timesEstablished"]), (&"established".into(), &1.into()), "{peers}");

    let web = server.create(r#"{"name":"web","port":80}"#);
    for ip in ["10.0.0.11", "10.0.0.12"] {
        let _ = server.add_backend(&web, &format!(r#"{{"ip":"{ip}","port":80}}"#));
    }
    wait::until("the route", || site.has_route(VIP).then_some(()));
    let at = SocketAddr::from(([203, 0, 113, 10], 80));
    let mut answers: Vec<_> = (0..4).map(|_| http::get(&site.client, at).unwrap()).collect();
    answers.sort_unstable();
    assert_eq!(answers, ["one", "one", "two", "two"]);

    let refused = server.ask("POST", "/bgp/peers", r#"{"address":"10.0.0.253","as":65530}"#);
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert_eq!(refused.json()["type"], "/problems/peers-elsewhere");

    server.delete(&web);
    wait::until("no route", || (!site.has_route(VIP)).then_some(()));
    assert_eq!(site.lb.tables(), before);
}

/// The daemon has forgotten everything; the API says that it is away until it is back.
fn routes_come_back_with_the_daemon(version: Version) {
    let site = Site::new();
    let _bird = bird(&site);
    let mut daemon = Daemon::start(&site.lb, version);
    let server = start(&site, "state", &[]);
    let _ = server.create(r#"{"name":"web","port":80}"#);
    wait::until("the route", || site.has_route(VIP).then_some(()));
    daemon.process.kill();
    let away = wait::until("slb to notice", || {
        Some(server.ask("GET", "/bgp/peers", "")).filter(|answer| answer.status == 503)
    });
    assert_eq!(away.json()["type"], "/problems/daemon-away");
    let later = server.create(r#"{"name":"later","port":80}"#);
    assert_eq!(later["eip"], "203.0.113.11");
    let _daemon = Daemon::start(&site.lb, version);
    wait::until("the routes", || (site.has_route(VIP) && site.has_route("203.0.113.11")).then_some(()));
    wait::until("slb to notice", || (server.ask("GET", "/bgp/peers", "").status == 200).then_some(()));
}

/// Kill -9 and start again moves no traffic; what an earlier process left and the new one does not want goes; what others put into the
/// daemon's table stays.
fn the_table_is_brought_in_line(version: Version) {
    let site = Site::new();
    let _bird = bird(&site);
    let daemon = Daemon::start(&site.lb, version);
    // One of others on an address of slb's range too.
    for prefix in ["198.51.100.0/24", "203.0.113.50/32"] {
        daemon.gobgp(&["global", "rib", "add", prefix]);
    }
    let mut server = start(&site, "state", &[]);
    let _ = server.create(r#"{"name":"web","port":80}"#);
    wait::until("the route", || site.has_route(VIP).then_some(()));
    let changes = site.router.spawn("ip", &["-4", "monitor", "route"]);
    wait::until("the monitor to listen", || {
        site.router.sh("ip route replace 192.0.2.0/24 via 10.1.0.10 && ip route del 192.0.2.0/24");
        changes.said().iter().any(|line| line.contains("192.0.2.0")).then_some(())
    });
    server.process().kill();
    let mut server = start(&site, "state", &[]);
    server.process().line("that it announces", |said| said.contains("announcing by GoBGP"));
    let said = server.process().said().join("\n");
    assert!(!said.contains("in line"), "a table that is as it should be was written: {said}");
    let _ = server.create(r#"{"name":"later","port":80}"#);
    wait::until("the later route", || site.has_route("203.0.113.11").then_some(()));
    let said = changes.said();
    assert!(!said.iter().any(|line| line.contains("203.0.113.10")), "{said:?}");

    server.process().kill();
    let server = start(&site, "other", &[]);
    wait::until("no routes", || (!site.has_route(VIP) && !site.has_route("203.0.113.11")).then_some(()));
    assert_eq!(server.ask("GET", "/bgp/routes", "").body, "[]\n");
    for prefix in ["198.51.100.0/24", "203.0.113.50"] {
        assert!(site.has_route(prefix), "{prefix}");
    }
}

/// What goes with the routes, and the networks that they are, are as the options of this start say.
fn attributes_follow_the_options(version: Version) {
    let site = Site::new();
    let _bird = bird(&site);
    let _daemon = Daemon::start(&site.lb, version);
    let mut server = start(&site, "state", &[]);
    let _ = server.create(r#"{"name":"web","port":80}"#);
    wait::until("the route", || site.has_route(VIP).then_some(()));
    server.process().kill();
    let labels =
        ["--bgpCommunity", "65000:80", "--bgpCommunity", "65000:1:2", "--bgpMed", "7", "--bgpAggregation", "24"];
    let server = start(&site, "state", &labels);
    let seen = || Bird::route(&site.router, "203.0.113.0/24");
    wait::until("the network with its attributes", || {
        let wanted = ["BGP.community: (65000,80)\n", "BGP.large_community: (65000, 1, 2)\n", "BGP.med: 7\n"];
        wanted.iter().all(|attribute| seen().contains(attribute)).then_some(())
    });
    wait::until("no single address", || (!site.has_route(VIP)).then_some(()));
    assert_eq!(server.ask("GET", "/bgp/routes", "").body, "[{\"prefix\":\"203.0.113.0/24\"}]\n");
    let shut = server.ask("PUT", "/bgp/shutdown", "{}");
    assert_eq!((shut.status, &shut.json()["type"]), (409, &"/problems/peers-elsewhere".into()));
}

fn attributes_by_version_3_follow_the_options() {
    attributes_follow_the_options(Version::Three);
}

fn attributes_by_version_4_follow_the_options() {
    attributes_follow_the_options(Version::Four);
}

fn clients_reach_the_backends_by_version_3() {
    clients_reach_the_backends(Version::Three);
}

fn clients_reach_the_backends_by_version_4() {
    clients_reach_the_backends(Version::Four);
}

fn routes_come_back_with_version_3() {
    routes_come_back_with_the_daemon(Version::Three);
}

fn routes_come_back_with_version_4() {
    routes_come_back_with_the_daemon(Version::Four);
}

fn the_table_of_version_3_is_brought_in_line() {
    the_table_is_brought_in_line(Version::Three);
}

fn the_table_of_version_4_is_brought_in_line() {
    the_table_is_brought_in_line(Version::Four);
}

slb_lab::main! {
    fast: [
        attributes_by_version_3_follow_the_options,
        attributes_by_version_4_follow_the_options,
        clients_reach_the_backends_by_version_3,
        clients_reach_the_backends_by_version_4,
        routes_come_back_with_version_3,
        routes_come_back_with_version_4,
        the_table_of_version_3_is_brought_in_line,
        the_table_of_version_4_is_brought_in_line,
    ],
}

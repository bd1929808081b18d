// SPDX-License-Identifier: Apache-2.0
//! Layer 3: a router learns of VIPs by BGP, and clients behind it reach the backends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../advert/tests/bgp/bird.rs"]
mod bird;
#[path = "bgp/flow.rs"]
mod flow;
#[path = "bgp/routed.rs"]
mod routed;

use std::net::SocketAddr;

use bird::Bird;
use flow::Flow;
use routed::Site;
use slb_lab::{Node, Server, http, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

const OWN: u32 = 65_000;
const ROUTERS: u32 = 65_530;

fn start<'a>(site: &'a Site, more: &[&str]) -> Server<'a> {
    start_on(&site.lb, "10.0.0.1", more)
}

fn start_on<'a>(lb: &'a Node, router_id: &str, more: &[&str]) -> Server<'a> {
    let state_dir = format!("/run/state-{}", lb.name());
    let words = ["--adapter", "lo", "--bgp", "--bgpAs", "65000", "--bgpRouterId", router_id];
    let range = ["--ipamRange", "203.0.113.10-203.0.113.50", "--stateDir", &state_dir];
    Server::start(lb, SLB, &[&words[..], &range, more].concat())
}

fn clients_behind_a_router_reach_the_backends() {
    let site = Site::new();
    let _web = site.web();
    let before = site.lb.tables();
    let _bird = Bird::start(&site.router, "10.0.0.254", OWN, ROUTERS, Some("secret"));
    let mut server = start(&site, &["--bgpPeer", "10.0.0.254:65530:secret"]);
    server.process().line("a peer", |said| said.ends_with("Add a peer configuration for:10.0.0.254"));
    server.process().line("that it is up", |said| said.contains("Peer Up Key=10.0.0.254 State=BGP_FSM_ESTABLISHED"));
    let peers = server.ask("GET", "/bgp/peers", "").json();
    assert_eq!((&peers[0]["state"], &peers[0]["as"]), (&"established".into(), &ROUTERS.into()), "{peers}");
    let web = server.create(r#"{"name":"web","port":80}"#);
    assert_eq!(web["eip"], "203.0.113.10");
    assert_eq!(server.ask("GET", "/bgp/routes", "").body, "[{\"prefix\":\"203.0.113.10/32\"}]\n");
    for ip in ["10.0.0.11", "10.0.0.12"] {
        let _ = server.add_backend(&web, &format!(r#"{{"ip":"{ip}","port":80}}"#));
    }
    wait::until("the route", || site.has_route("203.0.113.10").then_some(()));
    let at = SocketAddr::from(([203, 0, 113, 10], 80));
    let mut answers: Vec<_> = (0..4).map(|_| http::get(&site.client, at).unwrap()).collect();
    answers.sort_unstable();
    assert_eq!(answers, ["one", "one", "two", "two"]);
    server.delete(&web);
    wait::until("no route", || (!site.has_route("203.0.113.10")).then_some(()));
    assert_eq!(site.lb.tables(), before);
    let said = server.process().said().join("\n");
    assert!(!said.contains("secret"), "{said}");
}

/// Without an option, for good, and until it is removed.
fn peers_come_and_go_while_slb_runs() {
    let site = Site::new();
    let _bird = Bird::start(&site.router, "10.0.0.254", OWN, ROUTERS, Some("secret"));
    let mut server = start(&site, &[]);
    let _ = server.create(r#"{"name":"web","port":80}"#);
    let body = r#"{"address":"10.0.0.254","as":65530,"password":"secret","communities":["65000:80"],"holdTime":"30s"}"#;
    let rehearsed = |method: &str, path: &str, body: &str| {
        let plan = server.ask(method, &format!("{path}?dryRun=true"), body);
        assert_eq!(plan.status, 200, "{}", plan.body);
        let step = |step: &serde_json::Value| step["step"].as_str().unwrap().to_owned();
        plan.json()["steps"].as_array().unwrap().iter().map(step).collect::<Vec<_>>()
    };
    let to_be_told = rehearsed("POST", "/bgp/peers", body);
    assert_eq!(to_be_told, ["advertise 203.0.113.10/32 to 10.0.0.254"]);
    assert_eq!(server.ask("GET", "/bgp/peers", "").body, "[]\n");
    assert!(!site.has_route("203.0.113.10"));
    let added = server.ask("POST", "/bgp/peers", body);
    assert_eq!(added.status, 201, "{}", added.body);
    assert_eq!(server.ask("POST", "/bgp/peers", body).status, 409);
    wait::until("the route", || site.has_route("203.0.113.10").then_some(()));
    let to_be_asked = rehearsed("PUT", "/bgp/shutdown", r#"{"after":"0s"}"#);
    let forgets = "withdraw 203.0.113.10/32 from 10.0.0.254 as its session ends";
    let prefers = "advertise 203.0.113.10/32 to 10.0.0.254 with the community graceful-shutdown";
    assert_eq!(to_be_asked, [prefers, forgets]);
    assert_eq!(rehearsed("DELETE", "/bgp/peers/10.0.0.254", ""), [forgets]);
    assert!(rehearsed("DELETE", "/bgp/shutdown", "").is_empty());
    let peer = server.ask("GET", "/bgp/peers/10.0.0.254", "").json();
    assert_eq!((&peer["state"], &peer["timesEstablished"]), (&"established".into(), &1.into()), "{peer}");
    assert!(site.has_route("203.0.113.10"));
    server.process().kill();
    let mut server = start(&site, &["--bgpCommunity", "no-export", "--bgpMed", "7"]);
    server.process().line("that the peer is up again", |said| said.contains("Peer Up"));
    // The community is its own, the MED all peers'.
    let seen = || Bird::route(&site.router, "203.0.113.10");
    wait::until("both attributes", || {
        (seen().contains("BGP.community: (65000,80)\n") && seen().contains("BGP.med: 7")).then_some(())
    });
    let removed = server.ask("DELETE", "/bgp/peers/10.0.0.254", "");
    assert_eq!(removed.status, 204, "{}", removed.body);
    wait::until("no route", || (!site.has_route("203.0.113.10")).then_some(()));
    assert_eq!(server.ask("GET", "/bgp/peers", "").body, "[]\n");
    drop(server);

    let server = start(&site, &["--bgpPeer", "10.0.0.254:65530:secret"]);
    let refused = server.ask("DELETE", "/bgp/peers/10.0.0.254", "");
    assert_eq!(refused.status, 409, "{}", refused.body);
}

/// A route only while there is a place to send connections; another load-balancer on the VIP may want it all the time.
fn a_route_needs_a_backend_if_that_is_asked_for() {
    let site = Site::new();
    let _bird = Bird::start(&site.router, "10.0.0.254", OWN, ROUTERS, None);
    let mut server = start(&site, &["--bgpPeer", "10.0.0.254:65530"]);
    server.process().line("that the peer is up", |said| said.contains("Peer Up"));
    let web = server.create(r#"{"name":"web","port":80,"advertise":"withBackends"}"#);
    let routes = |server: &Server<'_>| server.ask("GET", "/bgp/routes", "").body;
    assert_eq!(routes(&server), "[]\n");
    let backend = server.add_backend(&web, r#"{"ip":"10.0.0.11","port":80}"#);
    wait::until("the route", || site.has_route("203.0.113.10").then_some(()));
    let path = format!("/loadbalancer/{}/backend/{}", web["uuid"].as_str().unwrap(), backend["uuid"].as_str().unwrap());
    assert_eq!(server.ask("PATCH", &path, r#"{"weight":0}"#).status, 200);
    wait::until("no route", || (!site.has_route("203.0.113.10")).then_some(()));
    let _ = server.create(r#"{"name":"api","port":81,"eip":"203.0.113.10"}"#);
    wait::until("the other's route", || site.has_route("203.0.113.10").then_some(()));
    // It is remembered.
    server.process().kill();
    let server = start(&site, &["--bgpPeer", "10.0.0.254:65530"]);
    let shown = server.list();
    assert_eq!((&shown[0]["advertise"], &shown[1]["advertise"]), (&"withBackends".into(), &"always".into()), "{shown}");
}

/// slb listens, and waits for the router.
fn a_router_may_connect() {
    let site = Site::new();
    let mut server = start(&site, &["--bgpListen", "10.0.0.1", "--bgpPassive", "--bgpPeer", "10.0.0.254:65530:secret"]);
    let _ = server.create(r#"{"name":"web","port":80}"#);
    assert_eq!(server.ask("GET", "/bgp/peers/10.0.0.254", "").json()["state"], "active");
    let _bird = Bird::start(&site.router, "10.0.0.254", OWN, ROUTERS, Some("secret"));
    server.process().line("that the peer is up", |said| said.contains("Peer Up"));
    wait::until("the route", || site.has_route("203.0.113.10").then_some(()));
}

/// A router spreads connections over all nodes that announce the VIP, and leaves out those that do not any more.
fn two_nodes_share_a_vip() {
    let site = Site::new();
    let _web = site.web();
    let spare = site.segments[0].host("spare", "10.0.0.2/24");
    spare.sh("ip link set lo up && ip route add default via 10.0.0.254");
    // By connection, not by host.
    site.router.sh("sysctl -qw net.ipv4.fib_multipath_hash_policy=1");
    let _bird = Bird::run(&site.router, "local 10.0.0.254 as 65530; neighbor range 10.0.0.0/24 as 65000;");
    let peer = ["--bgpPeer", "10.0.0.254:65530"];
    let nodes =
        [(start_on(&site.lb, "10.0.0.1", &peer), "10.0.0.11"), (start_on(&spare, "10.0.0.2", &peer), "10.0.0.12")];
    let [one, _two] = nodes.each_ref().map(|(server, backend)| {
        let web = server.create(r#"{"name":"web","port":80,"eip":"203.0.113.10"}"#);
        let _ = server.add_backend(&web, &format!(r#"{{"ip":"{backend}","port":80}}"#));
        web
    });
    let ways = || {
        let route = site.router.sh("ip -4 route show 203.0.113.10");
        ["via 10.0.0.1 ", "via 10.0.0.2 "].map(|way| route.contains(way))
    };
    wait::until("both ways", || (ways() == [true, true]).then_some(()));
    let at = SocketAddr::from(([203, 0, 113, 10], 80));
    let mut seen = std::collections::BTreeSet::new();
    wait::until("answers of both nodes", || {
        seen.insert(http::get(&site.client, at).unwrap());
        (seen.len() == 2).then_some(())
    });
    nodes[0].0.delete(&one);
    wait::until("one way", || (ways() == [false, true]).then_some(()));
    let answers: Vec<_> = (0..8).map(|_| http::get(&site.client, at).unwrap()).collect();
    assert_eq!(answers, ["two"; 8]);
}

/// Whichever node a connection comes by, and whichever is left: `mh` sends a client to the same backend on all of them.
fn clients_keep_their_backend_on_another_node() {
    let site = Site::new();
    let _web = site.web();
    let spare = site.segments[0].host("spare", "10.0.0.2/24");
    spare.sh("ip link set lo up && ip route add default via 10.0.0.254");
    site.router.sh("sysctl -qw net.ipv4.fib_multipath_hash_policy=1");
    let clients: Vec<String> = (20..28).map(|last| format!("10.1.0.{last}")).collect();
    clients.iter().for_each(|client| drop(site.client.sh(&format!("ip addr add {client}/24 dev eth0"))));
    let _bird = Bird::run(&site.router, "local 10.0.0.254 as 65530; neighbor range 10.0.0.0/24 as 65000;");
    let peer = ["--bgpPeer", "10.0.0.254:65530"];
    let nodes = [start_on(&site.lb, "10.0.0.1", &peer), start_on(&spare, "10.0.0.2", &peer)];
    let backends = r#"[{"ip":"10.0.0.11","port":80},{"ip":"10.0.0.12","port":80}]"#;
    let wish = format!(r#"{{"name":"web","port":80,"eip":"203.0.113.10","scheduler":"mh","backends":{backends}}}"#);
    let [one, _two] = nodes.each_ref().map(|server| server.create(&wish));
    assert_eq!(one["scheduler"], "mh");
    let ways = || {
        let route = site.router.sh("ip -4 route show 203.0.113.10");
        ["via 10.0.0.1 ", "via 10.0.0.2 "].map(|way| route.contains(way))
    };
    wait::until("both ways", || (ways() == [true, true]).then_some(()));
    let ask = |client: &String| site.client.sh(&format!("curl -s -m 10 --interface {client} http://203.0.113.10/"));
    let chosen: Vec<String> = clients.iter().map(ask).collect();
    let connections = |node: &Node| {
        let listed = node.sh("ipvsadm -ln --stats -t 203.0.113.10:80 | awk '/TCP/ { print $3 }'");
        listed.trim().parse::<u32>().unwrap()
    };
    wait::until("connections by both nodes", || {
        assert_eq!(clients.iter().map(ask).collect::<Vec<_>>(), chosen);
        (connections(&site.lb) > 0 && connections(&spare) > 0).then_some(())
    });
    let different: std::collections::BTreeSet<_> = chosen.iter().collect();
    assert_eq!(different.len(), 2, "all clients were sent to one backend: {chosen:?}");
    nodes[0].delete(&one);
    wait::until("one way", || (ways() == [false, true]).then_some(()));
    assert_eq!(clients.iter().map(ask).collect::<Vec<_>>(), chosen);
}

/// The router keeps the route while slb is away, and the kernel goes on balancing: what flows loses no packet.
fn a_restart_loses_nothing() {
    let site = Site::new();
    let _bird = Bird::start(&site.router, "10.0.0.254", OWN, ROUTERS, None);
    let peer = ["--bgpPeer", "10.0.0.254:65530"];
    let mut server = start(&site, &peer);
    let web = server.create(r#"{"name":"web","port":80}"#);
    let _ = server.add_backend(&web, r#"{"ip":"10.0.0.11","port":80}"#);
    wait::until("the route", || site.has_route("203.0.113.10").then_some(()));
    let changes = site.router.spawn("ip", &["-4", "monitor", "route"]);
    wait::until("the monitor to listen", || {
        site.router.sh("ip route replace 198.51.100.0/24 via 10.1.0.10 && ip route del 198.51.100.0/24");
        changes.said().iter().any(|line| line.contains("198.51.100.0")).then_some(())
    });
    let (client, backend) = (&site.client, &site.backends[0]);
    client.sh("iptables-legacy -A OUTPUT -p tcp --dport 80; iptables-legacy -A INPUT -p tcp --sport 80");
    backend.sh("iptables-legacy -A INPUT -p tcp --dport 80; iptables-legacy -A OUTPUT -p tcp --sport 80");
    let begin = || Flow::start(client, SocketAddr::from(([203, 0, 113, 10], 80)), backend, 80);
    let flow = begin();
    flow.goes_on();

    server.process().kill();
    flow.goes_on();
    let mut server = start(&site, &peer);
    server.process().line("that the peer is up", |said| said.contains("Peer Up"));
    // What BIRD does with stale routes it has done when a route that came later is there.
    let _ = server.create(r#"{"name":"later","port":80}"#);
    wait::until("the later route", || site.has_route("203.0.113.11").then_some(()));
    flow.goes_on();
    flow.end();
    wait::until("every packet to have arrived", || (lost(client, backend) == [0, 0]).then_some(()));
    let said = changes.said();
    assert!(!said.iter().any(|line| line.contains("203.0.113.10")), "{said:?}");

    // The count would have told.
    let flow = begin();
    flow.goes_on();
    site.router.sh("iptables-legacy -A FORWARD -j DROP");
    let dropped = || site.router.sh("iptables-legacy -vnxL FORWARD | awk 'NR == 3 { print $1 }'").trim() != "0";
    wait::until("a packet to be dropped", || dropped().then_some(()));
    site.router.sh("iptables-legacy -D FORWARD -j DROP");
    flow.goes_on();
    flow.end();
    wait::until("the count to tell", || (lost(client, backend) != [0, 0]).then_some(()));
}

/// How many more packets of a flow than reached the other each of the two has sent. What is sent again, since a busy machine makes a host
/// impatient, is another packet.
fn lost(client: &Node, backend: &Node) -> [u64; 2] {
    let count = |node: &Node, chain: &str| -> u64 {
        let counted = node.sh(&format!("iptables-legacy -vnxL {chain} | awk 'NR == 3 {{ print $1 }}'"));
        counted.trim().parse().unwrap()
    };
    // First what arrived, so that none on its way counts as more than was sent.
    let arrived = [count(backend, "INPUT"), count(client, "INPUT")];
    [count(client, "OUTPUT") - arrived[0], count(backend, "OUTPUT") - arrived[1]]
}

/// Nobody can say goodbye: both sides notice by silence.
fn a_link_that_went_down_and_up_has_its_route_again() {
    let site = Site::new();
    let _web = site.web();
    let _bird = Bird::start(&site.router, "10.0.0.254", OWN, ROUTERS, None);
    let mut server = start(&site, &["--bgpPeer", "10.0.0.254:65530", "--bgpHoldTime", "3s"]);
    let web = server.create(r#"{"name":"web","port":80}"#);
    let _ = server.add_backend(&web, r#"{"ip":"10.0.0.11","port":80}"#);
    wait::until("the route", || site.has_route("203.0.113.10").then_some(()));

    site.lb.sh("ip link set eth0 down");
    wait::until("no route", || (!site.has_route("203.0.113.10")).then_some(()));
    server.process().line("why", |said| said.contains("BGP peer down: the peer was silent for 3 s"));
    let seen = |server: &Server| server.ask("GET", "/bgp/peers/10.0.0.254", "").json();
    wait::until("the API to say why", || {
        let peer = seen(&server);
        let why = peer["lastError"].as_str()?;
        (peer["state"] != "established" && why.contains("could not connect: Network is unreachable")).then_some(())
    });

    // The kernel forgot the default route with the link; whoever manages the network puts it back.
    site.lb.sh("ip link set eth0 up && ip route add default via 10.0.0.254");
    wait::until("the session", || (seen(&server)["timesEstablished"] == 2).then_some(()));
    wait::until("the route again", || site.has_route("203.0.113.10").then_some(()));
    let peer = seen(&server);
    assert_eq!((&peer["state"], &peer["lastError"]), (&"established".into(), &serde_json::Value::Null), "{peer}");
    assert_eq!(http::get(&site.client, SocketAddr::from(([203, 0, 113, 10], 80))).unwrap(), "one");
}

slb_lab::main! {
    fast: [
        clients_behind_a_router_reach_the_backends,
        peers_come_and_go_while_slb_runs,
        a_route_needs_a_backend_if_that_is_asked_for,
        a_router_may_connect,
        two_nodes_share_a_vip,
        clients_keep_their_backend_on_another_node,
        a_restart_loses_nothing,
        a_link_that_went_down_and_up_has_its_route_again,
    ],
}

// SPDX-License-Identifier: Apache-2.0
//! VIPs of IPv6 on a segment: handed out, announced to neighbours, balanced, repaired and taken away, beside those of IPv4.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use slb_lab::{
    Plane, Server, Sniffer, Writes,
    site::{Site, endpoint},
    wait,
};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");
/// Of both families.
const RANGE: &str = "192.168.0.85-192.168.0.90, fd00::85-fd00::90";
/// Long enough never to come due in a test: what is repaired was repaired because of an event.
const NEVER: [&str; 2] = ["--reconcileInterval", "1h"];
/// Short: what has no event is repaired by this.
const SOON: [&str; 2] = ["--reconcileInterval", "1s"];
/// Advertisements of VIPs that nobody asked for.
const ANNOUNCEMENTS: &str = "icmp6 and ip6[40] == 136 and ip6[48:4] == 0xfd000000 and ip6 dst ff02::1";

/// The site, where everybody has an address of IPv6 with the same last number: fd00::1, fd00::10, fd00::11 and fd00::12.
fn site() -> Site {
    let site = Site::new(SLB);
    for (node, last) in [(&site.lb, 1), (&site.client, 10), (&site.one, 11), (&site.two, 12)] {
        node.sh(&format!("ip addr add fd00::{last}/64 dev eth0 nodad"));
    }
    site
}

fn start<'a>(site: &'a Site, more: &[&str]) -> Server<'a> {
    let options = site.options();
    let options = options.iter().map(|word| if word.starts_with("192.168.0.85-") { RANGE } else { word.as_str() });
    Server::start(&site.lb, SLB, &options.chain(more.iter().copied()).collect::<Vec<_>>())
}

/// A load-balancer of IPv6 on port 80 with both web servers behind it.
fn balanced(server: &Server<'_>) -> serde_json::Value {
    server.create(
        r#"{"name":"web","port":80,"family":"ipv6","backends":[{"ip":"fd00::11","port":80},{"ip":"fd00::12","port":80}]}"#,
    )
}

fn a_client_reaches_the_backends_over_ipv6() {
    let site = site();
    let _web = site.web();
    let before = site.lb.tables();
    let server = start(&site, &[]);
    // A neighbour that knew another owner learns of the new one at once.
    site.client.sh("ip neigh replace fd00::85 lladdr 02:00:00:00:00:99 dev eth0 nud permanent");
    site.client.sh("ip neigh change fd00::85 lladdr 02:00:00:00:00:99 dev eth0 nud reachable");
    let sniffer = Sniffer::start(&site.client, "eth0", ANNOUNCEMENTS);
    let web = balanced(&server);
    assert_eq!((web["eip"].as_str(), endpoint(&web).to_string().as_str()), (Some("fd00::85"), "[fd00::85]:80"));
    sniffer.packet(&["fd00::85 > ff02::1", "tgt is fd00::85"]);
    let mut answers = [site.get(&web).unwrap(), site.get(&web).unwrap()];
    answers.sort();
    assert_eq!(answers, ["one", "two"]);
    let services = site.lb.services();
    assert!(services.contains("-A -t [fd00::85]:80 -s rr"), "{services:?}");
    assert!(services.contains("-a -t [fd00::85]:80 -r [fd00::11]:80 -m -w 1"), "{services:?}");

    let ipv4 = site.balanced(&server);
    assert_eq!(ipv4["eip"], "192.168.0.85");
    let _ = (site.get(&ipv4).unwrap(), site.get(&web).unwrap());
    [&web, &ipv4].into_iter().for_each(|each| server.delete(each));
    assert_eq!(site.lb.tables(), before);
}

fn an_address_that_answers_is_passed_over() {
    let site = site();
    let other = site.segment.host("other", "192.168.0.77/24");
    other.sh("ip addr add fd00::85/64 dev eth0 nodad");
    let mut server = start(&site, &[]);
    assert_eq!(server.create(r#"{"name":"x","port":80,"family":"ipv6"}"#)["eip"], "fd00::86");
    let line = server.process().line("who has it", |line| line.contains("in use on the network"));
    assert!(line.contains("fd00::85"), "{line}");
    let wanted = server.ask("POST", "/loadbalancer", r#"{"name":"y","port":80,"eip":"fd00::85"}"#);
    assert_eq!(wanted.status, 409, "{}", wanted.body);
}

fn families_do_not_mix() {
    let site = site();
    let server = start(&site, &[]);
    let web = balanced(&server);
    let path = format!("/loadbalancer/{}/backend", web["uuid"].as_str().unwrap());
    let refused = server.ask("POST", &path, r#"{"ip":"192.168.0.11","port":80}"#);
    assert_eq!((refused.status, refused.json()["type"].as_str()), (409, Some("/problems/backend-unfit")));
    let before = site.lb.tables();
    let body = r#"{"port":81,"family":"ipv4","eip":"fd00::86"}"#;
    assert_eq!(server.ask("POST", "/loadbalancer", body).status, 422);
    assert_eq!(site.lb.tables(), before);
}

fn what_was_taken_away_comes_back() {
    let site = site();
    let _web = site.web();
    let server = start(&site, &NEVER);
    let web = balanced(&server);
    let before = site.lb.tables();
    for (damage, repair) in
        [("ip addr del fd00::85/128 dev eth0", "true"), ("ip link set eth0 down", "ip link set eth0 up")]
    {
        let sniffer = Sniffer::start(&site.client, "eth0", ANNOUNCEMENTS);
        site.lb.sh(damage);
        // The kernel takes all addresses of IPv6 from an adapter that goes down.
        site.lb.sh(&format!("{repair}; ip addr replace fd00::1/64 dev eth0 nodad"));
        wait::until("the VIP to be bound again", || (site.lb.tables() == before).then_some(()));
        sniffer.packet(&["tgt is fd00::85"]);
    }
    site.get(&web).unwrap();
    server.stop();
    let server = start(&site, &SOON);
    for damage in [
        "ipvsadm -C",
        "ipvsadm -d -t [fd00::85]:80 -r [fd00::11]:80",
        "ipvsadm -a -t [fd00::85]:80 -r [fd00::99]:80 -m",
        "ip6tables-legacy -t nat -F",
    ] {
        site.lb.sh(damage);
        wait::until(damage, || (site.lb.tables() == before).then_some(()));
    }
    site.get(&web).unwrap();
    drop(server);
}

fn a_restart_with_nothing_changed_writes_nothing() {
    let site = site();
    let _web = site.web();
    let server = start(&site, &[]);
    let web = balanced(&server);
    let before = site.lb.tables();
    server.stop();
    let mut writes = Writes::of(&site.lb);
    let _server = start(&site, &[]);
    assert_eq!(writes.take(), Vec::<String>::new());
    assert_eq!(site.lb.tables(), before);
    site.get(&web).unwrap();
}

fn cleanup_puts_everything_back() {
    let site = site();
    site.lb.sh("ipvsadm -ln; iptables-legacy -t nat -L -n; ip6tables-legacy -t nat -L -n");
    let before = site.lb.kernel_state();
    let server = start(&site, &[]);
    let _ = (balanced(&server), site.balanced(&server));
    // Who relays forwards nothing.
    let expected = if Plane::here() == Plane::Ipvs { "1\n2\n" } else { "0\n1\n" };
    assert_eq!(site.lb.sh("sysctl -n net.ipv6.conf.all.forwarding net.ipv6.conf.eth0.accept_ra"), expected);
    server.stop();
    site.lb.run(SLB, &["cleanup", "--stateDir", &site.state_dir()]);
    assert_eq!(site.lb.kernel_state(), before);
}

slb_lab::main! {
    fast, stock, user: [a_client_reaches_the_backends_over_ipv6],
    fast, user: [
        an_address_that_answers_is_passed_over,
        families_do_not_mix,
        cleanup_puts_everything_back,
    ],
    fast: [what_was_taken_away_comes_back, a_restart_with_nothing_changed_writes_nothing],
}

// SPDX-License-Identifier: Apache-2.0
//! One load-balancer with a VIP of each family: clients of both reach it, and both VIPs come and go together.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use serde_json::{Value, json};
use slb_lab::{Server, Sniffer, Writes, http, site::Site, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");
const RANGE: &str = "192.168.0.85-192.168.0.90, fd00::85-fd00::90";
const VIPS: [&str; 2] = ["192.168.0.85", "fd00::85"];
/// With a backend of each family.
const WEB: &str = r#"{"name":"web","port":80,"family":"dual","backends":[
    {"ip":"192.168.0.11","port":80},{"ip":"fd00::12","port":80}]}"#;

/// The site, where everybody has an address of IPv6 with the same last number.
fn site() -> Site {
    let site = Site::new(SLB);
    for (node, last) in [(&site.lb, 1), (&site.client, 10), (&site.one, 11), (&site.two, 12)] {
        node.sh(&format!("ip addr add fd00::{last}/64 dev eth0 nodad"));
    }
    site
}

fn start<'a>(site: &'a Site, range: &str) -> Server<'a> {
    let options = site.options();
    let options = options.iter().map(|word| if word.starts_with("192.168.0.85-") { range } else { word.as_str() });
    Server::start(&site.lb, SLB, &options.collect::<Vec<_>>())
}

/// What the client gets at a VIP.
fn get(site: &Site, vip: &str) -> String {
    http::get(&site.client, SocketAddr::new(vip.parse().unwrap(), 80)).unwrap()
}

fn uuid(of: &Value) -> &str {
    of["uuid"].as_str().unwrap()
}

fn clients_of_both_families_reach_their_backends() {
    let site = site();
    let _web = site.web();
    let before = site.lb.tables();
    let server = start(&site, RANGE);
    let told = Sniffer::start(&site.client, "eth0", "arp or (icmp6 and ip6[40] == 136)");
    let web = server.create(WEB);
    assert_eq!((&web["eip"], &web["eips"]), (&json!(VIPS[0]), &json!(VIPS)));
    told.packet(&["192.168.0.85"]);
    told.packet(&["tgt is fd00::85"]);
    for _ in 0..2 {
        assert_eq!(VIPS.map(|vip| get(&site, vip)), ["one", "two"]);
    }
    let services = site.lb.services();
    for (line, is_there) in [
        ("-a -t 192.168.0.85:80 -r 192.168.0.11:80 -m -w 1", true),
        ("-a -t [fd00::85]:80 -r [fd00::12]:80 -m -w 1", true),
        ("-a -t 192.168.0.85:80 -r [fd00::12]:80 -m -w 1", false),
        ("-a -t [fd00::85]:80 -r 192.168.0.11:80 -m -w 1", false),
    ] {
        assert_eq!(services.contains(line), is_there, "{line} in: {services:?}");
    }
    let path = format!("/loadbalancer/{}", uuid(&web));
    wait::until("the connections of both to be counted together", || {
        let counted = server.ask("GET", &format!("{path}/statistics"), "").json();
        let each = [0, 1].map(|backend| counted["backends"][backend]["connections"].as_u64());
        (counted["connections"] == 4 && each == [Some(2), Some(2)]).then_some(())
    });
    let shown = server.ask("GET", &path, "").json();
    let observed = &shown["observed"];
    assert_eq!((&observed["programmed"]["is"], &observed["advertised"]["is"]), (&json!(true), &json!(true)));
    assert_eq!([0, 1].map(|at| observed["vips"][at]["eip"].clone()), VIPS.map(Value::from));
    // What was shown can be sent back.
    assert_eq!(server.ask("PUT", &path, &shown.to_string()).status, 200);

    // The VIP of a backend that is gone has no place to go; the other one has.
    let is_bound = |vip: &str| site.lb.sh("ip -o addr").contains(&format!(" {vip}/"));
    assert_eq!(server.ask("PATCH", &path, r#"{"advertise":"withBackends"}"#).status, 200);
    let backend = shown["backends"][1]["uuid"].as_str().unwrap();
    assert_eq!(server.ask("PATCH", &format!("{path}/backend/{backend}"), r#"{"weight":0}"#).status, 200);
    let observed = server.ask("GET", &path, "").json()["observed"].clone();
    assert_eq!([0, 1].map(|at| observed["vips"][at]["advertised"]["is"].clone()), [true, false].map(Value::from));
    assert!(VIPS.iter().all(|vip| is_bound(vip)));

    server.delete(&web);
    assert_eq!(site.lb.tables(), before);
}

fn a_killed_server_moves_nothing() {
    let site = site();
    let _web = site.web();
    let server = start(&site, RANGE);
    let web = server.create(WEB);
    let before = site.lb.tables();
    server.kill();
    assert_eq!(VIPS.map(|vip| get(&site, vip)), ["one", "two"]);
    let mut writes = Writes::of(&site.lb);
    let server = start(&site, RANGE);
    assert_eq!(writes.take(), Vec::<String>::new());
    assert_eq!(site.lb.tables(), before);
    assert_eq!(server.ask("GET", "/loadbalancers", "").json()[0]["eips"], json!(VIPS));
    assert_eq!(VIPS.map(|vip| get(&site, vip)), ["one", "two"]);
    // What somebody takes away of one of them comes back.
    site.lb.sh("ip addr del fd00::85/128 dev eth0");
    wait::until("the VIP to be bound again", || (site.lb.tables() == before).then_some(()));
    server.delete(&web);
}

fn it_is_both_or_none() {
    let site = site();
    let server = start(&site, "192.168.0.85-192.168.0.90, fd00::85");
    let first = server.create(r#"{"port":80,"family":"dual"}"#);
    let before = site.lb.tables();
    let refused = server.ask("POST", "/loadbalancer", r#"{"port":80,"family":"dual","eip":"192.168.0.86"}"#);
    assert_eq!((refused.status, refused.json()["type"].as_str()), (503, Some("/problems/pool-exhausted")));
    assert!(refused.body.contains("no IPv6 address is left"), "{}", refused.body);
    assert_eq!(site.lb.tables(), before);
    let only = server.create(r#"{"port":80,"eip":"192.168.0.86"}"#);
    assert_eq!(only["eips"], json!(["192.168.0.86"]));

    // The second port of the first VIP is free, that of IPv6 is not.
    let body = r#"{"port":80,"eips":["fd00::85","192.168.0.87"]}"#;
    let taken = server.ask("POST", "/loadbalancer", body);
    assert_eq!((taken.status, &taken.json()["takenBy"]), (409, &first["uuid"]));
    let beside = server.create(r#"{"port":81,"eips":["fd00::85","192.168.0.87"]}"#);
    assert_eq!(beside["eips"], json!(["192.168.0.87", "fd00::85"]));
    server.delete(&first);
    let tables = site.lb.tables();
    assert!(tables.contains("[fd00::85]:81") && !tables.contains("[fd00::85]:80"), "{tables}");
    for wrong in [
        r#"{"port":82,"eips":["192.168.0.88","192.168.0.89"]}"#,
        r#"{"port":82,"eips":["192.168.0.88"],"family":"ipv6"}"#,
        r#"{"port":82,"eip":"192.168.0.88","eips":["fd00::85"]}"#,
    ] {
        assert_eq!(server.ask("POST", "/loadbalancer", wrong).status, 422, "{wrong}");
    }
    assert_eq!(site.lb.tables(), tables);
}

slb_lab::main! {
    fast: [clients_of_both_families_reach_their_backends, a_killed_server_moves_nothing, it_is_both_or_none],
    stock: [clients_of_both_families_reach_their_backends],
    user: [clients_of_both_families_reach_their_backends, it_is_both_or_none],
}

// SPDX-License-Identifier: Apache-2.0
//! What is changed while traffic flows: a second port of a VIP, the weight of a backend, a name.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use slb_lab::site::Site;

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

fn two_ports_of_one_vip_live_and_die_apart() {
    let site = Site::new(SLB);
    let (_web, _alt) = (site.web(), site.web_on(8080));
    let server = site.start(&[]);
    let before = site.lb.tables();
    let web = site.balanced(&server);
    let one_port = site.lb.tables();
    let alt = server.create(r#"{"name":"alt","port":8080,"eip":"192.168.0.85"}"#);
    let _ = server.add_backend(&alt, r#"{"ip":"192.168.0.12","port":8080}"#);
    assert_eq!(alt["eip"], web["eip"]);
    assert_eq!(site.get(&alt).unwrap(), "two");
    let again = server.ask("POST", "/loadbalancer", r#"{"name":"again","port":8080,"eip":"192.168.0.85"}"#);
    assert_eq!(again.status, 409, "{}", again.body);
    site.get(&web).unwrap();
    server.delete(&alt);
    assert_eq!(site.lb.tables(), one_port);
    site.get(&web).unwrap();
    server.delete(&web);
    assert_eq!(site.lb.tables(), before);
}

fn a_weight_of_zero_takes_a_backend_out_of_the_turn() {
    let site = Site::new(SLB);
    let _web = site.web();
    let server = site.start(&[]);
    let web = server.create(r#"{"name":"web","port":80}"#);
    let path = format!("/loadbalancer/{}", web["uuid"].as_str().unwrap());
    let one = server.add_backend(&web, r#"{"ip":"192.168.0.11","port":80}"#);
    let _ = server.add_backend(&web, r#"{"ip":"192.168.0.12","port":80}"#);
    let backend = format!("{path}/backend/{}", one["uuid"].as_str().unwrap());
    let answers = || {
        let mut answers: Vec<_> = (0..4).map(|_| site.get(&web).unwrap()).collect();
        answers.sort_unstable();
        answers
    };
    assert_eq!(answers(), ["one", "one", "two", "two"]);
    let changed = server.ask("PATCH", &backend, r#"{"weight":0}"#);
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(answers(), ["two"; 4]);
    let refused = server.ask("PATCH", &backend, r#"{"weight":65536}"#);
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert_eq!(server.ask("PATCH", &backend, r#"{"weight":5}"#).status, 200);
    let before = site.lb.tables();
    assert_eq!(server.ask("PATCH", &path, r#"{"name":"other"}"#).json()["name"], "other");
    assert_eq!(site.lb.tables(), before);
    assert_eq!(answers(), ["one", "one", "two", "two"]);
}

slb_lab::main! { fast: [two_ports_of_one_vip_live_and_die_apart, a_weight_of_zero_takes_a_backend_out_of_the_turn] }

// SPDX-License-Identifier: Apache-2.0
//! What is changed while traffic flows: a second port of a VIP, the weight of a backend, a name; and what cannot be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use slb_lab::{Plane, Server, site::Site};

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

/// From one host all go to one backend, from another one to the next, until nobody is to be remembered.
fn a_client_that_is_remembered_stays_with_its_backend() {
    let site = Site::new(SLB);
    let _web = site.web();
    let server = site.start(&[]);
    let web = server.create(
        r#"{"name":"web","port":80,"persistence":{"timeout":"5m"},"backends":[
            {"ip":"192.168.0.11","port":80},{"ip":"192.168.0.12","port":80}]}"#,
    );
    let first = site.get(&web).unwrap();
    assert_eq!([0; 4].map(|_| site.get(&web).unwrap()), [0; 4].map(|_| first.clone()));
    site.client.sh("ip addr add 192.168.0.110/24 dev eth0");
    let other = || site.client.sh("curl -s --interface 192.168.0.110 http://192.168.0.85/").trim().to_owned();
    let second = other();
    assert_ne!(second, first);
    assert_eq!([other(), other()], [second.clone(), second]);
    let path = format!("/loadbalancer/{}", web["uuid"].as_str().unwrap());
    assert_eq!(server.ask("PATCH", &path, r#"{"persistence":null}"#).status, 200);
    let mut answers = [0; 4].map(|_| site.get(&web).unwrap());
    answers.sort_unstable();
    assert_eq!(answers, ["one", "one", "two", "two"]);
}

/// The next connection goes to what came last.
fn all_backends_are_replaced_in_one_change() {
    let site = Site::new(SLB);
    let _web = site.web();
    let server = site.start(&[]);
    let web = server.create(r#"{"name":"web","port":80,"backends":[{"ip":"192.168.0.11","port":80}]}"#);
    let path = format!("/loadbalancer/{}/backend", web["uuid"].as_str().unwrap());
    assert_eq!(site.get(&web).unwrap(), "one");
    let before = site.lb.tables();
    for (last, expected) in [(12, "two"), (11, "one")] {
        let replaced = server.ask("PUT", &path, &format!(r#"[{{"ip":"192.168.0.{last}","port":80}}]"#));
        assert_eq!(replaced.status, 200, "{}", replaced.body);
        assert_eq!((0..4).map(|_| site.get(&web).unwrap()).collect::<Vec<_>>(), [expected; 4]);
    }
    assert_eq!(site.lb.tables(), before);
    let refused = server.ask("PUT", &path, r#"[{"ip":"192.168.0.12","port":80},{"ip":"192.168.0.255","port":80}]"#);
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert_eq!(site.lb.tables(), before);
}

fn a_backend_that_could_never_get_a_connection_is_refused() {
    let site = Site::new(SLB);
    site.lb.sh("ip link set lo up");
    let server = site.start(&[]);
    let web = server.create(r#"{"name":"web","port":80}"#);
    let path = format!("/loadbalancer/{}/backend", web["uuid"].as_str().unwrap());
    let before = site.lb.tables();
    for body in [r#"{"ip":"192.168.0.255","port":80}"#, r#"{"ip":"127.255.255.255","port":80}"#] {
        let refused = server.ask("POST", &path, body);
        assert_eq!((refused.status, refused.json()["field"].as_str()), (409, Some("ip")), "{}", refused.body);
    }
    let created = r#"{"name":"other","port":81,"backends":[{"ip":"192.168.0.255","port":80}]}"#;
    assert_eq!(server.ask("POST", "/loadbalancer", created).status, 409);
    assert_eq!(site.lb.tables(), before);
    let kind = if Plane::here() == Plane::Ipvs { "LOCAL" } else { "MASQ" };
    let _ = server.add_backend(&web, &format!(r#"{{"ip":"127.0.0.1","port":80,"type":"{kind}"}}"#));
}

/// Clients and backends of this site share a network, so that source NAT is what makes answers come back.
fn source_nat_is_chosen_while_it_serves() {
    let site = Site::new(SLB);
    let server = site.start(&[]);
    let _web = site.web();
    let web = site.balanced(&server);
    let before = site.lb.tables();
    let path = format!("/loadbalancer/{}", web["uuid"].as_str().unwrap());
    let choose = |choice: &str| server.ask("PATCH", &path, &format!(r#"{{"sourceNat":"{choice}"}}"#));
    assert_eq!(choose("sameNetwork").json()["sourceNat"], "sameNetwork");
    assert!(site.lb.tables().contains("192.168.0.0/24"), "{}", site.lb.tables());
    assert!(site.get(&web).is_ok());
    assert_eq!(choose("never").json()["sourceNat"], "never");
    assert!(!site.lb.tables().contains("MASQUERADE"), "{}", site.lb.tables());
    assert_eq!(choose("sometimes").status, 422);
    server.kill();
    let server = site.start(&[]);
    assert_eq!(server.list()[0]["sourceNat"], "never");
    let always = server.ask("PATCH", &path, r#"{"sourceNat":"always"}"#);
    assert_eq!(always.json()["sourceNat"], "always");
    assert_eq!(site.lb.tables(), before);
    assert!(site.get(&web).is_ok());
}

/// The store may be moved to a host with other networks, whose kernel refuses what the old one's took.
fn a_backend_that_is_refused_holds_up_nobody() {
    let site = Site::new(SLB);
    let _web = site.web();
    let mut server = site.start(&[]);
    let web = site.balanced(&server);
    let _ = server.add_backend(&web, r#"{"ip":"10.9.9.255","port":80}"#);
    server.process().kill();
    site.lb.sh("ip link set eth0 down");
    let spare = site.segment.host("spare", "192.168.0.2/24");
    spare.sh("ip addr add 10.9.9.1/24 dev eth0");
    let options = site.options();
    let server = Server::start(&spare, SLB, &options.iter().map(String::as_str).collect::<Vec<_>>());
    // In user space it has its turn, whose clients go on to the other two: one of them to each in six.
    let mut answers: Vec<_> = (0..6).map(|_| site.get(&web).unwrap()).collect();
    answers.sort_unstable();
    assert_eq!(answers, ["one", "one", "one", "two", "two", "two"]);
    server.delete(&web);
}

slb_lab::main! {
    fast, user: [
        two_ports_of_one_vip_live_and_die_apart,
        a_weight_of_zero_takes_a_backend_out_of_the_turn,
        a_client_that_is_remembered_stays_with_its_backend,
        all_backends_are_replaced_in_one_change,
        a_backend_that_could_never_get_a_connection_is_refused,
        a_backend_that_is_refused_holds_up_nobody,
    ],
    fast: [source_nat_is_chosen_while_it_serves],
}

// SPDX-License-Identifier: Apache-2.0
//! What the kernel counts is what the API says, and how load-balancers are doing is told as it is.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::Value;
use slb_lab::{Server, site::Site, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

/// What `ipvsadm` prints behind the address of a service or a backend.
fn printed(site: &Site, more: &str, line: &str) -> Vec<u64> {
    let table = site.lb.sh(&format!("ipvsadm -ln --exact {more}"));
    let line = table.lines().find(|found| found.contains(line)).unwrap_or_else(|| panic!("no {line} in:\n{table}"));
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn counted(of: &Value) -> Vec<u64> {
    ["connections", "packetsIn", "packetsOut", "bytesIn", "bytesOut"].map(|name| of[name].as_u64().unwrap()).to_vec()
}

fn statistics(server: &Server<'_>, load_balancer: &Value) -> Value {
    let path = format!("/loadbalancer/{}/statistics", load_balancer["uuid"].as_str().unwrap());
    let shown = server.ask("GET", &path, "");
    assert_eq!(shown.status, 200, "{}", shown.body);
    shown.json()
}

fn counters_are_those_of_ipvsadm() {
    let site = Site::new(SLB);
    let _web = site.web();
    let server = site.start(&[]);
    let web = site.balanced(&server);
    let idle = server.create(r#"{"name":"idle","port":81}"#);
    for _ in 0..100 {
        site.get(&web).unwrap();
    }
    // The kernel adds its counters up every two seconds, and slb looks once a second.
    let shown = wait::until("all connections to be counted", || {
        let shown = statistics(&server, &web);
        let same = |of: &Value, line: &str| counted(of) == printed(&site, "--stats", line);
        let all = shown["connections"] == 100
            && same(&shown, "TCP  192.168.0.85:80")
            && same(&shown["backends"][0], "-> 192.168.0.11:80")
            && same(&shown["backends"][1], "-> 192.168.0.12:80");
        all.then_some(shown)
    });
    assert_eq!((&shown["backends"][0]["connections"], &shown["backends"][1]["connections"]), (&50.into(), &50.into()));
    assert!(shown["bytesOut"].as_u64() > Some(1000), "{shown}");
    let all = server.ask("GET", "/statistics", "").json();
    assert_eq!((&all[0]["uuid"], &all[0]["connections"]), (&web["uuid"], &100.into()));
    assert_eq!((&all[1]["uuid"], &all[1]["connections"]), (&idle["uuid"], &0.into()));
}

fn connections_that_stay_are_active() {
    let site = Site::new(SLB);
    let _web = site.web();
    let server = site.start(&[]);
    let web = site.balanced(&server);
    let held = site.client.inside(|| {
        let at = slb_lab::site::endpoint(&web);
        [(); 3].map(|()| std::net::TcpStream::connect(at).unwrap())
    });
    wait::until("three active connections", || (statistics(&server, &web)["activeConnections"] == 3).then_some(()));
    drop(held);
    wait::until("none", || (statistics(&server, &web)["activeConnections"] == 0).then_some(()));
}

fn what_is_put_right_at_once_is_no_news() {
    let site = Site::new(SLB);
    let server = site.start(&["--reconcileInterval", "1s"]);
    let web = site.balanced(&server);
    let path = format!("/loadbalancer/{}", web["uuid"].as_str().unwrap());
    let look = || server.ask("GET", &path, "").json();
    let well = look();
    for observed in [&well["observed"]["programmed"], &well["backends"][0]["observed"]["programmed"]] {
        assert_eq!(observed["is"], true, "{well}");
    }
    site.lb.sh("ipvsadm -C");
    wait::until("the repair", || site.lb.sh("ipvsadm -ln").contains("-> 192.168.0.12:80").then_some(()));
    assert_eq!(look(), well);
}

slb_lab::main! {
    fast: [counters_are_those_of_ipvsadm, what_is_put_right_at_once_is_no_news],
    fast, user: [connections_that_stay_are_active],
}

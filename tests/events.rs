// SPDX-License-Identifier: Apache-2.0
//! Somebody follows what happens, with curl, through a restart.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use slb_lab::{Process, Server, site::Site};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

/// A curl that follows, and has heard something. Everything that happens from now on it hears.
fn follow(site: &Site, headers: &[&str]) -> Process {
    let url = format!("http://{}/events", Server::api());
    let headers: Vec<&str> = headers.iter().flat_map(|header| ["-H", header]).collect();
    let curl = site.lb.spawn("curl", &[&["-sN"], &headers[..], &[&url]].concat());
    curl.line("anything", |line| line.starts_with("data: "));
    curl
}

fn told(curl: &Process) -> Vec<Value> {
    let said = curl.said();
    said.iter().filter_map(|line| line.strip_prefix("data: ")).map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// What was told, by name, up to the first of that name, all of which has been heard.
fn names(curl: &Process, last: &str) -> Vec<String> {
    // The last line of each.
    let event = |line: &str| {
        line.strip_prefix("data: ").map(|data| serde_json::from_str::<Value>(data).unwrap()["event"].clone())
    };
    curl.line(last, |line| event(line).is_some_and(|event| event == last));
    let is_last = |line: &str| line == format!("event: {last}");
    let said = curl.said();
    let count = said.iter().position(|line| is_last(line)).unwrap() + 1;
    said[..count].iter().filter_map(|line| line.strip_prefix("event: ")).map(str::to_owned).collect()
}

fn last_id(curl: &Process) -> String {
    let said = curl.said();
    said.iter().rev().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned()
}

fn all_that_happens_is_told_in_order() {
    let site = Site::new(SLB);
    let server = site.start(&[]);
    let curl = follow(&site, &[]);
    let web = server.create(r#"{"name":"web","port":80}"#);
    let backend = server.add_backend(&web, r#"{"ip":"192.168.0.11","port":80}"#);
    server.delete(&web);
    assert_eq!(
        names(&curl, "deleted"),
        ["reset", "created", "programmed", "advertised", "backendAdded", "programmed", "changed", "deleted"]
    );
    let told = told(&curl);
    assert_eq!((&told[1]["is"]["eip"], &told[1]["loadbalancer"]), (&"192.168.0.85".into(), &web["uuid"]));
    assert_eq!((&told[4]["is"]["ip"], &told[5]["backend"]), (&"192.168.0.11".into(), &backend["uuid"]));
    assert_eq!(told[6]["is"]["status"], "deleting");
    server.stop();
}

fn a_restart_tells_followers_to_look_anew() {
    let site = Site::new(SLB);
    let server = site.start(&[]);
    let curl = follow(&site, &[]);
    let web = server.create(r#"{"name":"web","port":80}"#);
    names(&curl, "advertised");
    let header = format!("Last-Event-ID: {}", last_id(&curl));
    drop(curl);
    // Nothing is missed by whoever comes back to the same process.
    let _ = server.add_backend(&web, r#"{"ip":"192.168.0.11","port":80}"#);
    let back = follow(&site, &[&header]);
    assert_eq!(names(&back, "programmed"), ["backendAdded", "programmed"]);
    let header = format!("Last-Event-ID: {}", last_id(&back));

    server.kill();
    let server = site.start(&[]);
    let back = follow(&site, &[&header]);
    assert_eq!(told(&back)[0]["event"], "reset");
    server.delete(&web);
    assert!(names(&back, "deleted").contains(&"changed".to_owned()));
    server.stop();
}

fn another_host_that_claims_a_vip_is_told_of() {
    let site = Site::new(SLB);
    let server = site.start(&[]);
    let _ = server.create(r#"{"name":"web","port":80}"#);
    let curl = follow(&site, &[]);
    let thief = site.segment.host("thief", "192.168.0.85/24");
    thief.output("arping", &["-U", "-c", "1", "-I", "eth0", "192.168.0.85"]);
    names(&curl, "conflict");
    let told = told(&curl);
    let conflict = told.iter().find(|told| told["event"] == "conflict").unwrap();
    let link = thief.sh("ip -o link show eth0");
    assert_eq!(conflict["eip"], "192.168.0.85");
    assert!(link.contains(conflict["holder"].as_str().unwrap()), "{conflict} {link}");
}

slb_lab::main! {
    fast, user: [
        all_that_happens_is_told_in_order,
        a_restart_tells_followers_to_look_anew,
        another_host_that_claims_a_vip_is_told_of,
    ],
}

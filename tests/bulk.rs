// SPDX-License-Identifier: Apache-2.0
//! Many load-balancers in one request: all of them balance, or the kernel and the store are as they were.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fmt::Write, fs};

use serde_json::{Value, json};
use slb_lab::{Server, site::Site};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

const PLACE: &str = "/loadbalancers";
const MANY: usize = 2_000;
const BACKENDS: usize = 10;

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap()).collect()
}

fn made(server: &Server<'_>, method: &str, list: &Value) -> Value {
    let response = server.ask(method, PLACE, &list.to_string());
    assert!([200, 201].contains(&response.status), "{}", response.body);
    response.json()
}

fn clients_are_served_by_what_one_request_asked_for() {
    let site = Site::new(SLB);
    let _web = site.web();
    let before = site.lb.tables();
    let server = site.start(&[]);
    let (one, two) = (json!({"ip": "192.168.0.11", "port": 80}), json!({"ip": "192.168.0.12", "port": 80}));
    let list = json!([
        {"name": "one", "port": 80, "backends": [one]},
        {"name": "two", "port": 80, "backends": [two]},
        {"name": "kept", "port": 81, "eip": "192.168.0.85", "backends": [one]},
    ]);
    let all = made(&server, "POST", &list);
    assert_eq!(names(&all), ["one", "two", "kept"]);
    assert_eq!([0, 1, 2].map(|index| site.get(&all[index]).unwrap()), ["one", "two", "one"]);

    // The whole set: one goes, one changes its backend, one stays, one comes, and takes the port of the one that goes.
    let set = json!([
        {"name": "new", "port": 80, "eip": all[0]["eip"], "backends": [two]},
        {"name": "two", "port": 80, "backends": [one]},
        all[2],
    ]);
    let set = made(&server, "PUT", &set);
    assert_eq!(names(&set), ["new", "two", "kept"]);
    assert_eq!([&set[1]["uuid"], &set[2]["uuid"]], [&all[1]["uuid"], &all[2]["uuid"]]);
    assert_eq!([0, 1, 2].map(|index| site.get(&set[index]).unwrap()), ["two", "one", "one"]);
    server.kill();

    let server = site.start(&[]);
    assert_eq!(server.list().as_array().unwrap().len(), 3);
    assert_eq!(made(&server, "PUT", &json!([])), json!([]));
    assert_eq!(site.lb.tables(), before);
}

/// The last of them asks for what this kernel does not have, when the others are programmed already.
fn what_the_kernel_refuses_leaves_nothing_of_the_others() {
    let site = Site::new(SLB);
    let server = site.start(&[]);
    let _ = server.create(r#"{"name":"there","port":80,"backends":[{"ip":"192.168.0.11","port":80}]}"#);
    let (before, listed) = (site.lb.kernel_state(), server.list());
    let list = json!([{"name": "a", "port": 81}, {"name": "there", "port": 80}, {"port": 82, "scheduler": "twos"}]);
    for method in ["POST", "PUT"] {
        let response = server.ask(method, PLACE, &list.to_string());
        let problem = response.json();
        assert_eq!((response.status, &problem["type"]), (409, &json!("/problems/unsupported")), "{problem}");
        assert_eq!((&problem["pointer"], &problem["undone"]), (&json!("#/2"), &json!(true)), "{problem}");
        assert_eq!(names(&server.list()), ["there"]);
        assert_eq!(server.list()[0]["uuid"], listed[0]["uuid"]);
        assert_eq!(site.lb.kernel_state(), before, "{method}");
    }
    server.kill();
    let server = site.start(&[]);
    assert_eq!(names(&server.list()), ["there"]);
}

/// However long it takes: an emulated kernel on a busy machine is slow.
fn patiently(site: &Site, method: &str, list: &str) -> Value {
    let file = format!("/run/{}.json", site.lb.name());
    fs::write(&file, list).unwrap();
    let url = format!("http://{}{PLACE}", Server::api());
    let answer = site.lb.sh(&format!("curl -sS --fail-with-body -X {method} --data-binary @{file} {url}"));
    serde_json::from_str(&answer).unwrap()
}

fn thousands_in_one_request() {
    let site = Site::new(SLB);
    let before = site.lb.tables();
    let state_dir = site.state_dir();
    let range = ["--ipamRange", "10.7.0.0/20", "--arpProbeInterval", "1ms", "--stateDir", &state_dir];
    let _server = Server::start(&site.lb, SLB, &[&["--arp", "--adapter", "eth0"][..], &range].concat());
    let mut list = String::from("[");
    for number in 0..MANY {
        let comma = if number == 0 { "" } else { "," };
        write!(list, r#"{comma}{{"name":"lb {number}","port":80,"backends":["#).unwrap();
        for last in 1..=BACKENDS {
            let comma = if last == 1 { "" } else { "," };
            write!(list, r#"{comma}{{"ip":"10.1.{}.{last}","port":8080}}"#, number % 200).unwrap();
        }
        list.push_str("]}");
    }
    list.push(']');
    let made = patiently(&site, "POST", &list);
    let expected: Vec<String> = (0..MANY).map(|number| format!("lb {number}")).collect();
    assert_eq!(names(&made), expected);
    assert_eq!(site.lb.services().len(), MANY * (BACKENDS + 1));
    // The same set again is nothing to do.
    assert_eq!(patiently(&site, "PUT", &list)[0]["uuid"], made[0]["uuid"]);
    assert_eq!(patiently(&site, "PUT", "[]"), json!([]));
    assert_eq!(site.lb.tables(), before);
}

slb_lab::main! {
    fast: [
        clients_are_served_by_what_one_request_asked_for, what_the_kernel_refuses_leaves_nothing_of_the_others,
        thousands_in_one_request,
    ],
    user: [clients_are_served_by_what_one_request_asked_for],
}

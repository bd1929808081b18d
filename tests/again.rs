// SPDX-License-Identifier: Apache-2.0
//! Clients that ask until they are answered, under a key for each request, while the server is killed at random moments: each request is
//! carried out once, and answered as it was the first time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use slb_lab::{
    Dice, Server,
    http::{self, Response},
    site::{Site, asked_for},
};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

const KILLS: u32 = 25;
const CLIENTS: u64 = 4;
/// The longest time between two kills.
const LONGEST_MS: u64 = 250;
const RANGE: &str = "10.7.0.0/20";

/// A request: where to, and with which body.
type Request = (&'static str, &'static str);
const REQUESTS: [Request; 2] = [
    ("/loadbalancer", r#"{"name":"one","port":80,"backends":[{"ip":"192.168.0.11","port":80}]}"#),
    ("/loadbalancers", r#"[{"name":"one of two","port":80},{"name":"two of two","port":81}]"#),
];

/// Each request by its key, with its answer if there was one.
type Asked = BTreeMap<String, (Request, Option<Response>)>;

fn options(site: &Site) -> Vec<String> {
    let state_dir = site.state_dir();
    let options =
        ["--arp", "--adapter", "eth0", "--ipamRange", RANGE, "--arpProbeInterval", "1ms", "--stateDir", &state_dir];
    options.map(str::to_owned).to_vec()
}

fn start<'a>(site: &'a Site, options: &[String]) -> Server<'a> {
    Server::start(&site.lb, SLB, &options.iter().map(String::as_str).collect::<Vec<_>>())
}

fn ask(site: &Site, key: &str, (path, body): Request) -> std::io::Result<Response> {
    http::ask(&site.lb, Server::api(), "POST", path, &[("Idempotency-Key", key)], body)
}

fn killed_while_clients_insist() {
    let site = Site::new(SLB);
    let options = options(&site);
    let mut server = start(&site, &options);
    let mut dice = Dice::new(20_211_112);
    let mut in_doubt = 0;
    for kill in 0..KILLS {
        let (asked, stop) = (Mutex::new(Asked::new()), AtomicBool::new(false));
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (site, asked, stop) = (&site, &asked, &stop);
                scope.spawn(move || insist(site, asked, stop, &format!("\"{kill}-{client}")));
            }
            thread::sleep(Duration::from_millis(dice.roll(LONGEST_MS)));
            server.process().kill();
            stop.store(true, Ordering::Release);
        });
        server = start(&site, &options);
        let mut known = BTreeSet::new();
        for (key, (request, first)) in asked.into_inner().unwrap() {
            let again = ask(&site, &key, request).unwrap();
            assert_eq!(again.status, 201, "{key}: {}", again.body);
            in_doubt += u32::from(first.is_none());
            for other in first.into_iter().chain([ask(&site, &key, request).unwrap()]) {
                assert_eq!(said(&other), said(&again), "{key}");
            }
            known.extend(made(&again).iter().map(|each| each["uuid"].to_string()));
        }
        let listed: BTreeSet<String> = made_of(&server.list()).iter().map(|each| each["uuid"].to_string()).collect();
        assert_eq!(listed, known, "kill {kill}: what is there and what was answered");
        assert_eq!(server.ask("PUT", "/loadbalancers", "[]").status, 200);
    }
    assert!(in_doubt > 0, "each request was answered at once");
}

/// A client: asks under one key after the other, until the server does not answer.
fn insist(site: &Site, asked: &Mutex<Asked>, stop: &AtomicBool, name: &str) {
    let mut number = 0;
    while !stop.load(Ordering::Acquire) {
        let (key, request) = (format!("{name}-{number}\""), REQUESTS[number % REQUESTS.len()]);
        asked.lock().unwrap().insert(key.clone(), (request, None));
        let Ok(answer) = ask(site, &key, request) else { break };
        // What was cut off in the middle was not answered.
        if answer.status != 201 || serde_json::from_str::<Value>(&answer.body).is_err() {
            break;
        }
        asked.lock().unwrap().insert(key, (request, Some(answer)));
        number += 1;
    }
}

/// All of an answer but what is observed, and the headers of the day.
fn said(answer: &Response) -> (u16, Vec<Option<String>>, Vec<Value>) {
    let headers = ["location", "etag", "content-type"].map(|name| answer.header(name).map(str::to_owned));
    (answer.status, headers.to_vec(), made(answer).iter().map(asked_for).collect())
}

fn made(answer: &Response) -> Vec<Value> {
    made_of(&answer.json())
}

fn made_of(answer: &Value) -> Vec<Value> {
    match answer.as_array() {
        Some(all) => all.clone(),
        None if answer.is_null() => Vec::new(),
        None => vec![answer.clone()],
    }
}

/// Also when the objects have changed since, or are gone; and no other request gets the key.
fn answered_as_it_was_the_first_time() {
    let site = Site::new(SLB);
    let options = options(&site);
    let mut server = start(&site, &options);
    let firsts = [0, 1].map(|which| ask(&site, &format!("key-{which}"), REQUESTS[which]).unwrap());
    let [one, two] = firsts.each_ref().map(made);
    let path = format!("/loadbalancer/{}", one[0]["uuid"].as_str().unwrap());
    assert_eq!(server.ask("PATCH", &path, r#"{"name":"renamed"}"#).status, 200);
    server.delete(&two[0]);
    for _ in 0..2 {
        let before = site.lb.kernel_state();
        for (which, first) in firsts.iter().enumerate() {
            assert_eq!(said(&ask(&site, &format!("key-{which}"), REQUESTS[which]).unwrap()), said(first));
            let other = ask(&site, &format!("key-{which}"), REQUESTS[1 - which]).unwrap();
            assert_eq!((other.status, &other.json()["type"]), (422, &json!("/problems/key-of-another")));
        }
        assert_eq!(site.lb.kernel_state(), before);
        let listed = server.list();
        let names: Vec<&str> = listed.as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["renamed", "two of two"]);
        server.kill();
        server = start(&site, &options);
    }
}

slb_lab::main! {
    fast: [killed_while_clients_insist, answered_as_it_was_the_first_time],
    user: [killed_while_clients_insist, answered_as_it_was_the_first_time],
}

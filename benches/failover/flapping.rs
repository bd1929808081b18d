// SPDX-License-Identifier: Apache-2.0
//! A backend that flaps, and whether others are late by it: requests to the API, and checks of another load-balancer.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use slb_lab::{
    Server,
    findings::{median, part, tell},
};

use crate::{
    site::{Site, address},
    web::Web,
};

/// How long the backend refuses, and accepts, in turns.
const FLAP: Duration = Duration::from_millis(300);
/// How often it is checked: each answer decides.
const OFTEN: &str = r#"{"type":"tcp","interval":"50ms","rise":1,"fall":1}"#;
/// How often the other is checked.
const INTERVAL: Duration = Duration::from_millis(100);
/// How often it is measured with and without.
const TURNS: usize = 4;
/// Load-balancers that are created and deleted in a turn, and the time between two.
const REQUESTS: usize = 50;
const PAUSE: Duration = Duration::from_millis(50);
/// So many times as long as without, at most: the median request to the API, and the 99th of 100 times between two checks.
const AIM: [f64; 2] = [1.5, 1.25];

/// What was measured, in seconds.
#[derive(Default)]
struct Times {
    created: Vec<f64>,
    deleted: Vec<f64>,
    /// Between two checks.
    checks: Vec<f64>,
}

pub fn flapping() {
    let site = Site::new();
    let mut server = site.start_slb();
    let quiet = Web::start(&site.hosts[2], 82, "quiet");
    let balance = |port: u16, at: usize, check: &str| {
        let backends = format!(r#"[{{"ip":"{}","port":{port}}}]"#, address(at));
        drop(server.create(&format!(r#"{{"port":{port},"backends":{backends},"healthCheck":{check}}}"#)));
    };
    balance(81, 1, OFTEN);
    balance(82, 2, &format!(r#"{{"type":"tcp","interval":"{}ms"}}"#, INTERVAL.as_millis()));
    let (mut calm, mut flapping) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let web = Web::start(&site.hosts[1], 81, "flapping");
        calm.push(measure(&server, &quiet));
        drop(web);
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| flap(&site, &ended));
            flapping.push(measure(&server, &quiet));
            ended.store(true, Ordering::Release);
        });
    }
    let flaps = server.process().said().iter().filter(|line| line.contains("backend is down")).count();
    // Of each turn, the median and the 99th of 100.
    let ratio = |what: &str, each: fn(&Times) -> &[f64], of: f64| {
        let room = format!("a backend flaps: {what}");
        let [without, with] =
            [&calm, &flapping].map(|all| all.iter().map(|times| part(each(times), of)).collect::<Vec<_>>());
        tell(&room, "without", "s", &without);
        tell(&room, "with", "s", &with);
        median(&with) / median(&without)
    };
    let created = ratio("a load-balancer is created", |times| &times.created, 0.5);
    let deleted = ratio("and deleted", |times| &times.deleted, 0.5);
    let _ = ratio("a load-balancer is created, 99th of 100", |times| &times.created, 0.99);
    let _ = ratio("and deleted, 99th of 100", |times| &times.deleted, 0.99);
    let _ = ratio("between two checks of another", |times| &times.checks, 0.5);
    let checks = ratio("between two checks of another, 99th of 100", |times| &times.checks, 0.99);
    assert!(flaps > TURNS, "the backend was not seen to flap");
    let is_late = created.max(deleted) > AIM[0] || checks > AIM[1];
    assert!(!is_late, "others are late by a backend that flaps");
}

fn flap(site: &Site, ended: &AtomicBool) {
    while !ended.load(Ordering::Acquire) {
        let web = Web::start(&site.hosts[1], 81, "flapping");
        sleep(FLAP);
        drop(web);
        sleep(FLAP);
    }
}

fn measure(server: &Server<'_>, quiet: &Web) -> Times {
    let (begun, mut times) = (Instant::now(), Times::default());
    for _ in 0..REQUESTS {
        let start = Instant::now();
        let created = server.create(r#"{"name":"x","port":90}"#);
        times.created.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        server.delete(&created);
        times.deleted.push(start.elapsed().as_secs_f64());
        sleep(PAUSE);
    }
    let checks = quiet.checks();
    let during: Vec<_> = checks.iter().filter(|check| **check > begun).collect();
    times.checks.extend(during.windows(2).map(|pair| (*pair[1] - *pair[0]).as_secs_f64()));
    times
}

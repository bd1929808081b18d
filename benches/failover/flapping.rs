// SPDX-License-Identifier: Apache-2.0
//! A backend that flaps, and whether others are late by it: requests to the API, and checks of another load-balancer.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use slb_lab::Server;

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

/// What was measured, in milliseconds.
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
    let (mut calm, mut flapping) = (Times::default(), Times::default());
    for _ in 0..TURNS {
        let web = Web::start(&site.hosts[1], 81, "flapping");
        measure(&server, &quiet, &mut calm);
        drop(web);
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| flap(&site, &ended));
            measure(&server, &quiet, &mut flapping);
            ended.store(true, Ordering::Release);
        });
    }
    let flaps = server.process().said().iter().filter(|line| line.contains("backend is down")).count();
    println!("a backend flaps every {} ms, {flaps} times out    without      with", FLAP.as_millis());
    let show = |what: &str, calm: &mut [f64], flapping: &mut [f64], percent: usize| {
        let [calm, flapping] = [calm, flapping].map(|times| percentile(times, percent));
        let ratio = flapping / calm;
        println!("{what:<37} p{percent:<3} {calm:>10.1} ms {flapping:>7.1} ms {ratio:>6.2} x");
        ratio
    };
    let mut limit = Vec::new();
    for percent in [50, 99] {
        let created = show("a load-balancer is created", &mut calm.created, &mut flapping.created, percent);
        let deleted = show("and deleted", &mut calm.deleted, &mut flapping.deleted, percent);
        let checks = show("between two checks of another", &mut calm.checks, &mut flapping.checks, percent);
        limit.extend(if percent == 50 { [created.max(deleted) / AIM[0], 0.0] } else { [0.0, checks / AIM[1]] });
    }
    assert!(flaps > TURNS, "the backend was not seen to flap");
    assert!(limit.iter().all(|share| *share <= 1.0), "others are late by a backend that flaps");
}

fn flap(site: &Site, ended: &AtomicBool) {
    while !ended.load(Ordering::Acquire) {
        let web = Web::start(&site.hosts[1], 81, "flapping");
        sleep(FLAP);
        drop(web);
        sleep(FLAP);
    }
}

fn measure(server: &Server<'_>, quiet: &Web, times: &mut Times) {
    let begun = Instant::now();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    for _ in 0..REQUESTS {
        let start = Instant::now();
        let created = server.create(r#"{"name":"x","port":90}"#);
        times.created.push(millis(start.elapsed()));
        let start = Instant::now();
        server.delete(&created);
        times.deleted.push(millis(start.elapsed()));
        sleep(PAUSE);
    }
    let checks = quiet.checks();
    let during: Vec<_> = checks.iter().filter(|check| **check > begun).collect();
    times.checks.extend(during.windows(2).map(|pair| millis(*pair[1] - *pair[0])));
}

fn percentile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[(times.len() - 1) * percent / 100]
}

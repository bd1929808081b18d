// SPDX-License-Identifier: Apache-2.0
//! The program at each scale: the whole list and one of it, as one client gets them; what it holds of the machine's memory, and how much
//! more while it gives out the list; and what it takes of the processor while nothing happens and while it looks at the kernel.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use slb_lab::{Process, Server, findings::tell_at};

use crate::{
    client::{Client, ask_all},
    fleet::{Fleet, Host, on_a_runtime},
    process::{self, SLB},
};

const ROOM: &str = "reading";
const ROUNDS: usize = 5;
const SCALES: [Fleet; 5] = [Fleet(1), Fleet(100), Fleet(1_000), Fleet(2_000), Fleet(10_000)];
/// How often one load-balancer is asked for.
const LOOKS: usize = 200;
/// How often it is started.
const STARTS: usize = 3;
/// At these scales nothing happens for that long, so many times. The more there is the less often slb looks at the kernel of its own accord: in
/// that time once with one load-balancer; with 10,000 as well, if a look takes 2.5 s.
const WATCHED: [(u32, Duration); 2] = [(1, Duration::from_secs(30)), (10_000, Duration::from_secs(120))];
const WATCHES: usize = 3;

pub fn measure() {
    tell_at(ROOM, "binary", 1, "B", &[fs::metadata(SLB).unwrap().len() as f64]);
    SCALES.into_iter().for_each(measure_at);
}

fn measure_at(fleet: Fleet) {
    let tell = |what, unit, values: &[f64]| tell_at(ROOM, what, fleet.0, unit, values);
    let (mut memory, mut anonymous) = (Vec::new(), Vec::new());
    let mut started = None;
    for _ in 0..STARTS {
        if let Some((host, slb)) = started.take() {
            stop(&host, slb);
        }
        let host = Host::new();
        let slb = process::start(fleet, 0, &host);
        memory.push(process::memory(&slb));
        anonymous.push(process::anonymous(&slb));
        started = Some((host, slb));
    }
    let (host, slb) = started.unwrap();
    tell("memory", "KiB", &memory);
    tell("memory, no file's", "KiB", &anonymous);
    if let Some((_, watch)) = WATCHED.into_iter().find(|(scale, _)| *scale == fleet.0) {
        let (mut processor, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..WATCHES {
            let before = process::processor(&slb);
            thread::sleep(watch);
            processor.push((process::processor(&slb) - before).as_secs_f64() / watch.as_secs_f64());
            memory.push(process::memory(&slb));
        }
        tell("processor, idle", "s/s", &processor);
        tell("memory, after looks", "KiB", &memory);
    }
    process::forget_peak(&slb);
    let held = process::memory(&slb);
    let (mut whole, mut one) = (Vec::new(), Vec::new());
    host.node.inside(|| {
        on_a_runtime(async {
            let mut client = Client::connect(Server::api()).await;
            for _ in 0..ROUNDS {
                let start = Instant::now();
                client.ask("GET", "/loadbalancers", "").await;
                whole.push(start.elapsed().as_secs_f64());
            }
            let all: serde_json::Value = serde_json::from_slice(client.ask("GET", "/loadbalancers", "").await).unwrap();
            let path = format!("/loadbalancer/{}", all[fleet.0 as usize / 2]["uuid"].as_str().unwrap());
            one = ask_all(Server::api(), 1, vec![("GET", path, String::new()); LOOKS]).await.each;
        });
    });
    tell("list", "s", &whole);
    tell("list, memory more", "KiB", &[process::peak(&slb) - held]);
    tell("one", "s", &one[LOOKS - 50..]);
    stop(&host, slb);
}

fn stop(host: &Host, slb: Process) {
    drop(slb);
    host.flush();
}

// SPDX-License-Identifier: Apache-2.0
//! All load-balancers in one request, with ten backends each: how long until all of it is programmed, and what the server holds of the
//! machine's memory then, and at most. Beside it [`reading`](crate::reading) has what it holds that has read them from its store.

use std::{fmt::Write as _, time::Instant};

use serde_json::json;
use slb_lab::{Server, findings::tell_at};

use crate::{
    client::Client,
    fleet::{BACKENDS, Fleet, Host, on_a_runtime},
    process,
};

const ROOM: &str = "bulk";
const ROUNDS: usize = 3;
const SCALES: [Fleet; 2] = [Fleet(1_000), Fleet(10_000)];

pub fn measure() {
    SCALES.into_iter().for_each(measure_at);
}

fn measure_at(fleet: Fleet) {
    let (mut time, mut memory, mut peak) = (Vec::new(), Vec::new(), Vec::new());
    let hosts: Vec<Host> = (0..ROUNDS).map(|_| Host::new()).collect();
    for host in &hosts {
        let folder = format!("/run/bulk-{}-{}", fleet.0, host.node.name());
        let slb = process::start_in(&folder, fleet, 0, host);
        let start = Instant::now();
        host.node.inside(|| {
            on_a_runtime(async {
                Client::connect(Server::api()).await.ask("POST", "/loadbalancers", &list(fleet)).await;
            });
        });
        time.push(start.elapsed().as_secs_f64());
        assert_eq!(host.objects(), fleet.objects());
        memory.push(process::memory(&slb));
        peak.push(process::peak(&slb));
        drop(slb);
        host.flush();
    }
    tell_at(ROOM, "time", fleet.0, "s", &time);
    tell_at(ROOM, "memory", fleet.0, "KiB", &memory);
    tell_at(ROOM, "memory, peak", fleet.0, "KiB", &peak);
}

fn list(fleet: Fleet) -> String {
    let backend = |last| json!({"ip": format!("10.160.0.{last}"), "port": Fleet::PORT});
    let backends: Vec<_> = (1..=BACKENDS).map(backend).collect();
    let mut text = String::from("[");
    for (at, vip) in fleet.vips().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let each =
            json!({"name": format!("web {at}"), "eip": vip.to_string(), "port": Fleet::PORT, "backends": backends});
        write!(text, "{comma}{each}").unwrap();
    }
    text + "]"
}

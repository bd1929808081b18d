// SPDX-License-Identifier: Apache-2.0
//! One change among few load-balancers and among many: with the program, over its API, from one client. It must not matter how many there
//! are. In turns of a few changes, always in the same order: for some tens of milliseconds after a creation or a deletion the server still has
//! something to do, and a change takes two or three times as long then, so the same time has to pass before each.
//!
//! | | what is changed |
//! | --- | --- |
//! | weight | of a backend |
//! | backend | added and removed |
//! | load-balancer | created with a backend of direct routing, and deleted |
//! | address | bound and taken off, by hand: what the kernel takes of the line before |

use std::net::Ipv4Addr;

use serde_json::Value;
use slb_lab::{
    Process, Server,
    findings::{median, tell_at},
    http,
};

use crate::{
    client::{Client, ask_all},
    fleet::{Fleet, Host, on_a_runtime},
    limit, process,
};

const ROOM: &str = "change";
const FLEETS: [Fleet; 2] = [Fleet(1), Fleet(10_000)];
const ROUNDS: usize = 100;
/// An address that slb has nothing to do with.
const BY_HAND: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 1);
/// Changes of each kind in a round.
const CHANGES: usize = 4;

pub fn measure() {
    let hosts = FLEETS.map(|_| Host::new());
    let [few, many] = [0, 1].map(|at| process::start(FLEETS[at], 100, &hosts[at]));
    let sites = [Site::new(&hosts[0], few, FLEETS[0]), Site::new(&hosts[1], many, FLEETS[1])];
    let mut found: [[Vec<f64>; 4]; 2] = Default::default();
    for _ in 0..ROUNDS {
        for at in 0..FLEETS.len() {
            for (all, each) in found[at].iter_mut().zip(sites[at].round()) {
                all.push(median(&each));
            }
        }
    }
    for (fleet, found) in FLEETS.iter().zip(&found) {
        for (what, times) in ["weight", "backend", "load-balancer", "address"].iter().zip(found) {
            tell_at(ROOM, what, fleet.0, "s", times);
        }
    }
    drop(sites);
    hosts.iter().for_each(Host::flush);
}

struct Site<'a> {
    host: &'a Host,
    /// The number of its adapter.
    adapter: u32,
    _slb: Process,
    /// In the middle of the list.
    load_balancer: String,
    backend: String,
}

impl<'a> Site<'a> {
    fn new(host: &'a Host, slb: Process, fleet: Fleet) -> Self {
        let all = http::ask(&host.node, Server::api(), "GET", "/loadbalancers", &[], "").unwrap().json();
        let one = &all[fleet.0 as usize / 2];
        let load_balancer = format!("/loadbalancer/{}", text(&one["uuid"]));
        let backend = format!("{load_balancer}/backend/{}", text(&one["backends"][5]["uuid"]));
        let adapter = host.node.sh("ip -o link show dev eth0 | cut -d: -f1").trim().parse().unwrap();
        Self { host, adapter, _slb: slb, load_balancer, backend }
    }

    /// How long each took, by kind.
    fn round(&self) -> [Vec<f64>; 4] {
        self.host.node.inside(|| {
            let [weight, backend, load_balancer] =
                on_a_runtime(async { [self.weigh().await, self.add().await, self.create().await] });
            let address = (0..CHANGES / 2).map(|_| limit::address(self.adapter, BY_HAND).as_secs_f64()).collect();
            [weight, backend, load_balancer, address]
        })
    }

    async fn weigh(&self) -> Vec<f64> {
        let weigh = |at| ("PATCH", self.backend.clone(), format!(r#"{{"weight":{}}}"#, 2 + at % 2));
        ask_all(Server::api(), 1, (0..CHANGES).map(weigh).collect()).await.each
    }

    async fn add(&self) -> Vec<f64> {
        let path = format!("{}/backend", self.load_balancer);
        self.make_and_remove(&path, &path, r#"{"ip":"10.200.0.1","port":80}"#).await
    }

    async fn create(&self) -> Vec<f64> {
        let body = r#"{"name":"one more","port":80,"backends":[{"ip":"10.200.0.1","port":80,"type":"DR"}]}"#;
        self.make_and_remove("/loadbalancer", "/loadbalancer", body).await
    }

    async fn make_and_remove(&self, path: &str, below: &str, body: &str) -> Vec<f64> {
        let mut client = Client::connect(Server::api()).await;
        let mut times = Vec::new();
        for _ in 0..CHANGES / 2 {
            let start = std::time::Instant::now();
            let made: Value = serde_json::from_slice(client.ask("POST", path, body).await).unwrap();
            client.ask("DELETE", &format!("{below}/{}", text(&made["uuid"])), "").await;
            times.push(start.elapsed().as_secs_f64());
        }
        times
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

// SPDX-License-Identifier: Apache-2.0
//! Creations and deletions over the API, from one client and from 64, each on a connection of its own that it keeps; and of a whole list
//! in one request. Everything is programmed by the time of the answer; the store is in memory here, and on a disk in
//! [`durable`](crate::durable).

use std::net::SocketAddr;

use serde_json::Value;
use slb_lab::{
    Server,
    findings::{part, tell_at},
};

use crate::{
    client::{Timed, ask_all},
    fleet::{Fleet, Host, on_a_runtime},
    process,
};

const ROOM: &str = "requests";
/// How many clients, and how many load-balancers they make together.
const CLIENTS: [(usize, usize); 2] = [(1, 200), (64, 640)];
/// How many load-balancers there are in a list.
const LISTED: usize = 640;
const ROUNDS: usize = 3;
const ONE: &str = r#"{"name":"one","port":80,"backends":[{"ip":"10.200.0.1","port":80,"type":"DR"}]}"#;

pub fn measure() {
    let host = Host::new();
    let slb = process::start(Fleet(1), 4_000, &host);
    let mut found = [Rates::default(), Rates::default()];
    let (mut created, mut deleted) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for ((clients, count), found) in CLIENTS.iter().zip(&mut found) {
            host.node.inside(|| on_a_runtime(found.round(Server::api(), *clients, *count)));
        }
        let rate = |method, body| {
            let request = vec![(method, "/loadbalancers".to_owned(), body)];
            let timed = host.node.inside(|| on_a_runtime(ask_all(Server::api(), 1, request)));
            LISTED as f64 / timed.all
        };
        created.push(rate("POST", format!("[{}]", vec![ONE; LISTED].join(","))));
        deleted.push(rate("PUT", "[]".to_owned()));
    }
    tell_at(ROOM, "POST, in one list", 1, "/s", &created);
    tell_at(ROOM, "PUT of an empty list", 1, "/s", &deleted);
    for ((clients, _), found) in CLIENTS.iter().zip(&found) {
        found.tell(*clients, |what, unit, values| tell_at(ROOM, what, 1, unit, values));
    }
    drop(slb);
    host.flush();
}

/// What rounds of creations and deletions took.
#[derive(Default)]
pub struct Rates {
    created: Vec<Timed>,
    deleted: Vec<Timed>,
}

impl Rates {
    pub async fn round(&mut self, api: SocketAddr, clients: usize, count: usize) {
        self.round_of(api, clients, vec![ONE.to_owned(); count]).await;
    }

    /// The same with these bodies.
    pub async fn round_of(&mut self, api: SocketAddr, clients: usize, bodies: Vec<String>) {
        let creations = bodies.into_iter().map(|body| ("POST", "/loadbalancer".to_owned(), body));
        let created = ask_all(api, clients, creations.collect()).await;
        let path = |made: &Value| format!("/loadbalancer/{}", made["uuid"].as_str().unwrap());
        let deletions = created.answers.iter().map(|made| ("DELETE", path(made), String::new())).collect();
        self.deleted.push(ask_all(api, clients, deletions).await);
        self.created.push(created);
    }

    /// By round: rates, and which latencies so many did not go beyond.
    pub fn tell(&self, clients: usize, mut tell: impl FnMut(&str, &str, &[f64])) {
        for (what, timed) in [("POST", &self.created), ("DELETE", &self.deleted)] {
            let rates: Vec<f64> = timed.iter().map(|timed| timed.each.len() as f64 / timed.all).collect();
            tell(&format!("{what}, {clients} at a time"), "/s", &rates);
            for (name, of) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
                let each: Vec<f64> = timed.iter().map(|timed| part(&timed.each, of)).collect();
                tell(&format!("{what}, {clients} at a time: {name}"), "s", &each);
            }
        }
    }
}

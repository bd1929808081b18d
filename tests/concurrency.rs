// SPDX-License-Identifier: Apache-2.0
//! Many clients at once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, sync::Mutex, thread};

use slb_lab::{Server, http};

use slb_lab::site::Site;

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

const CLIENTS: usize = 64;
const ROUNDS: usize = 3;

fn start(site: &Site) -> Server<'_> {
    let state_dir = site.state_dir();
    let range = ["--ipamRange", "10.7.0.1-10.7.0.80", "--arpProbeInterval", "5ms", "--stateDir", &state_dir];
    Server::start(&site.lb, SLB, &[&["--arp", "--adapter", "eth0"][..], &range].concat())
}

/// No address twice, nothing lost, nothing left.
fn create_and_delete_at_once() {
    let site = Site::new(SLB);
    let before = site.lb.tables();
    let server = start(&site);
    let held = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (site, server, held) = (&site, &server, &held);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let name = format!("{client}-{round}");
                    let created = server.create(&format!(r#"{{"name":"{name}","port":80}}"#));
                    let eip = created["eip"].as_str().unwrap().to_owned();
                    assert!(held.lock().unwrap().insert(eip.clone()), "{eip} was handed out twice");
                    let _ = server.add_backend(&created, r#"{"ip":"10.1.0.1","port":80}"#);
                    let path = format!("/loadbalancer/{}", created["uuid"].as_str().unwrap());
                    let read = http::ask(&site.lb, Server::api(), "GET", &path, &[], "").unwrap().json();
                    assert_eq!(read["name"], name.as_str());
                    assert_eq!(read["backends"].as_array().unwrap().len(), 1);
                    held.lock().unwrap().remove(&eip);
                    server.delete(&created);
                }
            });
        }
    });
    assert_eq!(server.list().as_array().unwrap().len(), 0);
    assert_eq!(site.lb.tables(), before);
}

/// All add a backend to the same load-balancer: none is lost.
fn one_load_balancer_changed_by_all() {
    let site = Site::new(SLB);
    let server = start(&site);
    let shared = server.create(r#"{"name":"shared","port":80}"#);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, shared) = (&server, &shared);
            scope.spawn(move || {
                let _ = server.add_backend(shared, &format!(r#"{{"ip":"10.1.0.{}","port":80}}"#, client + 1));
            });
        }
    });
    let backends = &server.list()[0]["backends"];
    assert_eq!(backends.as_array().unwrap().len(), CLIENTS);
    assert_eq!(site.lb.services().iter().filter(|line| line.starts_with("-a ")).count(), CLIENTS);
}

slb_lab::main! {
    fast, user: [create_and_delete_at_once, one_load_balancer_changed_by_all],
}

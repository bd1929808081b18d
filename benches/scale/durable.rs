// SPDX-License-Identifier: Apache-2.0
//! Creations and deletions that are on this machine's disk when they are answered: slb in user space on the loopback adapter, one client
//! and 64, and of a list in one request. Beside it, how many small files in turn the disk confirms in a second.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process,
    time::Instant,
};

use slb_lab::{Loopback, findings::Findings};

use crate::{client::ask_all, fleet::on_a_runtime, process::SLB, requests::Rates};

const ROOM: &str = "durable";
const CLIENTS: [(usize, usize); 2] = [(1, 100), (64, 640)];
const ROUNDS: usize = 5;
/// An address for each at a time: requests about the same one are carried out one after the other.
const RANGE: &str = "127.86.0.1-127.86.15.254";
/// How many load-balancers there are in a list.
const LISTED: usize = 640;
/// Writes that are confirmed, for the limit.
const WRITES: usize = 100;

pub fn measure(findings: &mut Findings) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("durable-{}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    let state = folder.join("state").display().to_string();
    let options = ["--dataplane", "user", "--adapter", "lo", "--ipamRange", RANGE, "--stateDir", &state];
    let slb = Loopback::start(SLB, &options);
    let mut found = [Rates::default(), Rates::default()];
    let (mut disk, mut listed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        disk.push(confirmed(&folder.join("file"), WRITES));
        for ((clients, count), found) in CLIENTS.iter().zip(&mut found) {
            on_a_runtime(found.round_of(slb.api(), *clients, bodies(*count)));
        }
        listed.push(on_a_runtime(in_one_list(slb.api())));
    }
    drop(slb);
    fs::remove_dir_all(&folder).unwrap();
    findings.tell_at(ROOM, "fsync", 1, "/s", &disk);
    findings.tell_at(ROOM, "POST, in one list", 1, "/s", &listed);
    for ((clients, _), found) in CLIENTS.iter().zip(&found) {
        found.tell(*clients, |what, unit, values| findings.tell_at(ROOM, what, 1, unit, values));
    }
}

/// A second's creations in one request; they are taken away again.
async fn in_one_list(api: SocketAddr) -> f64 {
    let list = |bodies: &[String]| vec![("POST", "/loadbalancers".to_owned(), format!("[{}]", bodies.join(",")))];
    let timed = ask_all(api, 1, list(&bodies(LISTED))).await;
    ask_all(api, 1, vec![("PUT", "/loadbalancers".to_owned(), "[]".to_owned())]).await;
    LISTED as f64 / timed.all
}

/// Each gets an address of its own.
fn bodies(count: usize) -> Vec<String> {
    vec![r#"{"name":"one","port":20000,"backends":[{"ip":"127.0.0.1","port":9}]}"#.to_owned(); count]
}

/// A second's writes of a page that the disk has confirmed, of so many in turn.
pub fn confirmed(path: &Path, count: usize) -> f64 {
    let file = File::create(path).unwrap();
    let start = Instant::now();
    for _ in 0..count {
        file.write_all_at(&[7; 4096], 0).unwrap();
        file.sync_data().unwrap();
    }
    count as f64 / start.elapsed().as_secs_f64()
}

// SPDX-License-Identifier: Apache-2.0
//! Speed with many load-balancers of ten backends each, up to 10,000 (110,000 objects of IPVS), beside what bounds it: the same
//! requests packed and sent, the kernel's own dump, other programs. In one boot of the lab's fast kernel, in turns; what is durable, on
//! this machine's disk. Only the ratios mean something elsewhere.
//!
//! | room | what it measures |
//! | --- | --- |
//! | `cold_start` | from an empty kernel until all is programmed |
//! | `reconcile` | a look at the kernel when nothing changed, and when a hundredth is missing |
//! | `change` | one change among few and among many |
//! | `requests` | creations and deletions, from one client and from 64 |
//! | `durable` | the same on a disk |
//! | `slow_disk` | the same on one that takes its time |
//! | `reading` | the whole list, one of it, memory and what is done while nothing happens |
//! | `takeover` | from a start until another host has heard of 1,000 VIPs by gratuitous ARP |
//! | `transition` | from the answer to a check until the kernel has another weight, among few and among many |
//! | `throughput` | bytes through a VIP, beside the same services set by hand |
//!
//! Inside the kernel each finding is a line of JSON. Outside they are taken out of what it prints, put into `benches/results/scale.json`
//! in place of those of the same room, and told in `docs/benchmarks.md`, with pictures beside it.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints; what goes wrong panics")]

#[path = "scale/change.rs"]
mod change;
#[path = "scale/chart.rs"]
mod chart;
#[path = "scale/client.rs"]
mod client;
#[path = "scale/cold_start.rs"]
mod cold_start;
#[path = "scale/docs.rs"]
mod docs;
#[path = "scale/durable.rs"]
mod durable;
#[path = "scale/finding.rs"]
mod finding;
#[path = "scale/fleet.rs"]
mod fleet;
#[path = "scale/limit.rs"]
mod limit;
#[path = "scale/process.rs"]
mod process;
#[path = "scale/reading.rs"]
mod reading;
#[path = "scale/reconcile.rs"]
mod reconcile;
#[path = "scale/requests.rs"]
mod requests;
#[path = "scale/slow_disk.rs"]
mod slow_disk;
#[path = "scale/takeover.rs"]
mod takeover;
#[path = "scale/throughput.rs"]
mod throughput;
#[path = "scale/transition.rs"]
mod transition;

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, ExitCode, Stdio},
};

use slb_lab::{
    Place,
    harness::{self, Test},
};

use self::finding::Findings;

/// Makes the benchmark boot the kernel instead of following one that does.
const BOOT: &str = "SLB_SCALE_BOOT";
/// Set inside a lab kernel.
const PLACE: &str = "SLB_LAB_PLACE";

const TESTS: [Test; 9] = [
    Test { place: Place::fast, name: "fast::cold_start", body: cold_start::measure },
    Test { place: Place::fast, name: "fast::reconcile", body: reconcile::measure },
    Test { place: Place::fast, name: "fast::change", body: change::measure },
    Test { place: Place::fast, name: "fast::requests", body: requests::measure },
    Test { place: Place::fast, name: "fast::slow_disk", body: slow_disk::measure },
    Test { place: Place::fast, name: "fast::reading", body: reading::measure },
    Test { place: Place::fast, name: "fast::takeover", body: takeover::measure },
    Test { place: Place::fast, name: "fast::transition", body: transition::measure },
    Test { place: Place::fast, name: "fast::throughput", body: throughput::measure },
];

fn main() -> ExitCode {
    if env::var_os(PLACE).is_some() || env::var_os(BOOT).is_some() {
        return harness::run(&TESTS);
    }
    let words: Vec<String> = env::args().skip(1).collect();
    let mut findings = Findings::default();
    if words.iter().all(|word| word.starts_with('-') || word == "durable") {
        durable::measure(&mut findings);
    }
    let mut boot = Command::new(env::current_exe().unwrap());
    let mut boot = boot.args(&words).env(BOOT, "1").stdout(Stdio::piped()).spawn().unwrap();
    for line in BufReader::new(boot.stdout.take().unwrap()).lines().map(Result::unwrap) {
        println!("{line}");
        findings.take(&line);
    }
    let ended = boot.wait().unwrap();
    findings.keep();
    if ended.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

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
//! | `bulk` | all of them in one request, and memory after it |
//! | `requests` | creations and deletions, from one client and from 64 |
//! | `durable` | the same on a disk |
//! | `slow_disk` | the same on one that takes its time |
//! | `reading` | the whole list, one of it, memory and what is done while nothing happens |
//! | `takeover` | from a start until another host has heard of 1,000 VIPs by gratuitous ARP |
//! | `transition` | from the answer to a check until the kernel has another weight, among few and among many |
//! | `throughput` | bytes through a VIP, beside the same services set by hand |
//!
//! What is found is put into `benches/results/scale.json` in place of what was there of the same room.

#![expect(clippy::unwrap_used, reason = "what goes wrong panics")]

#[path = "scale/bulk.rs"]
mod bulk;
#[path = "scale/change.rs"]
mod change;
#[path = "scale/client.rs"]
mod client;
#[path = "scale/cold_start.rs"]
mod cold_start;
#[path = "scale/docs.rs"]
mod docs;
#[path = "scale/durable.rs"]
mod durable;
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

use std::{env, process::ExitCode};

use slb_lab::{
    Place,
    findings::{self, Findings},
    harness::{self, Test},
};

const TESTS: [Test; 10] = [
    Test { place: Place::fast, name: "fast::cold_start", body: cold_start::measure },
    Test { place: Place::fast, name: "fast::reconcile", body: reconcile::measure },
    Test { place: Place::fast, name: "fast::change", body: change::measure },
    Test { place: Place::fast, name: "fast::requests", body: requests::measure },
    Test { place: Place::fast, name: "fast::bulk", body: bulk::measure },
    Test { place: Place::fast, name: "fast::slow_disk", body: slow_disk::measure },
    Test { place: Place::fast, name: "fast::reading", body: reading::measure },
    Test { place: Place::fast, name: "fast::takeover", body: takeover::measure },
    Test { place: Place::fast, name: "fast::transition", body: transition::measure },
    Test { place: Place::fast, name: "fast::throughput", body: throughput::measure },
];

fn main() -> ExitCode {
    findings::follow(before, || harness::run(&TESTS), |findings| docs::write(&findings.keep("scale")))
}

/// What is found outside of the lab, if all is to be, or that.
fn before() -> Findings {
    let mut findings = Findings::default();
    if env::args().skip(1).all(|word| word.starts_with('-') || word == "durable") {
        durable::measure(&mut findings);
    }
    findings
}

// SPDX-License-Identifier: Apache-2.0
//! slb, the program, and what it takes of the machine. It announces by BGP and has no peers, so that no creation waits for a probe and
//! nothing is sent while nothing happens.

#[path = "../binary.rs"]
mod binary;

use std::{fs, thread, time::Duration};

use slb_lab::Process;

pub use self::binary::SLB;
use crate::fleet::{Fleet, Host};

/// proc(5) counts processor time in these.
const TICK: Duration = Duration::from_millis(10);
/// Between two looks at what it says.
const LOOK: Duration = Duration::from_millis(2);

/// A server with so many load-balancers, and addresses for so many more.
pub fn start(fleet: Fleet, more: u32, host: &Host) -> Process {
    start_in(&fleet.store(&host.node), fleet, more, host)
}

/// The same with what is in that folder: nothing, if it is not there.
pub fn start_in(folder: &str, fleet: Fleet, more: u32, host: &Host) -> Process {
    let range = fleet.range(more);
    let words = ["server", "--adapter", "eth0", "--bgp", "--bgpAs", "65000", "--bgpRouterId", "192.168.0.1"];
    let more = ["--ipamRange", &range, "--stateDir", folder];
    let mut slb = host.node.spawn(SLB, &[&words[..], &more].concat());
    wait_for(&mut slb);
    slb
}

/// Returns when slb says that it is ready, however long that takes: what is measured has no deadline.
pub fn wait_for(slb: &mut Process) {
    while !slb.said().iter().any(|line| line.contains("] ready")) {
        assert!(slb.ended().is_none(), "slb ended: {}", slb.said().join("\n"));
        thread::sleep(LOOK);
    }
}

/// What a process holds of the machine's memory, in KiB: `VmRSS` of proc(5).
pub fn memory(process: &Process) -> f64 {
    status(process, "VmRSS:")
}

/// That of it which is no file's, in KiB: `RssAnon`.
pub fn anonymous(process: &Process) -> f64 {
    status(process, "RssAnon:")
}

/// What it held at most, in KiB.
pub fn peak(process: &Process) -> f64 {
    status(process, "VmHWM:")
}

/// From now on the peak is of what comes.
pub fn forget_peak(process: &Process) {
    fs::write(format!("/proc/{}/clear_refs", process.id()), "5").unwrap();
}

fn status(process: &Process, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    held.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How many pages it has touched for the first time, or anew, that needed no reading: `minflt` of proc(5).
pub fn pages(process: &Process) -> usize {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(7).unwrap().parse().unwrap()
}

/// User and system time of a process and of those that it has waited for.
pub fn processor(process: &Process) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u32 = fields.split(' ').skip(11).take(4).map(|ticks| ticks.parse::<u32>().unwrap()).sum();
    TICK * ticks
}

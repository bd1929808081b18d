// SPDX-License-Identifier: Apache-2.0
//! What clients notice of backends that fail, are drained, and flap, with a steady load. In one boot of the lab's fast kernel.
//!
//! Failures are measured beside keepalived, in turns, on topologies of the same kind and with the same settings. A backend fails at
//! the same moments between two checks for both: what is left to chance otherwise would be most of the difference.
//!
//! | slb | keepalived | here |
//! | --- | --- | --- |
//! | `interval` | `delay_loop` | 1 s |
//! | `timeout` | `connect_timeout` | 0.5 s |
//! | `fall` | `retry`, and one | 2 |
//! | `fastInterval` | `delay_before_retry`, from the end of the check that failed | 0.5 s |
//! | `onFailure: weight0` | `inhibit_on_failure` | |
//! | `rise` | is 1 | 1 |
//! | a check of type `tcp` | `TCP_CHECK` | |
//!
//! slb sets the kernel, too (`net.ipv4.vs.expire_nodest_conn`), so that a SYN that is sent again to a backend that is out goes to another;
//! keepalived leaves that to the administrator. It is measured with the kernel as it is, and with the settings that slb makes.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints; what goes wrong panics")]

#[path = "binary.rs"]
mod binary;
#[path = "failover/flapping.rs"]
mod flapping;
#[path = "failover/load.rs"]
mod load;
#[path = "failover/site.rs"]
mod site;
#[path = "failover/web.rs"]
mod web;

use std::{
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use slb_lab::{
    Place, Server,
    findings::{self, tell},
    harness::{self, Test},
    wait,
};

use self::{
    flapping::flapping,
    load::{Long, PATIENCE, RATE, Request},
    site::{FALL, INTERVAL, Site, TIMEOUT},
};

/// The backend that fails.
const VICTIM: usize = 1;
/// How long a load goes on after what there is to see.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// How long a link is away that only flaps.
const FLAP: Duration = Duration::from_millis(300);
/// Over how long the long connections end by themselves while a backend is drained.
const LEAVE: Duration = Duration::from_secs(4);
/// So many standard errors of the difference are noise. With the same settings the two find a killed process at the same time, but for what
/// else the machine does. Requests are counted at the full rate: how many a busy machine asks in the time is left to chance.
const NOISE: f64 = 2.0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The process is killed: connections are refused.
    Process,
    /// The host loses its link.
    Host,
    /// The host drops all packets.
    Silence,
}

impl Fault {
    const ALL: [Self; 3] = [Self::Process, Self::Host, Self::Silence];

    fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Host => "host",
            Self::Silence => "silence",
        }
    }

    /// When it happens, after a check: these parts of the interval. More of them where the difference is small.
    fn phases(self) -> impl Iterator<Item = f64> {
        let moments = match self {
            Self::Process => 12,
            Self::Host | Self::Silence => 4,
        };
        (0..moments).map(move |moment| (f64::from(moment) + 0.4) / f64::from(moments))
    }

    /// How long a request that is under way may wait for an answer.
    fn patience(self) -> Duration {
        match self {
            // It is refused, or broken off.
            Self::Process => TIMEOUT,
            Self::Host | Self::Silence => PATIENCE,
        }
    }

    fn begin(self, site: &Site) {
        match self {
            Self::Process => site.kill(VICTIM),
            Self::Host => drop(site.hosts[VICTIM].run("ip", &["link", "set", "eth0", "down"])),
            Self::Silence => drop(site.hosts[VICTIM].run("iptables-legacy", &["-A", "INPUT", "-j", "DROP"])),
        }
    }

    fn end(self, site: &Site) {
        match self {
            Self::Process => site.serve(VICTIM),
            Self::Host => site.connect(VICTIM),
            Self::Silence => drop(site.hosts[VICTIM].run("iptables-legacy", &["-D", "INPUT", "-j", "DROP"])),
        }
    }
}

/// What came of it.
#[derive(Default)]
struct Seen {
    /// From the failure until the backend was out, in seconds, each time.
    out: Vec<f64>,
    /// How many requests of those from the failure on failed, each time.
    failed: Vec<f64>,
    /// For each time that it failed, as many as would have failed, had the machine had the time to ask as often as it was to: the share
    /// that did, at the full rate.
    at_rate: Vec<f64>,
    /// How many were answered more than a second later, each time.
    late: Vec<f64>,
    /// Failed of those that began when the backend was whole again.
    failed_back: usize,
    /// Long connections of other backends.
    broken_others: usize,
}

fn failures() {
    let [ours, theirs, tuned] = [Site::new(), Site::new(), Site::new()];
    let server = ours.start_slb();
    let _ = Site::balance(&server);
    tuned.set_as_slb_does();
    let _keepalived = [theirs.start_keepalived(), tuned.start_keepalived()];
    let sites = [("slb", &ours), ("keepalived", &theirs), ("the same, set", &tuned)];
    let mut sums = [0.0; 3];
    for fault in Fault::ALL {
        let mut seen = [Seen::default(), Seen::default(), Seen::default()];
        for phase in fault.phases() {
            for ((_, site), seen) in sites.into_iter().zip(&mut seen) {
                fail(site, fault, phase, seen);
            }
        }
        for (((name, _), seen), sum) in sites.into_iter().zip(&seen).zip(&mut sums) {
            seen.tell(fault.name(), name);
            *sum += seen.at_rate.iter().sum::<f64>();
        }
        let [slb, keepalived, _] = &seen;
        let longest = slb.out.iter().copied().fold(0.0, f64::max);
        let limit = INTERVAL * FALL + TIMEOUT;
        assert!(longest <= limit.as_secs_f64(), "a backend was out only after {longest} s");
        assert_eq!((slb.failed_back, slb.broken_others), (0, 0), "a backend that is back, or another, failed");
        let (more, error) = difference(&slb.at_rate, &keepalived.at_rate);
        println!(
            "{:<8} slb's at {RATE}/s less keepalived's, each time: {more:.1}, standard error {error:.1}",
            fault.name()
        );
        assert!(more <= error * NOISE, "more requests fail with slb than with keepalived");
    }
    for ((name, _), sum) in sites.into_iter().zip(sums) {
        tell(&format!("all that fails: requests that failed, at {RATE}/s, in all"), name, "", &[sum]);
    }
    assert!(sums[0] <= sums[1], "more requests fail with slb than with keepalived");
    for (name, site) in sites {
        flap_a_link(site, name);
    }
}

/// How much more the ones are than the others, by pairs: the mean, and its standard error.
fn difference(ones: &[f64], others: &[f64]) -> (f64, f64) {
    let more: Vec<f64> = ones.iter().zip(others).map(|(one, other)| one - other).collect();
    let count = more.len() as f64;
    let mean = more.iter().sum::<f64>() / count;
    let variance = more.iter().map(|each| (each - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, (variance / count).sqrt())
}

fn fail(site: &Site, fault: Fault, phase: f64, seen: &mut Seen) {
    let ((begun, out, whole), load) = load::under(&site.client, Site::vip(), |_| {
        let check = site.next_check(VICTIM);
        sleep((check + INTERVAL.mul_f64(phase)).saturating_duration_since(Instant::now()));
        let begun = Instant::now();
        fault.begin(site);
        let out = site.when_weight(VICTIM, |weight| weight == 0);
        // Until the last has given up.
        sleep(fault.patience());
        fault.end(site);
        let whole = Instant::now();
        site.when_weight(VICTIM, |weight| weight > 0);
        sleep(AFTERWARDS);
        (begun, out, whole)
    });
    seen.out.push((out - begun).as_secs_f64());
    seen.failed_back += load.count(whole..Instant::now(), Request::failed);
    // Those that were under way when it failed, too.
    let meanwhile = begun - PATIENCE..whole;
    seen.failed.push(load.count(meanwhile.clone(), Request::failed) as f64);
    seen.late.push(load.count(meanwhile, Request::is_late) as f64);
    let share = |failed, asked| failed as f64 / f64::max(asked as f64, 1.0);
    let share = share(load.count(begun..out, Request::failed), load.count(begun..out, |_| true));
    seen.at_rate.push(share * (out - begun).as_secs_f64() * f64::from(RATE));
    let is_broken_other = |long: &&Long| long.error.is_some() && long.who != Site::name(VICTIM);
    seen.broken_others += load.long().iter().filter(is_broken_other).count();
}

impl Seen {
    fn tell(&self, fault: &str, name: &str) {
        tell(&format!("{fault}: out after"), name, "s", &self.out);
        tell(&format!("{fault}: requests that failed"), name, "", &self.failed);
        tell(&format!("{fault}: the same at {RATE}/s"), name, "", &self.at_rate);
        tell(&format!("{fault}: answered after 1 s or more"), name, "", &self.late);
    }
}

/// Shorter than two checks: nothing has to be taken out, and TCP sends again what was lost.
fn flap_a_link(site: &Site, name: &str) {
    let ((), load) = load::under(&site.client, Site::vip(), |_| {
        let check = site.next_check(VICTIM);
        sleep((check + INTERVAL - FLAP / 2).saturating_duration_since(Instant::now()));
        Fault::Host.begin(site);
        sleep(FLAP);
        Fault::Host.end(site);
        sleep(AFTERWARDS);
        site.when_weight(VICTIM, |weight| weight > 0);
    });
    let failed = load.requests().iter().filter(|request| request.failed()).count();
    let broken = load.long().iter().filter(|long| long.error.is_some()).count();
    let room = format!("link away for {} ms", FLAP.as_millis());
    tell(&format!("{room}: requests that failed"), name, "", &[failed as f64]);
    tell(&format!("{room}: long connections that broke"), name, "", &[broken as f64]);
}

fn drain() {
    let site = Site::new();
    let server = site.start_slb();
    let web = Site::balance(&server);
    let path = backend_path(&server, &web, VICTIM);
    let ((drained, done, left), load) = load::under(&site.client, Site::vip(), |load| {
        sleep(AFTERWARDS);
        let reply = server.ask("POST", &format!("{path}/drain"), "");
        assert_eq!(reply.status, 202, "{}", reply.body);
        let drained = Instant::now();
        load.leave(LEAVE);
        wait::until("the drain to be done", || {
            server.ask("GET", &path, "").json()["drain"]["done"].is_string().then_some(())
        });
        let done = Instant::now();
        let left =
            load.long().iter().filter(|long| long.who == Site::name(VICTIM)).map(|long| long.ended).max().unwrap();
        assert_eq!(server.ask("POST", &format!("{path}/undrain"), "").status, 200);
        sleep(AFTERWARDS);
        (drained, done, left)
    });
    let failed: Vec<String> =
        load.requests().iter().filter_map(|request| Some(request.answer.as_ref().err()?.to_string())).collect();
    let broken: Vec<String> = load.long().iter().filter_map(|long| Some(long.error.as_ref()?.to_string())).collect();
    let to_drained = load
        .requests()
        .iter()
        .filter(|request| {
            (drained..done).contains(&request.begun)
                && request.answer.as_deref().is_ok_and(|who| who == Site::name(VICTIM))
        })
        .count();
    let since = |at: Instant| (at - drained).as_secs_f64();
    tell("drain under load", "requests that failed", "", &[failed.len() as f64]);
    tell("drain under load", "long connections that broke", "", &[broken.len() as f64]);
    tell("drain under load", "its last connection ended after", "s", &[since(left)]);
    tell("drain under load", "it was over after", "s", &[since(done)]);
    assert!(failed.is_empty() && broken.is_empty(), "{failed:?} {broken:?}");
    assert_eq!(to_drained, 0);
    assert!(left <= done, "the drain was over before the last connection");
}

fn backend_path(server: &Server<'_>, web: &serde_json::Value, at: usize) -> String {
    let path = format!("/loadbalancer/{}", web["uuid"].as_str().unwrap());
    let shown = server.ask("GET", &path, "").json();
    let ip = site::address(at).to_string();
    let found = shown["backends"].as_array().unwrap().iter().find(|backend| backend["ip"] == ip.as_str()).unwrap();
    format!("{path}/backend/{}", found["uuid"].as_str().unwrap())
}

fn main() -> ExitCode {
    let of_lab = |name, body| Test { place: Place::fast, name, body };
    let all = [of_lab("fast::failures", failures), of_lab("fast::drain", drain), of_lab("fast::flapping", flapping)];
    findings::main("failover", &["keepalived", "without"], || harness::run(&all))
}

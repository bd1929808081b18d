// SPDX-License-Identifier: Apache-2.0
//! At rest slb is small and asleep: it wakes up for the timers that were asked for, and for nothing else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use slb_lab::{
    Process, Server, Sniffer, http,
    site::{Site, endpoint},
    wait,
};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

const LOAD_BALANCERS: usize = 100;
const RANGE: &str = "192.168.0.100-192.168.0.199";
/// The most memory that it may have, in kB, by its name in proc(5): 15 MB in all. Of a build that is not optimised only what is
/// no code counts, and 7 MB are left to the code, of which a release has less and such a build twice as much.
const MEMORY: (&str, u64) = if cfg!(debug_assertions) { ("RssAnon", 8_000) } else { ("VmRSS", 15_000) };
/// How long its sleep is watched.
const WATCH: Duration = Duration::from_secs(20);
/// ARP announcements in both forms, which name the VIP as sender and as target.
const ANNOUNCEMENTS: &str = "arp and arp[14:4] = arp[24:4]";
/// Frames of an announcement; announcements of a VIP that is new.
const FRAMES: usize = 2;
const FIRST_ANNOUNCEMENTS: usize = 2;

fn small_and_asleep() {
    let site = Site::new(SLB);
    let [one, _two] = site.web();
    let sniffer = Sniffer::start(&site.client, "eth0", ANNOUNCEMENTS);
    let mut server = start(&site, &["--reconcileInterval", "1h", "--arpInterval", "0s"]);
    let backends = r#"[{"ip":"192.168.0.11","port":80},{"ip":"192.168.0.12","port":80}]"#;
    let create = |n| endpoint(&server.create(&format!(r#"{{"name":"web {n}","port":80,"backends":{backends}}}"#)));
    let webs: Vec<_> = (0..LOAD_BALANCERS).map(create).collect();
    announced(&sniffer, LOAD_BALANCERS * FIRST_ANNOUNCEMENTS);
    let sleeper = Sleeper::of(server.process());
    let before = sleeper.at_rest();

    // All of it is the kernel's business: connections through VIPs, and neighbours that look for VIPs, hosts and each other.
    let start = Instant::now();
    let mut webs = webs.into_iter().cycle();
    while start.elapsed() < WATCH {
        http::get(&site.client, webs.next().unwrap()).unwrap();
        http::get(&site.client, ([192, 168, 0, 11], one.port()).into()).unwrap();
        for node in [&site.client, &site.one] {
            node.sh("ip neigh flush dev eth0");
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(sleeper.at_rest() - before, 0, "it woke up, and nobody asked for that");
    let (name, most) = MEMORY;
    let memory = sleeper.value(name).unwrap();
    assert!(memory <= most, "{name}: {memory} kB");
}

fn wakes_for_its_timers_alone() {
    const INTERVAL: Duration = Duration::from_secs(1);
    /// How many announcements are watched.
    const TIMES: usize = 10;
    /// Tokio comes close to a deadline in steps, each 64 times as long as the next: for one of a second at most 4, of minutes,
    /// seconds, 64 ms and 1 ms.
    const STEPS: u64 = 4;

    let site = Site::new(SLB);
    let sniffer = Sniffer::start(&site.client, "eth0", ANNOUNCEMENTS);
    let mut server = start(&site, &["--reconcileInterval", "1h", "--arpInterval", "1s"]);
    let _ = server.create(r#"{"name":"web","port":80}"#);
    announced(&sniffer, FIRST_ANNOUNCEMENTS);
    let sleeper = Sleeper::of(server.process());
    sleeper.at_rest();
    let (start, before) = (Instant::now(), sleeper.at_rest());
    announced(&sniffer, sniffer.packets().len() / FRAMES + TIMES);
    let wakes = sleeper.at_rest() - before;
    // The hour of the other timer is far away.
    let timers = start.elapsed().as_secs() / INTERVAL.as_secs() + 1;
    assert!((1..=timers * STEPS).contains(&wakes), "{wakes} times awake for {timers} timers");
}

/// An SD card is worn out by what is written; checks, announcements and comparisons with the kernel are no reason to.
fn writes_nothing_to_disk() {
    /// How many announcements are watched, each of them after another comparison.
    const TIMES: usize = 10;

    let site = Site::new(SLB);
    let _web = site.web();
    let sniffer = Sniffer::start(&site.client, "eth0", ANNOUNCEMENTS);
    let server = start(&site, &["--reconcileInterval", "1s", "--arpInterval", "1s"]);
    let backend = r#"{"ip":"192.168.0.11","port":80}"#;
    let check = r#"{"type":"tcp","interval":"1s"}"#;
    let body = format!(r#"{{"name":"web","port":80,"healthCheck":{check},"backends":[{backend}]}}"#);
    let web = endpoint(&server.create(&body));
    announced(&sniffer, FIRST_ANNOUNCEMENTS);
    let before = files(&site.state_dir());
    assert!(!before.is_empty());
    announced(&sniffer, sniffer.packets().len() / FRAMES + TIMES);
    assert_eq!(http::get(&site.client, web).unwrap(), "one");
    assert_eq!(files(&site.state_dir()), before);
}

/// The files of a folder, each with its length and, in seconds and nanoseconds, when something was written there last.
fn files(folder: &str) -> BTreeMap<PathBuf, [i64; 5]> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let state = |file: fs::DirEntry| {
        let of = file.metadata().unwrap();
        (file.path(), [of.size().cast_signed(), of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()])
    };
    files.map(state).collect()
}

fn start<'a>(site: &'a Site, more: &[&str]) -> Server<'a> {
    let state_dir = site.state_dir();
    let options = ["--arp", "--adapter", "eth0", "--ipamRange", RANGE, "--arpProbeInterval", "1ms", "--stateDir"];
    Server::start(&site.lb, SLB, &[&options, [state_dir.as_str()].as_slice(), more].concat())
}

/// Waits until so many announcements were made in all.
fn announced(sniffer: &Sniffer, times: usize) {
    wait::until("announcements", || (sniffer.packets().len() >= times * FRAMES).then_some(()));
}

/// A process as proc(5) has it.
struct Sleeper(String);

impl Sleeper {
    fn of(process: &Process) -> Self {
        Self(format!("/proc/{}", process.id()))
    }

    /// Waits until it sleeps, with no thread left that waits for more work, but for the one of health checks; how often they have gone to
    /// sleep so far.
    fn at_rest(&self) -> u64 {
        wait::until("slb to rest", || {
            let threads: Vec<Self> = fs::read_dir(format!("{}/task", self.0))
                .unwrap()
                .map(|thread| Self(thread.unwrap().path().to_str().unwrap().to_owned()))
                .collect();
            let is_known = |thread: &Self| {
                thread.0.ends_with(&self.0["/proc".len()..]) || thread.text("Name").as_deref() == Some("checks")
            };
            // One that has ended meanwhile was awake.
            let rested = |thread: &Self| {
                let rests = is_known(thread) && thread.text("State")?.starts_with('S');
                rests.then(|| thread.value("voluntary_ctxt_switches"))?
            };
            threads.iter().map(rested).sum()
        })
    }

    /// `None` if it is not there any more.
    fn value(&self, name: &str) -> Option<u64> {
        self.text(name)?.trim_end_matches(" kB").parse().ok()
    }

    fn text(&self, name: &str) -> Option<String> {
        let status = fs::read_to_string(format!("{}/status", self.0)).ok()?;
        status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
    }
}

slb_lab::main! { fast: [small_and_asleep, wakes_for_its_timers_alone, writes_nothing_to_disk] }

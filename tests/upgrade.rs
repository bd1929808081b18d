// SPDX-License-Identifier: Apache-2.0
//! Stopped, killed, replaced by another binary and started again: with nothing changed, nothing is written to the kernel, and
//! the connections through the VIPs lose no packet.
//!
//! The kernel is written to in three ways, each with a witness of its own: [`Writes`] for netlink; [`guarded`] for settings;
//! [`XTABLES_LOCK`] for iptables. First each of them is shown a server that does write.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use slb_lab::{
    Node, Server, Writes, http,
    site::{Site, endpoint},
    wait,
};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");
/// The same, as if a package had brought another version of it.
const UPGRADED: &str = "/run/slb-upgraded";

const LOAD_BALANCERS: usize = 4;
/// Requests that have to be answered in each state of the server before the story goes on.
const REQUESTS: u64 = 50;
/// Whoever changes a rule of iptables takes this lock, and makes the file if there is none. Who only reads does not.
const XTABLES_LOCK: &str = "/run/xtables.lock";

fn nothing_changed_writes_nothing_and_loses_nothing() {
    let site = Site::new(SLB);
    let _web = site.web();
    fs::copy(SLB, UPGRADED).unwrap();
    let (same, upgraded) = (guarded(SLB, "/run/same"), guarded(UPGRADED, "/run/upgraded"));

    let refused = site.lb.output(&same, &[&["server"], words(&site.options()).as_slice()].concat());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Read-only file system"), "{refused:?}");
    let mut writes = Writes::of(&site.lb);
    let mut server = site.start(&[]);
    let webs: Vec<SocketAddr> = (0..LOAD_BALANCERS).map(|_| endpoint(&site.balanced(&server))).collect();
    assert!(writes.take().len() >= 4 * LOAD_BALANCERS);
    let before = site.lb.kernel_state();
    assert_eq!(fs::remove_file(XTABLES_LOCK).is_ok(), before.contains("-A SLB-SOURCE-NAT"));

    let traffic = Traffic::default();
    thread::scope(|scope| {
        // Also when something fails: the clients would go on for ever.
        let _stop = Stop(&traffic);
        for web in &webs {
            scope.spawn(|| traffic.over_one_connection(&site.client, *web));
        }
        scope.spawn(|| traffic.over_many_connections(&site.client, &webs));
        traffic.goes_on();
        let stop = Server::stop as fn(_);
        for (what, end, next) in
            [("stopped", stop, &same), ("killed", Server::kill, &same), ("upgraded", stop, &upgraded)]
        {
            end(server);
            traffic.goes_on();
            server = Server::start(&site.lb, next, &words(&site.options()));
            traffic.goes_on();
            assert_eq!(writes.take(), [""; 0], "{what}");
            assert!(!Path::new(XTABLES_LOCK).exists(), "{what}: the rules of iptables were written");
        }
        assert_eq!(server.list().as_array().map(Vec::len), Some(LOAD_BALANCERS));
    });
    assert_eq!(site.lb.kernel_state(), before);
    wait::until("every packet to arrive", || {
        // What was sent is read last, so that a packet under way cannot stand in for one that was lost.
        let [client_received, web_received] = counts(&site, "Tcp: ", "InSegs");
        let [client_sent, web_sent] = counts(&site, "Ip: ", "OutRequests");
        ((client_received, web_received) == (web_sent, client_sent)).then_some(())
    });
}

fn words(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

/// A program that runs slb where no setting of the kernel can be written.
fn guarded(slb: &str, path: &str) -> String {
    let guard = r#"mount -o bind,ro /proc/sys /proc/sys && exec "$0" "$@""#;
    fs::write(path, format!("#!/bin/sh\nexec unshare --mount sh -c '{guard}' {slb} \"$@\"\n")).unwrap();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path.to_owned()
}

/// Clients that go on and on.
#[derive(Default)]
struct Traffic {
    stop: AtomicBool,
    answered: AtomicU64,
}

impl Traffic {
    fn over_one_connection(&self, client: &Node, web: SocketAddr) {
        let mut stream = client.inside(|| TcpStream::connect(web).unwrap());
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        while !self.stop.load(Ordering::Acquire) {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
            assert_eq!(lines.next().as_deref(), Some("HTTP/1.1 200 OK"));
            let body = lines.by_ref().skip_while(|header| !header.is_empty()).nth(1);
            assert!(matches!(body.as_deref(), Some("one" | "two")), "{body:?}");
            self.answered();
        }
    }

    fn over_many_connections(&self, client: &Node, webs: &[SocketAddr]) {
        for web in webs.iter().cycle().take_while(|_| !self.stop.load(Ordering::Acquire)) {
            http::get(client, *web).unwrap();
            self.answered();
        }
    }

    /// Counts a request, and lets others use the processor, of which there may be but one.
    fn answered(&self) {
        self.answered.fetch_add(1, Ordering::AcqRel);
        thread::sleep(Duration::from_millis(1));
    }

    /// Waits until more requests have been answered.
    fn goes_on(&self) {
        let before = self.answered.load(Ordering::Acquire);
        let more = || self.answered.load(Ordering::Acquire) > before + REQUESTS;
        wait::until("requests to be answered", || more().then_some(()));
    }
}

/// Ends the traffic when it is dropped.
struct Stop<'a>(&'a Traffic);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

/// A counter of packets, of the client and of both web servers. All that they send is TCP, but a switch has packets of its own
/// for them. Packets that are sent again count again, which is as it should be: what a network loses never arrives.
fn counts(site: &Site, protocol: &str, name: &str) -> [u64; 2] {
    let count = |node| count(node, protocol, name);
    [count(&site.client), count(&site.one) + count(&site.two)]
}

/// A line of names is followed by one of values.
fn count(node: &Node, protocol: &str, name: &str) -> u64 {
    let text = node.inside(|| fs::read_to_string("/proc/thread-self/net/snmp").unwrap());
    let mut rows = text.lines().filter_map(|line| line.strip_prefix(protocol)).map(str::split_whitespace);
    let mut pairs = rows.next().unwrap().zip(rows.next().unwrap());
    pairs.find(|(key, _)| *key == name).unwrap().1.parse().unwrap()
}

slb_lab::main! {
    fast, stock: [nothing_changed_writes_nothing_and_loses_nothing],
}

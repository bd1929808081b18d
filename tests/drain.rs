// SPDX-License-Identifier: Apache-2.0
//! What is drained gets no new connections, and its last connection is not cut.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::{Value, json};
use slb_lab::{
    Plane, Server,
    site::{self, Site},
    wait,
};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

fn path(load_balancer: &Value) -> String {
    format!("/loadbalancer/{}", load_balancer["uuid"].as_str().unwrap())
}

/// A connection that stays, and who answers on it.
struct Kept {
    stream: TcpStream,
    who: String,
}

impl Kept {
    fn connect(site: &Site, to: SocketAddr) -> Self {
        let stream = site.client.inside(|| TcpStream::connect(to).unwrap());
        let mut kept = Self { stream, who: String::new() };
        kept.who = kept.ask().unwrap();
        kept
    }

    /// Asks on it once more.
    fn ask(&mut self) -> std::io::Result<String> {
        self.stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut lines = BufReader::new(&self.stream).lines();
        while !lines.next().ok_or(std::io::ErrorKind::UnexpectedEof)??.is_empty() {}
        lines.next().ok_or(std::io::ErrorKind::UnexpectedEof)?
    }
}

fn backend_of(web: &Value, server: &Server<'_>, who: &str) -> String {
    let ip = if who == "one" { "192.168.0.11" } else { "192.168.0.12" };
    let shown = server.ask("GET", &path(web), "").json();
    let backends = shown["backends"].as_array().unwrap();
    let found = backends.iter().find(|backend| backend["ip"] == ip).unwrap();
    format!("{}/backend/{}", path(web), found["uuid"].as_str().unwrap())
}

fn is_done(server: &Server<'_>, path: &str) -> bool {
    server.ask("GET", path, "").json()["drain"]["done"].is_string()
}

/// The kernel counts it as finished once both ends have closed.
fn a_backend_is_drained_without_a_lost_connection() {
    let site = Site::new(SLB);
    let _web = site.web();
    let mut server = site.start(&[]);
    let web = site.balanced(&server);
    let mut kept = Kept::connect(&site, site::endpoint(&web));
    let backend = backend_of(&web, &server, &kept.who);
    let reply = server.ask("POST", &format!("{backend}/drain"), "");
    assert_eq!(reply.status, 202, "{}", reply.body);
    assert!(reply.json()["drain"]["since"].is_string() && reply.json()["drain"]["done"].is_null(), "{}", reply.body);
    assert_eq!(reply.json()["drain"]["left"], json!({"activeConnections": 1, "persistentConnections": 0}));
    for _ in 0..4 {
        assert_ne!(site.get(&web).unwrap(), kept.who);
    }
    assert_eq!(kept.ask().unwrap(), kept.who);
    if Plane::here().outlives_slb() {
        server.kill();
        server = site.start(&[]);
        assert!(!is_done(&server, &backend), "a connection is left");
        assert_eq!(kept.ask().unwrap(), kept.who);
    }
    let who = kept.who.clone();
    drop(kept);
    wait::until("the drain to be done", || is_done(&server, &backend).then_some(()));
    assert_eq!(server.ask("GET", &backend, "").json()["drain"]["left"]["activeConnections"], 0);
    assert_ne!(site.get(&web).unwrap(), who);
    assert_eq!(server.ask("POST", &format!("{backend}/undrain"), "").status, 200);
    let mut answers: Vec<_> = (0..4).map(|_| site.get(&web).unwrap()).collect();
    answers.sort_unstable();
    assert_eq!(answers, ["one", "one", "two", "two"]);
}

fn a_deadline_ends_a_drain() {
    let site = Site::new(SLB);
    let _web = site.web();
    let server = site.start(&[]);
    let web = site.balanced(&server);
    let mut kept = Kept::connect(&site, site::endpoint(&web));
    let backend = backend_of(&web, &server, &kept.who);
    let before = server.ask("GET", &backend, "").json();
    for query in ["?deadline=2", "?deadline=-1s", "?deadlin=2s", "?deadline=31days"] {
        let refused = server.ask("POST", &format!("{backend}/drain{query}"), "");
        assert_eq!((refused.status, refused.json()["type"].as_str()), (400, Some("/problems/bad-query")), "{query}");
    }
    assert_eq!(server.ask("GET", &backend, "").json()["drain"], before["drain"]);
    assert_eq!(server.ask("POST", &format!("{backend}/drain?deadline=2s"), "").status, 202);
    wait::until("the deadline to pass", || is_done(&server, &backend).then_some(()));
    assert_eq!(server.ask("GET", &backend, "").json()["drain"]["left"]["activeConnections"], 1);
    assert_eq!(kept.ask().unwrap(), kept.who, "its connection is left alone");
}

/// A backend, then the load-balancer.
fn what_is_deleted_may_be_drained_first() {
    let site = Site::new(SLB);
    let _web = site.web();
    let server = site.start(&[]);
    let before = site.lb.tables();
    let web = site.balanced(&server);
    let kept = Kept::connect(&site, site::endpoint(&web));
    let backend = backend_of(&web, &server, &kept.who);
    let url = format!("http://{}/events", Server::api());
    let events = site.lb.spawn("curl", &["-sN", &url]);
    events.line("the beginning", |line| line == "event: reset");
    let reply = server.ask("DELETE", &format!("{backend}?drain=5m"), "");
    assert_eq!((reply.status, reply.json()["drain"]["then"].as_str()), (202, Some("delete")), "{}", reply.body);
    events.line("the drain", |line| line.contains("backendChanged") && line.contains(r#""drain":{"since""#));
    assert_eq!(server.ask("GET", &backend, "").status, 200);
    drop(kept);
    events.line("the end of the drain", |line| line == "event: backendRemoved");
    wait::until("the backend to be deleted", || (server.ask("GET", &backend, "").status == 404).then_some(()));
    let kept = Kept::connect(&site, site::endpoint(&web));
    assert_eq!(server.ask("DELETE", &format!("{}?drain", path(&web)), "").status, 202);
    assert_eq!(server.ask("GET", &path(&web), "").status, 200);
    drop(kept);
    wait::until("the load-balancer to be deleted", || (server.ask("GET", &path(&web), "").status == 404).then_some(()));
    assert_eq!(site.lb.tables(), before);
}

slb_lab::main! {
    fast, user: [
        a_backend_is_drained_without_a_lost_connection,
        a_deadline_ends_a_drain,
        what_is_deleted_may_be_drained_first,
    ],
}

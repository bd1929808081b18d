// SPDX-License-Identifier: Apache-2.0
//! The site that stories are told about: a load-balancer, a client and two web servers on one segment, 192.168.0.0/24.

use std::net::SocketAddr;

use crate::{Backend, Node, Segment, Server, http};
use serde_json::Value;

/// The range of the original's walk-through.
pub const RANGE: &str = "192.168.0.85-192.168.0.90";

/// The site.
#[derive(Debug)]
pub struct Site {
    /// What connects them.
    pub segment: Segment,
    /// 192.168.0.1, where slb runs.
    pub lb: Node,
    /// 192.168.0.10.
    pub client: Node,
    /// 192.168.0.11.
    pub one: Node,
    /// 192.168.0.12.
    pub two: Node,
    exe: String,
}

impl Site {
    /// A site with an slb to be started from a file.
    ///
    /// # Panics
    /// The kernel refuses.
    #[must_use]
    pub fn new(exe: &str) -> Self {
        let segment = Segment::new();
        Self {
            lb: segment.host("lb", "192.168.0.1/24"),
            client: segment.host("client", "192.168.0.10/24"),
            one: segment.host("one", "192.168.0.11/24"),
            two: segment.host("two", "192.168.0.12/24"),
            segment,
            exe: exe.to_owned(),
        }
    }

    /// The options that every server of this site has; its state is its own.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let words = ["--arp", "--adapter", "eth0", "--ipamRange", RANGE, "--arpProbeInterval", "20ms", "--stateDir"];
        words.into_iter().map(str::to_owned).chain([self.state_dir()]).collect()
    }

    /// Where its servers keep their state.
    #[must_use]
    pub fn state_dir(&self) -> String {
        format!("/run/state-{}", self.lb.name())
    }

    /// Starts slb with more options.
    ///
    /// # Panics
    /// It ends instead.
    #[must_use]
    pub fn start(&self, more: &[&str]) -> Server<'_> {
        let options = self.options();
        let words: Vec<&str> = options.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Server::start(&self.lb, &self.exe, &words)
    }

    /// Web servers on port 80 of both hosts.
    ///
    /// # Panics
    /// The port is in use.
    #[must_use]
    pub fn web(&self) -> [Backend; 2] {
        self.web_on(80)
    }

    /// Web servers on a port of both hosts.
    ///
    /// # Panics
    /// The port is in use.
    #[must_use]
    pub fn web_on(&self, port: u16) -> [Backend; 2] {
        [Backend::start(&self.one, port, "one"), Backend::start(&self.two, port, "two")]
    }

    /// A load-balancer on port 80 with both web servers behind it.
    ///
    /// # Panics
    /// slb refuses.
    #[must_use]
    pub fn balanced(&self, server: &Server<'_>) -> Value {
        let web = server.create(r#"{"name":"web","port":80}"#);
        let _ = server.add_backend(&web, r#"{"ip":"192.168.0.11","port":80}"#);
        let _ = server.add_backend(&web, r#"{"ip":"192.168.0.12","port":80}"#);
        web
    }

    /// What the client gets from a load-balancer.
    ///
    /// # Errors
    /// It cannot be reached or breaks off.
    pub fn get(&self, load_balancer: &Value) -> std::io::Result<String> {
        http::get(&self.client, endpoint(load_balancer))
    }
}

/// A load-balancer as it was asked for, without how it is doing.
#[must_use]
pub fn asked_for(load_balancer: &Value) -> Value {
    let mut asked = load_balancer.clone();
    for backend in asked["backends"].as_array_mut().into_iter().flatten() {
        backend["observed"].take();
    }
    asked["observed"].take();
    asked
}

/// Where clients connect to.
///
/// # Panics
/// It is no load-balancer.
#[must_use]
pub fn endpoint(load_balancer: &Value) -> SocketAddr {
    let eip = load_balancer["eip"].as_str().expect("an eip");
    let port = load_balancer["port"].as_u64().and_then(|port| u16::try_from(port).ok());
    SocketAddr::new(eip.parse().expect("an address"), port.expect("a port"))
}

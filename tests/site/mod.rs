// SPDX-License-Identifier: Apache-2.0
//! The site that stories are told about: a load-balancer, a client and two web servers on one segment, 192.168.0.0/24.

use std::net::SocketAddr;

use serde_json::Value;
use slb_lab::{Backend, Node, Segment, Server, http};

/// slb, built by cargo.
pub const SLB: &str = env!("CARGO_BIN_EXE_slb");

/// The range of the original's walk-through.
pub const RANGE: &str = "192.168.0.85-192.168.0.90";

/// The site.
pub struct Site {
    pub segment: Segment,
    pub lb: Node,
    pub client: Node,
    pub one: Node,
    pub two: Node,
}

impl Site {
    pub fn new() -> Self {
        let segment = Segment::new();
        Self {
            lb: segment.host("lb", "192.168.0.1/24"),
            client: segment.host("client", "192.168.0.10/24"),
            one: segment.host("one", "192.168.0.11/24"),
            two: segment.host("two", "192.168.0.12/24"),
            segment,
        }
    }

    /// The options that every server of this site has; its state is its own.
    pub fn options(&self) -> Vec<String> {
        let words = ["--arp", "--adapter", "eth0", "--ipamRange", RANGE, "--arpProbeInterval", "20ms", "--stateDir"];
        words.into_iter().map(str::to_owned).chain([self.state_dir()]).collect()
    }

    pub fn state_dir(&self) -> String {
        format!("/run/state-{}", self.lb.name())
    }

    /// Starts slb with more options.
    pub fn start(&self, more: &[&str]) -> Server<'_> {
        let options = self.options();
        let words: Vec<&str> = options.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Server::start(&self.lb, SLB, &words)
    }

    /// Web servers on port 80 of both hosts.
    pub fn web(&self) -> [Backend; 2] {
        self.web_on(80)
    }

    /// Web servers on a port of both hosts.
    pub fn web_on(&self, port: u16) -> [Backend; 2] {
        [Backend::start(&self.one, port, "one"), Backend::start(&self.two, port, "two")]
    }

    /// A load-balancer on port 80 with both web servers behind it.
    pub fn balanced(&self, server: &Server<'_>) -> Value {
        let web = server.create(r#"{"name":"web","port":80}"#);
        let _ = server.add_backend(&web, r#"{"ip":"192.168.0.11","port":80}"#);
        let _ = server.add_backend(&web, r#"{"ip":"192.168.0.12","port":80}"#);
        web
    }

    /// What the client gets from a load-balancer.
    pub fn get(&self, load_balancer: &Value) -> std::io::Result<String> {
        http::get(&self.client, endpoint(load_balancer))
    }
}

/// Where clients connect to.
pub fn endpoint(load_balancer: &Value) -> SocketAddr {
    let eip = load_balancer["eip"].as_str().unwrap();
    SocketAddr::new(eip.parse().unwrap(), load_balancer["port"].as_u64().unwrap().try_into().unwrap())
}

// SPDX-License-Identifier: Apache-2.0
//! slb itself, on a host.

use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    Node, Plane, Process,
    http::{self, Response},
    wait,
};

/// Where its API listens.
const API: ([u8; 4], u16) = ([127, 0, 0, 1], 10001);

/// A server that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Server<'a> {
    node: &'a Node,
    process: Process,
}

impl<'a> Server<'a> {
    /// Starts it, and returns when the kernel is as it wants it.
    ///
    /// # Panics
    /// It ends instead.
    pub fn start(node: &'a Node, exe: &str, args: &[&str]) -> Self {
        let words: Vec<&str> = [&["server"], args].concat();
        let mut server = Self { node, process: node.spawn(exe, &words) };
        wait::until("slb to be ready", || {
            if let Some(status) = server.process.ended() {
                panic!("slb ended with {status}:\n{}", server.process.said().join("\n"));
            }
            server.try_ask("GET", "/readyz", "").ok().filter(|response| response.status == 200)
        });
        if Plane::here() == Plane::User && !args.contains(&"--dataplane") {
            assert_eq!(server.ask("GET", "/", "").json()["dataplane"], "user", "what the place is for");
        }
        server
    }

    /// Where its API listens, on the loopback adapter of its host.
    #[must_use]
    pub fn api() -> SocketAddr {
        SocketAddr::from(API)
    }

    /// Its process.
    #[must_use]
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Asks its API.
    ///
    /// # Errors
    /// It cannot be reached or breaks off.
    pub fn try_ask(&self, method: &str, path: &str, body: &str) -> std::io::Result<Response> {
        http::ask(self.node, Self::api(), method, path, &[], body)
    }

    /// Asks its API.
    ///
    /// # Panics
    /// It cannot be reached or breaks off.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Response {
        self.try_ask(method, path, body).expect("an answer")
    }

    /// Creates a load-balancer and returns it.
    ///
    /// # Panics
    /// It is not created.
    #[must_use]
    pub fn create(&self, body: &str) -> Value {
        let response = self.ask("POST", "/loadbalancer", body);
        assert_eq!(response.status, 201, "{}", response.body);
        response.json()
    }

    /// Adds a backend to a load-balancer and returns it.
    ///
    /// # Panics
    /// It is not added.
    #[must_use]
    pub fn add_backend(&self, load_balancer: &Value, body: &str) -> Value {
        let path = format!("/loadbalancer/{}/backend", load_balancer["uuid"].as_str().expect("a uuid"));
        let response = self.ask("POST", &path, body);
        assert_eq!(response.status, 201, "{}", response.body);
        response.json()
    }

    /// Deletes a load-balancer.
    ///
    /// # Panics
    /// It is not deleted.
    pub fn delete(&self, load_balancer: &Value) {
        let path = format!("/loadbalancer/{}", load_balancer["uuid"].as_str().expect("a uuid"));
        let response = self.ask("DELETE", &path, "");
        assert_eq!(response.status, 204, "{}", response.body);
    }

    /// Lists the load-balancers.
    ///
    /// # Panics
    /// It cannot be reached.
    #[must_use]
    pub fn list(&self) -> Value {
        self.ask("GET", "/loadbalancers", "").json()
    }

    /// Kills it: SIGKILL.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Asks it to stop and waits for it.
    ///
    /// # Panics
    /// It does not end well.
    pub fn stop(mut self) {
        self.process.signal(Signal::TERM);
        let status = self.process.wait();
        assert!(status.success(), "{status}:\n{}", self.process.said().join("\n"));
    }
}

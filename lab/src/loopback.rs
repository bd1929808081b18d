// SPDX-License-Identifier: Apache-2.0
//! slb in user space on the loopback adapter of where the test runs: it needs no privileges, no IPVS and no kernel of its own.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread,
};

use serde_json::Value;

use crate::{
    Process,
    http::{self, Response},
};

/// A server that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Loopback {
    process: Process,
    api: SocketAddr,
}

impl Loopback {
    /// Starts it with these options, the API on a port of its own, and returns when it says that it is ready.
    ///
    /// # Panics
    /// It ends instead.
    #[must_use]
    pub fn start(exe: &str, options: &[&str]) -> Self {
        Self::start_by(exe, &[], options)
    }

    /// The same by a program that ends in slb, and the words that make it so.
    ///
    /// # Panics
    /// It ends instead.
    #[must_use]
    pub fn start_by(program: &str, words: &[&str], options: &[&str]) -> Self {
        let api = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST)));
        let port = api.port().to_string();
        let server = ["server", "--address", "127.0.0.1", "--port", &port];
        let process = Process::here(program, &[words, &server, options].concat());
        process.line("that it is ready", |line| line.contains("] ready"));
        Self { process, api }
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Where its API listens.
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Asks its API.
    ///
    /// # Panics
    /// It cannot be reached or breaks off.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Response {
        http::ask_here(self.api, method, path, &[], body).expect("an answer")
    }

    /// What a path shows.
    ///
    /// # Panics
    /// There is nothing.
    #[must_use]
    pub fn show(&self, path: &str) -> Value {
        let response = self.ask("GET", path, "");
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        response.json()
    }

    /// Creates what the body says, and returns it.
    ///
    /// # Panics
    /// It is not created.
    #[must_use]
    pub fn create(&self, path: &str, body: &str) -> Value {
        let response = self.ask("POST", path, body);
        assert_eq!(response.status, 201, "{path}: {}", response.body);
        response.json()
    }
}

/// A port of the address that nobody uses now.
///
/// # Panics
/// There is none, or the address is not of this machine.
#[must_use]
pub fn free_port(address: Ipv4Addr) -> u16 {
    let listener = TcpListener::bind((address, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A backend that says its name to whoever comes, and waits for the end of what they say; its port.
///
/// # Panics
/// No port is free.
#[must_use]
pub fn greeter(name: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for client in listener.incoming() {
            thread::spawn(move || {
                let mut client = client.expect("a client");
                client.write_all(name.as_bytes()).expect("a client that listens");
                let _ = client.read_to_end(&mut Vec::new());
            });
        }
    });
    port
}

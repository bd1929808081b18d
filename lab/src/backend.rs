// SPDX-License-Identifier: Apache-2.0
//! A web server that answers every request with its name.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::Node;

/// Serves until it is dropped; then its port is closed, and so are its connections.
#[derive(Debug)]
pub struct Backend {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    listener: TcpListener,
    served: AtomicU64,
    connections: Mutex<Vec<Weak<TcpStream>>>,
}

impl Backend {
    /// Serves on a host, on all its addresses.
    ///
    /// # Panics
    /// The port is in use.
    #[must_use]
    pub fn start(node: &Node, port: u16, name: &str) -> Self {
        Self::on(node.inside(|| TcpListener::bind(("::", port)).expect("a free port")), name)
    }

    /// Serves on the loopback adapter of where the test runs; port 0 is any that is free.
    ///
    /// # Panics
    /// The port is in use.
    #[must_use]
    pub fn local(port: u16, name: &str) -> Self {
        Self::on(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port"), name)
    }

    fn on(listener: TcpListener, name: &str) -> Self {
        let (served, connections) = (AtomicU64::new(0), Mutex::new(Vec::new()));
        let shared = Arc::new(Shared { name: name.to_owned(), listener, served, connections });
        let acceptor = Arc::clone(&shared);
        Self { shared, acceptor: Some(thread::spawn(move || accept(&acceptor))) }
    }

    /// How many requests it has answered.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.shared.served.load(Ordering::Acquire)
    }

    /// Its port.
    ///
    /// # Panics
    /// The kernel does not know it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.shared.listener.local_addr().as_ref().map(SocketAddr::port).expect("an address")
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // It makes accept(2) fail, which waits in the other thread.
        let _ = rustix::net::shutdown(&self.shared.listener, rustix::net::Shutdown::Both);
        drop(self.acceptor.take().map(JoinHandle::join));
        let connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.iter().filter_map(Weak::upgrade) {
            drop(connection.shutdown(Shutdown::Both));
        }
    }
}

fn accept(shared: &Arc<Shared>) {
    for stream in shared.listener.incoming().map_while(Result::ok) {
        let (stream, shared) = (Arc::new(stream), Arc::clone(shared));
        {
            let mut connections = shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
            connections.retain(|other| other.strong_count() > 0);
            connections.push(Arc::downgrade(&stream));
        }
        thread::spawn(move || drop(answer(&stream, &shared)));
    }
}

/// Answers requests on one connection until the client closes it.
fn answer(mut stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(first) = lines.next().transpose()? {
        let mut close = first.ends_with("HTTP/1.0");
        while let Some(header) = lines.next().transpose()?.filter(|header| !header.is_empty()) {
            close |= header.eq_ignore_ascii_case("connection: close");
        }
        shared.served.fetch_add(1, Ordering::AcqRel);
        let (name, end) = (&shared.name, if close { "Connection: close\r\n" } else { "" });
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{end}\r\n{name}\n", name.len() + 1);
        stream.write_all(answer.as_bytes())?;
        if close {
            break;
        }
    }
    Ok(())
}

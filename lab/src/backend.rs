// SPDX-License-Identifier: Apache-2.0
//! A web server that answers every request with its name.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::Node;

/// Serves until it is dropped.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    served: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Backend {
    /// Serves on a host, on all its addresses.
    ///
    /// # Panics
    /// The port is in use.
    #[must_use]
    pub fn start(node: &Node, port: u16, name: &str) -> Self {
        let listener = node.inside(|| TcpListener::bind(("0.0.0.0", port)).expect("a free port"));
        let address = listener.local_addr().expect("an address");
        let (served, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped, name) = (Arc::clone(&served), Arc::clone(&stop), name.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Acquire) {
                    break;
                }
                let (count, name) = (Arc::clone(&count), name.clone());
                thread::spawn(move || drop(answer(stream, &name, &count)));
            }
        });
        Self { address, served, stop }
    }

    /// How many requests it has answered.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Acquire)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Answers requests on one connection until the client closes it.
fn answer(stream: TcpStream, name: &str, served: &AtomicU64) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(first) = lines.next().transpose()? {
        let mut close = first.ends_with("HTTP/1.0");
        while let Some(header) = lines.next().transpose()?.filter(|header| !header.is_empty()) {
            close |= header.eq_ignore_ascii_case("connection: close");
        }
        served.fetch_add(1, Ordering::AcqRel);
        let end = if close { "Connection: close\r\n" } else { "" };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{end}\r\n{name}\n", name.len() + 1);
        writer.write_all(answer.as_bytes())?;
        if close {
            break;
        }
    }
    Ok(())
}

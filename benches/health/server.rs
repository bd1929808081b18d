// SPDX-License-Identifier: Apache-2.0
//! The backends: one server for all of their addresses.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use tokio::net::TcpSocket;

/// Every address of 127.0.0.0/8 is one of any host.
const FIRST_BACKEND: u32 = u32::from_be_bytes([127, 96, 0, 1]);
pub const BACKENDS: u32 = 10_000;

pub fn backends() -> impl Iterator<Item = Ipv4Addr> {
    (FIRST_BACKEND..FIRST_BACKEND + BACKENDS).map(Ipv4Addr::from)
}

/// Accepts connections to every backend, and notes when.
pub struct Server {
    pub port: u16,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(IpAddr, Instant)>>,
}

impl Server {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind_device(Some(b"lo")).unwrap();
            socket.bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
            socket.listen(65_535).unwrap().into_std().unwrap()
        });
        listener.set_nonblocking(false).unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut arrivals = Vec::with_capacity(1 << 20);
            while !over.load(Ordering::Relaxed) {
                let (connection, _) = listener.accept().unwrap();
                // A connection that was reset still knows.
                arrivals.push((connection.local_addr().unwrap().ip(), Instant::now()));
            }
            arrivals
        });
        Self { port, is_over, thread }
    }

    /// What came when.
    pub fn stop(self) -> Vec<(IpAddr, Instant)> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

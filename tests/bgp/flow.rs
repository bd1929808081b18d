// SPDX-License-Identifier: Apache-2.0
//! A connection that is never silent: numbered lines go to a server and come back, one after the other.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use slb_lab::{Node, wait};

/// Longer than a line takes that has to be sent many times.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs until it is ended, or dropped.
pub struct Flow {
    shared: Arc<Shared>,
    client: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// How many lines have come back, all in order.
    lines: AtomicU64,
    ended: AtomicBool,
}

impl Flow {
    /// Connects the client to an address that leads to the port of the server.
    pub fn start(client: &Node, at: SocketAddr, server: &Node, port: u16) -> Self {
        let listener = server.inside(|| TcpListener::bind(("0.0.0.0", port)).unwrap());
        let stream = client.inside(|| TcpStream::connect_timeout(&at, DEADLINE).unwrap());
        let (served, _) = listener.accept().unwrap();
        for end in [&stream, &served] {
            end.set_nodelay(true).unwrap();
            end.set_read_timeout(Some(DEADLINE)).unwrap();
        }
        thread::spawn(move || io::copy(&mut &served, &mut &served));
        let shared = Arc::new(Shared::default());
        let of_client = Arc::clone(&shared);
        Self { shared, client: Some(thread::spawn(move || talk(&stream, &of_client))) }
    }

    /// Waits until a line that is sent from now on has come back.
    pub fn goes_on(&self) {
        let lines = || self.shared.lines.load(Ordering::Acquire);
        let before = lines();
        wait::until("the next line of a flow", || (lines() > before + 1).then_some(()));
    }

    /// Ends it.
    ///
    /// # Panics
    /// A line got lost, or came out of order.
    pub fn end(mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.client.take().map(JoinHandle::join).transpose().unwrap();
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
    }
}

fn talk(stream: &TcpStream, shared: &Shared) {
    let mut lines = BufReader::new(stream).lines();
    for number in 1_u64.. {
        if shared.ended.load(Ordering::Acquire) {
            return;
        }
        (&mut &*stream).write_all(format!("{number}\n").as_bytes()).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), number.to_string());
        shared.lines.store(number, Ordering::Release);
    }
}

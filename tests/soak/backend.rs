// SPDX-License-Identifier: Apache-2.0
//! A backend for TCP and UDP on one port of the loopback adapter: it says which one it is, and then what it is told.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Tells a backend from others that had its port before.
pub type Id = u32;

/// How often it is looked whether datagrams are to be answered no more.
const LOOK: Duration = Duration::from_millis(20);

/// Serves until it is dropped: then its port is closed, and so are its connections.
#[derive(Debug)]
pub struct Backend {
    pub id: Id,
    pub port: u16,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    id: Id,
    listener: TcpListener,
    is_over: AtomicBool,
    connections: Mutex<Vec<Weak<TcpStream>>>,
}

impl Backend {
    /// On a port, of which 0 is any that is free for both protocols.
    ///
    /// # Errors
    /// The port is in use.
    pub fn start(id: Id, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let port = listener.local_addr()?.port();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
        socket.set_read_timeout(Some(LOOK))?;
        let (is_over, connections) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let shared = Arc::new(Shared { id, listener, is_over, connections });
        let (streams, datagrams) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads =
            vec![thread::spawn(move || accept(&streams)), thread::spawn(move || receive(&datagrams, &socket))];
        Ok(Self { id, port, shared, threads })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        // It makes accept(2) fail, which waits in the other thread.
        let _ = rustix::net::shutdown(&self.shared.listener, rustix::net::Shutdown::Both);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
        let connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.iter().filter_map(Weak::upgrade) {
            drop(connection.shutdown(Shutdown::Both));
        }
    }
}

fn accept(shared: &Arc<Shared>) {
    for stream in shared.listener.incoming().map_while(Result::ok) {
        let stream = Arc::new(stream);
        {
            let mut connections = shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
            connections.retain(|other| other.strong_count() > 0);
            connections.push(Arc::downgrade(&stream));
        }
        let id = shared.id;
        thread::spawn(move || drop(echo(&stream, id)));
    }
}

fn echo(mut stream: &TcpStream, id: Id) -> io::Result<()> {
    stream.write_all(&id.to_be_bytes())?;
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.shutdown(Shutdown::Write),
            length => stream.write_all(buffer.get(..length).unwrap_or_default())?,
        }
    }
}

fn receive(shared: &Shared, socket: &UdpSocket) {
    let mut buffer = [0; 2048];
    while !shared.is_over.load(Ordering::Acquire) {
        if let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let answer = [&shared.id.to_be_bytes(), buffer.get(..length).unwrap_or_default()].concat();
            drop(socket.send_to(&answer, client));
        }
    }
}

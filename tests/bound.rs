// SPDX-License-Identifier: Apache-2.0
//! Where slb relays connections itself and may open few files: clients fill up what is theirs, and nothing of what is slb's own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, available_parallelism},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use slb_lab::{
    Loopback,
    loopback::{free_port, greeter},
    site::endpoint,
};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");
const FILES: u64 = 512;
/// Half of the files are slb's own, and an eighth of the rest is for pipes.
const FOR_CONNECTIONS: usize = 224;
/// More than there is room for.
const CLIENTS: usize = 150;

/// A server that may open few files.
fn start(name: &str, range: &str) -> Loopback {
    let state_dir = format!("{}/bound-{name}", env!("CARGO_TARGET_TMPDIR"));
    let _ = std::fs::remove_dir_all(&state_dir);
    let limited = format!(r#"ulimit -n {FILES} && exec "$0" "$@""#);
    let options = ["--dataplane", "user", "--adapter", "lo", "--ipamRange", range, "--stateDir", &state_dir];
    Loopback::start_by("sh", &["-c", &limited, SLB], &options)
}

/// What it says with these words in it, once it does.
fn hear(server: &Loopback, words: &str) -> String {
    server.process().line(words, |line| line.contains(words))
}

/// A load-balancer with one backend on this host, and where it is.
fn balance(server: &Loopback, protocol: &str, backend: u16) -> SocketAddr {
    let port = free_port(Ipv4Addr::LOCALHOST);
    let body = format!(
        r#"{{"name":"{protocol} {port}","port":{port},"protocol":"{protocol}","backends":[{{"ip":"127.0.0.1","port":{backend}}}]}}"#
    );
    endpoint(&server.create("/loadbalancer", &body))
}

fn connections(server: &Loopback) -> u64 {
    let statistics = server.show("/statistics");
    statistics.as_array().unwrap().iter().map(|each| each["connections"].as_u64().unwrap()).sum()
}

fn may_open(server: &Loopback, files: u64) {
    let limit = Rlimit { current: Some(files), maximum: Some(FILES) };
    let id = Pid::from_raw(server.process().id().cast_signed());
    prlimit(id, Resource::Nofile, limit).unwrap();
}

/// Sends back whatever comes.
fn echo() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..length], client).unwrap();
        }
    });
    port
}

fn served(client: &mut TcpStream) {
    client.read_exact(&mut [0]).unwrap();
}

/// Clients, and who has been greeted; those in the backlog are not.
struct Clients {
    /// By the address that each connects from.
    waiting: BTreeMap<SocketAddr, TcpStream>,
    greeted: (Sender<SocketAddr>, Receiver<SocketAddr>),
}

impl Clients {
    fn none() -> Self {
        Self { waiting: BTreeMap::new(), greeted: channel() }
    }

    fn connect(&mut self, at: SocketAddr) {
        let client = TcpStream::connect(at).unwrap();
        let from = client.local_addr().unwrap();
        let (mut waiting, greeted) = (client.try_clone().unwrap(), self.greeted.0.clone());
        self.waiting.insert(from, client);
        thread::spawn(move || {
            served(&mut waiting);
            greeted.send(from)
        });
    }

    /// Takes so many out, as they are greeted.
    fn greeted(&mut self, many: usize) -> Vec<TcpStream> {
        (0..many).map(|_| self.waiting.remove(&self.greeted.1.recv().unwrap()).unwrap()).collect()
    }
}

#[test]
fn idle_clients_leave_slb_what_is_its_own() {
    let server = start("tcp", "127.0.5.85-127.0.5.90");
    let at = balance(&server, "tcp", greeter("!"));
    let mut clients = Clients::none();
    (0..CLIENTS).for_each(|_| clients.connect(at));
    let said = hear(&server, "raise the limit of open files");
    assert!(said.contains("WARN"), "{said}");
    // Each worker has a socket that listens.
    let room = (FOR_CONNECTIONS - available_parallelism().unwrap().get()) / 2;
    let idle = clients.greeted(room);

    // All that takes files of slb's own, while clients have all of theirs; and those of another load-balancer get none of either.
    let other = balance(&server, "tcp", greeter("!"));
    clients.connect(other);
    assert_eq!(connections(&server), u64::try_from(room).unwrap());

    // Who waits is served once there is room.
    drop(idle);
    while !clients.waiting.is_empty() {
        drop(clients.greeted(1));
    }
}

/// Every new one is answered, at the cost of those who have been silent longest; TCP has room beside them.
#[test]
fn udp_clients_make_room_for_each_other() {
    let server = start("udp", "127.0.6.85-127.0.6.90");
    let (web, names) = (balance(&server, "tcp", greeter("!")), balance(&server, "udp", echo()));
    let ask = |client: &UdpSocket| {
        client.send(b"?").unwrap();
        client.recv(&mut [0]).unwrap();
    };
    let clients: Vec<UdpSocket> = (0..2 * CLIENTS)
        .map(|_| {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.connect(names).unwrap();
            ask(&client);
            client
        })
        .collect();
    hear(&server, "raise the limit of open files");
    served(&mut TcpStream::connect(web).unwrap());
    let _ = balance(&server, "tcp", greeter("!"));
    // Also those who have lost their place.
    clients.iter().for_each(ask);
}

/// A limit that falls below what there is.
#[test]
fn a_lack_of_files_is_survived() {
    let server = start("lack", "127.0.7.85");
    let at = balance(&server, "tcp", greeter("!"));
    let mut first = TcpStream::connect(at).unwrap();
    served(&mut first);
    may_open(&server, 8);
    let mut second = TcpStream::connect(at).unwrap();
    let said = hear(&server, "there is no room for another connection");
    assert!(said.contains("Too many open files") && said.contains("LimitNOFILE"), "{said}");
    may_open(&server, FILES);
    served(&mut second);
}

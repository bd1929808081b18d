// SPDX-License-Identifier: Apache-2.0
//! Where slb relays connections itself and may open few files: clients fill up what is theirs, and nothing of what is slb's own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, available_parallelism},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");
const FILES: u64 = 512;
/// Half of the files are slb's own, and an eighth of the rest is for pipes.
const FOR_CONNECTIONS: usize = 224;
/// More than there is room for.
const CLIENTS: usize = 150;

/// A server that may open few files, killed at the end.
struct Server {
    child: Child,
    said: BufReader<ChildStderr>,
    port: u16,
}

impl Server {
    /// Once it says that it is ready.
    fn start(name: &str, range: &str) -> Self {
        let state_dir = format!("{}/bound-{name}", env!("CARGO_TARGET_TMPDIR"));
        let _ = std::fs::remove_dir_all(&state_dir);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new("sh")
            .args(["-c", &format!(r#"ulimit -n {FILES} && exec "$0" "$@""#), SLB, "server", "--dataplane", "user"])
            .args(["--adapter", "lo", "--ipamRange", range, "--stateDir", &state_dir])
            .args(["--address", "127.0.0.1", "--port", &port.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self { child, said, port };
        server.hear("] ready");
        server
    }

    /// What it says until that.
    fn hear(&mut self, word: &str) -> String {
        let mut said = String::new();
        while !said.contains(word) {
            assert_ne!(self.said.read_line(&mut said).unwrap(), 0, "{said}");
        }
        said
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// A load-balancer with one backend on this host, and where it is.
    fn balance(&self, protocol: &str, backend: u16) -> SocketAddr {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let body = format!(
            r#"{{"name":"{protocol} {port}","port":{port},"protocol":"{protocol}","backends":[{{"ip":"127.0.0.1","port":{backend}}}]}}"#
        );
        let (status, created) = self.ask("POST", "/loadbalancer", &body);
        assert_eq!(status, 201, "{created}");
        SocketAddr::new(created["eip"].as_str().unwrap().parse().unwrap(), port)
    }

    fn connections(&self) -> u64 {
        let (status, statistics) = self.ask("GET", "/statistics", "");
        assert_eq!(status, 200, "{statistics}");
        statistics.as_array().unwrap().iter().map(|each| each["connections"].as_u64().unwrap()).sum()
    }

    fn may_open(&self, files: u64) {
        let limit = Rlimit { current: Some(files), maximum: Some(FILES) };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, limit).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Greets whoever comes, and waits for the end of what they say.
fn greeter() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            thread::spawn(move || {
                let mut client = client.unwrap();
                client.write_all(b"!").unwrap();
                let _ = client.read_to_end(&mut Vec::new());
            });
        }
    });
    port
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
    let mut server = Server::start("tcp", "127.0.5.85-127.0.5.90");
    let at = server.balance("tcp", greeter());
    let mut clients = Clients::none();
    (0..CLIENTS).for_each(|_| clients.connect(at));
    let said = server.hear("raise the limit of open files");
    assert!(said.contains("WARN"), "{said}");
    // Each worker has a socket that listens.
    let room = (FOR_CONNECTIONS - available_parallelism().unwrap().get()) / 2;
    let idle = clients.greeted(room);

    // All that takes files of slb's own, while clients have all of theirs; and those of another load-balancer get none of either.
    let other = server.balance("tcp", greeter());
    clients.connect(other);
    assert_eq!(server.connections(), u64::try_from(room).unwrap());

    // Who waits is served once there is room.
    drop(idle);
    while !clients.waiting.is_empty() {
        drop(clients.greeted(1));
    }
}

/// Every new one is answered, at the cost of those who have been silent longest; TCP has room beside them.
#[test]
fn udp_clients_make_room_for_each_other() {
    let mut server = Server::start("udp", "127.0.6.85-127.0.6.90");
    let (web, names) = (server.balance("tcp", greeter()), server.balance("udp", echo()));
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
    server.hear("raise the limit of open files");
    served(&mut TcpStream::connect(web).unwrap());
    let _ = server.balance("tcp", greeter());
    // Also those who have lost their place.
    clients.iter().for_each(ask);
}

/// A limit that falls below what there is.
#[test]
fn a_lack_of_files_is_survived() {
    let mut server = Server::start("lack", "127.0.7.85");
    let at = server.balance("tcp", greeter());
    let mut first = TcpStream::connect(at).unwrap();
    served(&mut first);
    server.may_open(8);
    let mut second = TcpStream::connect(at).unwrap();
    let said = server.hear("there is no room for another connection");
    assert!(said.contains("Too many open files") && said.contains("LimitNOFILE"), "{said}");
    server.may_open(FILES);
    served(&mut second);
}

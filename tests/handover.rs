// SPDX-License-Identifier: Apache-2.0
//! A new version takes over while clients come and go: nobody is refused, nothing breaks; and one that cannot, takes nothing over.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "handover/server.rs"]
mod server;

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::Signal;

use self::server::{Server, ask, folder};

/// Says back whatever it is told.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            thread::spawn(move || std::io::copy(&mut client.try_clone().unwrap(), &mut client));
        }
    });
    at
}

/// The same by UDP.
fn udp_echo() -> SocketAddr {
    let backend = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = backend.local_addr().unwrap();
    thread::spawn(move || {
        let mut datagram = [0; 16];
        while let Ok((length, client)) = backend.recv_from(&mut datagram) {
            backend.send_to(&datagram[..length], client).unwrap();
        }
    });
    at
}

fn say(stream: &mut TcpStream, what: &[u8; 4]) {
    stream.write_all(what).unwrap();
    let mut said = [0; 4];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(said, *what);
}

/// One connection from its beginning to its end.
fn come_and_go(at: SocketAddr) {
    let mut stream = TcpStream::connect(at).unwrap();
    say(&mut stream, b"here");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

/// Clients that do something again and again without pause.
struct Crowd {
    is_over: Arc<AtomicBool>,
    times: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn of(many: usize, act: impl Fn() + Clone + Send + 'static) -> Self {
        let (is_over, times) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..many).map(|_| {
            let (is_over, times, act) = (Arc::clone(&is_over), Arc::clone(&times), act.clone());
            thread::spawn(move || {
                while !is_over.load(Relaxed) {
                    act();
                    times.fetch_add(1, Relaxed);
                }
            })
        });
        Self { clients: clients.collect(), is_over, times }
    }

    /// Waits until they have come some more times.
    fn come(&self) {
        let enough = self.times.load(Relaxed) + 2 * self.clients.len();
        while self.times.load(Relaxed) < enough {
            assert!(self.clients.iter().all(|client| !client.is_finished()), "a client failed");
            thread::yield_now();
        }
    }

    /// How often they came.
    fn end(self) -> usize {
        self.is_over.store(true, Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        self.times.load(Relaxed)
    }
}

#[test]
fn twenty_upgrades_refuse_nobody() {
    let mut server = Server::start("twenty", "127.0.11.85");
    assert_eq!(server.notification(), "READY=1");
    let at = server.create("tcp", echo());
    let api = server.api();
    let clients = Crowd::of(4, move || come_and_go(at));
    let operators = Crowd::of(1, move || assert_eq!(ask(api, "GET", "/loadbalancers", "").0, 200));
    let mut long = TcpStream::connect(at).unwrap();
    say(&mut long, b"long");
    for _ in 0..20 {
        clients.come();
        operators.come();
        server.upgrade();
        assert_eq!(server.notification(), format!("MAINPID={}", server.id));
        assert_eq!(server.notification(), "READY=1");
        say(&mut long, b"more");
    }
    clients.come();
    operators.come();
    assert!(server.first_is_there(), "it has a connection");
    let (_, listed) = server.ask("GET", "/loadbalancers", "");
    assert_eq!(listed[0]["eip"], "127.0.11.85", "{listed}");
    drop(long);
    assert!(server.first_ends().success());
    let (clients, operators) = (clients.end(), operators.end());
    println!("{clients} connections, {operators} requests to the API");
}

/// Clients of UDP are the new one's from the next datagram on.
#[test]
fn no_datagram_is_lost() {
    let mut server = Server::start("udp", "127.0.12.85");
    let at = server.create("udp", udp_echo());
    let clients = Crowd::of(4, move || {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(at).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        for number in 0..100_u32 {
            client.send(&number.to_be_bytes()).unwrap();
            let mut answer = [0; 16];
            assert_eq!(client.recv(&mut answer).unwrap(), 4, "{number}");
            assert_eq!(answer[..4], number.to_be_bytes());
        }
    });
    for _ in 0..5 {
        clients.come();
        server.upgrade();
    }
    clients.come();
    println!("{} datagrams", 100 * clients.end());
    assert!(server.first_ends().success());
}

/// The server before has its sockets for its last answers, so they cannot be bound anew.
#[test]
fn a_udp_endpoint_is_given_up_and_taken_again_at_once() {
    let mut server = Server::start("again", "127.0.17.85");
    let (backend, client) = (udp_echo(), UdpSocket::bind("127.0.0.1:0").unwrap());
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let at = server.create("udp", backend);
    server.upgrade();
    for _ in 0..2 {
        let (_, listed) = server.ask("GET", "/loadbalancers", "");
        let path = format!("/loadbalancer/{}", listed[0]["uuid"].as_str().unwrap());
        assert_eq!(server.ask("DELETE", &path, "").0, 204);
        assert_eq!(server.create_on("udp", at.port(), backend), at);
        client.send_to(b"here", at).unwrap();
        let mut said = [0; 16];
        assert_eq!(client.recv_from(&mut said).unwrap(), (4, at));
    }
    assert!(server.first_is_there(), "it waits for answers");
}

#[test]
fn what_cannot_take_over_changes_nothing() {
    let mut server = Server::start("broken", "127.0.13.85");
    let at = server.create("tcp", echo());
    let clients = Crowd::of(2, move || come_and_go(at));
    let mut long = TcpStream::connect(at).unwrap();
    for broken in ["exit 3", "exec no-such-program"] {
        clients.come();
        server.install(Some(broken));
        let before = server.succeed();
        let said = server.hear("this server goes on");
        assert!(said.contains("ended before it was ready"), "{said}");
        server.hear("] ready");
        server.id = before;
        say(&mut long, b"goes");
        assert_eq!(server.ask("GET", "/loadbalancers", "").1[0]["eip"], "127.0.13.85");
    }
    std::fs::remove_file(server.folder.join("slb")).unwrap();
    Server::signal(server.id, Signal::USR2);
    let said = server.hear("this server goes on");
    assert!(said.contains("No such file"), "{said}");
    server.hear("] ready");

    server.install(None);
    server.upgrade();
    clients.come();
    say(&mut long, b"goes");
    drop(long);
    assert!(server.first_ends().success());
    clients.end();
}

#[test]
fn a_successor_that_dies_early_has_taken_nobody() {
    let mut server = Server::start("early", "127.0.14.85");
    let at = server.create("tcp", echo());
    let clients = Crowd::of(2, move || come_and_go(at));
    server.install(Some("exec sleep 1000"));
    let before = server.succeed();
    clients.come();
    Server::signal(before, Signal::USR2);
    server.hear("a successor is being started already");
    let api = server.api();
    let waiting = thread::spawn(move || ask(api, "GET", "/loadbalancers", "").0);
    Server::signal(server.id, Signal::KILL);
    server.hear("this server goes on");
    server.hear("] ready");
    assert_eq!(waiting.join().unwrap(), 200);
    server.id = before;
    clients.come();
    clients.end();

    server.succeed();
    Server::signal(before, Signal::TERM);
    assert!(server.first_ends().success(), "with the successor that was not ready");
    let successor = rustix::process::Pid::from_raw(server.id.try_into().unwrap()).unwrap();
    assert!(rustix::process::test_kill_process(successor).is_err());
}

/// Whichever signal it hears of first, and however far the successor has come.
#[test]
fn a_server_that_is_to_stop_leaves_no_successor() {
    for round in 0..10 {
        let mut server = Server::start("stopped", "127.0.16.85");
        Server::signal(server.id, Signal::USR2);
        if round % 2 == 1 {
            server.hear("handing over to a successor");
        }
        Server::signal(server.id, Signal::TERM);
        let said = server.hear_out();
        assert!(server.first_ends().success(), "{said}");
        assert!(!said.contains("took over"), "{said}");
    }
}

/// Also before there is a server, as with systemd's sockets: clients wait for it.
#[test]
fn listeners_are_taken_from_systemd() {
    let folder = folder("systemd");
    let range = "127.0.15.85";
    let (api, clients) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind((range, 0)).unwrap());
    let (port, at) = (api.local_addr().unwrap().port(), clients.local_addr().unwrap());
    let start = |api: TcpListener, clients: TcpListener| {
        Server::command(&folder, range, port, |command| {
            command.args(["-c", r#"exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec "$@""#, "sh"]);
            command.stdin(OwnedFd::from(api)).stdout(OwnedFd::from(clients));
        })
    };
    let waiting = thread::spawn(move || ask(SocketAddr::from(([127, 0, 0, 1], port)), "GET", "/", "").0);
    let mut server = start(api, clients);
    let said = server.hear("closed a socket that was handed over");
    assert!(said.contains(&at.to_string()), "{said}");
    assert_eq!(waiting.join().unwrap(), 200);
    assert!(TcpStream::connect(at).is_err(), "there is no load-balancer");
    let backend = echo();
    let body =
        format!(r#"{{"name":"web","port":{},"backends":[{{"ip":"127.0.0.1","port":{}}}]}}"#, at.port(), backend.port());
    assert_eq!(server.ask("POST", "/loadbalancer", &body).0, 201);
    drop(server);

    let (api, clients) = (TcpListener::bind(("127.0.0.1", port)).unwrap(), TcpListener::bind(at).unwrap());
    let early = thread::spawn(move || come_and_go(at));
    let mut server = start(api, clients);
    server.hear("] ready");
    early.join().unwrap();
    server.upgrade();
    come_and_go(at);
    assert!(server.first_ends().success());
}

/// systemd is to hear that a server is alive from whichever is the main process.
#[test]
fn the_watchdog_hears_of_a_successor() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Server::command(&folder("watchdog"), "127.0.16.85", port, |command| {
        command.args(["-c", r#"WATCHDOG_PID=$$ WATCHDOG_USEC=100000 exec "$@""#, "sh"]);
    });
    assert_eq!(server.notification(), "READY=1");
    assert_eq!(server.notification(), "WATCHDOG=1");
    server.upgrade();
    assert!(server.first_ends().success(), "it relays nothing");
    while server.notification() != "READY=1" {}
    assert_eq!(server.notification(), "WATCHDOG=1");
}

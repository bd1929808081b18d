// SPDX-License-Identifier: Apache-2.0
//! In user space with privileges: backends see their clients' own addresses, and what they answer comes back to slb.
//!
//! ```text
//!  client 10.1.0.10 ── router ── 192.168.0.0/24, 2001:db8::/64 ── lb .1, one .11, two .12, whose way out is lb
//! ```

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use slb_lab::{Node, Segment, Server, wait};
use socket2::{Domain, Socket, Type};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");
const VIP: &str = "192.168.0.85";
const VIP6: &str = "2001:db8::85";
/// Where the backends listen.
const PORT: u16 = 7000;
/// Longer than anything that works takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a backend's answer to a datagram is filled up to, which takes several packets.
const LONG: usize = 4000;
const RULE: &str = "fwmark 0x51a00001";

struct Site {
    _segments: [Segment; 2],
    client: Node,
    _router: Node,
    lb: Node,
    one: Node,
    two: Node,
}

impl Site {
    fn new() -> Self {
        let (outer, inner) = (Segment::new(), Segment::new());
        let client = outer.host("client", "10.1.0.10/24");
        let router = inner.host("router", "192.168.0.254/24");
        outer.connect(&router, "eth1", "10.1.0.1/24");
        router.sh("sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        router.sh("ip addr add 2001:db8::fe/64 dev eth0 nodad; ip addr add 2001:db8:1::1/64 dev eth1 nodad");
        client.sh("ip route add default via 10.1.0.1; ip addr add 2001:db8:1::10/64 dev eth0 nodad");
        client.sh("ip -6 route add default via 2001:db8:1::1");
        let host = |name, number: u8, way: &str, way6: &str| {
            let node = inner.host(name, &format!("192.168.0.{number}/24"));
            node.sh(&format!("ip addr add 2001:db8::{number}/64 dev eth0 nodad"));
            node.sh(&format!("ip route add default via {way}; ip -6 route add default via {way6}"));
            node
        };
        let lb = host("lb", 1, "192.168.0.254", "2001:db8::fe");
        let [one, two] =
            [("one", 11), ("two", 12)].map(|(name, number)| host(name, number, "192.168.0.1", "2001:db8::1"));
        // Strictness does not matter.
        lb.sh("sysctl -w net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1");
        Self { _segments: [outer, inner], client, _router: router, lb, one, two }
    }

    fn start(&self, dataplane: &str) -> Server<'_> {
        let range = format!("{VIP},{VIP6}");
        let state_dir = self.state_dir();
        let words = ["--arp", "--adapter", "eth0", "--ipamRange", &range, "--arpProbeInterval", "1ms"];
        let more = ["--reconcileInterval", "1s", "--stateDir", &state_dir, "--dataplane", dataplane];
        Server::start(&self.lb, SLB, &[&words[..], &more].concat())
    }

    fn state_dir(&self) -> String {
        format!("/run/state-{}", self.lb.name())
    }

    /// Backends on both hosts.
    fn tellers(&self) {
        tell(&self.one);
        tell(&self.two);
    }

    /// All rules, and the routes that they lead to.
    fn rules(&self) -> String {
        let mangle = "for save in iptables-legacy-save ip6tables-legacy-save; do \
                      $save -t mangle 2>/dev/null | grep -v '^#' | sed 's/\\[.*\\]//' || true; done";
        let routes = "for v in -4 -6; do ip $v rule; ip $v route show table 100 || true; \
                      ip $v route show table 1369440257 2>/dev/null || true; done";
        self.lb.sh(&format!("{mangle}; nft list ruleset 2>/dev/null || true; {routes}"))
    }
}

/// Says to whoever asks who that is, and what was said before the question.
fn tell(node: &Node) {
    let (tcp, udp) = node.inside(|| (TcpListener::bind(("::", PORT)).unwrap(), UdpSocket::bind(("::", PORT)).unwrap()));
    thread::spawn(move || {
        for mut stream in tcp.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let from = stream.peer_addr().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let before: Vec<String> = lines.take_while(|line| line != "?").collect();
                let _ = writeln!(stream, "{} {}", plain(from), before.join(" "));
                // Until the other end says something more, or closes.
                let _ = stream.read(&mut [0]);
            });
        }
    });
    thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok((_, from)) = udp.recv_from(&mut bytes) {
            let answer = format!("{:<LONG$}", plain(from));
            drop(udp.send_to(answer.as_bytes(), from));
        }
    });
}

/// One of IPv4 in its own form.
fn plain(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip().to_canonical(), at.port())
}

/// The client's own end, and the connection after the answer.
fn connect(client: &Node, at: SocketAddr) -> std::io::Result<(SocketAddr, String, BufReader<TcpStream>)> {
    asked(client.inside(|| TcpStream::connect_timeout(&at, PATIENCE))?)
}

fn asked(mut stream: TcpStream) -> std::io::Result<(SocketAddr, String, BufReader<TcpStream>)> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"?\n")?;
    let from = stream.local_addr()?;
    let mut stream = BufReader::new(stream);
    let mut said = String::new();
    stream.read_line(&mut said)?;
    Ok((from, said.trim().to_owned(), stream))
}

/// By TCP: the client's own end, and what it was told.
fn ask(client: &Node, at: SocketAddr) -> (SocketAddr, String) {
    let (from, said, _) = connect(client, at).unwrap();
    (from, said)
}

/// The same by UDP.
fn ask_by_udp(client: &Node, at: SocketAddr) -> (SocketAddr, String) {
    let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = client.inside(|| UdpSocket::bind(any)).unwrap();
    socket.connect(at).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(b"?").unwrap();
    let mut bytes = [0; 2 * LONG];
    let length = socket.recv(&mut bytes).unwrap();
    assert_eq!(length, LONG, "all of the answer");
    (socket.local_addr().unwrap(), String::from_utf8_lossy(&bytes[..length]).trim().to_owned())
}

fn body(vip: &str, protocol: &str, backends: &[&str]) -> String {
    let backends: Vec<Value> = backends.iter().map(|ip| json!({"ip": ip, "port": PORT})).collect();
    json!({"eip": vip, "port": 80, "protocol": protocol, "sourceNat": "never", "backends": backends}).to_string()
}

fn path(load_balancer: &Value) -> String {
    format!("/loadbalancer/{}", load_balancer["uuid"].as_str().unwrap())
}

fn at(vip: &str) -> SocketAddr {
    SocketAddr::new(vip.parse::<IpAddr>().unwrap(), 80)
}

fn backends_see_their_clients() {
    let site = Site::new();
    site.tellers();
    let server = site.start("user");
    let of_ipv4 = ["192.168.0.11", "192.168.0.12"];
    for (vip, backends) in [(VIP, of_ipv4), (VIP6, ["2001:db8::11", "2001:db8::12"])] {
        let web = server.create(&body(vip, "tcp", &backends));
        for _ in 0..4 {
            let (from, said) = ask(&site.client, at(vip));
            assert_eq!(said, from.to_string());
        }
        let changed = server.ask("PATCH", &path(&web), r#"{"proxyProtocol":"v1"}"#);
        assert_eq!(changed.status, 200, "{}", changed.body);
        let (from, said) = ask(&site.client, at(vip));
        assert!(said.starts_with(&format!("{from} PROXY TCP")), "{said}");
        server.delete(&web);
        let dns = server.create(&body(vip, "udp", &backends));
        for _ in 0..2 {
            let (from, said) = ask_by_udp(&site.client, at(vip));
            assert_eq!(said, from.to_string());
        }
        server.delete(&dns);
    }

    // A port that a program of the load-balancer's host has is left to it.
    let web = server.create(&body(VIP, "tcp", &of_ipv4));
    let _others = site.lb.inside(|| TcpListener::bind("0.0.0.0:40000")).unwrap();
    let socket = site.client.inside(|| Socket::new(Domain::IPV4, Type::STREAM, None)).unwrap();
    socket.bind(&SocketAddr::from(([10, 1, 0, 10], 40000)).into()).unwrap();
    socket.connect_timeout(&at(VIP).into(), PATIENCE).unwrap();
    let (_, said, _) = asked(socket.into()).unwrap();
    assert!(said.starts_with("10.1.0.10:") && said != "10.1.0.10:40000", "{said}");

    // What the load-balancer's host would answer itself never came back.
    let refused = server.ask("POST", &format!("{}/backend", path(&web)), r#"{"ip":"192.168.0.1","port":7000}"#);
    assert_eq!((refused.status, &refused.json()["type"]), (422, &json!("/problems/unserved")), "{}", refused.body);
    assert!(refused.body.contains("this host itself"), "{}", refused.body);
}

/// Other people's, beside which slb has its own: they stay, and stand for nothing of slb's.
fn foreign(lb: &Node) {
    lb.sh("ip rule add fwmark 1 lookup 100 priority 1306; ip route add local 10.9.0.0/16 dev lo table 100");
    lb.sh("ip -6 rule add from 2001:db8:9::/64 lookup 100 priority 1306");
    lb.sh("nft add table ip theirs 2>/dev/null || for each in iptables-legacy ip6tables-legacy; do \
         $each -t mangle -A PREROUTING -p udp -m socket --transparent -j MARK --set-mark 1; done");
}

fn what_brings_answers_back_comes_and_goes() {
    let site = Site::new();
    site.tellers();
    foreign(&site.lb);
    let before = site.rules();
    let server = site.start("user");
    let always = body(VIP, "tcp", &["192.168.0.11"]).replace("never", "always");
    let web = server.create(&always);
    assert_eq!(site.rules(), before, "nobody needs it");
    assert!(ask(&site.client, at(VIP)).1.starts_with("192.168.0.1:"));
    let choose = |server: &Server<'_>, choice: &str| {
        let changed = server.ask("PATCH", &path(&web), &format!(r#"{{"sourceNat":"{choice}"}}"#));
        assert_eq!((changed.status, &changed.json()["sourceNat"]), (200, &json!(choice)));
    };
    choose(&server, "never");
    let with = site.rules();
    assert!(with.contains(RULE), "{with}");
    let (from, said, mut open) = connect(&site.client, at(VIP)).unwrap();
    assert_eq!(said, from.to_string());
    let six = server.create(&body(VIP6, "tcp", &["2001:db8::11"]));
    assert_ne!(site.rules(), with);
    server.delete(&six);
    assert_eq!(site.rules(), with, "each family by itself");
    choose(&server, "always");
    assert_eq!(site.rules(), before);
    assert!(open.read_line(&mut String::new()).map_or(true, |length| length == 0), "its answers would go astray");
    assert!(ask(&site.client, at(VIP)).1.starts_with("192.168.0.1:"));
    choose(&server, "never");

    server.kill();
    assert_eq!(site.rules(), with);
    let server = site.start("user");
    assert_eq!(site.rules(), with);
    let whole = || {
        let (from, said) = ask(&site.client, at(VIP));
        assert_eq!(said, from.to_string());
    };
    whole();
    for damage in [
        format!("ip rule del {RULE}"),
        "ip route del local default dev lo table 1369440257".to_owned(),
        "nft delete table ip slb-answers 2>/dev/null || iptables-legacy -t mangle -D PREROUTING 2".to_owned(),
    ] {
        // It fails unless there was something to damage.
        site.lb.sh(&damage);
        wait::until("a repair", || (site.rules() == with).then_some(()));
    }
    whole();
    server.delete(&web);
    assert_eq!(site.rules(), before);
}

fn a_cleanup_takes_it_away() {
    let site = Site::new();
    foreign(&site.lb);
    let before = site.rules();
    let server = site.start("user");
    let _ = server.create(&body(VIP, "tcp", &["192.168.0.11"]));
    let with = site.rules();
    server.stop();
    assert_eq!(site.rules(), with, "stopping is not undoing");
    site.lb.run(SLB, &["cleanup", "--stateDir", &site.state_dir()]);
    assert_eq!(site.rules(), before);
}

fn ipvs_has_no_use_for_it() {
    let site = Site::new();
    let server = site.start("user");
    let _ = server.create(&body(VIP, "tcp", &["192.168.0.11"]));
    server.stop();
    assert!(site.rules().contains(RULE));
    let _server = site.start("ipvs");
    assert!(!site.rules().contains(RULE));
}

fn connections_outlast_an_upgrade() {
    let site = Site::new();
    site.tellers();
    let mut server = site.start("user");
    let _ = server.create(&body(VIP, "tcp", &["192.168.0.11"]));
    let (_, _, open) = connect(&site.client, at(VIP)).unwrap();
    server.process().signal(Signal::USR2);
    let said = server.process().line("a handover", |line| line.contains("a successor has taken over"));
    let successor = said.rsplit_once("process=").unwrap().1.to_owned();
    let (from, said) = ask(&site.client, at(VIP));
    assert_eq!(said, from.to_string());
    // The backend closes when it hears something, and the client hears of that.
    let mut stream = open.into_inner();
    stream.write_all(b"!").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "its answers came back");
    drop(stream);
    assert!(server.process().wait().success());
    site.lb.sh(&format!("kill -KILL {successor}"));
}

slb_lab::main! {
    fast: [
        backends_see_their_clients,
        what_brings_answers_back_comes_and_goes,
        a_cleanup_takes_it_away,
        ipvs_has_no_use_for_it,
        connections_outlast_an_upgrade,
    ],
    stock: [
        backends_see_their_clients,
        what_brings_answers_back_comes_and_goes,
    ],
}

// SPDX-License-Identifier: Apache-2.0
//! What is known to bite whoever balances with IPVS, with slb's settings and rules in place: whose address backends see, where their answers
//! go, and what becomes of clients whose backend is gone or drained.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use slb_core::{
    model::{SourceNat as Choice, Vip},
    ports::{Host, Settings, Verdict},
    step::HostStep::{self, Bind, DisableSourceNat, EnableSourceNat},
};
use slb_host::{Linux, modules};
use slb_lab::{Node, Segment, Sniffer, wait};

/// A client next to the backends, and another behind a router on the same network.
///
/// ```text
///  far 10.1.0.10 ── router ── 192.168.0.0/24: lb .2, near .10, backends one .21 and two .22, whose way out is the lb
/// ```
struct Site {
    _segments: [Segment; 2],
    _router: Node,
    lb: Node,
    near: Node,
    far: Node,
    one: Node,
    two: Node,
}

const VIP: &str = "192.168.0.85";
const VIP6: &str = "2001:db8::85";

impl Site {
    fn new() -> Self {
        let (inner, outer) = (Segment::new(), Segment::new());
        let host = |name, number: u8| {
            let node = inner.host(name, &format!("192.168.0.{number}/24"));
            node.sh(&format!("ip addr add 2001:db8::{number}/64 dev eth0 nodad"));
            node
        };
        let (lb, near, router) = (host("lb", 2), host("near", 10), host("router", 254));
        let (one, two) = (host("one", 21), host("two", 22));
        outer.connect(&router, "eth1", "10.1.0.1/24");
        router.sh("ip addr add 2001:db8:1::1/64 dev eth1 nodad");
        router.sh("sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        let far = outer.host("far", "10.1.0.10/24");
        far.sh("ip addr add 2001:db8:1::10/64 dev eth0 nodad");
        far.sh("ip route add default via 10.1.0.1; ip -6 route add default via 2001:db8:1::1");
        lb.sh("ip route add default via 192.168.0.254; ip -6 route add default via 2001:db8::254");
        for node in [&one, &two] {
            node.sh("ip route add default via 192.168.0.2; ip -6 route add default via 2001:db8::2");
        }
        for node in [&lb, &near, &one, &two] {
            wait::until("an address of its own", || node.sh("ip -6 addr show tentative").is_empty().then_some(()));
        }
        Self { _segments: [inner, outer], _router: router, lb, near, far, one, two }
    }

    /// The load-balancer's host as slb makes it.
    fn prepared(&self) {
        self.on_lb(async |linux| {
            for change in linux.drifted_settings().await.unwrap() {
                linux.set(&change.name, &change.to).await.unwrap();
            }
            apply(linux, &[Bind(vip(VIP)), Bind(vip(VIP6))]).await;
        });
    }

    fn on_lb(&self, work: impl AsyncFnOnce(&mut Linux) + Send) {
        self.lb.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut linux = Linux::new("eth0").unwrap().with_ipv6();
                modules::load(&linux.source_nat().await.unwrap()).await.unwrap();
                work(&mut linux).await;
            });
        });
    }

    fn choose(&self, choice: Choice) {
        self.on_lb(async |linux| {
            let step = |vip| if choice == Choice::Never { DisableSourceNat(vip) } else { EnableSourceNat(vip, choice) };
            apply(linux, &[step(vip(VIP)), step(vip(VIP6))]).await;
            let seen = linux.observe().await.unwrap().source_nat;
            assert_eq!(seen.get(&vip(VIP)).copied().unwrap_or(Choice::Never), choice);
            assert_eq!(seen.get(&vip(VIP6)).copied().unwrap_or(Choice::Never), choice);
        });
    }
}

async fn apply(linux: &mut Linux, steps: &[HostStep]) {
    for (step, verdict) in steps.iter().zip(linux.apply(steps).await) {
        assert!(matches!(verdict, Verdict::Applied), "{step}: {verdict:?}");
    }
}

fn vip(text: &str) -> Vip {
    text.parse().unwrap()
}

/// Repeats each line that comes, with the address that it seems to come from before it.
fn mirror(node: &Node) {
    let listener = node.inside(|| TcpListener::bind((IpAddr::from([0_u16; 8]), 80)).unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let peer = stream.peer_addr().unwrap().ip().to_canonical();
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() {
                    drop(writeln!(stream, "{peer}"));
                }
            });
        }
    });
}

/// The address that the backend sees, in an exchange that goes on for a while; `None` if there is no answer.
fn seen_from(client: &Node, server: &str) -> Option<String> {
    let server = SocketAddr::new(server.parse().unwrap(), 80);
    client.inside(|| {
        let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(2)).ok()?;
        let mut seen = Vec::new();
        for _ in 0..8 {
            stream.write_all(b"x").ok()?;
            while seen.last() != Some(&b'\n') {
                let mut byte = [0];
                stream.read_exact(&mut byte).ok()?;
                seen.extend(byte);
            }
            if seen.iter().filter(|byte| **byte == b'\n').count() < 8 {
                seen.push(b' ');
            }
        }
        String::from_utf8(seen).ok()?.split_whitespace().next().map(str::to_owned)
    })
}

fn backends_see_the_addresses_that_are_chosen() {
    let site = Site::new();
    site.prepared();
    mirror(&site.one);
    site.lb.sh("ipvsadm -A -t 192.168.0.85:80 -s rr; ipvsadm -a -t 192.168.0.85:80 -r 192.168.0.21:80 -m");
    site.lb.sh("ipvsadm -A -t [2001:db8::85]:80 -s rr; ipvsadm -a -t [2001:db8::85]:80 -r [2001:db8::21]:80 -m");
    let before = site.lb.tables();
    let (lb, lb6) = ("192.168.0.2", "2001:db8::2");
    // Not those of IPv6, which has no setting for it: they tell of clients next to the backends, which these know of anyway.
    let redirects = Sniffer::start(&site.one, "eth0", "icmp[icmptype] == icmp-redirect");
    for (choice, near, far) in [
        (Choice::Always, Some([lb, lb6]), [lb, lb6]),
        (Choice::SameNetwork, Some([lb, lb6]), ["10.1.0.10", "2001:db8:1::10"]),
        (Choice::Never, None, ["10.1.0.10", "2001:db8:1::10"]),
        (Choice::SameNetwork, Some([lb, lb6]), ["10.1.0.10", "2001:db8:1::10"]),
    ] {
        site.choose(choice);
        for (which, vip) in [VIP, VIP6].into_iter().enumerate() {
            assert_eq!(seen_from(&site.far, vip), Some(far[which].to_owned()), "{choice} from elsewhere to {vip}");
            let near = near.map(|near| near[which].to_owned());
            assert_eq!(seen_from(&site.near, vip), near, "{choice} from the same network to {vip}");
        }
    }
    // A packet that comes after all of them.
    let pings = Sniffer::start(&site.one, "eth0", "icmp[icmptype] == icmp-echoreply");
    site.one.sh("ping -c 1 192.168.0.2");
    pings.packet(&["echo reply"]);
    assert_eq!(redirects.packets(), Vec::<String>::new());
    site.choose(Choice::Never);
    assert_eq!(site.lb.tables(), before);
}

/// The host gets another address: the rules are for networks that are no more. Who is put right first takes nobody along.
fn networks_that_change_are_noticed() {
    let site = Site::new();
    site.prepared();
    let other = vip("192.168.0.86");
    let near = |vip| EnableSourceNat(vip, Choice::SameNetwork);
    site.on_lb(async |linux| apply(linux, &[near(other)]).await);
    site.choose(Choice::SameNetwork);
    site.lb.sh("ip addr add 192.168.7.2/24 dev eth0");
    site.on_lb(async |linux| assert_eq!(linux.observe().await.unwrap().source_nat.get(&vip(VIP)), None));
    site.choose(Choice::SameNetwork);
    assert!(site.lb.tables().contains("192.168.7.0/24"), "{}", site.lb.tables());
    site.on_lb(async |linux| {
        assert_eq!(linux.observe().await.unwrap().source_nat.get(&other), Some(&Choice::SameNetwork));
    });
}

/// Two adapters, and the way out leads by the one that VIPs are not on.
fn packets_that_the_strict_filter_would_drop_are_told_of() {
    let site = Site::new();
    let aside = Segment::new();
    aside.connect(&site.lb, "eth1", "10.7.0.2/24");
    let detour = |line: &str, expected: &[&str]| {
        site.lb.sh(line);
        site.on_lb(async |linux| assert_eq!(linux.detour().await.unwrap(), expected, "{line}"));
    };
    detour("sysctl -w net.ipv4.conf.all.rp_filter=1", &[]);
    detour("ip route replace default via 10.7.0.1", &["eth1"]);
    detour("ip route replace default nexthop via 10.7.0.1 nexthop via 192.168.0.254", &[]);
    detour("ip route replace default via 10.7.0.1; sysctl -w net.ipv4.conf.eth0.rp_filter=2", &[]);
    detour("sysctl -w net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.all.rp_filter=0", &["eth1"]);
    detour("ip route del default", &[]);
}

/// Says its name to everybody.
fn name_server(node: &Node, name: &'static str) {
    let socket = node.inside(|| UdpSocket::bind("0.0.0.0:53").unwrap());
    thread::spawn(move || {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 64]) {
            drop(socket.send_to(name.as_bytes(), from));
        }
    });
}

fn ask(client: &UdpSocket) -> Option<String> {
    client.send(b"who?").unwrap();
    let mut answer = [0; 64];
    let length = client.recv(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// DNS and syslog clients keep their port.
fn a_client_that_keeps_its_port_loses_nothing_when_its_backend_goes() {
    let site = Site::new();
    site.prepared();
    site.choose(Choice::Always);
    name_server(&site.one, "one");
    name_server(&site.two, "two");
    site.lb.sh("ipvsadm -A -u 192.168.0.85:53 -s wrr");
    site.lb.sh("ipvsadm -a -u 192.168.0.85:53 -r 192.168.0.21:53 -m -w 1; ipvsadm -a -u 192.168.0.85:53 -r 192.168.0.22:53 -m -w 1");
    let client = site.near.inside(|| UdpSocket::bind("0.0.0.0:5353").unwrap());
    client.connect("192.168.0.85:53").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let first = ask(&client).unwrap();
    assert_eq!(ask(&client).unwrap(), first, "one entry, one backend");
    let (gone, other) = if first == "one" { ("192.168.0.21", "two") } else { ("192.168.0.22", "one") };
    site.lb.sh(&format!("ipvsadm -d -u 192.168.0.85:53 -r {gone}:53"));
    wait::until("the entry to go with its backend", || (!site.lb.sh("ipvsadm -lnc").contains(gone)).then_some(()));
    assert_eq!(ask(&client).as_deref(), Some(other));
}

/// A drained backend keeps the connections that it has, and gets no others, not even of clients that are tied to it.
fn clients_that_are_tied_to_a_drained_backend_go_elsewhere() {
    let site = Site::new();
    site.prepared();
    site.choose(Choice::Always);
    mirror(&site.one);
    mirror(&site.two);
    site.lb.sh("ipvsadm -A -t 192.168.0.85:80 -s rr -p 300");
    site.lb.sh("for b in 21 22; do ipvsadm -a -t 192.168.0.85:80 -r 192.168.0.$b:80 -m; done");
    let connect = || {
        let server = SocketAddr::new(VIP.parse().unwrap(), 80);
        site.near.inside(|| TcpStream::connect_timeout(&server, Duration::from_secs(2)).unwrap())
    };
    let answered =
        |mut stream: &TcpStream| stream.write_all(b"x").and_then(|()| stream.read_exact(&mut [0; 12])).is_ok();
    // Where the connections are, by the last number of the backend.
    let places = || {
        let entries = site.lb.sh("ipvsadm -lnc");
        let entries = entries.lines().filter(|line| line.contains("ESTABLISHED"));
        entries.filter_map(|line| Some(line.trim_end().strip_suffix(":80")?.rsplit('.').next()?.to_owned())).collect()
    };
    let first = [connect(), connect()];
    assert!(first.iter().all(answered));
    let tied: Vec<String> = places();
    assert!(tied.len() == 2 && tied[0] == tied[1], "{tied:?}");
    site.lb.sh(&format!("ipvsadm -e -t 192.168.0.85:80 -r 192.168.0.{}:80 -m -w 0", tied[0]));
    let second = connect();
    assert!(first.iter().chain([&second]).all(answered));
    let now: Vec<String> = places();
    assert_eq!(now.iter().filter(|place| **place == tied[0]).count(), 2, "{now:?}");
    assert_eq!(now.len(), 3, "{now:?}");
}

slb_lab::main! {
    fast: [
        backends_see_the_addresses_that_are_chosen,
        networks_that_change_are_noticed,
        packets_that_the_strict_filter_would_drop_are_told_of,
        a_client_that_keeps_its_port_loses_nothing_when_its_backend_goes,
        clients_that_are_tied_to_a_drained_backend_go_elsewhere,
    ],
    stock: [backends_see_the_addresses_that_are_chosen, networks_that_change_are_noticed],
}

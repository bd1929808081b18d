// SPDX-License-Identifier: Apache-2.0
//! VIPs of IPv6 on a real kernel: how they are bound, that they come and go with their events, and their source NAT.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use slb_core::{
    model::{Family, SourceNat as Choice, Vip},
    ports::{Host, HostEvent, Settings, Verdict},
    step::HostStep::{self, Bind, DisableSourceNat, EnableSourceNat as Enable, Unbind},
};
use slb_host::{Linux, Monitor, SourceNat, modules};
use slb_lab::{Node, Segment};

/// Runs on a host, on a thread and runtime of its own.
fn on<T: Send>(node: &Node, work: impl AsyncFnOnce() -> T + Send) -> T {
    node.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work())
    })
}

/// A host with an address of IPv6, at once.
fn host(segment: &Segment, name: &str, ipv4: &str, ipv6: &str) -> Node {
    let node = segment.host(name, ipv4);
    node.sh(&format!("ip addr add {ipv6} dev eth0 nodad"));
    node
}

async fn ready() -> Linux {
    let mut linux = Linux::new("eth0").unwrap().with_ipv6();
    modules::load(&linux.source_nat().await.unwrap()).await.unwrap();
    linux
}

/// All connections to the VIP get source NAT.
fn enable(vip: Vip) -> HostStep {
    Enable(vip, Choice::Always)
}

/// The VIPs that have source NAT.
async fn translated(linux: &mut Linux) -> BTreeSet<Vip> {
    linux.observe().await.unwrap().source_nat.into_keys().collect()
}

fn vip(text: &str) -> Vip {
    text.parse().unwrap()
}

async fn applied(linux: &mut Linux, steps: &[HostStep]) {
    for (step, verdict) in steps.iter().zip(linux.apply(steps).await) {
        assert!(matches!(verdict, Verdict::Applied), "{step}: {verdict:?}");
    }
}

fn a_vip_works_at_once_and_is_no_source() {
    let segment = Segment::new();
    let (lb, client) = (
        host(&segment, "lb", "192.168.0.2/24", "fd00::2/64"),
        host(&segment, "client", "192.168.0.10/24", "fd00::85:10/64"),
    );
    let (before, routes) = (lb.tables(), lb.sh("ip -6 route show table main"));
    on(&lb, async || {
        let mut linux = ready().await;
        applied(&mut linux, &[Bind(vip("fd00::85:1")), Bind(vip("192.168.0.85"))]).await;
        applied(&mut linux, &[Bind(vip("fd00::85:1"))]).await;
        let view = linux.observe().await.unwrap();
        assert!(view.bound.contains(&vip("fd00::85:1")) && view.bound.contains(&vip("192.168.0.85")), "{view:?}");
        assert_eq!(view.taken[&"fd00::2".parse::<IpAddr>().unwrap()], "eth0's own address");
    });
    let shown = lb.sh("ip -6 addr show dev eth0 to fd00::85:1");
    assert!(shown.contains("deprecated") && !shown.contains("tentative"), "{shown}");
    assert_eq!(lb.sh("ip -6 route show table main"), routes, "a VIP brings no route with it");
    // The VIP shares more bits with the client than the own address does.
    assert!(lb.sh("ip -6 route get fd00::85:10").contains("src fd00::2 "));
    client.sh("ping -6 -c 1 -W 5 fd00::85:1");
    on(&lb, async || {
        let mut linux = ready().await;
        applied(&mut linux, &[Unbind(vip("fd00::85:1")), Unbind(vip("192.168.0.85"))]).await;
        applied(&mut linux, &[Unbind(vip("fd00::85:1"))]).await;
    });
    assert_eq!(lb.tables(), before);
}

/// Otherwise the load-balancer, which forwards, looks on the network for whoever has the VIP, and tells the first clients that nobody has.
fn packets_for_a_vip_are_taken_in_once_it_is_bound() {
    let segment = Segment::new();
    let lb = host(&segment, "lb", "192.168.0.2/24", "fd00::2/64");
    // A busy machine lets the kernel's worker wait.
    let _busy = ["one", "two"].map(|_| lb.spawn("sh", &["-c", "while :; do :; done"]));
    on(&lb, async || {
        let mut linux = ready().await;
        for number in 0x100..0x180_u128 {
            let address = Ipv6Addr::from_bits(0xfd00 << 112 | number);
            applied(&mut linux, &[Bind(address.try_into().unwrap())]).await;
            // The fields of its route: address, length, …, and flags with RTF_LOCAL of linux/ipv6_route.h.
            let routes = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap();
            let destination = format!("{:032x} 80 ", address.to_bits());
            let route = routes.lines().find(|line| line.starts_with(&destination));
            assert!(route.is_some_and(|route| route.contains(" 80200001 ")), "{address}: {route:?}");
        }
    });
}

fn events_of_ipv6_arrive() {
    let segment = Segment::new();
    let lb = host(&segment, "lb", "192.168.0.2/24", "fd00::2/64");
    on(&lb, async || {
        let mut monitor = Monitor::open("eth0").await.unwrap();
        let address = "fd00::85".parse().unwrap();
        lb.sh("ip addr add fd00::85/128 dev eth0 nodad");
        let mut next = async || loop {
            let event = monitor.next().await.unwrap();
            if matches!(event, HostEvent::AddressAdded(found) | HostEvent::AddressRemoved(found) if found == address) {
                return event;
            }
        };
        assert_eq!(next().await, HostEvent::AddressAdded(address));
        lb.sh("ip addr del fd00::85/128 dev eth0");
        assert_eq!(next().await, HostEvent::AddressRemoved(address));
    });
}

/// Answers every connection with the address that it seems to come from.
fn mirror(node: &Node) {
    let listener = node.inside(|| TcpListener::bind(("::", 80)).unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip();
            drop(write!(stream, "{peer}"));
        }
    });
}

/// The address that the server sees; `None` if there is no answer.
fn seen_from(client: &Node, server: &str) -> Option<String> {
    let server: SocketAddr = server.parse().unwrap();
    client.inside(|| {
        let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(2)).ok()?;
        let mut seen = String::new();
        stream.read_to_string(&mut seen).ok()?;
        Some(seen)
    })
}

/// The client and its backend share the subnet: without source NAT the backend answers the client past the load-balancer.
fn balanced_connections_of_ipv6_get_source_nat() {
    let segment = Segment::new();
    let lb = host(&segment, "lb", "192.168.0.2/24", "fd00::2/64");
    let client = host(&segment, "client", "192.168.0.10/24", "fd00::10/64");
    let near = host(&segment, "near", "192.168.0.21/24", "fd00::21/64");
    mirror(&near);
    let bare = lb.tables();
    let one = vip("fd00::85");
    on(&lb, async || {
        let mut linux = ready().await;
        for change in linux.drifted_settings().await.unwrap() {
            linux.set(&change.name, &change.to).await.unwrap();
        }
        assert_eq!(linux.drifted_settings().await.unwrap(), []);
        applied(&mut linux, &[Bind(one)]).await;
    });
    lb.sh("ipvsadm -A -t [fd00::85]:80 -s rr; ipvsadm -a -t [fd00::85]:80 -r [fd00::21]:80 -m");
    assert_eq!(seen_from(&client, "[fd00::85]:80"), None, "the topology needs source NAT");

    on(&lb, async || {
        let mut linux = ready().await;
        applied(&mut linux, &[enable(one), enable(vip("192.168.0.85"))]).await;
        assert_eq!(translated(&mut linux).await, [one, vip("192.168.0.85")].into());
    });
    assert_eq!(seen_from(&client, "[fd00::85]:80").unwrap_or_default(), "fd00::2");
    assert_eq!(seen_from(&client, "[fd00::21]:80").unwrap_or_default(), "fd00::10", "not balanced");

    on(&lb, async || {
        let mut linux = ready().await;
        let steps = [DisableSourceNat(one), DisableSourceNat(vip("192.168.0.85")), Unbind(one)];
        applied(&mut linux, &steps).await;
    });
    assert_eq!(seen_from(&client, "[fd00::85]:80"), None);
    lb.sh("ipvsadm -C");
    assert_eq!(lb.tables(), bare);
}

fn settings_of_ipv6_are_set_once_and_can_be_restored() {
    let segment = Segment::new();
    let lb = host(&segment, "lb", "192.168.0.2/24", "fd00::2/64");
    on(&lb, async || drop(ready().await));
    let before = lb.kernel_state();
    on(&lb, async || {
        let mut linux = ready().await;
        let drifted = linux.drifted_settings().await.unwrap();
        for change in &drifted {
            linux.set(&change.name, &change.to).await.unwrap();
        }
        let set = |name: &str| lb.sh(&format!("sysctl -n {name}")).trim().to_owned();
        assert_eq!(set("net.ipv6.conf.all.forwarding"), "1");
        assert_eq!([set("net.ipv6.conf.eth0.accept_ra"), set("net.ipv6.conf.default.accept_ra")], ["2", "2"]);
        assert_eq!(linux.drifted_settings().await.unwrap(), []);
        // As cleanup does it, in the order of the names.
        for change in drifted.iter().rev().chain(&drifted) {
            linux.set(&change.name, &change.from).await.unwrap();
        }
    });
    assert_eq!(lb.kernel_state(), before);
}

fn an_adapter_without_ipv6_is_named() {
    let segment = Segment::new();
    let lb = host(&segment, "lb", "192.168.0.2/24", "fd00::2/64");
    lb.sh("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1");
    on(&lb, async || {
        assert!(Linux::new("eth0").unwrap().adapter().await.is_ok());
        let error = Linux::new("eth0").unwrap().with_ipv6().adapter().await.unwrap_err().to_string();
        assert!(error.contains("set net.ipv6.conf.eth0.disable_ipv6 to 0"), "{error}");
    });
}

fn this_kernel_has_no_nftables_for_ipv6() {
    let node = Node::new("lb");
    let chosen = on(&node, async || Linux::new("eth0").unwrap().with_ipv6().source_nat().await.unwrap());
    assert_eq!(chosen[&Family::Ipv6], SourceNat::Iptables);
}

fn this_kernel_has_nftables_for_ipv6() {
    let node = Node::new("lb");
    let chosen = on(&node, async || Linux::new("eth0").unwrap().with_ipv6().source_nat().await.unwrap());
    assert_eq!(chosen[&Family::Ipv6], SourceNat::Nftables);
    assert_eq!(node.sh("nft list ruleset"), "", "asking changes nothing");
}

slb_lab::main! {
    fast: [
        this_kernel_has_no_nftables_for_ipv6,
        a_vip_works_at_once_and_is_no_source,
        packets_for_a_vip_are_taken_in_once_it_is_bound,
        events_of_ipv6_arrive,
        balanced_connections_of_ipv6_get_source_nat,
        settings_of_ipv6_are_set_once_and_can_be_restored,
        an_adapter_without_ipv6_is_named,
    ],
    stock: [
        this_kernel_has_nftables_for_ipv6,
        a_vip_works_at_once_and_is_no_source,
        packets_for_a_vip_are_taken_in_once_it_is_bound,
        balanced_connections_of_ipv6_get_source_nat,
    ],
}

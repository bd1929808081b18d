// SPDX-License-Identifier: Apache-2.0
//! The host driver on real kernels: with nftables for IPv4 (stock) and without (fast).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use caps::{CapSet, Capability};
use netlink::protocols::NETLINK_NETFILTER;
use netlink_packet_netfilter::NetfilterMessage;
use slb_core::{
    model::{Family, SourceNat as Choice, Vip},
    ports::{Host, HostEvent, Settings, Verdict},
    step::HostStep::{self, Bind, DisableSourceNat, EnableSourceNat as Enable, Unbind},
};
use slb_host::{Error, Linux, Monitor, SourceNat, capability, modules};
use slb_lab::{Node, Segment, Sniffer};

/// More than one pack, and more than one datagram of a dump.
const MANY: u32 = 2000;

/// Runs on a host, on a thread and runtime of its own.
fn on<T: Send>(node: &Node, work: impl AsyncFnOnce() -> T + Send) -> T {
    node.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work())
    })
}

/// A driver on a host whose kernel has all its modules.
async fn ready() -> Linux {
    let mut linux = Linux::new("eth0").unwrap();
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

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn many() -> Vec<Vip> {
    (0..MANY).map(|number| Vip::try_from(Ipv4Addr::from_bits(0x0a50_0000 + number)).unwrap()).collect()
}

/// Two steps a VIP, mixed.
fn each(vips: &[Vip], one: fn(Vip) -> HostStep, other: fn(Vip) -> HostStep) -> Vec<HostStep> {
    vips.iter().flat_map(|vip| [one(*vip), other(*vip)]).collect()
}

async fn applied(linux: &mut Linux, steps: &[HostStep]) {
    let verdicts = linux.apply(steps).await;
    assert_eq!(verdicts.len(), steps.len());
    for (step, verdict) in steps.iter().zip(verdicts) {
        assert!(matches!(verdict, Verdict::Applied), "{step}: {verdict:?}");
    }
}

/// The addresses of eth0 as `ip` prints them.
fn addresses(node: &Node) -> BTreeSet<String> {
    let text = node.sh("ip -o -4 addr show dev eth0");
    text.lines().filter_map(|line| line.split_whitespace().nth(3)).map(str::to_owned).collect()
}

fn vips_come_and_go_in_packs_and_others_stay() {
    let segment = Segment::new();
    let node = segment.host("lb", "192.168.0.2/24");
    node.sh(
        "ip addr add 192.168.0.99/32 dev eth0; ip addr add 10.80.0.7/24 dev eth0; ip route add default via 192.168.0.1",
    );
    let before = node.tables();
    on(&node, async || {
        let mut linux = ready().await;
        applied(&mut linux, &each(&many(), Bind, enable)).await;
        assert_eq!(addresses(&node).len(), 3 + many().len());
        let view = linux.observe().await.unwrap();
        let mut bound: BTreeSet<Vip> = many().into_iter().collect();
        assert_eq!(view.source_nat.into_keys().collect::<BTreeSet<_>>(), bound);
        bound.insert(vip("192.168.0.99"));
        assert_eq!(view.bound, bound);
        assert_eq!(view.taken[&ip("192.168.0.2")], "eth0's own address");
        assert_eq!(view.taken[&ip("192.168.0.1")], "the default gateway");
        assert_eq!(view.taken[&ip("192.168.0.255")], "the broadcast address of 192.168.0.0/24");
        assert_eq!(view.taken[&ip("127.0.0.1")], "lo's own address");

        applied(&mut linux, &each(&many(), Unbind, DisableSourceNat)).await;
        applied(&mut linux, &each(&many(), Unbind, DisableSourceNat)).await;
    });
    assert_eq!(node.tables(), before);
}

fn what_is_there_already_is_not_written_again() {
    let segment = Segment::new();
    let node = segment.host("lb", "192.168.0.2/24");
    on(&node, async || {
        let mut linux = ready().await;
        let steps = each(&many(), Bind, enable);
        applied(&mut linux, &steps).await;
        let mut addresses = Monitor::open("eth0").await.unwrap();
        let mut rules = match linux.source_nat().await.unwrap()[&Family::Ipv4] {
            SourceNat::Nftables => Some(rule_monitor()),
            SourceNat::Iptables => None,
        };
        applied(&mut linux, &steps).await;
        linux.observe().await.unwrap();
        node.sh("ip addr add 10.99.0.1/32 dev lo");
        assert_eq!(addresses.next().await.unwrap(), HostEvent::AddressAdded(ip("10.99.0.1")));
        if let Some(rules) = &mut rules {
            node.sh("nft add table ip marker");
            let event = format!("{:?}", rules.next().await.unwrap());
            assert!(event.contains("marker"), "{event}");
        }
    });
}

/// Hears of every change of nftables, from now on.
fn rule_monitor() -> netlink::Monitor<NetfilterMessage> {
    // NFNLGRP_NFTABLES, linux/netfilter/nfnetlink.h.
    netlink::Monitor::open(NETLINK_NETFILTER, &[7]).unwrap()
}

fn source_nat_is_kept_apart_from_other_peoples_rules() {
    let segment = Segment::new();
    let node = segment.host("lb", "192.168.0.2/24");
    node.sh("iptables-legacy -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE");
    let before = node.tables();
    on(&node, async || {
        let mut linux = ready().await;
        let (one, two) = (vip("192.168.0.85"), vip("192.168.0.86"));
        applied(&mut linux, &[enable(one)]).await;
        applied(&mut linux, &[enable(two), enable(one)]).await;
        assert_eq!(translated(&mut linux).await, BTreeSet::from([one, two]));
        applied(&mut linux, &[DisableSourceNat(one)]).await;
        assert_eq!(translated(&mut linux).await, BTreeSet::from([two]));

        let break_it = match linux.source_nat().await.unwrap()[&Family::Ipv4] {
            SourceNat::Iptables => "iptables-legacy -t nat -F SLB-SOURCE-NAT; iptables-legacy -t nat -D POSTROUTING 1",
            SourceNat::Nftables => "nft flush chain ip slb source-nat",
        };
        node.sh(break_it);
        assert_eq!(translated(&mut linux).await, BTreeSet::new());
        applied(&mut linux, &[enable(one)]).await;
        assert_eq!(translated(&mut linux).await, BTreeSet::from([one]));
        applied(&mut linux, &[DisableSourceNat(one)]).await;
    });
    assert_eq!(node.tables(), before);
}

/// Answers every connection with the address that it seems to come from.
fn mirror(node: &Node, port: u16) {
    let listener = node.inside(|| TcpListener::bind(("0.0.0.0", port)).unwrap());
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
fn balanced_connections_get_source_nat_and_no_others() {
    let segment = Segment::new();
    let lb = segment.host("lb", "192.168.0.2/24");
    let (client, near) = (segment.host("client", "192.168.0.10/24"), segment.host("near", "192.168.0.21/24"));
    let behind = Segment::new();
    behind.connect(&lb, "eth1", "10.9.0.1/24");
    let far = behind.host("far", "10.9.0.5/24");
    far.sh("ip route add default via 10.9.0.1");
    client.sh("ip route add 10.9.0.0/24 via 192.168.0.2");
    for node in [&near, &far] {
        mirror(node, 80);
    }
    mirror(&lb, 90);
    let (one, two) = (vip("192.168.0.85"), vip("192.168.0.86"));
    on(&lb, async || {
        let mut linux = ready().await;
        for change in linux.drifted_settings().await.unwrap() {
            linux.set(&change.name, &change.to).await.unwrap();
        }
        applied(&mut linux, &[Bind(one), Bind(two)]).await;
    });
    lb.sh("ipvsadm -A -t 192.168.0.85:80 -s rr; ipvsadm -a -t 192.168.0.85:80 -r 192.168.0.21:80 -m");
    lb.sh("ipvsadm -A -t 192.168.0.86:80 -s rr; ipvsadm -a -t 192.168.0.86:80 -r 10.9.0.5:80 -m");
    lb.sh("iptables-legacy -t nat -A PREROUTING -d 192.168.0.85 -p tcp --dport 81 -j DNAT --to 10.9.0.5:80");
    assert_eq!(seen_from(&client, "192.168.0.85:80"), None, "the topology needs source NAT");

    on(&lb, async || applied(&mut ready().await, &[enable(one)]).await);
    let seen = |client: &Node, server| seen_from(client, server).unwrap_or_default();
    assert_eq!(seen(&client, "192.168.0.85:80"), "192.168.0.2", "balanced");
    assert_eq!(seen(&lb, "192.168.0.85:80"), "192.168.0.2", "balanced, from the host itself");
    assert_eq!(seen(&client, "192.168.0.86:80"), "192.168.0.10", "a VIP without source NAT");
    assert_eq!(seen(&client, "10.9.0.5:80"), "192.168.0.10", "forwarded");
    assert_eq!(seen(&client, "192.168.0.85:81"), "192.168.0.10", "sent on by another rule");
    assert_eq!(seen(&client, "192.168.0.85:90"), "192.168.0.10", "served on the host itself");
    assert_eq!(seen(&lb, "192.168.0.85:90"), "192.168.0.85", "served on the host to itself");

    on(&lb, async || applied(&mut ready().await, &[DisableSourceNat(one)]).await);
    assert_eq!(seen_from(&client, "192.168.0.85:80"), None);
}

fn settings_are_set_once_and_can_be_restored() {
    let segment = Segment::new();
    let node = segment.host("lb", "192.168.0.2/24");
    segment.connect(&node, "eth1", "192.168.0.3/24");
    on(&node, async || drop(ready().await));
    let before = node.kernel_state();
    on(&node, async || {
        let mut linux = ready().await;
        let drifted = linux.drifted_settings().await.unwrap();
        for name in ["net.ipv4.ip_forward", "net.ipv4.vs.conntrack", "net.ipv4.conf.eth1.arp_ignore"] {
            assert!(drifted.iter().any(|change| change.name == name), "{name} is not in {drifted:?}");
        }
        assert_eq!(node.kernel_state(), before, "reading changes nothing");
        for change in &drifted {
            linux.set(&change.name, &change.to).await.unwrap();
            assert_eq!(linux.get(&change.name).await.unwrap(), change.to);
        }
        assert_eq!(linux.drifted_settings().await.unwrap(), []);
        for change in &drifted {
            linux.set(&change.name, &change.from).await.unwrap();
        }
    });
    assert_eq!(node.kernel_state(), before);
}

/// Two adapters on one network: by default both answer for every address of the host.
fn only_the_adapter_of_the_vip_answers_for_it() {
    let segment = Segment::new();
    let lb = segment.host("lb", "192.168.0.2/24");
    segment.connect(&lb, "eth1", "192.168.0.3/24");
    let client = segment.host("client", "192.168.0.10/24");
    let (right, wrong) = (address_of(&lb, "eth0"), address_of(&lb, "eth1"));
    on(&lb, async || {
        let mut linux = ready().await;
        applied(&mut linux, &[Bind(vip("192.168.0.85")), Bind(vip("192.168.0.86"))]).await;
    });
    let answers = |target: &str| {
        let sniffer = Sniffer::start(&client, "eth0", "arp[6:2] == 2");
        // The last question is one that only eth1 answers, after all that came before.
        client.sh(&format!("ip neigh flush all; ping -c 1 -W 1 {target}; ping -c 1 -W 5 -I eth0 192.168.0.3"));
        sniffer.packet(&[&format!("{target} is-at {right}")]);
        sniffer.packet(&[&format!("192.168.0.3 is-at {wrong}")]);
        sniffer.packets().iter().any(|line| line.contains(&format!("{target} is-at {wrong}")))
    };
    assert!(answers("192.168.0.85"), "the topology needs the settings");
    on(&lb, async || {
        let mut linux = ready().await;
        for change in linux.drifted_settings().await.unwrap() {
            linux.set(&change.name, &change.to).await.unwrap();
        }
    });
    assert!(!answers("192.168.0.86"));
}

fn address_of(node: &Node, adapter: &str) -> String {
    let text = node.sh(&format!("ip -o link show {adapter}"));
    let mut words = text.split_whitespace().skip_while(|word| *word != "link/ether");
    words.nth(1).unwrap().to_owned()
}

fn events_arrive() {
    let segment = Segment::new();
    let node = segment.host("lb", "192.168.0.2/24");
    on(&node, async || {
        let mut monitor = Monitor::open("eth0").await.unwrap();
        let mut linux = Linux::new("eth0").unwrap();
        let (own, address) = (ip("192.168.0.2"), ip("192.168.0.85"));
        let mut told = async |line: &str, expected: &[HostEvent]| {
            node.sh(line);
            for expected in expected {
                let mut event = monitor.next().await.unwrap();
                // The kernel tells of an adapter's addresses anew when it is renamed.
                while event == HostEvent::AddressAdded(own) {
                    event = monitor.next().await.unwrap();
                }
                assert_eq!(event, *expected, "{line}");
            }
        };
        applied(&mut linux, &[Bind(vip("192.168.0.85"))]).await;
        told(
            "ip addr del 192.168.0.85/32 dev eth0",
            &[HostEvent::AddressAdded(address), HostEvent::AddressRemoved(address)],
        )
        .await;
        told("ip addr add 192.168.0.85/24 dev lo", &[HostEvent::AddressAdded(address)]).await;
        told("ip link set eth0 mtu 1400; ip link set eth0 down", &[HostEvent::LinkDown]).await;
        told("ip link set eth0 up", &[HostEvent::LinkUp]).await;
        told("ip link set eth0 address 02:00:00:00:00:09", &[HostEvent::LinkUp]).await;
        told("ip link set eth0 down; ip link set eth0 name away", &[HostEvent::LinkDown]).await;
        told("ip link del away", &[HostEvent::AddressRemoved(own)]).await;
        told("ip link add eth0 type dummy; ip link set eth0 up", &[HostEvent::LinkUp]).await;
    });
}

fn an_adapter_may_go_and_come_back() {
    let node = Node::new("lb");
    node.sh("ip link add eth0 type dummy; ip link set eth0 up; ip link add name eth7 type dummy");
    on(&node, async || {
        let mut linux = Linux::new("eth0").unwrap();
        let one = vip("192.168.0.85");
        applied(&mut linux, &[Bind(one)]).await;
        let was = linux.adapter().await.unwrap();
        assert!(was.is_up && was.kind.as_deref() == Some("dummy"), "{was:?}");
        node.sh("ip link del eth0");
        applied(&mut linux, &[Unbind(one)]).await;
        let verdicts = linux.apply(&[Bind(one)]).await;
        assert!(
            matches!(verdicts.as_slice(), [Verdict::Retry(cause)] if cause.to_string().contains("eth7")),
            "{verdicts:?}"
        );
        assert!(
            matches!(linux.adapter().await, Err(Error::NoAdapter { there, .. }) if there.contains(&"eth7".to_owned()))
        );
        assert!(linux.observe().await.unwrap().bound.is_empty());
        node.sh("ip link add eth0 type dummy");
        applied(&mut linux, &[Bind(one)]).await;
        assert_ne!(linux.adapter().await.unwrap().index, was.index);
        assert_eq!(addresses(&node), BTreeSet::from(["192.168.0.85/32".to_owned()]));
        node.sh("ip link add br0 type bridge; ip link set eth0 master br0");
        assert!(matches!(linux.adapter().await, Err(Error::Port { controller, .. }) if controller == "br0"));
    });
}

fn without_the_privilege_nothing_is_changed_and_it_is_named() {
    let segment = Segment::new();
    let node = segment.host("lb", "192.168.0.2/24");
    let before = node.tables();
    on(&node, async || {
        let mut linux = ready().await;
        assert_eq!(capability::lacking(true).unwrap(), []);
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
        let lacking: Vec<&str> = capability::lacking(false).unwrap().into_iter().map(|lack| lack.name).collect();
        assert_eq!(lacking, ["CAP_NET_ADMIN"]);
        let mut steps = vec![Bind(vip("192.168.0.85"))];
        if linux.source_nat().await.unwrap()[&Family::Ipv4] == SourceNat::Nftables {
            // A program that root starts, such as iptables, has its privileges back.
            steps.push(enable(vip("192.168.0.85")));
        }
        let verdicts = linux.apply(&steps).await;
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Refused(_))), "{verdicts:?}");
    });
    assert_eq!(node.tables(), before);
}

fn modules_are_loaded_on_demand() {
    let node = Node::new("lb");
    on(&node, async || {
        let source_nat = Linux::new("eth0").unwrap().source_nat().await.unwrap();
        modules::load(&source_nat).await.unwrap();
        assert_eq!(modules::missing(&source_nat).unwrap(), Vec::<&str>::new());
    });
}

fn this_kernel_has_no_nftables_for_ipv4() {
    let node = Node::new("lb");
    let chosen = on(&node, async || Linux::new("eth0").unwrap().source_nat().await.unwrap());
    assert_eq!(chosen[&Family::Ipv4], SourceNat::Iptables);
}

fn this_kernel_has_nftables_for_ipv4() {
    let node = Node::new("lb");
    let chosen = on(&node, async || Linux::new("eth0").unwrap().source_nat().await.unwrap());
    assert_eq!(chosen[&Family::Ipv4], SourceNat::Nftables);
    assert_eq!(node.sh("nft list ruleset"), "", "asking changes nothing");
}

slb_lab::main! {
    fast: [
        modules_are_loaded_on_demand,
        this_kernel_has_no_nftables_for_ipv4,
        vips_come_and_go_in_packs_and_others_stay,
        what_is_there_already_is_not_written_again,
        source_nat_is_kept_apart_from_other_peoples_rules,
        balanced_connections_get_source_nat_and_no_others,
        settings_are_set_once_and_can_be_restored,
        only_the_adapter_of_the_vip_answers_for_it,
        events_arrive,
        an_adapter_may_go_and_come_back,
        without_the_privilege_nothing_is_changed_and_it_is_named,
    ],
    stock: [
        modules_are_loaded_on_demand,
        this_kernel_has_nftables_for_ipv4,
        vips_come_and_go_in_packs_and_others_stay,
        what_is_there_already_is_not_written_again,
        source_nat_is_kept_apart_from_other_peoples_rules,
        balanced_connections_get_source_nat_and_no_others,
        without_the_privilege_nothing_is_changed_and_it_is_named,
    ],
}

// SPDX-License-Identifier: Apache-2.0
//! What addresses and gateways are observed as.
use netlink_packet_route::route::{RouteNextHop, RouteType};
use proptest::prelude::*;

use super::*;

fn adapter(index: u32, name: &str) -> Adapter {
    Adapter {
        index,
        name: name.to_owned(),
        is_up: true,
        has_arp: name != "lo",
        kind: None,
        hardware_address: Vec::new(),
        controller: None,
    }
}

fn adapters() -> Vec<Adapter> {
    vec![adapter(1, "lo"), adapter(2, "eth0"), adapter(3, "eth1")]
}

fn address(index: u32, local: &str, prefix: u8) -> Address {
    let local = local.parse().unwrap();
    Address { index, local, peer: local, prefix, broadcast: None }
}

fn vip(text: &str) -> Vip {
    text.parse().unwrap()
}

fn taken(view: &HostView, address: &str) -> Option<String> {
    view.taken.get(&address.parse().unwrap()).cloned()
}

#[test]
fn only_a_32_on_the_adapter_itself_counts_as_bound() {
    let mut point_to_point = address(2, "10.0.0.9", 32);
    point_to_point.peer = "10.0.0.10".parse().unwrap();
    let addresses = [
        address(1, "127.0.0.1", 8),
        address(2, "192.168.0.2", 24),
        address(2, "192.168.0.85", 32),
        address(3, "192.168.0.86", 32),
        point_to_point,
    ];
    let view = view("eth0", &adapters(), &addresses, &[]);
    assert_eq!(view.bound, BTreeSet::from([vip("192.168.0.85")]));
    assert_eq!(taken(&view, "192.168.0.2").unwrap(), "eth0's own address");
    assert_eq!(taken(&view, "192.168.0.86").unwrap(), "eth1's own address");
    assert_eq!(taken(&view, "127.0.0.1").unwrap(), "lo's own address");
    assert_eq!(taken(&view, "10.0.0.9").unwrap(), "eth0's own address");
    assert_eq!(taken(&view, "10.0.0.10").unwrap(), "the other end of eth0");
    assert_eq!(taken(&view, "192.168.0.85"), None);
}

#[test]
fn edges_of_the_adapters_subnets_are_taken_and_those_of_small_ones_are_not() {
    let mut odd = address(2, "10.1.1.1", 16);
    odd.broadcast = Some("10.1.255.250".parse().unwrap());
    let addresses = [address(2, "192.168.0.2", 24), odd, address(2, "10.2.0.0", 31), address(3, "10.3.0.1", 24)];
    let view = view("eth0", &adapters(), &addresses, &[]);
    assert_eq!(taken(&view, "192.168.0.0").unwrap(), "the network address of 192.168.0.0/24");
    assert_eq!(taken(&view, "192.168.0.255").unwrap(), "the broadcast address of 192.168.0.0/24");
    assert_eq!(taken(&view, "10.1.255.250").unwrap(), "the broadcast address of 10.1.0.0/16");
    assert_eq!(taken(&view, "10.2.0.0").unwrap(), "eth0's own address");
    assert_eq!(taken(&view, "10.2.0.1"), None);
    assert_eq!(taken(&view, "10.3.0.255"), None, "another adapter's network is not where VIPs live");
    let broadcasts = ["10.1.255.250", "10.1.255.255", "10.3.0.255", "192.168.0.255"];
    assert_eq!(view.broadcasts, broadcasts.map(|text| text.parse().unwrap()).into());
}

#[test]
fn of_ipv6_a_128_is_bound_and_nothing_is_a_broadcast_address() {
    let addresses = [
        address(2, "fd00::2", 64),
        address(2, "fd00::85", 128),
        address(2, "fd01::2", 127),
        address(2, "fe80::1", 64),
        address(3, "fd00::86", 128),
        address(3, "fd00::3", 64),
    ];
    let view = view("eth0", &adapters(), &addresses, &[]);
    assert_eq!(view.bound, BTreeSet::from([vip("fd00::85")]));
    assert_eq!(taken(&view, "fd00::2").unwrap(), "eth0's own address");
    assert_eq!(taken(&view, "fd00::86").unwrap(), "eth1's own address");
    assert_eq!(taken(&view, "fd00::").unwrap(), "the address of the routers of fd00::/64");
    assert_eq!((taken(&view, "fd00::ffff:ffff:ffff:ffff"), taken(&view, "fd01::")), (None, None));
    assert_eq!(view.broadcasts, BTreeSet::new());
    assert!(beside("eth0", &adapters(), &addresses).is_empty(), "each adapter answers for itself");
    let networks: Vec<String> = networks("eth0", &adapters(), &addresses).iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["fd00::/64", "fd01::2/127"]);
}

fn route(destination: Option<&str>, table: u32, more: RouteAttribute) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.table = u8::try_from(table).unwrap_or(252);
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![RouteAttribute::Table(table), more];
    if let Some(network) = destination {
        message.header.destination_prefix_length = 8;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(network.parse().unwrap())));
    }
    message
}

fn via(gateway: &str) -> RouteAttribute {
    RouteAttribute::Gateway(RouteAddress::Inet(gateway.parse().unwrap()))
}

#[test]
fn gateways_of_the_main_table_are_taken() {
    let mut hop = RouteNextHop::default();
    hop.attributes.push(via("192.168.0.4"));
    let routes = [
        route(None, 254, via("192.168.0.1")),
        route(Some("10.0.0.0"), 254, via("192.168.0.3")),
        route(Some("11.0.0.0"), 254, RouteAttribute::MultiPath(vec![hop])),
        route(Some("12.0.0.0"), 1000, via("192.168.0.5")),
        route(None, 254, RouteAttribute::Gateway(RouteAddress::Inet6("fe80::1".parse().unwrap()))),
    ];
    let gateways: Vec<Gateway> = routes.iter().flat_map(Gateway::of).collect();
    let view = view("eth0", &adapters(), &[], &gateways);
    let expected = [
        ("fe80::1", "the default gateway"),
        ("192.168.0.1", "the default gateway"),
        ("192.168.0.3", "the gateway of 10.0.0.0/8"),
        ("192.168.0.4", "the gateway of 11.0.0.0/8"),
    ];
    let expected = expected.map(|(address, why)| (address.parse().unwrap(), why.to_owned()));
    assert_eq!(view.taken, BTreeMap::from(expected));
}

#[test]
fn adapters_that_share_a_subnet_are_beside_each_other() {
    let on = |third: &[Address]| {
        let addresses = [&[address(2, "192.168.0.2", 24), address(2, "169.254.1.1", 16)], third].concat();
        beside("eth0", &adapters(), &addresses)
    };
    assert_eq!(on(&[address(3, "192.168.0.3", 24)]), ["eth1"]);
    assert_eq!(on(&[address(3, "192.168.0.200", 28)]), ["eth1"], "a part of the subnet");
    assert!(on(&[address(3, "192.168.1.3", 24)]).is_empty());
    assert!(on(&[address(3, "192.168.0.85", 32)]).is_empty(), "a VIP says nothing of the network");
    assert!(on(&[address(3, "169.254.9.9", 16)]).is_empty());
    assert!(on(&[address(1, "192.168.0.9", 24)]).is_empty(), "no ARP on the loopback adapter");
    assert!(beside("eth7", &adapters(), &[address(3, "192.168.0.3", 24)]).is_empty());
}

#[test]
fn answers_that_say_it_is_so_already_count_as_applied() {
    let adapter: Arc<str> = "eth0".into();
    let verdict = |change: Change, errno| change.verdict(&adapter, Err(KernelError::new(errno, None)));
    let (bind, unbind) = (Change::Bind(vip("10.0.0.1")), Change::Unbind(vip("10.0.0.1")));
    assert!(matches!(verdict(bind, libc::EEXIST), Verdict::Applied));
    assert!(matches!(verdict(unbind, libc::EADDRNOTAVAIL), Verdict::Applied));
    assert!(matches!(verdict(unbind, libc::ENODEV), Verdict::Applied));
    assert!(matches!(verdict(bind, libc::ENODEV), Verdict::Retry(_)));
    assert!(matches!(verdict(bind, libc::ENOBUFS), Verdict::Retry(_)));
    assert!(matches!(verdict(unbind, libc::EPERM), Verdict::Refused(_)));
    let Verdict::Refused(cause) = verdict(bind, libc::EPERM) else { panic!("not refused") };
    assert_eq!(cause.to_string(), "bind 10.0.0.1 to eth0");
    assert!(cause.source().unwrap().to_string().contains("not permitted"));
}

proptest! {
    #[test]
    fn every_address_of_the_host_is_bound_or_taken(
        ipv4 in proptest::collection::vec((1_u32..=3, any::<u32>(), 0_u8..=32), 0..40),
        ipv6 in proptest::collection::vec((1_u32..=3, any::<u128>(), 0_u8..=128), 0..40),
    ) {
        let ipv4 = ipv4
            .into_iter()
            .map(|(index, bits, prefix)| address(index, &Ipv4Addr::from_bits(bits).to_string(), prefix));
        let ipv6 = ipv6
            .into_iter()
            .map(|(index, bits, prefix)| address(index, &Ipv6Addr::from_bits(bits).to_string(), prefix));
        let found: Vec<Address> = ipv4.chain(ipv6).collect();
        let view = view("eth0", &adapters(), &found, &[]);
        for address in &found {
            let is_bound = Vip::try_from(address.local).is_ok_and(|vip| view.bound.contains(&vip));
            prop_assert!(is_bound || view.taken.contains_key(&address.local));
            let (first, last) = address.subnet();
            prop_assert!(first <= address.local && address.local <= last);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Which events the messages of the kernel become.
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use netlink_packet_route::{
    address::{AddressAttribute, AddressMessage},
    link::{InfoKind, LinkFlags, LinkInfo},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteNextHop},
};
use proptest::prelude::*;

use super::*;
use crate::{
    address::{Gateway, beside, view},
    any,
};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn link(index: u32, name: &str, is_up: bool, mac: [u8; 6]) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = if is_up { LinkFlags::Up | LinkFlags::LowerUp } else { LinkFlags::Up };
    message.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Address(mac.to_vec())];
    message
}

fn with_event(mut message: LinkMessage, event: LinkEvent) -> LinkMessage {
    message.attributes.push(LinkAttribute::Event(event));
    message
}

fn of_bridge(mut message: LinkMessage) -> LinkMessage {
    message.header.interface_family = AddressFamily::Bridge;
    message
}

/// Tells of links one after the other and says what each is taken for.
fn events(first: State, messages: Vec<RouteNetlinkMessage>) -> Vec<Option<HostEvent>> {
    let mut watched = Watched { name: "eth0".to_owned(), state: first };
    messages.iter().map(|message| watched.tell(message)).collect()
}

use HostEvent::{LinkDown, LinkUp};
use RouteNetlinkMessage::{DelLink, NewLink};

#[test]
fn only_ups_and_downs_matter() {
    let told = events(
        State::Away,
        vec![
            NewLink(link(2, "eth0", false, MAC)),
            NewLink(link(2, "eth0", true, MAC)),
            NewLink(link(2, "eth0", true, MAC)),
            NewLink(link(3, "eth1", true, OTHER_MAC)),
            NewLink(link(2, "eth0", false, MAC)),
            NewLink(link(2, "eth0", false, MAC)),
        ],
    );
    assert_eq!(told, [None, Some(LinkUp), None, None, Some(LinkDown), None]);
}

#[test]
fn another_hardware_address_and_a_bonds_failover_are_told_again() {
    let up = || link(2, "eth0", true, MAC);
    let told = events(
        State::Away,
        vec![
            NewLink(up()),
            NewLink(link(2, "eth0", true, OTHER_MAC)),
            NewLink(with_event(link(2, "eth0", true, OTHER_MAC), LinkEvent::BondingFailover)),
            NewLink(with_event(link(2, "eth0", true, OTHER_MAC), LinkEvent::NotifyPeers)),
            NewLink(with_event(link(2, "eth0", true, OTHER_MAC), LinkEvent::Features)),
        ],
    );
    assert_eq!(told, [Some(LinkUp), Some(LinkUp), Some(LinkUp), Some(LinkUp), None]);
}

#[test]
fn an_adapter_may_go_be_renamed_and_come_back() {
    let told = events(
        State::Away,
        vec![
            NewLink(link(2, "eth0", true, MAC)),
            DelLink(link(9, "eth9", true, MAC)),
            DelLink(link(2, "eth0", true, MAC)),
            NewLink(link(7, "eth0", true, MAC)),
            NewLink(link(7, "was-eth0", true, MAC)),
            NewLink(link(8, "eth0", true, MAC)),
        ],
    );
    assert_eq!(told, [Some(LinkUp), None, Some(LinkDown), Some(LinkUp), Some(LinkDown), Some(LinkUp)]);
}

#[test]
fn a_port_that_leaves_its_bridge_is_not_gone() {
    let told = events(
        State::Away,
        vec![
            NewLink(link(2, "eth0", true, MAC)),
            DelLink(of_bridge(link(2, "eth0", true, MAC))),
            NewLink(of_bridge(link(2, "eth0", false, MAC))),
        ],
    );
    assert_eq!(told, [Some(LinkUp), None, None]);
}

#[test]
fn after_lost_events_nothing_is_taken_for_granted() {
    assert_eq!(events(State::Unknown, vec![NewLink(link(2, "eth0", true, MAC))]), [Some(LinkUp)]);
    assert_eq!(events(State::Unknown, vec![NewLink(link(2, "eth0", false, MAC))]), [Some(LinkDown)]);
}

#[test]
fn addresses_of_any_adapter_are_passed_on() {
    let mut message = AddressMessage::default();
    let address = IpAddr::from([192, 168, 0, 85]);
    message.attributes.push(AddressAttribute::Local(address));
    let told = events(
        State::Away,
        vec![RouteNetlinkMessage::NewAddress(message.clone()), RouteNetlinkMessage::DelAddress(message)],
    );
    assert_eq!(told, [Some(HostEvent::AddressAdded(address)), Some(HostEvent::AddressRemoved(address))]);
}

/// One of each kind, with all that is read of it.
fn samples() -> [RouteNetlinkMessage; 4] {
    let mut link = with_event(link(2, "eth0", true, MAC), LinkEvent::NotifyPeers);
    link.attributes.push(LinkAttribute::Controller(3));
    link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan)]));
    let mut address = AddressMessage::default();
    address.header.family = AddressFamily::Inet;
    (address.header.prefix_len, address.header.index) = (24, 2);
    let ip = Ipv4Addr::new(192, 168, 0, 2);
    address.attributes =
        vec![AddressAttribute::Address(ip.into()), AddressAttribute::Local(ip.into()), AddressAttribute::Broadcast(ip)];
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.destination_prefix_length = 8;
    let mut hop = RouteNextHop::default();
    hop.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(ip))];
    route.attributes = vec![
        RouteAttribute::Table(254),
        RouteAttribute::Destination(RouteAddress::Inet(Ipv4Addr::new(10, 0, 0, 0))),
        RouteAttribute::Gateway(RouteAddress::Inet(ip)),
        RouteAttribute::MultiPath(vec![hop]),
    ];
    [
        NewLink(link.clone()),
        DelLink(link),
        RouteNetlinkMessage::NewAddress(address),
        RouteNetlinkMessage::NewRoute(route),
    ]
}

fn messages() -> impl Strategy<Value = Vec<RouteNetlinkMessage>> {
    let bytes = prop::sample::select(samples().to_vec()).prop_flat_map(|message| {
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        (Just(message.message_type()), any::damaged(bytes))
    });
    let message = bytes.prop_map(|(kind, payload)| {
        let mut header = NetlinkHeader::default();
        header.message_type = kind;
        Message::deserialize(&header, &payload).unwrap().0
    });
    proptest::collection::vec(message, 0..9).prop_map(|messages| messages.into_iter().flatten().collect())
}

proptest! {
    /// Whatever the kernel sends, it is taken for something or passed over, and what is known of the host makes sense.
    #[test]
    fn any_bytes_are_read_or_passed_over(messages in messages()) {
        let (mut adapters, mut addresses, mut gateways) = (Vec::new(), Vec::new(), Vec::new());
        for message in &messages {
            if let RouteNetlinkMessage::NewLink(link) = message {
                adapters.push(Adapter::of(link));
            } else if let RouteNetlinkMessage::NewAddress(address) = message {
                addresses.extend(Address::of(address));
            } else if let RouteNetlinkMessage::NewRoute(route) = message {
                gateways.extend(Gateway::of(route));
            }
        }
        for adapter in &adapters {
            let view = view(&adapter.name, &adapters, &addresses, &gateways);
            for address in &addresses {
                let is_bound = view.bound.iter().any(|vip| vip.address() == address.local);
                prop_assert!(is_bound || view.taken.contains_key(&address.local));
            }
            prop_assert!(!beside(&adapter.name, &adapters, &addresses).contains(&adapter.name));
        }
        for event in events(State::Unknown, messages).into_iter().flatten() {
            prop_assert_ne!(event, HostEvent::Overrun);
        }
    }
}

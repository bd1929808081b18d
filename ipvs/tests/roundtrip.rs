// SPDX-License-Identifier: Apache-2.0
//! Laws of the codec: what is encoded is decoded to the same, what was asked for is observed as the same, and no bytes at all
//! make the decoder panic.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipvs::{
    Command, Daemon, DaemonRole, Destination, DestinationId, Family, Forward, Name, Netmask, ObservedDestination,
    ObservedService, Other, Persistence, Protocol, Request, Service, ServiceFlags, ServiceId, Stats, Timeouts, Tunnel,
    TunnelKind, uapi,
    wire::{Content, DaemonAttributes, DestinationAttributes, InfoAttributes, Message, ServiceAttributes},
};
use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};
use proptest::{collection::vec, option::of, prelude::*};

#[expect(clippy::expect_used, reason = "a test fails by panicking")]
#[path = "../fuzz/decoder.rs"]
mod decoder;

fn encode(message: &Message) -> Vec<u8> {
    let mut bytes = vec![0xff; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn decode(bytes: &[u8], command: Command) -> Message {
    let header = GenlHeader { cmd: command.into(), version: uapi::IPVS_GENL_VERSION };
    Message::parse_with_param(bytes, header).unwrap()
}

/// Encoded and decoded again.
fn travelled(message: &Message) -> Message {
    decode(&encode(message), message.command)
}

fn name() -> impl Strategy<Value = Name> {
    "[a-z0-9_.-]{1,15}".prop_map(|text| text.parse().unwrap())
}

/// Attributes that nobody knows yet, with either flag.
fn other() -> impl Strategy<Value = Vec<Other>> {
    let one = (100_u16..0x3fff, 0_u16..4, vec(any::<u8>(), 0..9))
        .prop_map(|(kind, flags, value)| Other { kind: kind | flags << 14, value });
    vec(one, 0..3)
}

/// Counters that fit into `width` bits.
fn stats(width: u32) -> impl Strategy<Value = Stats> {
    let counter = move || any::<u64>().prop_map(move |n| n >> (64 - width));
    let counts = (counter(), counter(), counter(), any::<u64>(), any::<u64>());
    let rates = (counter(), counter(), counter(), counter(), counter());
    (counts, rates).prop_map(|((connections, in_packets, out_packets, in_bytes, out_bytes), rates)| Stats {
        connections,
        in_packets,
        out_packets,
        in_bytes,
        out_bytes,
        connection_rate: rates.0,
        in_packet_rate: rates.1,
        out_packet_rate: rates.2,
        in_byte_rate: rates.3,
        out_byte_rate: rates.4,
    })
}

prop_compose! {
    fn service_attributes()(
        (family, protocol, address, port, fwmark) in any::<(Option<u16>, Option<u16>, Option<[u8; 16]>, Option<u16>, Option<u32>)>(),
        (scheduler, engine) in (of(name()), of(name())),
        (flags, timeout, netmask) in any::<(Option<(u32, u32)>, Option<u32>, Option<[u8; 4]>)>(),
        (stats, stats64) in (of(stats(32)), of(stats(64))),
        other in other(),
    ) -> ServiceAttributes {
        ServiceAttributes {
            family, protocol, address, port, fwmark, scheduler, engine, flags, timeout, netmask, stats, stats64, other,
        }
    }
}

prop_compose! {
    fn destination_attributes()(
        (address, port, forward_method, weight) in any::<(Option<[u8; 16]>, Option<u16>, Option<u32>, Option<u32>)>(),
        (tunnel_type, tunnel_port, tunnel_flags) in any::<(Option<u8>, Option<u16>, Option<u16>)>(),
        (upper_threshold, lower_threshold) in any::<(Option<u32>, Option<u32>)>(),
        (active_connections, inactive_connections, persistent_connections) in any::<(Option<u32>, Option<u32>, Option<u32>)>(),
        family: Option<u16>,
        (stats, stats64) in (of(stats(32)), of(stats(64))),
        other in other(),
    ) -> DestinationAttributes {
        DestinationAttributes {
            address, port, forward_method, weight, tunnel_type, tunnel_port, tunnel_flags, upper_threshold, lower_threshold,
            active_connections, inactive_connections, persistent_connections, family, stats, stats64, other,
        }
    }
}

prop_compose! {
    fn daemon_attributes()(
        (state, sync_id, max_length, port, ttl) in any::<(Option<u32>, Option<u32>, Option<u16>, Option<u16>, Option<u8>)>(),
        (group, group6) in any::<(Option<Ipv4Addr>, Option<Ipv6Addr>)>(),
        interface in of(name()),
        other in other(),
    ) -> DaemonAttributes {
        DaemonAttributes { state, interface, sync_id, max_length, port, ttl, group, group6, other }
    }
}

prop_compose! {
    fn message()(
        command: u8,
        service in of(service_attributes()),
        destination in of(destination_attributes()),
        daemon in of(daemon_attributes()),
        (timeout_tcp, timeout_tcp_fin, timeout_udp) in any::<(Option<u32>, Option<u32>, Option<u32>)>(),
        (version, connection_table_size) in any::<(Option<u32>, Option<u32>)>(),
        other in other(),
    ) -> Message {
        let content = Content { service, destination, daemon, timeout_tcp, timeout_tcp_fin, timeout_udp };
        let info = InfoAttributes { version, connection_table_size };
        let command = Command::from(command % 20);
        if command == Command::SetInfo {
            Message { info, other, ..Message::new(command, Content::default()) }
        } else {
            Message { other, ..Message::new(command, content) }
        }
    }
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Inet), Just(Family::Inet6)]
}

fn service_id() -> impl Strategy<Value = ServiceId> {
    let address = any::<(u16, IpAddr, u16)>().prop_map(|(protocol, address, port)| {
        // Half of them are of the usual kind.
        let usual = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        let protocol = usual.get(usize::from(protocol) % 6).copied().unwrap_or(protocol.into());
        ServiceId::Address { protocol, address, port }
    });
    prop_oneof![address, (any::<u32>(), family()).prop_map(|(mark, family)| ServiceId::Fwmark { mark, family })]
}

prop_compose! {
    fn service()(
        id in service_id(),
        scheduler in prop_oneof![name(), proptest::sample::select(ipvs::scheduler::ALL.to_vec())],
        bits: u32,
        (persistent, timeout, mask, prefix) in any::<(bool, u32, Ipv4Addr, u8)>(),
        engine in of(name()),
    ) -> Service {
        let netmask = match id.family() {
            Family::Inet => Netmask::V4(mask),
            Family::Inet6 => Netmask::V6(prefix),
        };
        let persistence = persistent.then_some(Persistence { timeout, netmask });
        Service { id, scheduler, flags: ServiceFlags::from_bits(bits), persistence, engine }
    }
}

fn forward() -> impl Strategy<Value = Forward> {
    prop_oneof![
        Just(Forward::Masquerade),
        Just(Forward::Local),
        Just(Forward::DirectRoute),
        Just(Forward::Bypass),
        (5_u32..).prop_map(Forward::Other),
        any::<(u8, u16, u16)>().prop_map(|(kind, port, flags)| {
            let kind = TunnelKind::from(kind % 5);
            Forward::Tunnel(Tunnel { kind, port, flags })
        }),
    ]
}

prop_compose! {
    fn destination()(
        (address, port) in any::<(IpAddr, u16)>(),
        forward in forward(),
        (weight, upper_threshold, lower_threshold) in any::<(u32, u32, u32)>(),
    ) -> Destination {
        Destination { id: DestinationId { address, port }, forward, weight, upper_threshold, lower_threshold }
    }
}

prop_compose! {
    fn daemon()(
        (state, sync_id, group) in any::<(u32, u32, Option<IpAddr>)>(),
        interface in name(),
        (max_length, port, ttl) in any::<(Option<u16>, Option<u16>, Option<u8>)>(),
    ) -> Daemon {
        Daemon { max_length, group, port, ttl, ..Daemon::new(DaemonRole::from(state % 4), interface, sync_id) }
    }
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        service().prop_map(Request::NewService),
        service().prop_map(Request::SetService),
        service_id().prop_map(Request::DelService),
        (service_id(), destination()).prop_map(|(id, destination)| Request::NewDestination(id, destination)),
        (service_id(), destination()).prop_map(|(id, destination)| Request::SetDestination(id, destination)),
        (service_id(), destination()).prop_map(|(id, destination)| Request::DelDestination(id, destination.id)),
        Just(Request::Flush),
        service_id().prop_map(Request::Zero),
        Just(Request::ZeroAll),
        any::<(u32, u32, u32)>().prop_map(|(tcp, tcp_fin, udp)| Request::SetTimeouts(Timeouts { tcp, tcp_fin, udp })),
        daemon().prop_map(Request::NewDaemon),
        any::<u32>().prop_map(|state| Request::DelDaemon(state.into())),
    ]
}

proptest! {
    #[test]
    fn any_message_comes_out_as_it_went_in(message in message()) {
        prop_assert_eq!(travelled(&message), message);
    }

    #[test]
    fn any_request_arrives_as_it_was_sent(request in request()) {
        let message = Message::from(&request);
        prop_assert_eq!(travelled(&message), message.clone());
        prop_assert_eq!(message.command(), u8::from(request.command()));
        prop_assert_eq!(request.to_string().lines().count(), 1);
    }

    #[test]
    fn a_service_is_observed_as_it_was_asked_for(asked in service(), stats in stats(64)) {
        let sent = travelled(&Message::from(&Request::NewService(asked.clone()))).content.service.unwrap();
        // What the kernel adds.
        let hashed = sent.flags.map(|(flags, mask)| (flags & mask | uapi::IP_VS_SVC_F_HASHED, u32::MAX));
        let reported = ServiceAttributes { flags: hashed, stats64: Some(stats), ..sent };
        let observed = ObservedService::try_from(reported).unwrap();
        prop_assert_eq!(observed.as_requested(), &asked);
        prop_assert!(observed.hashed);
        prop_assert_eq!(observed.stats, stats);
    }

    #[test]
    fn a_destination_is_observed_as_it_was_asked_for(id in service_id(), asked in destination(), connections: (u32, u32, u32)) {
        let sent = travelled(&Message::from(&Request::NewDestination(id, asked))).content.destination.unwrap();
        // What the kernel adds; it reports a tunnel for every destination.
        let reported = DestinationAttributes {
            tunnel_type: sent.tunnel_type.or(Some(0)),
            tunnel_port: sent.tunnel_port.or(Some(0)),
            tunnel_flags: sent.tunnel_flags.or(Some(0)),
            active_connections: Some(connections.0),
            inactive_connections: Some(connections.1),
            persistent_connections: Some(connections.2),
            ..sent
        };
        let observed = ObservedDestination::from_attributes(reported, id.family()).unwrap();
        prop_assert_eq!(observed.as_requested(), &asked);
        let counted = (observed.active_connections, observed.inactive_connections, observed.persistent_connections);
        prop_assert_eq!(counted, connections);
    }

    /// Kernels before 3.18 do not say of which family a destination is: it is the service's.
    #[test]
    fn a_destination_without_a_family_is_of_its_services(asked in destination()) {
        let reported = DestinationAttributes { family: None, ..DestinationAttributes::from(&asked) };
        let observed = ObservedDestination::from_attributes(reported, Family::of(asked.id.address)).unwrap();
        prop_assert_eq!(observed.as_requested(), &asked);
    }

    #[test]
    fn a_daemon_is_observed_as_it_was_asked_for(asked in daemon()) {
        let sent = travelled(&Message::from(&Request::NewDaemon(asked.clone()))).content.daemon.unwrap();
        prop_assert_eq!(Daemon::try_from(sent).unwrap(), asked);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in vec(any::<u8>(), 0..200), command: u8) {
        decoder::feed(&[vec![command], bytes].concat());
    }

    /// Bytes that are right but for some.
    #[test]
    fn no_changed_bytes_make_the_decoder_panic(
        message in message(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
        end: prop::sample::Index,
    ) {
        let mut bytes = [vec![message.command()], encode(&message)].concat();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decoder::feed(&bytes);
        decoder::feed(&bytes[..end.index(bytes.len())]);
    }
}

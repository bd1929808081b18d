// SPDX-License-Identifier: Apache-2.0
//! Messages captured between ipvsadm and real kernels, decoded and encoded again. `vectors/README.md` says how they were captured.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::Path};

use ipvs::{
    Daemon, Destination, Family, Forward, Netmask, ObservedDestination, ObservedService, Persistence, Request, Service,
    ServiceFlags, ServiceId, Tunnel,
    wire::{DestinationAttributes, Message, ServiceAttributes},
};
use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;

/// The files of a folder under `vectors`, by name.
fn vectors(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()))
        .collect()
}

fn decode(bytes: &[u8]) -> (NetlinkHeader, Message) {
    let (header, payload) = NetlinkMessage::<GenlMessage<Message>>::deserialize(bytes).unwrap().into_parts();
    let NetlinkPayload::InnerMessage(message) = payload else { panic!("{payload:?}") };
    (header, message.payload)
}

fn encode(header: NetlinkHeader, message: Message) -> Vec<u8> {
    let mut message = GenlMessage::from_payload(message);
    message.set_resolved_family_id(header.message_type);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// ipvsadm sets `NLA_F_NESTED` on the attributes of the first level; the kernel and this crate do not. Clears it.
fn without_nested_flag(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut at = 20;
    while at < bytes.len() {
        bytes[at + 3] &= 0x7f;
        at += usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]])).next_multiple_of(4);
    }
    bytes
}

/// What a message says, in ipvsadm's words.
fn line(message: &Message) -> String {
    let content = message.content.clone();
    let mut words = Vec::new();
    let mut family = Family::Inet;
    if let Some(attributes) = content.service {
        let whole = attributes.flags.is_some() && content.destination.is_none();
        // What only identifies a service has no scheduler, which says nothing of the identity.
        let named = ServiceAttributes { scheduler: attributes.scheduler.or("none".parse().ok()), ..attributes };
        let service = ObservedService::try_from(named).unwrap();
        family = service.id().family();
        words.push(if whole { service.as_requested().to_string() } else { service.id().to_string() });
    }
    if let Some(attributes) = content.destination {
        words.push(ObservedDestination::from_attributes(attributes, family).unwrap().as_requested().to_string());
    }
    words.extend(content.daemon.map(|attributes| Daemon::try_from(attributes).unwrap().to_string()));
    let times = [content.timeout_tcp, content.timeout_tcp_fin, content.timeout_udp];
    words.extend(times.into_iter().flatten().map(|time| time.to_string()));
    words.extend(message.info.version.map(|version| ipvs::Version(version).to_string()));
    words.extend(message.info.connection_table_size.map(|size| size.to_string()));
    words.join(" ")
}

#[test]
fn what_the_kernel_says_is_encoded_to_the_same_bytes() {
    for (name, bytes) in vectors("").into_iter().filter(|(name, _)| name.starts_with("answer-")) {
        let (header, message) = decode(&bytes);
        assert_eq!(encode(header, message), bytes, "{name}");
    }
}

#[test]
fn padding_changes_nothing() {
    let plain = vectors("");
    for (name, padded) in vectors("padded") {
        assert!(padded.len() > plain[&name].len(), "{name} has no padding");
        assert_eq!(decode(&padded).1, decode(&plain[&name]).1, "{name}");
    }
}

#[test]
fn what_ipvsadm_says_is_encoded_to_the_same_attributes() {
    for (name, bytes) in vectors("").into_iter().filter(|(name, _)| name.starts_with("ask-")) {
        let (header, message) = decode(&bytes);
        let mut encoded = encode(header, message.clone());
        assert_eq!(decode(&encoded).1, message, "{name}");
        // ipvsadm writes the family of a destination first, the kernel and this crate write it last.
        let mut bytes = without_nested_flag(bytes);
        bytes.sort_unstable();
        encoded.sort_unstable();
        assert_eq!(encoded, bytes, "{name}");
    }
}

#[test]
fn a_new_service_is_asked_for_as_ipvsadm_does() {
    let any = |text: &str| text.parse().unwrap();
    let new = |id, name: &str| Service::new(id, name.parse().unwrap());
    let persistent = |timeout, netmask| Some(Persistence { timeout, netmask });
    let services = [
        Service {
            persistence: persistent(300, Netmask::V4([255, 255, 255, 0].into())),
            flags: ServiceFlags::SCHED1,
            ..new(ServiceId::tcp(any("10.0.0.1"), 80), "rr")
        },
        Service {
            flags: ServiceFlags::SH_PORT | ServiceFlags::SH_FALLBACK,
            ..new(ServiceId::tcp(any("10.0.0.2"), 80), "sh")
        },
        Service { flags: ServiceFlags::ONE_PACKET, ..new(ServiceId::udp(any("10.0.0.2"), 53), "wlc") },
        Service {
            persistence: persistent(60, Netmask::single(Family::Inet)),
            engine: Some("sip".parse().unwrap()),
            ..new(ServiceId::udp(any("10.0.0.2"), 5060), "wlc")
        },
        Service { persistence: persistent(77, Netmask::V6(64)), ..new(ServiceId::sctp(any("fd00::1"), 80), "mh") },
        new(ServiceId::Fwmark { mark: 5, family: Family::Inet }, "rr"),
        new(ServiceId::Fwmark { mark: 6, family: Family::Inet6 }, "rr"),
    ];
    let asked = vectors("");
    for (service, n) in services.into_iter().zip(1..) {
        let ours = Message::from(&Request::NewService(service));
        assert_eq!(ours, decode(&asked[&format!("ask-new-service-{n}")]).1);
    }
}

#[test]
fn a_new_destination_is_asked_for_as_ipvsadm_does() {
    let to = |address: &str, port, forward| Destination::new(address.parse().unwrap(), port, forward);
    let remote = Tunnel { flags: Tunnel::REMOTE_CHECKSUM, ..Tunnel::gue(6080) };
    let destinations = [
        Destination { weight: 3, upper_threshold: 10, lower_threshold: 5, ..to("10.0.0.7", 81, Forward::Masquerade) },
        to("10.0.0.8", 80, Forward::DirectRoute),
        to("10.0.0.9", 80, Forward::Tunnel(Tunnel::IPIP)),
        to("10.0.0.10", 80, Forward::Tunnel(remote)),
        to("10.0.0.11", 80, Forward::Tunnel(Tunnel { flags: Tunnel::CHECKSUM, ..Tunnel::GRE })),
        to("fd00::2", 80, Forward::Masquerade),
        to("fd00::7", 80, Forward::Tunnel(Tunnel::IPIP)),
    ];
    let asked = vectors("");
    for (destination, n) in destinations.into_iter().zip(1..) {
        let ipvsadm = decode(&asked[&format!("ask-new-dest-{n}")]).1.content.destination.unwrap();
        let ours = DestinationAttributes::from(&destination);
        // ipvsadm speaks of tunnels where there are none.
        let ours = DestinationAttributes {
            tunnel_type: ours.tunnel_type.or(Some(0)),
            tunnel_port: ours.tunnel_port.or(Some(0)),
            tunnel_flags: ours.tunnel_flags.or(Some(0)),
            ..ours
        };
        assert_eq!(ours, ipvsadm, "{destination}");
    }
}

#[test]
fn counters_are_read() {
    let all = vectors("");
    let service = decode(&all["answer-new-service-5"]).1.content.service.unwrap();
    let (narrow, wide) = (service.stats.unwrap(), service.stats64.unwrap());
    assert_eq!((wide.connections, wide.in_packets, wide.in_bytes), (3, 3, 3 * (20 + 8 + 19)));
    assert_eq!(narrow, wide);
}

/// Every answer of the kernel, in ipvsadm's words.
#[test]
fn what_the_kernel_says_is_understood() {
    let understood: Vec<_> = vectors("")
        .into_iter()
        .filter(|(name, _)| name.starts_with("answer-"))
        .map(|(name, bytes)| format!("{name}: {}", line(&decode(&bytes).1)))
        .collect();
    let expected = [
        "answer-new-daemon-1: master --mcast-interface lo --syncid 3 --sync-maxlen 1472 --mcast-group 224.0.0.81 --mcast-port 8848 --mcast-ttl 1",
        "answer-new-daemon-2: backup --mcast-interface lo --syncid 3 --sync-maxlen 1400 --mcast-group ff02::81 --mcast-port 9999 --mcast-ttl 3",
        "answer-new-dest-1: -r [fd00::7]:80 -i -w 1 --tun-type ipip",
        "answer-new-dest-2: -r 10.0.0.11:80 -i -w 1 --tun-type gre --tun-csum",
        "answer-new-dest-3: -r 10.0.0.10:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum",
        "answer-new-dest-4: -r 10.0.0.9:80 -i -w 1 --tun-type ipip",
        "answer-new-dest-5: -r 10.0.0.8:80 -g -w 1",
        "answer-new-dest-6: -r 10.0.0.7:81 -m -w 3 -x 10 -y 5",
        "answer-new-dest-7: -r 10.0.0.2:5353 -m -w 1",
        "answer-new-dest-8: -r [fd00::2]:80 -m -w 1",
        "answer-new-dest-9: -r 10.0.0.7:0 -g -w 1",
        "answer-new-service-1: --sctp-service [fd00::1]:80 -s mh -p 77 -M 64",
        "answer-new-service-2: -u 10.0.0.2:5060 -s wlc -p 60 --pe sip",
        "answer-new-service-3: -t 10.0.0.2:80 -s sh -b sh-fallback,sh-port",
        "answer-new-service-4: -t 10.0.0.1:80 -s rr -p 300 -M 255.255.255.0 -b flag-1",
        "answer-new-service-5: -u 10.0.0.2:53 -s wlc -o",
        "answer-new-service-6: -f 5 -s rr",
        "answer-new-service-7: -f 6 -6 -s rr",
        "answer-set-config-1: 901 121 301",
        "answer-set-info-1: 1.2.1 4096",
    ];
    assert_eq!(understood, expected);
}

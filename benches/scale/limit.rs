// SPDX-License-Identifier: Apache-2.0
//! What the kernel allows: requests packed and sent, its dumps taken in and not looked at, an address bound and taken off, VIPs told of, memory.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use ipvs::{Client, Request};
use netlink_sys::{
    Socket, SocketAddr,
    protocols::{NETLINK_GENERIC, NETLINK_ROUTE},
};
use slb_ffi::{adapter, packet};
use socket2::{Domain, Type};

use crate::fleet::{Fleet, on_a_runtime};

/// About as many requests as travel in one send.
const PACK: usize = 512;
/// `NLM_F_REQUEST`, with `NLM_F_DUMP` or `NLM_F_ACK`.
const DUMP: u16 = 0x301;
const ASK: u16 = 0x5;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The controller of families, its question, and the attributes that hold their number and name.
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// Of linux/rtnetlink.h and linux/if_addr.h.
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const IFA_LOCAL: u16 = 2;
/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_CREATE` and `NLM_F_EXCL`.
const ADD: u16 = 0x605;
/// `ETH_P_ARP` of linux/if_ether.h.
pub const ARP: u16 = 0x0806;
/// Ethernet and IPv4, with addresses of 6 and 4 bytes; a request (RFC 826).
const ARP_REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
/// Of linux/ip_vs.h.
const IPVS_CMD_GET_SERVICE: u8 = 4;
const IPVS_CMD_GET_DEST: u8 = 8;
const IPVS_CMD_ATTR_SERVICE: u16 = 1;
const IPVS_SVC_ATTR_AF: u16 = 1;
const IPVS_SVC_ATTR_PROTOCOL: u16 = 2;
const IPVS_SVC_ATTR_ADDR: u16 = 3;
const IPVS_SVC_ATTR_PORT: u16 = 4;

/// Makes the requests and sends them packed, nothing else.
pub fn send(fleet: Fleet) -> Duration {
    on_a_runtime(async {
        let mut client = Client::open().await.unwrap();
        let mut left = fleet.requests();
        let start = Instant::now();
        loop {
            let pack: Vec<Request> = left.by_ref().take(PACK).collect();
            if pack.is_empty() {
                return start.elapsed();
            }
            assert!(client.batch(&pack).await.unwrap().iter().all(Result::is_ok));
        }
    })
}

/// Asks for all services and for the destinations of each, and takes in what comes. Also says how many bytes.
pub fn dump(fleet: Fleet) -> (Duration, usize) {
    let socket = Socket::new(NETLINK_GENERIC).unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    let mut buffer = Vec::with_capacity(64 << 10);
    let family = family(&socket, &mut buffer);
    let questions: Vec<Vec<u8>> = fleet.vips().map(|vip| destinations_of(family, vip)).collect();
    let services = message(family, DUMP, IPVS_CMD_GET_SERVICE, &[]);
    let start = Instant::now();
    let mut bytes = take(&socket, &services, &mut buffer);
    for question in &questions {
        bytes += take(&socket, question, &mut buffer);
    }
    (start.elapsed(), bytes)
}

/// Binds an address to the adapter and takes it off again.
pub fn address(adapter: u32, address: Ipv4Addr) -> Duration {
    let socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    let host = [&[2, 32, 0, 0][..], &adapter.to_ne_bytes(), &attribute(IFA_LOCAL, &address.octets())].concat();
    let requests = [(RTM_NEWADDR, ADD), (RTM_DELADDR, ASK)].map(|(kind, flags)| raw(kind, flags, &host));
    let start = Instant::now();
    for request in &requests {
        socket.send(request, 0).unwrap();
        let (answer, _) = socket.recv_from_full().unwrap();
        assert_eq!(answer[16..20], [0; 4], "the kernel refuses");
    }
    start.elapsed()
}

/// Tells the segment of each of these by gratuitous ARP (RFC 5227, section 2.3), as fast as it goes.
pub fn announce(adapter: &str, vips: impl Iterator<Item = Ipv4Addr>) {
    let socket = socket2::Socket::new(Domain::PACKET, Type::DGRAM, None).unwrap();
    let to = packet::address(adapter::index(&socket, adapter).unwrap(), ARP, [0xff; 6]);
    for vip in vips.map(|vip| vip.octets()) {
        let request = [&ARP_REQUEST[..], &[2, 0, 0, 0, 0, 1], &vip, &[0; 6], &vip].concat();
        socket.send_to(&request, &to).unwrap();
    }
}

/// Whom a packet of ARP tells of; of a question of somebody else, nobody.
pub fn announced(packet: &[u8; 64]) -> Ipv4Addr {
    let at = |begin: usize| Ipv4Addr::new(packet[begin], packet[begin + 1], packet[begin + 2], packet[begin + 3]);
    if at(14) == at(24) { at(24) } else { Ipv4Addr::UNSPECIFIED }
}

/// Takes so many pages of memory that the process did not have, and touches each.
pub fn touch(pages: usize) -> Duration {
    /// Of x86-64, in bytes.
    const PAGE: usize = 4_096;
    /// What is larger than 32 MiB is always new, mallopt(3).
    const LEAST: usize = 64 << 20;
    // The kernel gives out memory of zeros untouched.
    let mut memory = vec![0_u8; (pages * PAGE).max(LEAST)];
    let start = Instant::now();
    memory.iter_mut().step_by(PAGE).take(pages).for_each(|byte| *std::hint::black_box(byte) = 1);
    start.elapsed()
}

/// One dump to its end, which is the first message of the last datagram or comes after the others in it.
fn take(socket: &Socket, question: &[u8], buffer: &mut Vec<u8>) -> usize {
    socket.send(question, 0).unwrap();
    let mut bytes = 0;
    loop {
        buffer.clear();
        bytes += socket.recv(buffer, 0).unwrap();
        if kinds(buffer).any(|kind| kind == NLMSG_DONE) {
            return bytes;
        }
    }
}

/// What kinds of messages a datagram has.
fn kinds(mut datagram: &[u8]) -> impl Iterator<Item = u16> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(datagram.get(..4)?.try_into().unwrap()) as usize;
        let kind = u16::from_ne_bytes([datagram[4], datagram[5]]);
        assert_ne!(kind, NLMSG_ERROR, "the kernel refuses");
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(kind)
    })
}

/// The number that the kernel has given to IPVS.
fn family(socket: &Socket, buffer: &mut Vec<u8>) -> u16 {
    let name = attribute(CTRL_ATTR_FAMILY_NAME, b"IPVS\0");
    socket.send(&message(GENL_ID_CTRL, ASK, CTRL_CMD_GETFAMILY, &name), 0).unwrap();
    buffer.clear();
    socket.recv(buffer, 0).unwrap();
    let mut attributes = &buffer[20..];
    let number = loop {
        let length = usize::from(u16::from_ne_bytes([attributes[0], attributes[1]]));
        if u16::from_ne_bytes([attributes[2], attributes[3]]) == CTRL_ATTR_FAMILY_ID {
            break u16::from_ne_bytes([attributes[4], attributes[5]]);
        }
        attributes = &attributes[length.next_multiple_of(4)..];
    };
    buffer.clear();
    socket.recv(buffer, 0).unwrap();
    number
}

fn destinations_of(family: u16, vip: Ipv4Addr) -> Vec<u8> {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&vip.octets());
    let service = [
        attribute(IPVS_SVC_ATTR_AF, &2_u16.to_ne_bytes()),
        attribute(IPVS_SVC_ATTR_PROTOCOL, &6_u16.to_ne_bytes()),
        attribute(IPVS_SVC_ATTR_ADDR, &address),
        attribute(IPVS_SVC_ATTR_PORT, &Fleet::PORT.to_be_bytes()),
    ];
    message(family, DUMP, IPVS_CMD_GET_DEST, &attribute(IPVS_CMD_ATTR_SERVICE, &service.concat()))
}

fn message(family: u16, flags: u16, command: u8, attributes: &[u8]) -> Vec<u8> {
    raw(family, flags, &[&[command, 1, 0, 0], attributes].concat())
}

fn raw(kind: u16, flags: u16, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + content.len()).unwrap();
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8], content].concat()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut attribute = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

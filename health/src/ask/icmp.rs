// SPDX-License-Identifier: Apache-2.0
//! An ICMP echo: over a socket for that (icmp(7), `net.ipv4.ping_group_range`), or over a raw one, which takes CAP_NET_RAW.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::failure::Failure;

/// RFC 792 and RFC 4443.
const ECHO_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
/// Type, code, checksum, identifier, number.
const HEADER: usize = 8;
/// The longest header of IPv4, which comes before what a raw socket reads.
const LONGEST_IP_HEADER: usize = 60;

/// Tells one check's echo from another's.
static NEXT: AtomicU64 = AtomicU64::new(0);

pub(super) async fn ask(to: IpAddr, source: Option<IpAddr>) -> Result<(), Failure> {
    let socket = open(to, source).map_err(Failure::to("open a socket for ICMP"))?;
    let token = [u64::from(std::process::id()), NEXT.fetch_add(1, Ordering::Relaxed)].map(u64::to_be_bytes).concat();
    socket.send(&request(to.is_ipv4(), &token)).await.map_err(Failure::to("send the echo"))?;
    let mut read = [0; LONGEST_IP_HEADER + HEADER + 16];
    loop {
        let length = socket.recv(&mut read).await.map_err(Failure::to("read the answer"))?;
        if is_reply(to.is_ipv4(), read.get(..length).unwrap_or_default(), &token) {
            return Ok(());
        }
    }
}

/// What sends to and reads from the backend alone. To the runtime one socket of datagrams is like another.
fn open(to: IpAddr, source: Option<IpAddr>) -> io::Result<UdpSocket> {
    let (domain, protocol) =
        if to.is_ipv4() { (Domain::IPV4, Protocol::ICMPV4) } else { (Domain::IPV6, Protocol::ICMPV6) };
    let socket = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Socket::new(domain, Type::RAW, Some(protocol)).map_err(|_| error)?
        }
        socket => socket?,
    };
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect(&SocketAddr::new(to, 0).into())?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

/// Kernels fill in the checksum of ICMPv6, and the identifier where the socket has one.
fn request(is_ipv4: bool, token: &[u8]) -> Vec<u8> {
    let kind = if is_ipv4 { ECHO_V4 } else { ECHO_V6 };
    let mut message = vec![kind, 0, 0, 0, b's', b'l', 0, 1];
    message.extend_from_slice(token);
    if is_ipv4 {
        let sum = checksum(&message);
        if let Some(field) = message.get_mut(2..4) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
    }
    message
}

/// Whether a message, perhaps behind a header of IPv4, answers the echo with the token.
fn is_reply(is_ipv4: bool, message: &[u8], token: &[u8]) -> bool {
    let (message, kind) = match message {
        // No ICMP message that answers an echo begins with version 4.
        [first, ..] if is_ipv4 && first >> 4 == 4 => {
            (message.get(usize::from(first & 0xf) * 4..).unwrap_or_default(), ECHO_REPLY_V4)
        }
        _ => (message, if is_ipv4 { ECHO_REPLY_V4 } else { ECHO_REPLY_V6 }),
    };
    message.first() == Some(&kind) && message.get(HEADER..) == Some(token)
}

/// RFC 1071.
fn checksum(message: &[u8]) -> u16 {
    let words = message.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_its_checksum_sums_up_to_nothing() {
        for token in [&b"0123456789abcdef"[..], b"\xff\xff\xff", b""] {
            assert_eq!(checksum(&request(true, token)), 0);
        }
    }

    #[test]
    fn only_the_own_echo_counts() {
        let token = b"0123456789abcdef";
        let reply = |kind: u8, token: &[u8]| [&[kind, 0, 1, 2, 3, 4, 5, 6], token].concat();
        let raw = |reply: &[u8]| [&[0x45][..], &[0; 19], reply].concat();
        assert!(is_reply(true, &reply(0, token), token) && is_reply(true, &raw(&reply(0, token)), token));
        assert!(is_reply(false, &reply(129, token), token));
        assert!(!is_reply(true, &reply(8, token), token) && !is_reply(true, &raw(&reply(8, token)), token));
        assert!(!is_reply(true, &reply(0, b"another"), token) && !is_reply(false, &reply(128, token), token));
        assert!(!is_reply(true, &[], token) && !is_reply(true, &[0x4f], token) && !is_reply(true, &[0; 4], token));
    }
}

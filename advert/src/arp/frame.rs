// SPDX-License-Identifier: Apache-2.0
//! The ARP packet for IPv4 over Ethernet (RFC 826), without the Ethernet header, which the kernel writes and strips:
//!
//! ```text
//!  0       2       4   5   6       8            14       18           24       28
//!  ┌───────┬───────┬───┬───┬───────┬────────────┬────────┬────────────┬────────┐
//!  │ 1     │ 0x800 │ 6 │ 4 │ 1 | 2 │ sender MAC │ its IP │ target MAC │ its IP │ padding …
//!  └───────┴───────┴───┴───┴───────┴────────────┴────────┴────────────┴────────┘
//!   Ether.   IPv4    lengths  request | reply
//! ```

use std::net::Ipv4Addr;

pub use crate::segment::Mac;

/// Bytes of a packet; what follows is padding to Ethernet's smallest frame.
pub const LENGTH: usize = 28;

/// Hardware type 1 (Ethernet), protocol type 0x0800 (IPv4), address lengths 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// `ar$op` of RFC 826.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// 1: who has the target's IP?
    Request,
    /// 2: the sender has the sender's IP.
    Reply,
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Request or reply.
    pub operation: Operation,
    /// Who sends it.
    pub sender_mac: Mac,
    /// The address that the sender claims; 0.0.0.0 in a probe.
    pub sender_ip: Ipv4Addr,
    /// Whom a reply is for; [`Mac::UNKNOWN`] in a request.
    pub target_mac: Mac,
    /// The address asked for, or of whom a reply is for.
    pub target_ip: Ipv4Addr,
}

impl Frame {
    /// Asks who has `address` without claiming it (RFC 5227 section 2.1.1: "ARP Probe").
    #[must_use]
    pub fn probe(own: Mac, address: Ipv4Addr) -> Self {
        Self {
            operation: Operation::Request,
            sender_mac: own,
            sender_ip: Ipv4Addr::UNSPECIFIED,
            target_mac: Mac::UNKNOWN,
            target_ip: address,
        }
    }

    /// Tells that `address` is at `own`, in both forms, since some hosts heed only one: as a request (RFC 5227 section 2.3: "ARP
    /// Announcement") and as a reply (RFC 5944 section 4.6, which also says what the target's MAC is).
    #[must_use]
    pub fn announcement(own: Mac, address: Ipv4Addr) -> [Self; 2] {
        let request = Self { sender_ip: address, ..Self::probe(own, address) };
        [request, Self { operation: Operation::Reply, target_mac: own, ..request }]
    }

    /// The packet's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; LENGTH] {
        let operation: u16 = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        let mut bytes = [0; LENGTH];
        bytes[..6].copy_from_slice(&ETHERNET_IPV4);
        bytes[6..8].copy_from_slice(&operation.to_be_bytes());
        bytes[8..14].copy_from_slice(&self.sender_mac.0);
        bytes[14..18].copy_from_slice(&self.sender_ip.octets());
        bytes[18..24].copy_from_slice(&self.target_mac.0);
        bytes[24..].copy_from_slice(&self.target_ip.octets());
        bytes
    }

    /// Reads a packet; what follows its 28 bytes is ignored. `None`: too short, not IPv4 over Ethernet, or neither request nor reply.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first_chunk::<6>()?;
        let (operation, rest) = rest.split_first_chunk::<2>()?;
        let (sender_mac, rest) = rest.split_first_chunk::<6>()?;
        let (sender_ip, rest) = rest.split_first_chunk::<4>()?;
        let (target_mac, rest) = rest.split_first_chunk::<6>()?;
        let (target_ip, _padding) = rest.split_first_chunk::<4>()?;
        if *kind != ETHERNET_IPV4 {
            return None;
        }
        let operation = match u16::from_be_bytes(*operation) {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return None,
        };
        Some(Self {
            operation,
            sender_mac: Mac(*sender_mac),
            sender_ip: Ipv4Addr::from(*sender_ip),
            target_mac: Mac(*target_mac),
            target_ip: Ipv4Addr::from(*target_ip),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: Mac = Mac([0x02, 0, 0x5e, 0x10, 0, 0x01]);
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 85);

    fn frames() -> impl Strategy<Value = Frame> {
        (any::<bool>(), any::<[u8; 6]>(), any::<Ipv4Addr>(), any::<[u8; 6]>(), any::<Ipv4Addr>()).prop_map(
            |(reply, sender_mac, sender_ip, target_mac, target_ip)| Frame {
                operation: if reply { Operation::Reply } else { Operation::Request },
                sender_mac: Mac(sender_mac),
                sender_ip,
                target_mac: Mac(target_mac),
                target_ip,
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_whatever_the_padding(frame in frames(), padding in any::<[u8; 18]>()) {
            let mut bytes = frame.encode().to_vec();
            prop_assert_eq!(Frame::decode(&bytes), Some(frame));
            bytes.extend(padding);
            prop_assert_eq!(Frame::decode(&bytes), Some(frame));
        }

        #[test]
        fn any_bytes_are_refused_or_mean_what_they_encode_to(
            header in prop_oneof![Just(vec![]), (0..4_u8).prop_map(|op| [&ETHERNET_IPV4[..], &[0, op]].concat())],
            rest in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let bytes = [header, rest].concat();
            if let Some(frame) = Frame::decode(&bytes) {
                prop_assert_eq!(&frame.encode()[..], &bytes[..LENGTH]);
            }
        }

        #[test]
        fn a_changed_header_or_a_missing_byte_is_refused(frame in frames(), at in 0..7_usize, flip in 1..=255_u8, cut in 0..LENGTH) {
            let bytes = frame.encode();
            prop_assert_eq!(Frame::decode(&bytes[..cut]), None);
            let mut changed = bytes;
            changed[at] ^= flip;
            prop_assert_eq!(Frame::decode(&changed), None);
        }
    }

    #[test]
    fn a_probe_is_the_bytes_of_the_rfc() {
        let bytes = b"\0\x01\x08\0\x06\x04\0\x01\x02\0\x5e\x10\0\x01\0\0\0\0\0\0\0\0\0\0\xc0\xa8\0\x55";
        assert_eq!(&Frame::probe(OWN, VIP).encode(), bytes);
    }

    #[test]
    fn an_announcement_is_a_request_and_a_reply() {
        let [request, reply] = Frame::announcement(OWN, VIP).map(|frame| frame.encode());
        assert_eq!(&request, b"\0\x01\x08\0\x06\x04\0\x01\x02\0\x5e\x10\0\x01\xc0\xa8\0\x55\0\0\0\0\0\0\xc0\xa8\0\x55");
        assert_eq!(
            &reply,
            b"\0\x01\x08\0\x06\x04\0\x02\x02\0\x5e\x10\0\x01\xc0\xa8\0\x55\x02\0\x5e\x10\0\x01\xc0\xa8\0\x55"
        );
    }

    #[test]
    fn a_mac_prints_as_operators_write_it() {
        assert_eq!(OWN.to_string(), "02:00:5e:10:00:01");
    }
}

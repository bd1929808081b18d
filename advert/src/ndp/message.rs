// SPDX-License-Identifier: Apache-2.0
//! Neighbour solicitations and advertisements (RFC 4861, sections 4.3 and 4.4) with their IPv6 header (RFC 8200, section 3), without the
//! Ethernet header, which the kernel writes and strips:
//!
//! ```text
//!  0      4        6    7     8        24            40         42         44      48       64
//!  ┌──────┬────────┬────┬─────┬────────┬─────────────┬──────────┬──────────┬───────┬────────┬─────────────────────┐
//!  │ 6… 0 │ length │ 58 │ 255 │ source │ destination │ 135|136 0│ checksum │ flags │ target │ 2 1 MAC, or nothing │
//!  └──────┴────────┴────┴─────┴────────┴─────────────┴──────────┴──────────┴───────┴────────┴─────────────────────┘
//!                  ICMPv6 hop limit                    type, code             of an advertisement
//! ```

use std::net::Ipv6Addr;

use super::solicited_node;
use crate::segment::Mac;

/// Bytes of the IPv6 header.
const HEADER: usize = 40;
/// Bytes of the message without options.
const BODY: usize = 24;
/// `IPPROTO_ICMPV6`.
const ICMPV6: u8 = 58;
/// Proves that no router passed the packet on (RFC 4861, section 7.1).
const HOP_LIMIT: u8 = 255;
/// Advertisements take the place of what is known (RFC 4861, section 4.4).
const OVERRIDE: u32 = 0x2000_0000;
/// "Target Link-layer Address" (RFC 4861, section 4.6.1).
const TARGET_HARDWARE: u8 = 2;
/// Every node of the link (RFC 4291, section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 135: who has the target?
    Solicitation,
    /// 136: the sender has it.
    Advertisement,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Solicitation or advertisement.
    pub kind: Kind,
    /// Who sends it; `::` where nobody claims an address yet.
    pub source: Ipv6Addr,
    /// Whom it is for.
    pub destination: Ipv6Addr,
    /// The address that it is about.
    pub target: Ipv6Addr,
    /// Where the target is, in an advertisement that says it.
    pub hardware: Option<Mac>,
}

impl Message {
    /// Asks who has `address` without claiming it (RFC 4862, section 5.4.2).
    #[must_use]
    pub fn probe(address: Ipv6Addr) -> Self {
        Self {
            kind: Kind::Solicitation,
            source: Ipv6Addr::UNSPECIFIED,
            destination: solicited_node(address),
            target: address,
            hardware: None,
        }
    }

    /// Tells that `address` is at `own` (RFC 4861, section 7.2.6).
    #[must_use]
    pub fn announcement(own: Mac, address: Ipv6Addr) -> Self {
        Self {
            kind: Kind::Advertisement,
            source: address,
            destination: ALL_NODES,
            target: address,
            hardware: Some(own),
        }
    }

    /// The packet's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, flags) = match self.kind {
            Kind::Solicitation => (135, 0),
            Kind::Advertisement => (136, OVERRIDE),
        };
        let option = self.hardware.map(|Mac([a, b, c, d, e, f])| [TARGET_HARDWARE, 1, a, b, c, d, e, f]);
        let mut body = [&[kind, 0, 0, 0][..], &u32::to_be_bytes(flags), &self.target.octets()].concat();
        body.extend(option.into_iter().flatten());
        let sum = checksum(self.source, self.destination, &body).to_be_bytes();
        body[2..4].copy_from_slice(&sum);
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
        let header = [0x60, 0, 0, 0, length[0], length[1], ICMPV6, HOP_LIMIT];
        [&header[..], &self.source.octets(), &self.destination.octets(), &body].concat()
    }

    /// Reads a packet; what follows the length in its header is ignored. `None`: not one of the two, or one that has to be discarded
    /// (RFC 4861, sections 7.1.1 and 7.1.2).
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let [version, _, _, _, high, low, ICMPV6, HOP_LIMIT, ..] = *header else { return None };
        let body = rest.get(..u16::from_be_bytes([high, low]).into())?;
        let (fixed, options) = body.split_first_chunk::<BODY>()?;
        let address = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).map(Ipv6Addr::from).ok();
        let (source, destination) = (address(&header[8..24])?, address(&header[24..])?);
        let kind = match fixed {
            [135, 0, ..] => Kind::Solicitation,
            [136, 0, ..] => Kind::Advertisement,
            _ => return None,
        };
        if version >> 4 != 6 || checksum(source, destination, body) != 0 {
            return None;
        }
        let target = address(&fixed[8..])?;
        let hardware = hardware(options)?;
        let hardware = if kind == Kind::Advertisement { hardware } else { None };
        Some(Self { kind, source, destination, target, hardware })
    }
}

/// The target's hardware address, if there is one in the options. `None`: they are not options.
fn hardware(mut options: &[u8]) -> Option<Option<Mac>> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        if units == 0 {
            return None;
        }
        let (option, rest) = options.split_at_checked(usize::from(units) * 8)?;
        if let (TARGET_HARDWARE, Ok([_, _, mac @ ..])) = (kind, <[u8; 8]>::try_from(option)) {
            found = Some(Mac(mac));
        }
        options = rest;
    }
    options.is_empty().then_some(found)
}

/// The Internet checksum over the message and what of the header counts (RFC 8200, section 8.1); zero over a message that has it right.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let pseudo = [&source.octets()[..], &destination.octets(), &length, &[0, 0, 0, ICMPV6]].concat();
    let words = pseudo.chunks(2).chain(body.chunks(2)).map(|word| match *word {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [high] => u64::from(high) << 8,
        _ => 0,
    });
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: Mac = Mac([0x02, 0, 0x5e, 0x10, 0, 0x01]);
    const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x12, 0x3485);

    #[test]
    fn the_group_of_an_address_has_its_last_three_bytes() {
        assert_eq!(solicited_node(VIP).to_string(), "ff02::1:ff12:3485");
    }

    fn messages() -> impl Strategy<Value = Message> {
        let hardware = prop::option::of(any::<[u8; 6]>().prop_map(Mac));
        (any::<bool>(), any::<Ipv6Addr>(), any::<Ipv6Addr>(), any::<Ipv6Addr>(), hardware).prop_map(
            |(is_advertisement, source, destination, target, hardware)| Message {
                kind: if is_advertisement { Kind::Advertisement } else { Kind::Solicitation },
                source,
                destination,
                target,
                hardware: hardware.filter(|_| is_advertisement),
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(message in messages(), padding in 0..20_usize) {
            let mut bytes = message.encode();
            bytes.resize(bytes.len() + padding, 0);
            prop_assert_eq!(Message::decode(&bytes), Some(message));
        }

        #[test]
        fn what_was_damaged_is_not_read(message in messages(), at: prop::sample::Index, bit in 0..8_u32) {
            let mut bytes = message.encode();
            let at = at.index(bytes.len());
            // Traffic class and flow label are nobody's business here.
            prop_assume!(!((1..4).contains(&at) || at == 0 && bit < 4));
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Message::decode(&bytes), None);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Message::decode(&bytes);
            let claim = Message::announcement(OWN, VIP).encode();
            let _ = Message::decode(&[&claim[..40], &bytes].concat());
        }
    }
}

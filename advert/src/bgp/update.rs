// SPDX-License-Identifier: Apache-2.0
//! UPDATE: routes to VIPs, as many to a message as fit (RFC 4271, section 4.3; RFC 4760, RFC 6793, RFC 8092, RFC 8950).
//!
//! All VIPs go to a peer with the same attributes, so that they share messages: some 800 in each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use slb_core::{peer::Community, prefix::Prefix};

use super::{
    open::AS_TRANS,
    wire::{HEADER, LONGEST, UPDATE, message},
};

/// What goes with every route to one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    /// The own number.
    pub(super) asn: u32,
    /// Whether the peer has the same.
    pub(super) is_internal: bool,
    /// Whether the peer reads AS numbers of four bytes.
    pub(super) four_octet_as: bool,
    pub(super) next_hop: IpAddr,
    /// How often the own number is repeated in the path.
    pub(super) prepend: u8,
    pub(super) med: Option<u32>,
    pub(super) local_preference: u32,
    pub(super) communities: Vec<Community>,
}

// Flags of attributes.
const TRANSITIVE: u8 = 0x40;
const OPTIONAL: u8 = 0x80;
const EXTENDED_LENGTH: u8 = 0x10;

// IANA, "BGP Path Attributes".
const ORIGIN: u8 = 1;
const AS_PATH: u8 = 2;
const NEXT_HOP: u8 = 3;
const MULTI_EXIT_DISC: u8 = 4;
const LOCAL_PREF: u8 = 5;
const COMMUNITIES: u8 = 8;
const MP_REACH_NLRI: u8 = 14;
const MP_UNREACH_NLRI: u8 = 15;
const AS4_PATH: u8 = 17;
const LARGE_COMMUNITY: u8 = 32;

const ORIGIN_IGP: u8 = 0;
const AS_SEQUENCE: u8 = 2;
/// AFI and SAFI of IPv4 unicast.
const IPV4_UNICAST: [u8; 3] = [0, 1, 1];
/// The longest prefix: its length, then its bytes.
const PREFIX: usize = 5;

/// The messages that announce the routes.
pub(super) fn announce(attributes: &Attributes, prefixes: &[Prefix]) -> Vec<Vec<u8>> {
    let fixed = attributes.encode();
    match attributes.next_hop {
        IpAddr::V4(_) => each_fitting(fixed.len(), prefixes, |prefixes| body(&[], &fixed, prefixes)),
        IpAddr::V6(next_hop) => {
            let head = [&IPV4_UNICAST[..], &[16], &next_hop.octets(), &[0]].concat();
            each_fitting(fixed.len() + 4 + head.len(), prefixes, |prefixes| {
                let reach = attribute(OPTIONAL, MP_REACH_NLRI, &[&head, prefixes].concat());
                body(&[], &[&fixed[..], &reach].concat(), &[])
            })
        }
    }
}

/// The messages that withdraw the routes, in the form in which they were announced with this next hop.
pub(super) fn withdraw(next_hop: IpAddr, prefixes: &[Prefix]) -> Vec<Vec<u8>> {
    match next_hop {
        IpAddr::V4(_) => each_fitting(0, prefixes, |prefixes| body(prefixes, &[], &[])),
        IpAddr::V6(_) => each_fitting(4 + IPV4_UNICAST.len(), prefixes, |prefixes| {
            let unreach = attribute(OPTIONAL, MP_UNREACH_NLRI, &[&IPV4_UNICAST, prefixes].concat());
            body(&[], &unreach, &[])
        }),
    }
}

/// Says that all routes have been sent (RFC 4724, section 2).
pub(super) fn end_of_routes() -> Vec<u8> {
    body(&[], &[], &[])
}

/// A message for each part of the routes that fits beside `fixed` bytes.
fn each_fitting(fixed: usize, prefixes: &[Prefix], body: impl Fn(&[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
    /// Two lengths, of what is withdrawn and of the attributes.
    const LENGTHS: usize = 4;
    let fitting = LONGEST.saturating_sub(HEADER + LENGTHS + fixed) / PREFIX;
    prefixes
        .chunks(fitting.max(1))
        .map(|part| body(&part.iter().copied().flat_map(encode).collect::<Vec<_>>()))
        .collect()
}

/// Its length, and as many bytes of it as count.
fn encode(prefix: Prefix) -> impl Iterator<Item = u8> {
    let length = prefix.length().get();
    std::iter::once(length).chain(prefix.first().octets().into_iter().take(usize::from(length).div_ceil(8)))
}

fn body(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    let [of_withdrawn, of_attributes] =
        [withdrawn, attributes].map(|part| u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
    message(UPDATE, &[&of_withdrawn[..], withdrawn, &of_attributes, attributes, announced].concat())
}

fn attribute(flags: u8, kind: u8, value: &[u8]) -> Vec<u8> {
    match u8::try_from(value.len()) {
        Ok(length) => [&[flags, kind, length], value].concat(),
        Err(_) => {
            let [high, low] = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
            [&[flags | EXTENDED_LENGTH, kind, high, low], value].concat()
        }
    }
}

impl Attributes {
    /// With which routers prefer other ways (RFC 8326, sections 4.1 and 4.2).
    pub(super) fn draining(&self) -> Self {
        let mut draining = Self { local_preference: 0, ..self.clone() };
        if !draining.communities.contains(&Community::GRACEFUL_SHUTDOWN) {
            draining.communities.push(Community::GRACEFUL_SHUTDOWN);
        }
        draining
    }

    /// All but the routes, in the order of their numbers.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = attribute(TRANSITIVE, ORIGIN, &[ORIGIN_IGP]);
        let narrow = u16::try_from(self.asn).unwrap_or(AS_TRANS);
        bytes.extend(if self.four_octet_as {
            attribute(TRANSITIVE, AS_PATH, &self.path(&self.asn.to_be_bytes()))
        } else {
            attribute(TRANSITIVE, AS_PATH, &self.path(&narrow.to_be_bytes()))
        });
        if let IpAddr::V4(next_hop) = self.next_hop {
            bytes.extend(attribute(TRANSITIVE, NEXT_HOP, &next_hop.octets()));
        }
        if let Some(med) = self.med {
            bytes.extend(attribute(OPTIONAL, MULTI_EXIT_DISC, &med.to_be_bytes()));
        }
        if self.is_internal {
            bytes.extend(attribute(TRANSITIVE, LOCAL_PREF, &self.local_preference.to_be_bytes()));
        }
        let standard: Vec<u8> = self.communities.iter().flat_map(|each| standard(*each)).flatten().collect();
        if !standard.is_empty() {
            bytes.extend(attribute(OPTIONAL | TRANSITIVE, COMMUNITIES, &standard));
        }
        if !self.four_octet_as && !self.is_internal && u32::from(narrow) != self.asn {
            bytes.extend(attribute(OPTIONAL | TRANSITIVE, AS4_PATH, &self.path(&self.asn.to_be_bytes())));
        }
        let large: Vec<u8> = self.communities.iter().flat_map(|each| large(*each)).flatten().collect();
        if !large.is_empty() {
            bytes.extend(attribute(OPTIONAL | TRANSITIVE, LARGE_COMMUNITY, &large));
        }
        bytes
    }

    /// Empty within one AS, else one sequence.
    fn path(&self, number: &[u8]) -> Vec<u8> {
        if self.is_internal {
            return Vec::new();
        }
        let count = self.prepend.saturating_add(1);
        [AS_SEQUENCE, count].into_iter().chain(number.repeat(count.into())).collect()
    }
}

/// The bytes of a community of RFC 1997.
fn standard(community: Community) -> Option<[u8; 4]> {
    match community {
        Community::Standard(high, low) => Some((u32::from(high) << 16 | u32::from(low)).to_be_bytes()),
        Community::Large(..) => None,
    }
}

/// The bytes of a community of RFC 8092.
fn large(community: Community) -> Option<impl Iterator<Item = u8>> {
    match community {
        Community::Standard(..) => None,
        Community::Large(a, b, c) => Some([a, b, c].into_iter().flat_map(u32::to_be_bytes)),
    }
}

/// Whether an address can be the next hop of a route: somebody's, and not only this host's own.
pub(super) fn can_be_next_hop(address: IpAddr) -> bool {
    let address = address.to_canonical();
    !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && address != Ipv4Addr::BROADCAST
        && address != Ipv6Addr::UNSPECIFIED
}

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: Apache-2.0
//! UPDATE: routes to VIPs, as many to a message as fit (RFC 4271, section 4.3; RFC 4760, RFC 6793, RFC 8092, RFC 8950).
//!
//! All VIPs of a family go to a peer with the same attributes, so that they share messages: some 800 in each, or 230 of IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use slb_core::{model::Family, peer::Community, prefix::Prefix};

use super::{
    open::AS_TRANS,
    wire::{HEADER, LONGEST, UPDATE, message},
};
use crate::{
    attribute::{self, mp_reach, mp_unreach},
    routes::nlri,
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

/// The messages that announce routes of a family. Those of IPv6 have a next hop of IPv6.
pub(super) fn announce(family: Family, attributes: &Attributes, prefixes: &[Prefix]) -> Vec<Vec<u8>> {
    let fixed = attributes.encode();
    match attributes.next_hop {
        IpAddr::V4(_) => each_fitting(fixed.len(), prefixes, |prefixes| body(&[], &fixed, prefixes)),
        IpAddr::V6(next_hop) => {
            let head = [&unicast(family)[..], &[16], &next_hop.octets(), &[0]].concat();
            each_fitting(fixed.len() + 4 + head.len(), prefixes, |prefixes| {
                let reach = mp_reach(&[&head, prefixes].concat());
                body(&[], &[&fixed[..], &reach].concat(), &[])
            })
        }
    }
}

/// The messages that withdraw routes of a family, in the form in which they were announced with this next hop.
pub(super) fn withdraw(family: Family, next_hop: IpAddr, prefixes: &[Prefix]) -> Vec<Vec<u8>> {
    let head = unicast(family);
    match next_hop {
        IpAddr::V4(_) => each_fitting(0, prefixes, |prefixes| body(prefixes, &[], &[])),
        IpAddr::V6(_) => each_fitting(4 + head.len(), prefixes, |prefixes| {
            let unreach = mp_unreach(&[&head, prefixes].concat());
            body(&[], &unreach, &[])
        }),
    }
}

/// Says that all routes of a family have been sent (RFC 4724, section 2).
pub(super) fn end_of_routes(family: Family) -> Vec<u8> {
    match family {
        Family::Ipv4 => body(&[], &[], &[]),
        Family::Ipv6 => body(&[], &mp_unreach(&unicast(family)), &[]),
    }
}

/// AFI and SAFI.
fn unicast(family: Family) -> [u8; 3] {
    match family {
        Family::Ipv4 => [0, 1, 1],
        Family::Ipv6 => [0, 2, 1],
    }
}

/// A message for each part of the routes that fits beside `fixed` bytes.
fn each_fitting(fixed: usize, prefixes: &[Prefix], body: impl Fn(&[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
    /// Two lengths, of what is withdrawn and of the attributes.
    const LENGTHS: usize = 4;
    // The longest prefix: its length, then its bytes.
    let longest = prefixes.iter().map(|prefix| 1 + usize::from(prefix.length()).div_ceil(8)).max().unwrap_or(1);
    let fitting = LONGEST.saturating_sub(HEADER + LENGTHS + fixed) / longest;
    prefixes.chunks(fitting.max(1)).map(|part| body(&part.iter().copied().flat_map(nlri).collect::<Vec<_>>())).collect()
}

fn body(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    let [of_withdrawn, of_attributes] =
        [withdrawn, attributes].map(|part| u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
    message(UPDATE, &[&of_withdrawn[..], withdrawn, &of_attributes, attributes, announced].concat())
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
        let narrow = u16::try_from(self.asn).unwrap_or(AS_TRANS);
        let wide = self.path(&self.asn.to_be_bytes());
        let path = if self.four_octet_as { wide.clone() } else { self.path(&narrow.to_be_bytes()) };
        let is_cut = !self.four_octet_as && !self.is_internal && u32::from(narrow) != self.asn;
        let next_hop =
            if let IpAddr::V4(next_hop) = self.next_hop { Some(attribute::next_hop(next_hop)) } else { None };
        let attributes = [
            Some(attribute::origin()),
            Some(attribute::as_path(&path)),
            next_hop,
            self.med.map(attribute::med),
            self.is_internal.then(|| attribute::local_pref(self.local_preference)),
            attribute::communities(&self.communities),
            is_cut.then(|| attribute::as4_path(&wide)),
            attribute::large_communities(&self.communities),
        ];
        attributes.into_iter().flatten().flatten().collect()
    }

    /// Empty within one AS, else one sequence.
    fn path(&self, number: &[u8]) -> Vec<u8> {
        if self.is_internal {
            return Vec::new();
        }
        let count = self.prepend.saturating_add(1);
        [attribute::AS_SEQUENCE, count].into_iter().chain(number.repeat(count.into())).collect()
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

// SPDX-License-Identifier: Apache-2.0
//! Path attributes of BGP as they are on the wire: flags, type, length and value (RFC 4271, section 4.3).

use std::net::Ipv4Addr;

use slb_core::peer::Community;

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
/// Begins a sequence of AS numbers in a path.
pub(crate) const AS_SEQUENCE: u8 = 2;
/// The routes are slb's own.
pub(crate) fn origin() -> Vec<u8> {
    attribute(TRANSITIVE, ORIGIN, &[ORIGIN_IGP])
}

/// Segments of AS numbers.
pub(crate) fn as_path(segments: &[u8]) -> Vec<u8> {
    attribute(TRANSITIVE, AS_PATH, segments)
}

/// The same in four bytes each, past speakers that read two (RFC 6793).
pub(crate) fn as4_path(segments: &[u8]) -> Vec<u8> {
    attribute(OPTIONAL | TRANSITIVE, AS4_PATH, segments)
}

/// Where packets are sent to.
pub(crate) fn next_hop(address: Ipv4Addr) -> Vec<u8> {
    attribute(TRANSITIVE, NEXT_HOP, &address.octets())
}

/// Of several ways into the same AS the lowest is preferred.
pub(crate) fn med(number: u32) -> Vec<u8> {
    attribute(OPTIONAL, MULTI_EXIT_DISC, &number.to_be_bytes())
}

/// Within an AS the highest is preferred.
pub(crate) fn local_pref(number: u32) -> Vec<u8> {
    attribute(TRANSITIVE, LOCAL_PREF, &number.to_be_bytes())
}

/// Those of RFC 1997 among the communities, if there are any.
pub(crate) fn communities(all: &[Community]) -> Option<Vec<u8>> {
    let standard: Vec<u8> = all.iter().flat_map(|each| standard(*each)).flatten().collect();
    (!standard.is_empty()).then(|| attribute(OPTIONAL | TRANSITIVE, COMMUNITIES, &standard))
}

/// Those of RFC 8092 among the communities, if there are any.
pub(crate) fn large_communities(all: &[Community]) -> Option<Vec<u8>> {
    let large: Vec<u8> = all.iter().flat_map(|each| large(*each)).flatten().collect();
    (!large.is_empty()).then(|| attribute(OPTIONAL | TRANSITIVE, LARGE_COMMUNITY, &large))
}

/// Routes of any family, with their next hop (RFC 4760).
pub(crate) fn mp_reach(value: &[u8]) -> Vec<u8> {
    attribute(OPTIONAL, MP_REACH_NLRI, value)
}

/// Routes of any family that are withdrawn (RFC 4760).
pub(crate) fn mp_unreach(value: &[u8]) -> Vec<u8> {
    attribute(OPTIONAL, MP_UNREACH_NLRI, value)
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

fn attribute(flags: u8, kind: u8, value: &[u8]) -> Vec<u8> {
    match u8::try_from(value.len()) {
        Ok(length) => [&[flags, kind, length], value].concat(),
        Err(_) => {
            let [high, low] = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
            [&[flags | EXTENDED_LENGTH, kind, high, low], value].concat()
        }
    }
}

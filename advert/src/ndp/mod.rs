// SPDX-License-Identifier: Apache-2.0
//! What a [`Segment`](crate::Segment) says and hears by neighbour discovery (RFC 4861, RFC 4862): `message` (the codec) and `filter` (what
//! may wake the process).
//!
//! | | ARP | here |
//! | --- | --- | --- |
//! | probe | a request without a sender | a solicitation without a source, to the few who listen for such an address (RFC 4862, section 5.4) |
//! | announcement | a request and a reply | an advertisement that nobody asked for, to all nodes, which overrides what they know (RFC 4861, section 7.2.6) |
//! | claim | any frame with the address as its sender | an advertisement of the address |

pub(crate) mod filter;
pub mod message;

use std::net::{IpAddr, Ipv6Addr};

use slb_core::model::Vip;

use self::message::{Kind, Message};
use crate::segment::{Heard, Mac, Packet};

/// The ends of what is watched, if they are of IPv6.
pub(crate) fn watch(ends: Option<(Vip, Vip)>) -> filter::Watch {
    let (lowest, highest) = ends?;
    ipv6(lowest).zip(ipv6(highest))
}

pub(crate) fn probe(vip: Vip) -> Vec<Packet> {
    ipv6(vip).map(|address| packet(&Message::probe(address))).into_iter().collect()
}

pub(crate) fn announcement(own: Mac, vip: Vip) -> Vec<Packet> {
    ipv6(vip).map(|address| packet(&Message::announcement(own, address))).into_iter().collect()
}

/// A solicitation with a source only asks for the way to an address.
pub(crate) fn read(bytes: &[u8], sender: Mac) -> Option<Heard> {
    let message = Message::decode(bytes)?;
    let is_probe = message.kind == Kind::Solicitation;
    if is_probe && !message.source.is_unspecified() {
        return None;
    }
    Some(Heard { vip: Vip::try_from(message.target).ok()?, sender: message.hardware.unwrap_or(sender), is_probe })
}

/// The group that whoever has the address, or is about to take it, listens to (RFC 4291, section 2.7.1).
pub(crate) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    const GROUP: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    Ipv6Addr::from_bits(GROUP | address.to_bits() & 0x00ff_ffff)
}

pub(crate) fn ipv6(vip: Vip) -> Option<Ipv6Addr> {
    match vip.address() {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address),
    }
}

/// Groups have hardware addresses of their own (RFC 2464, section 7).
fn packet(message: &Message) -> Packet {
    let [.., a, b, c, d] = message.destination.octets();
    Packet { to: Mac([0x33, 0x33, a, b, c, d]), bytes: message.encode() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const SENDER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    #[test]
    fn whoever_asks_for_the_way_to_an_address_claims_nothing() {
        let address: Ipv6Addr = "fd00::85".parse().unwrap();
        let vip = Vip::try_from(address).unwrap();
        let probe = Message::probe(address);
        assert_eq!(read(&probe.encode(), SENDER), Some(Heard { vip, sender: SENDER, is_probe: true }));
        assert_eq!(read(&Message { source: "fd00::9".parse().unwrap(), ..probe }.encode(), SENDER), None);
        let claim = Message::announcement(MAC, address);
        assert_eq!(read(&claim.encode(), SENDER), Some(Heard { vip, sender: MAC, is_probe: false }));
        let bare = Message { hardware: None, ..claim };
        assert_eq!(read(&bare.encode(), SENDER), Some(Heard { vip, sender: SENDER, is_probe: false }));
    }

    #[test]
    fn groups_have_hardware_addresses() {
        let vip = "fd00::12:3485".parse().unwrap();
        assert_eq!(probe(vip)[0].to.to_string(), "33:33:ff:12:34:85");
        assert_eq!(announcement(MAC, vip)[0].to.to_string(), "33:33:00:00:00:01");
        assert!(probe("10.0.0.1".parse().unwrap()).is_empty());
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What a [`Segment`](crate::Segment) says and hears by ARP (RFC 826, RFC 5227): `frame` (the codec) and `filter` (what may wake the
//! process).

pub(crate) mod filter;
pub mod frame;

use std::net::{IpAddr, Ipv4Addr};

use slb_core::model::Vip;

use self::frame::{Frame, Operation};
use crate::segment::{Heard, Mac, Packet};

/// The ends of what is watched, if they are of IPv4.
pub(crate) fn watch(ends: Option<(Vip, Vip)>) -> filter::Watch {
    let (lowest, highest) = ends?;
    ipv4(lowest).zip(ipv4(highest))
}

pub(crate) fn probe(own: Mac, vip: Vip) -> Vec<Packet> {
    ipv4(vip).map(|address| packet(&Frame::probe(own, address))).into_iter().collect()
}

pub(crate) fn announcement(own: Mac, vip: Vip) -> Vec<Packet> {
    let frames = ipv4(vip).map(|address| Frame::announcement(own, address));
    frames.into_iter().flatten().map(|frame| packet(&frame)).collect()
}

pub(crate) fn read(bytes: &[u8]) -> Option<Heard> {
    let frame = Frame::decode(bytes)?;
    let is_probe = frame.operation == Operation::Request && frame.sender_ip.is_unspecified();
    let vip = Vip::try_from(if is_probe { frame.target_ip } else { frame.sender_ip }).ok()?;
    Some(Heard { vip, sender: frame.sender_mac, is_probe })
}

fn packet(frame: &Frame) -> Packet {
    Packet { to: Mac::BROADCAST, bytes: frame.encode().to_vec() }
}

fn ipv4(vip: Vip) -> Option<Ipv4Addr> {
    match vip.address() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn whoever_asks_for_an_address_claims_its_own() {
        let (own, other) = (Ipv4Addr::new(10, 0, 0, 9), Ipv4Addr::new(10, 0, 0, 1));
        let heard = |frame: Frame| read(&frame.encode()).map(|heard| (heard.vip.to_string(), heard.is_probe));
        assert_eq!(heard(Frame { sender_ip: own, ..Frame::probe(MAC, other) }), Some(("10.0.0.9".to_owned(), false)));
        assert_eq!(heard(Frame::probe(MAC, other)), Some(("10.0.0.1".to_owned(), true)));
        for claim in Frame::announcement(MAC, other) {
            assert_eq!(heard(claim), Some(("10.0.0.1".to_owned(), false)));
        }
    }
}

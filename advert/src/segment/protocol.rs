// SPDX-License-Identifier: Apache-2.0
//! What is spoken on a segment, one protocol for each family: what says the same in both.

use std::fmt;

use socket2::SockFilter;

use slb_core::model::{Family, Vip};

use super::Mac;
use crate::{arp, ndp};

/// By which neighbours find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// For IPv4.
    Arp,
    /// For IPv6.
    Ndp,
}

/// The lowest and the highest address that packets matter for, both of the protocol's family; `None`: no packet matters.
pub(super) type Watch = Option<(Vip, Vip)>;

/// A packet without its Ethernet header, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) to: Mac,
    pub(crate) bytes: Vec<u8>,
}

/// What another host says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) vip: Vip,
    pub(crate) sender: Mac,
    /// It asks whether somebody has the address, since it is about to take it. Otherwise it has it.
    pub(crate) is_probe: bool,
}

impl Protocol {
    /// The one that is spoken for addresses of the family.
    pub(super) fn of(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Arp,
            Family::Ipv6 => Self::Ndp,
        }
    }

    /// In the Ethernet header, linux/if_ether.h.
    pub(super) fn ethertype(self) -> u16 {
        match self {
            Self::Arp => libc::ETH_P_ARP as u16,
            Self::Ndp => libc::ETH_P_IPV6 as u16,
        }
    }

    /// The program that lets through what matters for `watch` (linux/filter.h). It sees packets without the Ethernet header.
    pub(super) fn program(self, watch: Watch) -> Vec<SockFilter> {
        match self {
            Self::Arp => arp::filter::program(arp::watch(watch)),
            Self::Ndp => ndp::filter::program(ndp::watch(watch)),
        }
    }

    /// Asks who has the address without claiming it. Nothing for an address of the other family.
    pub(super) fn probe(self, own: Mac, vip: Vip) -> Vec<Packet> {
        match self {
            Self::Arp => arp::probe(own, vip),
            Self::Ndp => ndp::probe(vip),
        }
    }

    /// Tells that the address is at `own`, a packet in each form. Nothing for an address of the other family.
    pub(super) fn announcement(self, own: Mac, vip: Vip) -> Vec<Packet> {
        match self {
            Self::Arp => arp::announcement(own, vip),
            Self::Ndp => ndp::announcement(own, vip),
        }
    }

    /// How many packets an announcement is.
    pub(super) fn forms_of_announcement(self) -> usize {
        match self {
            Self::Arp => 2,
            Self::Ndp => 1,
        }
    }

    /// Reads a packet that came from `sender`. `None`: it says nothing of who has an address.
    pub(super) fn read(self, bytes: &[u8], sender: Option<Mac>) -> Option<Heard> {
        match self {
            Self::Arp => arp::read(bytes),
            Self::Ndp => ndp::read(bytes, sender?),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arp => "ARP",
            Self::Ndp => "NDP",
        })
    }
}

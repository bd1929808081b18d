// SPDX-License-Identifier: Apache-2.0
//! Adapters: what slb wants to know of them. Found by name each time, so that an adapter that was taken away and came back is
//! the same to slb.

use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage};

use crate::Error;

/// An adapter (network interface) as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// The kernel's number for it; a re-created adapter gets another.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is up and has a carrier: frames go out (`IFF_UP` and `IFF_LOWER_UP`, linux/if.h).
    pub is_up: bool,
    /// Whether it speaks ARP: neither the loopback adapter nor one marked `IFF_NOARP`.
    pub has_arp: bool,
    /// The kernel's word for adapters that are made of software, `bridge`, `bond` or `vlan`; none for hardware.
    pub kind: Option<String>,
    /// Its hardware address, as long as its kind of network has them (6 bytes on Ethernet); empty if it has none.
    pub hardware_address: Vec<u8>,
    /// The number of the adapter that controls it (`IFLA_MASTER`): a bridge or bond that it is a port of, or its VRF.
    pub controller: Option<u32>,
}

/// Controllers that take what arrives at their ports for themselves, so that it never reaches a port's own addresses.
const SWALLOWS_FRAMES: [&str; 4] = ["bridge", "bond", "team", "openvswitch"];

/// The adapter of that name, if an address on it can be reached.
pub(crate) fn usable(name: &str, all: Vec<Adapter>) -> Result<Adapter, Error> {
    let Some(adapter) = all.iter().find(|adapter| adapter.name == name).cloned() else {
        let there = all.into_iter().map(|adapter| adapter.name).collect();
        return Err(Error::NoAdapter { name: name.to_owned(), there });
    };
    let takes_all = |above: &Adapter| above.kind.as_deref().is_some_and(|kind| SWALLOWS_FRAMES.contains(&kind));
    let controller = all.into_iter().find(|above| Some(above.index) == adapter.controller && takes_all(above));
    match controller {
        Some(controller) => Err(Error::Port { name: name.to_owned(), controller: controller.name }),
        None => Ok(adapter),
    }
}

/// The adapters by which answers of backends may come in and go out: those of the VIPs' network; all of them if the VIPs' own is connected to
/// none, as the loopback adapter is.
pub(crate) fn ways_of_answers(adapter: &str, all: &[Adapter], beside: &[String]) -> Vec<String> {
    if all.iter().any(|other| other.name == adapter && other.has_arp) {
        return [adapter.to_owned()].into_iter().chain(beside.iter().cloned()).collect();
    }
    all.iter().filter(|other| other.has_arp).map(|other| other.name.clone()).collect()
}

impl Adapter {
    /// Reads the kernel's description.
    pub(crate) fn of(message: &LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut adapter = Self {
            index: message.header.index,
            name: String::new(),
            is_up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
            has_arp: !flags.intersects(LinkFlags::Noarp | LinkFlags::Loopback),
            kind: None,
            hardware_address: Vec::new(),
            controller: None,
        };
        for attribute in &message.attributes {
            if let LinkAttribute::IfName(name) = attribute {
                adapter.name.clone_from(name);
            } else if let LinkAttribute::Address(address) = attribute {
                adapter.hardware_address.clone_from(address);
            } else if let LinkAttribute::Controller(index) = attribute {
                adapter.controller = Some(*index);
            } else if let LinkAttribute::LinkInfo(infos) = attribute {
                adapter.kind = infos
                    .iter()
                    .find_map(|info| if let LinkInfo::Kind(kind) = info { Some(kind.to_string()) } else { None });
            }
        }
        adapter
    }
}

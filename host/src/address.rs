// SPDX-License-Identifier: Apache-2.0
//! Addresses: VIPs onto and off the adapter, and which addresses of the network are spoken for. Pure; `Linux` talks to the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use netlink::{KernelError, Request};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage},
};
use slb_core::{
    model::{Family, Vip},
    observed::HostView,
    ports::Verdict,
    step::HostStep,
};

use crate::{Error, link::Adapter};

/// `IFA_PROTO` of the addresses that slb binds (linux/if_addr.h; 0 to 3 are the kernel's own). `ip address` shows it to the
/// operator as "proto 83"; kernels before 5.18 ignore it, and slb never asks for it.
pub(crate) const PROTOCOL: AddressProtocol = AddressProtocol::Other(b'S');

/// A VIP to put on or take off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Bind(Vip),
    Unbind(Vip),
}

impl Change {
    /// What a step asks for, if it is about an address.
    pub(crate) fn of(step: &HostStep) -> Option<Self> {
        match *step {
            HostStep::Bind(vip) => Some(Self::Bind(vip)),
            HostStep::Unbind(vip) => Some(Self::Unbind(vip)),
            HostStep::EnableSourceNat(..)
            | HostStep::DisableSourceNat(_)
            | HostStep::CatchAnswers(_)
            | HostStep::ReleaseAnswers(_)
            | HostStep::Mark(_)
            | HostStep::Unmark(_) => None,
        }
    }

    /// The request that carries it out on the adapter number `index`.
    pub(crate) fn request(self, index: u32) -> Request<RouteNetlinkMessage> {
        match self {
            Self::Bind(vip) => {
                let mut message = host_address(vip, index);
                message.attributes.push(AddressAttribute::Protocol(PROTOCOL));
                if vip.family() == Family::Ipv6 {
                    message.attributes.extend(as_vip_of_ipv6());
                }
                Request::new(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
            }
            // With the prefix given, an address of the same number but another prefix is left alone (`inet_rtm_deladdr`).
            Self::Unbind(vip) => RouteNetlinkMessage::DelAddress(host_address(vip, index)).into(),
        }
    }

    /// The address of IPv6 that the kernel has agreed to take and does not take packets for yet.
    pub(crate) fn begins(self, answer: &Result<(), KernelError>) -> Option<Ipv6Addr> {
        let Self::Bind(vip) = self else { return None };
        match vip.address() {
            IpAddr::V6(address) => answer.is_ok().then_some(address),
            IpAddr::V4(_) => None,
        }
    }

    /// What the kernel's answer means.
    pub(crate) fn verdict(self, adapter: &Arc<str>, answer: Result<(), KernelError>) -> Verdict {
        let Err(source) = answer else { return Verdict::Applied };
        let adapter = Arc::clone(adapter);
        match (self, source.errno()) {
            (Self::Bind(_), libc::EEXIST) | (Self::Unbind(_), libc::EADDRNOTAVAIL | libc::ENODEV) => Verdict::Applied,
            (Self::Bind(vip), _) => Error::Bind { vip, adapter, source }.into(),
            (Self::Unbind(vip), _) => Error::Unbind { vip, adapter, source }.into(),
        }
    }

    /// What it means that the adapter is away: its addresses went with it.
    pub(crate) fn without_adapter(self, adapter: &str, there: &[String]) -> Verdict {
        match self {
            Self::Bind(_) => Error::NoAdapter { name: adapter.to_owned(), there: there.to_vec() }.into(),
            Self::Unbind(_) => Verdict::Applied,
        }
    }
}

/// The requests that carry out the changes on the adapter number `index`, made as they are sent: all at once would take more memory than
/// all else that slb keeps.
pub(crate) fn requests(changes: &[Change], index: u32) -> impl Iterator<Item = Request<RouteNetlinkMessage>> {
    changes.iter().map(move |change| change.request(index))
}

/// What makes an IPv6 address a VIP: it works at once, since it has been probed before (`IFA_F_NODAD`); it brings no route with it; and it is
/// deprecated, so that the host takes it for the source of none of its own connections (RFC 6724, section 5, rule 3).
fn as_vip_of_ipv6() -> [AddressAttribute; 2] {
    let mut lifetimes = CacheInfo::default();
    (lifetimes.ifa_preferred, lifetimes.ifa_valid) = (0, u32::MAX);
    [AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Noprefixroute), AddressAttribute::CacheInfo(lifetimes)]
}

fn host_address(vip: Vip, index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = match vip.family() {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    };
    message.header.prefix_len = vip.family().bits();
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(vip.into()), AddressAttribute::Address(vip.into())];
    message
}

/// An address of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub index: u32,
    pub local: IpAddr,
    /// The other end of a point-to-point link; elsewhere the same as `local`, and of its family in any case.
    pub peer: IpAddr,
    pub prefix: u8,
    pub broadcast: Option<Ipv4Addr>,
}

impl Address {
    /// `None` for what is not an IP address.
    pub(crate) fn of(message: &AddressMessage) -> Option<Self> {
        let (mut local, mut peer, mut broadcast) = (None, None, None);
        for attribute in &message.attributes {
            if let AddressAttribute::Local(address) = attribute {
                local = Some(*address);
            } else if let AddressAttribute::Address(address) = attribute {
                peer = Some(*address);
            } else if let AddressAttribute::Broadcast(address) = attribute {
                broadcast = Some(*address);
            }
        }
        let peer: IpAddr = peer.or(local)?;
        let local = local.unwrap_or(peer);
        if Family::of(local) != Family::of(peer) {
            return None;
        }
        Some(Self { index: message.header.index, local, peer, prefix: message.header.prefix_len, broadcast })
    }

    /// The same; also `None` for what is a network by itself.
    pub(crate) fn on_network(message: &AddressMessage) -> Option<Self> {
        Self::of(message).filter(|address| address.host_bits() > 0)
    }

    /// The first and the last address of the subnet that comes with the address.
    pub(crate) fn subnet(&self) -> (IpAddr, IpAddr) {
        match self.peer {
            IpAddr::V4(peer) => {
                let hosts = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                let [first, last] = [peer.to_bits() & !hosts, peer.to_bits() | hosts].map(Ipv4Addr::from_bits);
                (first.into(), last.into())
            }
            IpAddr::V6(peer) => {
                let hosts = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                let [first, last] = [peer.to_bits() & !hosts, peer.to_bits() | hosts].map(Ipv6Addr::from_bits);
                (first.into(), last.into())
            }
        }
    }

    /// How many bits of it name a host of its subnet.
    fn host_bits(&self) -> u8 {
        Family::of(self.peer).bits().saturating_sub(self.prefix)
    }

    /// What the kernel takes for all hosts of the subnet (`fib_add_ifaddr`); subnets of one or two addresses have none (RFC 3021).
    fn broadcasts(&self) -> impl Iterator<Item = IpAddr> {
        let last = (self.peer.is_ipv4() && self.host_bits() > 1).then(|| self.subnet().1);
        [last, self.broadcast.map(IpAddr::V4)].into_iter().flatten()
    }

    /// Bound the way slb binds VIPs.
    fn as_vip(&self) -> Option<Vip> {
        if self.host_bits() == 0 && self.local == self.peer { Vip::try_from(self.local).ok() } else { None }
    }
}

/// A network that an adapter is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// Its first address, which names it.
    pub first: IpAddr,
    /// Its last address.
    pub last: IpAddr,
    pub(crate) prefix: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// The networks that come with the adapter's addresses, each once.
pub(crate) fn networks(adapter: &str, adapters: &[Adapter], addresses: &[Address]) -> Vec<Network> {
    let Some(own) = adapters.iter().find(|candidate| candidate.name == adapter) else { return Vec::new() };
    let of_own = addresses.iter().filter(|address| address.index == own.index);
    distinct(of_own).into_iter().collect()
}

/// The networks that this host is connected to, by whatever adapter: who is on one of them is reached directly.
pub(crate) fn connected(addresses: &[Address]) -> BTreeSet<Network> {
    distinct(addresses.iter().filter(|address| !address.local.is_loopback()))
}

fn distinct<'a>(addresses: impl Iterator<Item = &'a Address>) -> BTreeSet<Network> {
    let is_network = |address: &&Address| address.host_bits() > 0 && !is_of_every_network(address.local);
    let network = |address: &Address| {
        let (first, last) = address.subnet();
        Network { first, last, prefix: address.prefix }
    };
    addresses.filter(is_network).map(network).collect()
}

/// A gateway and the destination that it is for, `None` for the default route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gateway {
    address: IpAddr,
    destination: Option<(IpAddr, u8)>,
}

impl Gateway {
    /// The gateways of a route of the main table, none for other tables.
    pub(crate) fn of(message: &RouteMessage) -> Vec<Self> {
        let (mut table, mut address, mut found) = (u32::from(message.header.table), None, Vec::new());
        for attribute in &message.attributes {
            if let RouteAttribute::Table(number) = attribute {
                table = *number;
            } else if let RouteAttribute::Destination(network) = attribute {
                address = ip_of(network);
            } else if let RouteAttribute::MultiPath(hops) = attribute {
                found.extend(hops.iter().flat_map(|hop| &hop.attributes).filter_map(gateway));
            } else {
                found.extend(gateway(attribute));
            }
        }
        if table != u32::from(RouteHeader::RT_TABLE_MAIN) {
            return Vec::new();
        }
        let destination = address.map(|network| (network, message.header.destination_prefix_length));
        found.into_iter().map(|address| Self { address, destination }).collect()
    }

    fn describe(&self) -> String {
        match self.destination {
            None => "the default gateway".to_owned(),
            Some((network, prefix)) => format!("the gateway of {network}/{prefix}"),
        }
    }
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    if let RouteAttribute::Gateway(address) = attribute { ip_of(address) } else { None }
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(address) = address {
        Some((*address).into())
    } else if let RouteAddress::Inet6(address) = address {
        Some((*address).into())
    } else {
        None
    }
}

/// What is bound on the adapter and what else is spoken for. The source NAT is another room's to report.
pub(crate) fn view(adapter: &str, adapters: &[Adapter], addresses: &[Address], gateways: &[Gateway]) -> HostView {
    let names: BTreeMap<u32, &str> = adapters.iter().map(|adapter| (adapter.index, adapter.name.as_str())).collect();
    let name = |address: &Address| names.get(&address.index).copied().unwrap_or("another adapter");
    let as_bound = |address: &Address| address.as_vip().filter(|_| name(address) == adapter);
    let bound = addresses.iter().filter_map(as_bound).collect();
    // What says most of an address comes first and stays.
    let mut taken = BTreeMap::new();
    for address in addresses.iter().filter(|address| as_bound(address).is_none()) {
        taken.insert(address.local, format!("{}'s own address", name(address)));
    }
    for gateway in gateways {
        taken.entry(gateway.address).or_insert_with(|| gateway.describe());
    }
    for address in addresses {
        if address.peer != address.local && address.host_bits() == 0 {
            taken.entry(address.peer).or_insert_with(|| format!("the other end of {}", name(address)));
        }
        // Subnets of one or two addresses have neither (RFC 3021, RFC 6164).
        if name(address) == adapter && address.host_bits() > 1 {
            let (first, _) = address.subnet();
            let subnet = format!("{first}/{}", address.prefix);
            taken.entry(first).or_insert_with(|| match first {
                IpAddr::V4(_) => format!("the network address of {subnet}"),
                IpAddr::V6(_) => format!("the address of the routers of {subnet}"),
            });
            for broadcast in address.broadcasts() {
                taken.entry(broadcast).or_insert_with(|| format!("the broadcast address of {subnet}"));
            }
        }
    }
    let broadcasts = addresses.iter().flat_map(Address::broadcasts).collect();
    HostView { bound, taken, broadcasts, ..HostView::default() }
}

/// Whether an address is of a network that every adapter may have, which says nothing of where it is (RFC 3927, RFC 4291).
fn is_of_every_network(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The other adapters that share a subnet with the adapter and speak ARP there: they are on the same network. Of IPv6, each
/// adapter answers for its own addresses alone (`ndisc_recv_ns`).
pub(crate) fn beside(adapter: &str, adapters: &[Adapter], addresses: &[Address]) -> Vec<String> {
    let subnets = |index| {
        addresses
            .iter()
            .filter(move |address| address.index == index && address.local.is_ipv4() && address.host_bits() > 0)
            .filter(|address| !is_of_every_network(address.local))
            .map(Address::subnet)
    };
    let shares =
        |one, other| subnets(one).any(|(first, last)| subnets(other).any(|(low, high)| first <= high && low <= last));
    let Some(own) = adapters.iter().find(|candidate| candidate.name == adapter) else { return Vec::new() };
    let others = adapters.iter().filter(|other| other.index != own.index && other.has_arp);
    others.filter(|other| shares(own.index, other.index)).map(|other| other.name.clone()).collect()
}

#[cfg(test)]
mod tests;

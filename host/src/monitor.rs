// SPDX-License-Identifier: Apache-2.0
//! What happens on the host: addresses that come and go, and the adapter's own ups and downs.
//!
//! The kernel tells of every small change of a link. Only what matters to VIPs is passed on:
//! ```text
//!  adapter away or down ──▶ up                      LinkUp      up ──▶ down, away, renamed      LinkDown
//!  up, another hardware address or another number   LinkUp      anything else                   (nothing)
//!  up, IFLA_EVENT of a bond's failover or "notify peers"  LinkUp
//! ```

use std::net::IpAddr;

use netlink::{Event, protocols::NETLINK_ROUTE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    link::{LinkAttribute, LinkEvent, LinkMessage},
};
use slb_core::{model::Vip, ports::HostEvent};

use crate::{
    Error,
    address::Address,
    link::Adapter,
    routing::{Message, Routing},
};

/// `RTNLGRP_LINK` of linux/rtnetlink.h.
const LINK_GROUP: u32 = 1;
/// `RTNLGRP_IPV4_IFADDR` and `RTNLGRP_IPV6_IFADDR` of linux/rtnetlink.h.
const ADDRESS_GROUPS: [u32; 2] = [5, 9];

/// Listens to the host.
#[derive(Debug)]
pub struct Monitor {
    messages: netlink::Monitor<Message>,
    adapter: Watched,
}

impl Monitor {
    /// Listens from now on, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel cannot be listened to, or the adapters not be read. That the adapter is away is no error.
    pub async fn open(adapter: &str) -> Result<Self, Error> {
        // Listening begins before the state is read, so that nothing falls between.
        let messages = netlink::Monitor::open(NETLINK_ROUTE, &[LINK_GROUP, ADDRESS_GROUPS[0], ADDRESS_GROUPS[1]])
            .map_err(|source| Error::Open { what: "events", source })?;
        let mut watched = Watched { name: adapter.to_owned(), state: State::Away };
        if let Some(link) = Routing::open()?.link(adapter).await? {
            watched.note(&link);
        }
        Ok(Self { messages, adapter: watched })
    }

    /// The next event, waited for as long as it takes. Cancel-safe: nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The socket failed; open another monitor.
    pub async fn next(&mut self) -> Result<HostEvent, Error> {
        loop {
            match self.messages.next().await {
                Ok(Event::Message(Message(message))) => {
                    if let Some(event) = message.and_then(|message| self.adapter.tell(&message)) {
                        return Ok(event);
                    }
                }
                Ok(Event::Overrun) => {
                    self.adapter.state = State::Unknown;
                    return Ok(HostEvent::Overrun);
                }
                Err(source) => return Err(Error::Read { what: "events", source }),
            }
        }
    }
}

/// The adapter, by name.
#[derive(Debug)]
struct Watched {
    name: String,
    state: State,
}

/// What is known of the adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Events were lost.
    Unknown,
    Away,
    There {
        index: u32,
        is_up: bool,
        hardware_address: Vec<u8>,
    },
}

impl Watched {
    fn tell(&mut self, message: &RouteNetlinkMessage) -> Option<HostEvent> {
        if let RouteNetlinkMessage::NewAddress(message) = message {
            could_be_vip(message).map(HostEvent::AddressAdded)
        } else if let RouteNetlinkMessage::DelAddress(message) = message {
            could_be_vip(message).map(HostEvent::AddressRemoved)
        } else if let RouteNetlinkMessage::NewLink(link) = message {
            if is_of_bridge(link) { None } else { self.note(link) }
        } else if let RouteNetlinkMessage::DelLink(link) = message {
            if is_of_bridge(link) || !self.is_number(link.header.index) { None } else { self.gone() }
        } else {
            None
        }
    }

    fn note(&mut self, link: &LinkMessage) -> Option<HostEvent> {
        let Adapter { index, name, is_up, hardware_address, .. } = Adapter::of(link);
        if name != self.name {
            return if self.is_number(index) { self.gone() } else { None };
        }
        let now = State::There { index, is_up, hardware_address };
        let before = std::mem::replace(&mut self.state, now.clone());
        match (is_up, before.was_up()) {
            (true, _) if before != now || asks_for_announcement(link) => Some(HostEvent::LinkUp),
            (false, true) => Some(HostEvent::LinkDown),
            _ => None,
        }
    }

    fn gone(&mut self) -> Option<HostEvent> {
        let before = std::mem::replace(&mut self.state, State::Away);
        before.was_up().then_some(HostEvent::LinkDown)
    }

    fn is_number(&self, number: u32) -> bool {
        matches!(self.state, State::There { index, .. } if index == number)
    }
}

impl State {
    /// What is unknown counts as up, so that no fall is missed.
    fn was_up(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Away => false,
            Self::There { is_up, .. } => *is_up,
        }
    }
}

/// The address of a message, unless no VIP can be like it: link-local ones of IPv6 come and go with every adapter.
fn could_be_vip(message: &AddressMessage) -> Option<IpAddr> {
    let address = Address::of(message)?.local;
    Vip::try_from(address).is_ok().then_some(address)
}

/// Bridges tell of their ports in messages of their own family; a port that leaves its bridge is not gone.
fn is_of_bridge(link: &LinkMessage) -> bool {
    link.header.interface_family != AddressFamily::Unspec
}

/// A bond took another port into use, or the driver asks for gratuitous ARP (`netdev_notify_peers`).
fn asks_for_announcement(link: &LinkMessage) -> bool {
    link.attributes
        .iter()
        .any(|attribute| matches!(attribute, LinkAttribute::Event(LinkEvent::BondingFailover | LinkEvent::NotifyPeers)))
}

#[cfg(test)]
mod tests;

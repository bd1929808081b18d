// SPDX-License-Identifier: Apache-2.0
//! The connection to the kernel's rtnetlink: what is asked of it, in the words of the rooms around.

use std::net::Ipv6Addr;

use netlink::{KernelError, Request, Socket, protocols::NETLINK_ROUTE};
use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    link::{LinkAttribute, LinkExtentMask, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
    rule::RuleMessage,
};

use crate::Error;

/// Whose addresses and routes are read.
const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];
/// How often a table is read again that changes while it is read.
const ATTEMPTS: usize = 5;

/// A message of rtnetlink, or `None` for one that the codec does not understand. An exotic link or route of this host, or
/// an attribute of a newer kernel, must not keep slb from seeing the others.
#[derive(Clone, Debug)]
pub(crate) struct Message(pub(crate) Option<RouteNetlinkMessage>);

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.0.as_ref().map_or(0, NetlinkSerializable::message_type)
    }

    fn buffer_len(&self) -> usize {
        self.0.as_ref().map_or(0, NetlinkSerializable::buffer_len)
    }

    fn serialize(&self, buffer: &mut [u8]) {
        if let Some(message) = &self.0 {
            message.serialize(buffer);
        }
    }
}

impl NetlinkDeserializable for Message {
    type Error = std::convert::Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self(RouteNetlinkMessage::deserialize(header, payload).ok()))
    }
}

/// Asks rtnetlink.
#[derive(Debug)]
pub(crate) struct Routing(Socket<Message>);

impl Routing {
    pub(crate) fn open() -> Result<Self, Error> {
        let socket = Socket::open(NETLINK_ROUTE);
        socket.map(Self).map_err(|source| Error::Open { what: "addresses and adapters", source })
    }

    /// Every adapter.
    pub(crate) async fn links(&mut self) -> Result<Vec<LinkMessage>, Error> {
        let mut query = LinkMessage::default();
        query.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        self.dump("the adapters", RouteNetlinkMessage::GetLink(query), |message| {
            if let RouteNetlinkMessage::NewLink(link) = message { Some(link) } else { None }
        })
        .await
    }

    /// What `pick` makes of every address of every adapter. There may be very many, so nothing else is kept of them.
    pub(crate) async fn addresses<T>(&mut self, pick: impl Fn(&AddressMessage) -> Option<T>) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        for family in FAMILIES {
            let mut query = AddressMessage::default();
            query.header.family = family;
            let dumped = self.dump_into(&mut all, "the addresses", RouteNetlinkMessage::GetAddress(query), |message| {
                // A kernel without the family tells of all others.
                if let RouteNetlinkMessage::NewAddress(address) = message
                    && address.header.family == family
                {
                    pick(&address)
                } else {
                    None
                }
            });
            dumped.await?;
        }
        Ok(all)
    }

    /// What `pick` makes of every route of every table: each address has one, too.
    pub(crate) async fn routes<I: IntoIterator>(
        &mut self,
        pick: impl Fn(&RouteMessage) -> I,
    ) -> Result<Vec<I::Item>, Error> {
        let mut all = Vec::new();
        for family in FAMILIES {
            let mut query = RouteMessage::default();
            query.header.address_family = family;
            let dumped = self.dump_into(&mut all, "the routes", RouteNetlinkMessage::GetRoute(query), |message| {
                let picked = if let RouteNetlinkMessage::NewRoute(route) = message
                    && route.header.address_family == family
                {
                    Some(pick(&route))
                } else {
                    None
                };
                picked.into_iter().flatten()
            });
            dumped.await?;
        }
        Ok(all)
    }

    /// The adapter of that name, `None` if there is none.
    pub(crate) async fn link(&mut self, name: &str) -> Result<Option<LinkMessage>, Error> {
        let mut query = LinkMessage::default();
        query.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.0.request(Message(Some(RouteNetlinkMessage::GetLink(query)))).await {
            Ok(Message(Some(RouteNetlinkMessage::NewLink(link)))) => Ok(Some(link)),
            Ok(_) => Ok(None),
            // ENODEV: none of that name. EINVAL, ERANGE: no adapter can have such a name.
            Err(error) if error.refusal().is_some_and(|refusal| no_such_link(refusal.errno())) => Ok(None),
            Err(source) => Err(Error::Read { what: "the adapter", source }),
        }
    }

    /// Whether a packet for the address that comes in by the adapter number `index` is this host's own.
    pub(crate) async fn takes_in(&mut self, address: Ipv6Addr, index: u32) -> Result<bool, Error> {
        let mut query = RouteMessage::default();
        query.header.address_family = AddressFamily::Inet6;
        query.header.destination_prefix_length = 128;
        query.attributes = vec![RouteAttribute::Destination(RouteAddress::Inet6(address)), RouteAttribute::Iif(index)];
        match self.0.request(Message(Some(RouteNetlinkMessage::GetRoute(query)))).await {
            Ok(Message(Some(RouteNetlinkMessage::NewRoute(route)))) => Ok(route.header.kind == RouteType::Local),
            Ok(_) => Ok(false),
            // There is no route at all, or the adapter went.
            Err(error) if error.refusal().is_some() => Ok(false),
            Err(source) => Err(Error::Read { what: "the route to an address", source }),
        }
    }

    /// What `pick` makes of every rule for routes. A kernel without such rules has none.
    pub(crate) async fn rules<I: IntoIterator>(
        &mut self,
        pick: impl Fn(&RuleMessage) -> I,
    ) -> Result<Vec<I::Item>, Error> {
        let mut all = Vec::new();
        for family in FAMILIES {
            let mut query = RuleMessage::default();
            query.header.family = family;
            let found = self.dump("the rules for routes", RouteNetlinkMessage::GetRule(query), |message| {
                let picked = if let RouteNetlinkMessage::NewRule(rule) = message
                    && rule.header.family == family
                {
                    Some(pick(&rule))
                } else {
                    None
                };
                picked.into_iter().flatten()
            });
            match found.await {
                Ok(mut found) => all.append(&mut found),
                Err(Error::Read { source, .. }) if source.refusal().is_some_and(has_no_rules) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Carries out changes, packed; one answer each.
    pub(crate) async fn change(
        &mut self,
        what: &'static str,
        requests: impl Iterator<Item = Request<RouteNetlinkMessage>>,
    ) -> Result<Vec<Result<(), KernelError>>, Error> {
        self.0
            .transact(requests.map(|Request { payload, flags }| Request::new(Message(Some(payload)), flags)))
            .await
            .map_err(|source| Error::Change { what, source })
    }

    async fn dump<I: IntoIterator>(
        &mut self,
        what: &'static str,
        query: RouteNetlinkMessage,
        pick: impl Fn(RouteNetlinkMessage) -> I,
    ) -> Result<Vec<I::Item>, Error> {
        let mut found = Vec::new();
        self.dump_into(&mut found, what, query, pick).await?;
        Ok(found)
    }

    /// The same after what has been found already.
    async fn dump_into<I: IntoIterator>(
        &mut self,
        found: &mut Vec<I::Item>,
        what: &'static str,
        query: RouteNetlinkMessage,
        pick: impl Fn(RouteNetlinkMessage) -> I,
    ) -> Result<(), Error> {
        let (before, mut attempt) = (found.len(), 1);
        loop {
            let dumped = self
                .0
                .dump(Message(Some(query.clone())), |message| found.extend(message.0.into_iter().flat_map(&pick)))
                .await;
            match dumped {
                Ok(()) => return Ok(()),
                Err(netlink::Error::Interrupted) if attempt < ATTEMPTS => attempt += 1,
                Err(source) => return Err(Error::Read { what, source }),
            }
            found.truncate(before);
        }
    }
}

/// What a kernel answers that was built without rules, or without the family.
fn has_no_rules(refusal: &KernelError) -> bool {
    matches!(refusal.errno(), libc::EOPNOTSUPP | libc::EAFNOSUPPORT)
}

fn no_such_link(errno: i32) -> bool {
    matches!(errno, libc::ENODEV | libc::EINVAL | libc::ERANGE)
}

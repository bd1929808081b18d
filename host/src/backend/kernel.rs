// SPDX-License-Identifier: Apache-2.0
//! Reads a backend's host and carries the steps out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use netlink::Request;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo},
    link::{LinkAttribute, LinkFlags, LinkMessage},
};

use super::{
    clamp,
    device::Device,
    error::Error,
    fou::Fou,
    plan::{Found, FoundAdapter, FoundAddress, Plan, interesting, plan},
    record::Record,
    step::{Kind, SIT, Step, filter_of},
    wish::{Family, Wish},
};
use crate::{Error::Refused, link::Adapter, modules, routing::Routing, sysctl};

/// The kernel of a backend's host, as far as `slb backend setup` has to do with it.
#[derive(Debug)]
pub struct Kernel {
    routing: Routing,
}

impl Kernel {
    /// Of the network namespace of the thread that opens and uses it. Changes nothing.
    ///
    /// Must be called within a tokio runtime that has I/O and time enabled; tokio panics otherwise.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { routing: Routing::open()? })
    }

    /// What has to be done so that the host is as wished. Changes nothing.
    ///
    /// # Errors
    /// Something is in the way, or the kernel cannot be asked.
    pub async fn plan(&mut self, wish: &Wish) -> Result<Plan, Error> {
        plan(wish, &self.found(wish).await?)
    }

    /// Makes the host as wished, and says what that took; nothing if it was so already. A wish for nothing takes everything back.
    ///
    /// # Errors
    /// [`Error::HalfDone`] if something could not be taken back; every other error means that nothing has been changed.
    pub async fn apply(&mut self, wish: &Wish) -> Result<Plan, Error> {
        let first = self.plan(wish).await?;
        match self.carry_out(&first).await {
            Ok(()) => Ok(first),
            // A module that was loaded on the way may have brought a device of its own along, which is in the way of another.
            Err(error @ Error::Step { .. }) => match self.plan(wish).await? {
                second if second != first => self.carry_out(&second).await.map(|()| second),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Takes back what was done if building fails.
    async fn carry_out(&mut self, plan: &Plan) -> Result<(), Error> {
        for (done, step) in plan.build.iter().enumerate() {
            if let Err(source) = self.take(step).await {
                for step in plan.build.iter().take(done).rev().filter_map(Kind::inverse) {
                    self.take(&step).await.map_err(|source| Error::HalfDone { step: Step(step).into(), source })?;
                }
                return Err(Error::Step { step: Step(step.clone()).into(), source });
            }
        }
        for step in &plan.take_down {
            self.take(step).await.map_err(|source| Error::HalfDone { step: Step(step.clone()).into(), source })?;
        }
        Ok(())
    }

    async fn found(&mut self, wish: &Wish) -> Result<Found, Error> {
        let mut names = BTreeMap::new();
        let mut adapters = Vec::new();
        for message in self.routing.links().await? {
            let adapter = Adapter::of(&message);
            names.insert(adapter.index, adapter.name.clone());
            let alias = message.attributes.iter().find_map(|attribute| {
                if let LinkAttribute::IfAlias(alias) = attribute { Some(alias.clone()) } else { None }
            });
            let is_up = message.header.flags.contains(LinkFlags::Up);
            let mtu = message
                .attributes
                .iter()
                .find_map(|attribute| if let LinkAttribute::Mtu(mtu) = attribute { Some(*mtu) } else { None });
            adapters.push(FoundAdapter { name: adapter.name, alias, is_up, has_arp: adapter.has_arp, mtu });
        }
        let address = |message: &AddressMessage| {
            let adapter = names.get(&message.header.index)?.clone();
            Some(FoundAddress { adapter, address: address_of(message)?, prefix: message.header.prefix_len })
        };
        let addresses = self.routing.addresses(address).await?;
        let alias = adapters.iter().find(|adapter| adapter.name == Device::Vips.name());
        let record = alias.and_then(|adapter| Record::parse(adapter.alias.as_deref()?)).unwrap_or_default();
        let mut settings = BTreeMap::new();
        for name in interesting(wish, &record) {
            settings.extend(sysctl::read(&name)?.map(|value| (name, value)));
        }
        let ports = if wish.takes_gue() || !record.ports.is_empty() { ports().await? } else { BTreeSet::new() };
        // Asking iptables for a table that is not in use would create it.
        let is_needed = wish.tunnel.is_some() || record.is_clamped;
        let clamps = if is_needed { clamp::find().await } else { BTreeMap::new() };
        Ok(Found { adapters, addresses, ports, clamps, settings })
    }

    async fn take(&mut self, step: &Kind) -> Result<(), crate::Error> {
        match step {
            Kind::Add(device) => {
                let message = RouteNetlinkMessage::NewLink(device.message());
                self.send(Request::new(message, NLM_F_CREATE | NLM_F_EXCL)).await
            }
            Kind::Delete(device) => self.send(RouteNetlinkMessage::DelLink(named(device.name())).into()).await,
            Kind::Note { to, .. } => {
                let mut message = named(Device::Vips.name());
                message.attributes.push(LinkAttribute::IfAlias(to.to_string()));
                self.send(RouteNetlinkMessage::SetLink(message).into()).await
            }
            Kind::Set(change) => sysctl::write(&change.name, &change.to),
            Kind::Loosen(device) => sysctl::write(&filter_of(*device), "2"),
            Kind::Up => self.turn(LinkFlags::Up).await,
            Kind::Down => self.turn(LinkFlags::empty()).await,
            Kind::Bind(vip, device) => {
                let message = self.address(*vip, *device, true).await?;
                self.send(Request::new(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)).await
            }
            Kind::Unbind(vip, device) => {
                let message = self.address(*vip, *device, false).await?;
                self.send(RouteNetlinkMessage::DelAddress(message).into()).await
            }
            Kind::Clamp(program, clamp) => clamp::change(program, *clamp, true).await,
            Kind::Unclamp(program, clamp) => clamp::change(program, *clamp, false).await,
            Kind::Listen(family, port) => listen(*family, *port, true).await,
            Kind::Close(family, port) => listen(*family, *port, false).await,
        }
    }

    async fn turn(&mut self, to: LinkFlags) -> Result<(), crate::Error> {
        let mut message = named(SIT);
        message.header.flags = to;
        message.header.change_mask = LinkFlags::Up;
        self.send(RouteNetlinkMessage::SetLink(message).into()).await
    }

    async fn address(&mut self, vip: IpAddr, device: Device, is_new: bool) -> Result<AddressMessage, crate::Error> {
        let mut message = AddressMessage::default();
        let link = self.routing.link(device.name()).await?;
        message.header.index = link.map(|link| link.header.index).unwrap_or_default();
        message.attributes = vec![AddressAttribute::Local(vip), AddressAttribute::Address(vip)];
        if is_new {
            message.attributes.push(AddressAttribute::Protocol(PROTOCOL));
        }
        (message.header.family, message.header.prefix_len) = match vip {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        if is_new && vip.is_ipv6() {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            // Deprecated: what the host itself connects to must not take a VIP for its own address.
            let mut times = CacheInfo::default();
            (times.ifa_preferred, times.ifa_valid) = (0, FOR_EVER);
            message.attributes.push(AddressAttribute::CacheInfo(times));
        }
        Ok(message)
    }

    async fn send(&mut self, request: Request<RouteNetlinkMessage>) -> Result<(), crate::Error> {
        let answers = self.routing.change("addresses", std::iter::once(request)).await?;
        answers.into_iter().find_map(Result::err).map_or(Ok(()), |refusal| Err(Refused(refusal)))
    }
}

/// `IFA_PROTO` of addresses that slb binds, as on the load-balancer.
const PROTOCOL: AddressProtocol = crate::address::PROTOCOL;
/// `INFINITY_LIFE_TIME`, net/addrconf.h.
const FOR_EVER: u32 = u32::MAX;

fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let attribute = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    let local = |attribute: &AddressAttribute| {
        if let AddressAttribute::Local(address) = attribute { Some(*address) } else { None }
    };
    let address = |attribute: &AddressAttribute| {
        if let AddressAttribute::Address(address) = attribute { Some(*address) } else { None }
    };
    attribute(local).or_else(|| attribute(address))
}

fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    message
}

async fn ports() -> Result<BTreeSet<(Family, u16)>, crate::Error> {
    match Fou::open().await? {
        Some(mut fou) => fou.ports().await,
        None => Ok(BTreeSet::new()),
    }
}

/// The kernel does not load this module of its own accord.
async fn listen(family: Family, port: u16, listen: bool) -> Result<(), crate::Error> {
    let fou = match Fou::open().await? {
        Some(fou) => Some(fou),
        None => {
            modules::modprobe(MODULE).await.map_err(|error| no_module(&error.to_string()))?;
            Fou::open().await?
        }
    };
    fou.ok_or_else(|| no_module(""))?.change(family, port, listen).await
}

const MODULE: &str = "fou";

fn no_module(said: &str) -> crate::Error {
    crate::Error::NoModule { module: MODULE, option: "CONFIG_NET_FOU", said: said.to_owned() }
}

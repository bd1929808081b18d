// SPDX-License-Identifier: Apache-2.0
//! The words: what a load-balancer and a backend are. Wrong values do not construct; parse at the border, trust inside.

mod address;
mod backend;
pub mod check;
mod check_marks;
mod condition;
mod forwarding;
mod origin;
mod ports;
mod protocol;
mod proxy_protocol;
mod scheduler;
mod service;
mod source_nat;
mod through;
mod vips;
mod virtual_service;

use std::{fmt, net::SocketAddr, num::NonZeroU16, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::check::HealthCheck;

pub use self::{
    address::{BackendIp, Families, Family, Vip, all_hosts},
    backend::{Backend, More},
    check_marks::CheckMarks,
    condition::{Condition, Drain, Then, Time},
    forwarding::{BackendSettings, Encapsulation, Forwarding, ForwardingKind, Thresholds},
    origin::Origin,
    ports::{Listen, MAX_RANGES, MarkRule, Marked, PortRange, Ports},
    protocol::Protocol,
    proxy_protocol::ProxyProtocol,
    scheduler::Scheduler,
    service::{Discord, Persistence, PersistenceTimeout, SchedulerFlags, ServiceSettings},
    source_nat::SourceNat,
    through::CheckService,
    vips::Vips,
    virtual_service::{Mark, ServiceKey, VirtualService},
};

/// Names a load-balancer for as long as it exists. A version 4 UUID, printed in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LoadBalancerId(pub Uuid);

/// Names a backend for as long as it exists. A version 4 UUID, printed in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackendId(pub Uuid);

impl fmt::Display for LoadBalancerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The label an operator gives a load-balancer. Names need not be unique.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

/// The longest name, in characters: Unicode code points, as JSON Schema counts them.
pub const MAX_NAME_CHARACTERS: usize = 255;

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let length = text.chars().count();
        if length > MAX_NAME_CHARACTERS {
            return Err(Invalid(format!("a name has at most {MAX_NAME_CHARACTERS} characters, this one has {length}")));
        }
        if let Some(bad) = text.chars().find(|c| c.is_control()) {
            return Err(Invalid(format!("a name has no control characters, this one has {bad:?}")));
        }
        Ok(Self(text.into()))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.into()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A port of the transport protocol, 1 to 65535. The kernel does not schedule a service on port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Port(NonZeroU16);

impl Port {
    /// Port 1.
    pub const LOWEST: Self = Self(NonZeroU16::MIN);
    /// Port 65535.
    pub const HIGHEST: Self = Self(NonZeroU16::MAX);

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<i64> for Port {
    type Error = Invalid;

    fn try_from(number: i64) -> Result<Self, Invalid> {
        u16::try_from(number)
            .ok()
            .and_then(NonZeroU16::new)
            .map(Self)
            .ok_or_else(|| Invalid(format!("{number} is not a port; ports go from 1 to 65535")))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where clients connect to: a VIP and a port of a protocol. One load-balancer each, which may have two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub vip: Vip,
    /// The port.
    pub port: Port,
    /// The protocol that the port is of.
    pub protocol: Protocol,
}

impl Endpoint {
    /// A TCP port of the VIP.
    #[must_use]
    pub fn tcp(vip: Vip, port: Port) -> Self {
        Self { vip, port, protocol: Protocol::Tcp }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.vip.address(), self.port.get()).fmt(f)?;
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp | Protocol::Sctp => write!(f, "/{}", self.protocol),
        }
    }
}

/// Where a backend listens: a unicast address, and a port unless connections keep the one that they came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The backend's address.
    pub ip: BackendIp,
    /// The backend's port. `None` only behind several ports of one VIP: each connection goes to the port that its client asked for.
    pub port: Option<Port>,
}

impl Target {
    /// Where a connection to that port of the VIP goes.
    #[must_use]
    pub fn at(self, port: Port) -> SocketAddr {
        SocketAddr::from((self.ip.address(), self.port.unwrap_or(port).get()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => self.at(port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// A backend's share of the connections, 0 to 65535. 0 takes no new ones. Round-robin treats all others alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(u16);

impl Weight {
    /// Takes no new connections.
    pub const ZERO: Self = Self(0);

    /// So many times as much, up to the highest that there is.
    #[must_use]
    pub fn times(self, factor: u16) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

/// One: every backend counts the same, as in the original.
impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl From<u16> for Weight {
    fn from(number: u16) -> Self {
        Self(number)
    }
}

impl TryFrom<i64> for Weight {
    type Error = Invalid;

    fn try_from(number: i64) -> Result<Self, Invalid> {
        u16::try_from(number)
            .map(Self)
            .map_err(|_| Invalid(format!("{number} is not a weight; weights go from 0 to 65535")))
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Only tunnels lead from one family to the other.
fn serves(target: Target, forwarding: Forwarding, vip: Vip) -> bool {
    target.ip.family() == vip.family() || forwarding.encapsulation().is_some()
}

/// Where connections go while no backend takes any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fallback {
    /// Where it listens; none of the backends does there.
    pub target: Target,
    /// How packets get there.
    pub settings: BackendSettings,
}

impl Fallback {
    /// Whether it gets connections to that VIP.
    #[must_use]
    pub fn serves(&self, vip: Vip) -> bool {
        serves(self.target, self.settings.forwarding, vip)
    }
}

/// Where a load-balancer is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Wanted: the kernel is made to serve it.
    Active,
    /// Its removal has begun, durably; its record goes when the kernel is clean.
    Deleting,
}

/// When the network is told of a load-balancer's VIP; `advertise` in the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Advertise {
    /// As long as there is the load-balancer.
    #[default]
    Always,
    /// As long as there is a backend that takes connections.
    WithBackends,
}

impl FromStr for Advertise {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "always" => Ok(Self::Always),
            "withBackends" => Ok(Self::WithBackends),
            _ => Err(Invalid(format!("{text:?} is no time to advertise; there are \"always\" and \"withBackends\""))),
        }
    }
}

/// A port of one VIP, or of one of each family, that clients connect to, and the backends behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoadBalancer {
    /// Its name in the API.
    pub id: LoadBalancerId,
    /// Counts creations; lists are in this order.
    pub serial: u64,
    /// The operator's label.
    pub name: Name,
    /// The addresses that clients connect to.
    pub vips: Vips,
    /// The port that they connect to; unique on either VIP. Of several ports, the lowest.
    pub port: Port,
    /// All of its ports, if it was made for several.
    pub marked: Option<Box<Marked>>,
    /// The protocol that they are of.
    pub protocol: Protocol,
    /// In the order they were added. `None` until the first was added: the original's API tells the two apart.
    pub backends: Option<Arc<[Backend]>>,
    /// Where it is in its life.
    pub phase: Phase,
    /// When the network is told of it.
    pub advertise: Advertise,
    /// Which connections get this host's own source address.
    pub source_nat: SourceNat,
    /// How it balances.
    pub service: ServiceSettings,
    /// What its backends are asked.
    pub check: Option<Arc<HealthCheck>>,
    /// Where connections go while no backend takes any.
    pub fallback: Option<Box<Fallback>>,
    /// Whether all of its backends are being drained.
    pub drain: Option<Box<Drain>>,
    /// By which its backends are asked for a VIP.
    pub check_marks: CheckMarks,
    /// Who asked for it.
    pub origin: Origin,
}

impl LoadBalancer {
    /// The backends, none before the first was added.
    #[must_use]
    pub fn backends(&self) -> &[Backend] {
        self.backends.as_deref().unwrap_or_default()
    }

    /// What the data plane balances for it on a VIP of it.
    #[must_use]
    pub fn virtual_service(&self, vip: Vip) -> VirtualService {
        match &self.marked {
            Some(marked) => VirtualService::Mark(vip, marked.mark),
            None => Endpoint { vip, port: self.port, protocol: self.protocol }.into(),
        }
    }

    /// Its ports, in order.
    #[must_use]
    pub fn ranges(&self) -> Vec<PortRange> {
        self.marked.as_ref().map_or_else(|| vec![self.port.into()], |marked| marked.ports.ranges().to_vec())
    }

    /// What makes the firewall mark packets to a VIP of it, if they need to be.
    pub fn mark_rules(&self, vip: Vip) -> impl Iterator<Item = MarkRule> {
        let protocol = self.protocol;
        self.marked.iter().flat_map(move |marked| {
            let rule = move |ports: &PortRange| MarkRule { vip, protocol, ports: *ports, mark: marked.mark };
            marked.ports.ranges().iter().map(rule)
        })
    }

    /// The same on each of them.
    pub fn virtual_services(&self) -> impl Iterator<Item = VirtualService> {
        self.vips.into_iter().map(|vip| self.virtual_service(vip))
    }

    /// Where clients connect to, on each of its VIPs.
    pub fn endpoints(&self) -> impl Iterator<Item = Endpoint> + use<> {
        let Self { vips, port, protocol, .. } = *self;
        vips.into_iter().map(move |vip| Endpoint { vip, port, protocol })
    }

    /// Whether the network is to be told of that VIP on its account.
    #[must_use]
    pub fn is_to_be_told(&self, vip: Vip) -> bool {
        self.phase == Phase::Active && (self.advertise == Advertise::Always || self.has_place(vip))
    }

    /// How its service on that VIP balances: what is as narrow as an address can be, is no narrower.
    #[must_use]
    pub fn service_on(&self, vip: Vip) -> ServiceSettings {
        self.service.of_family(vip.family())
    }

    /// What a backend of it is asked.
    #[must_use]
    pub fn check_of<'a>(&'a self, backend: &'a Backend) -> Option<&'a Arc<HealthCheck>> {
        backend.check().or(self.check.as_ref())
    }

    /// Whether something of it is drained, and is not done. What is being deleted waits for nothing.
    #[must_use]
    pub fn drains(&self) -> bool {
        self.phase == Phase::Active && self.all_drains().any(|drain| drain.is_under_way())
    }

    /// Whether one of its backends has failed its checks, and is not back.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.backends().iter().any(|backend| backend.condition().down.is_some())
    }

    /// Whether something of it is drained, or has been and is not back.
    #[must_use]
    pub fn has_drain(&self) -> bool {
        self.all_drains().next().is_some()
    }

    fn all_drains(&self) -> impl Iterator<Item = Drain> {
        self.backends().iter().filter_map(|backend| backend.condition().drain).chain(self.drain.as_deref().copied())
    }

    /// The backend that is asked there.
    #[must_use]
    pub fn backend_at(&self, target: SocketAddr) -> Option<&Backend> {
        self.backends().iter().find(|backend| backend.target.at(self.port) == target)
    }

    /// The backend of that name.
    #[must_use]
    pub fn backend(&self, id: BackendId) -> Option<&Backend> {
        self.backends().iter().find(|backend| backend.id == id)
    }
}

/// A value that cannot be, in words for who typed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

// SPDX-License-Identifier: Apache-2.0
//! The words: what a load-balancer and a backend are. Wrong values do not construct; parse at the border, trust inside.

mod address;
mod backend;
pub mod check;
mod check_marks;
mod condition;
mod forwarding;
mod load_balancer;
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

use std::{fmt, net::SocketAddr, num::NonZeroU16, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::{
    address::{BackendIp, Families, Family, Vip, all_hosts},
    backend::{Backend, More},
    check_marks::CheckMarks,
    condition::{Condition, Drain, Then, Time},
    forwarding::{BackendSettings, Encapsulation, Forwarding, ForwardingKind, Thresholds},
    load_balancer::{Extras, LoadBalancer},
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

/// A value that cannot be, in words for who typed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

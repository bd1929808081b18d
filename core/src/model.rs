// SPDX-License-Identifier: Apache-2.0
//! The words: what a load-balancer and a backend are. Wrong values do not construct; parse at the border, trust inside.

mod address;
mod scheduler;
mod source_nat;

use std::{fmt, net::SocketAddr, num::NonZeroU16, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::{
    address::{BackendIp, Family, Vip, all_hosts},
    scheduler::{Scheduler, ServiceSettings},
    source_nat::SourceNat,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

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
        Ok(Self(text))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
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

/// Where clients connect to: a VIP and a TCP port. One load-balancer each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub vip: Vip,
    /// The TCP port.
    pub port: Port,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.vip.address(), self.port.get()).fmt(f)
    }
}

/// Where a backend listens: a unicast address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The backend's address.
    pub ip: BackendIp,
    /// The backend's port.
    pub port: Port,
}

impl From<Target> for SocketAddr {
    fn from(target: Target) -> Self {
        Self::from((target.ip.address(), target.port.get()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

/// A backend's share of the connections, 0 to 65535. 0 takes no new ones. Round-robin treats all others alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(u16);

impl Weight {
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

/// How a packet gets from the load-balancer to the backend; `type` in the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Forwarding {
    /// Network address translation (`IP_VS_CONN_F_MASQ`): answers come back through the load-balancer.
    #[default]
    #[serde(rename = "MASQ")]
    Masquerade,
    /// The backend is a process on the load-balancer itself (`IP_VS_CONN_F_LOCALNODE`).
    #[serde(rename = "LOCAL")]
    Local,
}

impl Forwarding {
    /// The word that the API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Masquerade => "MASQ",
            Self::Local => "LOCAL",
        }
    }
}

impl FromStr for Forwarding {
    type Err = Invalid;

    /// Upper and lower case alike, as in the original.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        [Self::Masquerade, Self::Local]
            .into_iter()
            .find(|forwarding| forwarding.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| Invalid(format!("{text:?} is not a type of backend; there are \"MASQ\" and \"LOCAL\"")))
    }
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What can be changed of a backend while it stays the same backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendSettings {
    /// How packets get there.
    pub forwarding: Forwarding,
    /// Its share of the connections.
    pub weight: Weight,
}

/// A server that a load-balancer sends connections to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name in the API.
    pub id: BackendId,
    /// Where it listens; unique within its load-balancer.
    pub target: Target,
    /// What can be changed of it.
    pub settings: BackendSettings,
}

/// Where a load-balancer is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Wanted: the kernel is made to serve it.
    Active,
    /// Its removal has begun, durably; its record goes when the kernel is clean.
    Deleting,
}

/// When the network is told of a load-balancer's VIP; `advertise` in the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// A VIP and port that clients connect to, and the backends behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    /// Its name in the API.
    pub id: LoadBalancerId,
    /// Counts creations; lists are in this order.
    pub serial: u64,
    /// The operator's label.
    pub name: Name,
    /// Where clients connect to; unique.
    pub endpoint: Endpoint,
    /// In the order they were added. `None` until the first was added: the original's API tells the two apart.
    pub backends: Option<Arc<[Backend]>>,
    /// Where it is in its life.
    pub phase: Phase,
    /// When the network is told of it.
    pub advertise: Advertise,
    /// How it balances.
    pub service: ServiceSettings,
}

impl LoadBalancer {
    /// The backends, none before the first was added.
    #[must_use]
    pub fn backends(&self) -> &[Backend] {
        self.backends.as_deref().unwrap_or_default()
    }

    /// Whether the network is to be told of its VIP on its account. A backend of weight 0 takes no new connections.
    #[must_use]
    pub fn is_to_be_told(&self) -> bool {
        let has_place = || self.backends().iter().any(|backend| backend.settings.weight > Weight::from(0));
        self.phase == Phase::Active && (self.advertise == Advertise::Always || has_place())
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

// SPDX-License-Identifier: Apache-2.0
//! How packets reach a backend, and how many may.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Invalid, Port, Weight};

/// How a packet gets from the load-balancer to the backend; `type` in the API, and `tunnel`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forwarding {
    /// Network address translation (`IP_VS_CONN_F_MASQ`): answers come back through the load-balancer.
    #[default]
    Masquerade,
    /// The backend is a process on the load-balancer itself (`IP_VS_CONN_F_LOCALNODE`).
    Local,
    /// The packet goes out unchanged on the link (`IP_VS_CONN_F_DROUTE`); the backend has the VIP and answers the client directly.
    DirectRoute,
    /// The packet is wrapped (`IP_VS_CONN_F_TUNNEL`); the backend has the VIP and answers the client directly. Goes through routers, and to
    /// the other address family.
    Tunnel(Encapsulation),
}

impl Forwarding {
    /// The word that the API uses.
    #[must_use]
    pub fn kind(self) -> ForwardingKind {
        match self {
            Self::Masquerade => ForwardingKind::Masquerade,
            Self::Local => ForwardingKind::Local,
            Self::DirectRoute => ForwardingKind::DirectRoute,
            Self::Tunnel(_) => ForwardingKind::Tunnel,
        }
    }

    /// Whether packets get the backend's address and port; otherwise they arrive at the load-balancer's port.
    #[must_use]
    pub fn translates(self) -> bool {
        self == Self::Masquerade
    }

    /// What packets are wrapped in, if they are.
    #[must_use]
    pub fn encapsulation(self) -> Option<Encapsulation> {
        match self {
            Self::Tunnel(encapsulation) => Some(encapsulation),
            Self::Masquerade | Self::Local | Self::DirectRoute => None,
        }
    }
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tunnel(encapsulation) => write!(f, "{} {encapsulation}", self.kind()),
            Self::Masquerade | Self::Local | Self::DirectRoute => self.kind().fmt(f),
        }
    }
}

/// [`Forwarding`] without the details: `type` in the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ForwardingKind {
    /// [`Forwarding::Masquerade`]
    #[default]
    #[serde(rename = "MASQ")]
    Masquerade,
    /// [`Forwarding::Local`]
    #[serde(rename = "LOCAL")]
    Local,
    /// [`Forwarding::DirectRoute`]
    #[serde(rename = "DR")]
    DirectRoute,
    /// [`Forwarding::Tunnel`]
    #[serde(rename = "TUN")]
    Tunnel,
}

impl ForwardingKind {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Masquerade, Self::Local, Self::DirectRoute, Self::Tunnel];

    /// The word that the API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Masquerade => "MASQ",
            Self::Local => "LOCAL",
            Self::DirectRoute => "DR",
            Self::Tunnel => "TUN",
        }
    }

    /// The whole of it; a tunnel that nothing is said of is IPIP.
    ///
    /// # Errors
    /// A tunnel is described, but the type is another.
    pub fn with(self, encapsulation: Option<Encapsulation>) -> Result<Forwarding, Invalid> {
        match (self, encapsulation) {
            (Self::Tunnel, encapsulation) => Ok(Forwarding::Tunnel(encapsulation.unwrap_or_default())),
            (_, Some(_)) => Err(Invalid(format!("is for backends of the type \"TUN\"; this one is \"{self}\""))),
            (Self::Masquerade, None) => Ok(Forwarding::Masquerade),
            (Self::Local, None) => Ok(Forwarding::Local),
            (Self::DirectRoute, None) => Ok(Forwarding::DirectRoute),
        }
    }
}

impl FromStr for ForwardingKind {
    type Err = Invalid;

    /// Upper and lower case alike, as in the original.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let kinds = Self::ALL.map(Self::as_str).join(", ");
            Invalid(format!("{text:?} is not a type of backend; there are {kinds}"))
        })
    }
}

impl fmt::Display for ForwardingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What packets to a backend are wrapped in, without checksums of its own; `tunnel` in the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encapsulation {
    /// IP in IP (RFC 2003, RFC 2473).
    #[default]
    Ipip,
    /// Generic routing encapsulation (RFC 2784).
    Gre,
    /// Generic UDP encapsulation, to this port of the backend.
    Gue(Port),
}

impl Encapsulation {
    /// The word that the API uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Gre => "gre",
            Self::Gue(_) => "gue",
        }
    }

    /// The port that it goes to, if it has ports.
    #[must_use]
    pub fn port(self) -> Option<Port> {
        match self {
            Self::Ipip | Self::Gre => None,
            Self::Gue(port) => Some(port),
        }
    }

    /// From the API's words.
    ///
    /// # Errors
    /// There is no such tunnel, or it does not go with the port, or not without.
    pub fn new(name: &str, port: Option<Port>) -> Result<Self, Invalid> {
        match (name, port) {
            ("ipip", None) => Ok(Self::Ipip),
            ("gre", None) => Ok(Self::Gre),
            ("gue", Some(port)) => Ok(Self::Gue(port)),
            ("gue", None) => Err(Invalid("a gue tunnel has a port; GUE's own is 6080".to_owned())),
            ("ipip" | "gre", Some(_)) => Err(Invalid(format!("{name} has no port; gue has"))),
            _ => Err(Invalid(format!("{name:?} is no tunnel; there are ipip, gre and gue"))),
        }
    }
}

impl fmt::Display for Encapsulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipip | Self::Gre => f.write_str(self.name()),
            Self::Gue(port) => write!(f, "gue to port {port}"),
        }
    }
}

/// How many connections a backend may have; `upperThreshold` and `lowerThreshold` in the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Thresholds {
    upper: u32,
    lower: u32,
}

impl Thresholds {
    /// From so many connections on it gets no new ones; 0 for no limit.
    #[must_use]
    pub fn upper(self) -> u32 {
        self.upper
    }

    /// Below so many it gets new ones again; 0 for three quarters of the upper threshold.
    #[must_use]
    pub fn lower(self) -> u32 {
        self.lower
    }

    /// Both of them.
    ///
    /// # Errors
    /// The kernel refuses a lower one above the upper one, and numbers beyond `i32`.
    pub fn new(upper: u32, lower: u32) -> Result<Self, Invalid> {
        if i32::try_from(upper).is_err() {
            return Err(Invalid(format!("upperThreshold goes up to {}; {upper} does not", i32::MAX)));
        }
        if lower > upper {
            return Err(Invalid(format!(
                "lowerThreshold {lower} is above upperThreshold {upper}; 0 leaves it to the kernel"
            )));
        }
        Ok(Self { upper, lower })
    }
}

/// What can be changed of a backend while it stays the same backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BackendSettings {
    /// How packets get there.
    pub forwarding: Forwarding,
    /// Its share of the connections.
    pub weight: Weight,
    /// How many connections it may have.
    pub thresholds: Thresholds,
}

impl fmt::Display for BackendSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} weight {}", self.forwarding, self.weight)?;
        match (self.thresholds.upper, self.thresholds.lower) {
            (0, _) => Ok(()),
            (upper, 0) => write!(f, " up to {upper} connections"),
            (upper, lower) => write!(f, " up to {upper} connections, again below {lower}"),
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Who chooses the backend of a connection.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Invalid;

/// Which backend a new connection goes to, by the names of ip_vs(4)'s modules; `scheduler` in the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheduler {
    /// Each in turn.
    #[default]
    Rr,
    /// Each in turn, more often by its weight.
    Wrr,
    /// The one with the fewest connections.
    Lc,
    /// The one with the fewest connections for its weight.
    Wlc,
    /// By the client's address.
    Sh,
    /// By the client's address, with few moves when backends come and go (Maglev); the same on every node that has the same backends.
    Mh,
    /// By the VIP.
    Dh,
    /// The one with the shortest expected delay.
    Sed,
    /// An idle one, else the one with the shortest expected delay.
    Nq,
    /// The one with the highest weight.
    Fo,
    /// The one with the highest weight, the next one when it has as many connections as its weight.
    Ovf,
    /// By the VIP, unless that one is overloaded.
    Lblc,
    /// By the VIP among a set of backends that grows under load.
    Lblcr,
    /// The better one of two at random.
    Twos,
}

impl Scheduler {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::Rr,
        Self::Wrr,
        Self::Lc,
        Self::Wlc,
        Self::Sh,
        Self::Mh,
        Self::Dh,
        Self::Sed,
        Self::Nq,
        Self::Fo,
        Self::Ovf,
        Self::Lblc,
        Self::Lblcr,
        Self::Twos,
    ];

    /// Its name in the kernel and the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Sh => "sh",
            Self::Mh => "mh",
            Self::Dh => "dh",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Twos => "twos",
        }
    }
}

impl FromStr for Scheduler {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|each| each.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Invalid(format!("{text:?} is no scheduler; there are {names}"))
        })
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

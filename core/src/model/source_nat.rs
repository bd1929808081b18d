// SPDX-License-Identifier: Apache-2.0
//! Whose address backends see.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Invalid;

/// Which connections get the load-balancer's own source address, so that the answers return through it; `sourceNat` in the API. In the
/// order of how many do: of several load-balancers on one VIP the last in this order counts for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SourceNat {
    /// None: every backend's way back leads through the load-balancer, and no client is on a backend's own network.
    Never,
    /// Those of clients on the backend's own network, which it would answer past the load-balancer. All other addresses are seen by the
    /// backend, whose way back leads through the load-balancer.
    SameNetwork,
    /// All of them.
    #[default]
    Always,
}

impl SourceNat {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Always, Self::SameNetwork, Self::Never];

    /// As in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::SameNetwork => "sameNetwork",
            Self::Always => "always",
        }
    }
}

impl fmt::Display for SourceNat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SourceNat {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let named = Self::ALL.into_iter().find(|choice| choice.name() == text);
        named.ok_or_else(|| Invalid("must be \"always\", \"sameNetwork\" or \"never\"".into()))
    }
}

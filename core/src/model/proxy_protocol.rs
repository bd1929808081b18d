// SPDX-License-Identifier: Apache-2.0
//! Whether backends are told who their clients are.

use std::{fmt, str::FromStr};

use super::Invalid;

/// A version of the PROXY protocol (HAProxy's proxy-protocol.txt), by which a backend learns, before anything else on a connection, whose
/// it is; `proxyProtocol` in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyProtocol {
    /// Every version.
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// As in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

impl fmt::Display for ProxyProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ProxyProtocol {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let named = Self::ALL.into_iter().find(|version| version.name() == text);
        named.ok_or_else(|| Invalid("must be \"v1\", \"v2\" or null".into()))
    }
}

// SPDX-License-Identifier: Apache-2.0
//! A BGP peer as an operator asks for it.

mod community;
mod settings;
mod text;

use std::{fmt, net::IpAddr, num::NonZeroU32};

pub use self::{
    community::{Communities, Community},
    settings::{HoldTime, NextHop, PeerSettings, Prepend, RestartTime},
    text::BadPeer,
};
use crate::model::Invalid;

/// A router that is told of VIPs. Its address is its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it is: a unicast address of IPv4 or IPv6.
    pub address: PeerAddress,
    /// Its AS number.
    pub asn: NonZeroU32,
    /// For TCP-MD5 (RFC 2385).
    pub password: Option<Password>,
    /// How its session is held and what goes with its routes, as far as that was asked for.
    pub settings: PeerSettings,
}

impl Peer {
    /// A peer with nothing special about it.
    #[must_use]
    pub fn new(address: PeerAddress, asn: NonZeroU32) -> Self {
        Self { address, asn, password: None, settings: PeerSettings::default() }
    }

    /// With what was not asked for taken from `defaults`. A default source of the other family is not for this peer.
    #[must_use]
    pub fn or(mut self, defaults: &PeerSettings) -> Self {
        let fits = |source: &PeerAddress| source.is_of_the_family_of(self.address);
        let defaults = PeerSettings { source: defaults.source.filter(fits), ..defaults.clone() };
        self.settings = self.settings.or(&defaults);
        self
    }
}

/// The address of a single host, of either family. Not a link-local one of IPv6, which is nobody's without an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress(IpAddr);

impl PeerAddress {
    /// The address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.0
    }

    /// Whether one of them could talk to the other.
    #[must_use]
    pub fn is_of_the_family_of(self, other: Self) -> bool {
        self.0.is_ipv4() == other.0.is_ipv4()
    }
}

impl TryFrom<IpAddr> for PeerAddress {
    type Error = Invalid;

    fn try_from(address: IpAddr) -> Result<Self, Invalid> {
        let address = address.to_canonical();
        let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        if matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()) {
            return Err(Invalid(format!(
                "{address} means something else on every adapter; give an address of a wider scope"
            )));
        }
        if address.is_unspecified() || address.is_multicast() || is_broadcast {
            return Err(Invalid(format!("{address} is not the address of a single host")));
        }
        Ok(Self(address))
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A shared secret of printable ASCII characters. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Characters of a password, at most: `TCP_MD5SIG_MAXKEYLEN`, linux/tcp.h.
pub const LONGEST_PASSWORD: usize = 80;

impl Password {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Password {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        // What routers let their operators type.
        let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if is_plain && (1..=LONGEST_PASSWORD).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(Invalid(format!("a password has 1 to {LONGEST_PASSWORD} printable ASCII characters")))
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

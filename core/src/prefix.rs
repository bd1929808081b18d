// SPDX-License-Identifier: Apache-2.0
//! What routers are told of: the VIP alone, or the network around it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::model::{Family, Invalid, Vip};

/// The bits that all addresses of a network share, 8 to 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrefixLength(u8);

impl PrefixLength {
    /// A single address.
    pub const HOST: Self = Self(32);

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for PrefixLength {
    fn default() -> Self {
        Self::HOST
    }
}

impl TryFrom<u8> for PrefixLength {
    type Error = Invalid;

    fn try_from(length: u8) -> Result<Self, Invalid> {
        if (8..=32).contains(&length) {
            Ok(Self(length))
        } else {
            Err(Invalid(format!("{length} is no length of a network of VIPs; they go from 8 to 32")))
        }
    }
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    first: IpAddr,
    length: u8,
}

impl Prefix {
    /// The network of that length around a VIP of IPv4; a VIP of IPv6 alone.
    #[must_use]
    pub fn around(vip: Vip, length: PrefixLength) -> Self {
        match vip.address() {
            IpAddr::V4(address) => {
                let first = Ipv4Addr::from_bits(address.to_bits() & !others_v4(length.0));
                Self { first: first.into(), length: length.0 }
            }
            first @ IpAddr::V6(_) => Self { first, length: Family::Ipv6.bits() },
        }
    }

    /// Its first address.
    #[must_use]
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// Its last address.
    #[must_use]
    pub fn last(self) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() | others_v4(self.length)).into(),
            IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() | others_v6(self.length)).into(),
        }
    }

    /// How many bits its addresses share.
    #[must_use]
    pub fn length(self) -> u8 {
        self.length
    }
}

/// The bits that differ.
fn others_v4(length: u8) -> u32 {
    u32::MAX.checked_shr(length.into()).unwrap_or_default()
}

/// The bits that differ.
fn others_v6(length: u8) -> u128 {
    u128::MAX.checked_shr(length.into()).unwrap_or_default()
}

impl From<Vip> for Prefix {
    fn from(vip: Vip) -> Self {
        Self::around(vip, PrefixLength::HOST)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_begins_where_its_length_says() {
        let around = |vip: &str, length: u8| {
            let prefix = Prefix::around(vip.parse().unwrap(), length.try_into().unwrap());
            format!("{prefix} to {}", prefix.last())
        };
        assert_eq!(around("203.0.113.77", 32), "203.0.113.77/32 to 203.0.113.77");
        assert_eq!(around("203.0.113.77", 26), "203.0.113.64/26 to 203.0.113.127");
        assert_eq!(around("203.0.113.77", 8), "203.0.0.0/8 to 203.255.255.255");
        assert!([0, 7, 33].iter().all(|length| PrefixLength::try_from(*length).is_err()));
    }
}

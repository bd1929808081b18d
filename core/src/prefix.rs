// SPDX-License-Identifier: Apache-2.0
//! What routers are told of: the VIP alone, or the network around it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::model::{Family, Invalid, Vip};

/// How many bits the addresses of a network share that stands for its VIPs, in each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregation {
    ipv4: u8,
    ipv6: u8,
}

impl Aggregation {
    /// Every VIP alone.
    pub const NONE: Self = Self { ipv4: Family::Ipv4.bits(), ipv6: Family::Ipv6.bits() };

    /// The same with networks of that length for a family.
    ///
    /// # Errors
    /// No network of VIPs is so large or so small.
    pub fn with(self, family: Family, length: u8) -> Result<Self, Invalid> {
        let shortest = match family {
            Family::Ipv4 => 8,
            Family::Ipv6 => 16,
        };
        let longest = family.bits();
        if !(shortest..=longest).contains(&length) {
            return Err(Invalid(format!(
                "{length} is no length of a network of VIPs; those of {family} go from {shortest} to {longest}"
            )));
        }
        Ok(match family {
            Family::Ipv4 => Self { ipv4: length, ..self },
            Family::Ipv6 => Self { ipv6: length, ..self },
        })
    }

    /// How long networks of a family are.
    #[must_use]
    pub fn length(self, family: Family) -> u8 {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }
}

impl Default for Aggregation {
    fn default() -> Self {
        Self::NONE
    }
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    first: IpAddr,
    length: u8,
}

impl Prefix {
    /// The network of that length around an address; a single address if it is longer than that.
    #[must_use]
    pub fn around(address: IpAddr, length: u8) -> Self {
        let length = length.min(Family::of(address).bits());
        let first = match address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !others_v4(length)).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !others_v6(length)).into(),
        };
        Self { first, length }
    }

    /// What stands for a VIP.
    #[must_use]
    pub fn of(vip: Vip, aggregation: Aggregation) -> Self {
        Self::around(vip.address(), aggregation.length(vip.family()))
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

    /// The family of its addresses.
    #[must_use]
    pub fn family(self) -> Family {
        Family::of(self.first)
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
        Self::of(vip, Aggregation::NONE)
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
            let vip: Vip = vip.parse().unwrap();
            let prefix = Prefix::of(vip, Aggregation::NONE.with(vip.family(), length).unwrap());
            format!("{prefix} to {}", prefix.last())
        };
        assert_eq!(around("203.0.113.77", 32), "203.0.113.77/32 to 203.0.113.77");
        assert_eq!(around("203.0.113.77", 26), "203.0.113.64/26 to 203.0.113.127");
        assert_eq!(around("203.0.113.77", 8), "203.0.0.0/8 to 203.255.255.255");
        assert_eq!(around("2001:db8::77", 128), "2001:db8::77/128 to 2001:db8::77");
        assert_eq!(around("2001:db8::77", 64), "2001:db8::/64 to 2001:db8::ffff:ffff:ffff:ffff");
        assert_eq!(around("2001:db8::77", 16), "2001::/16 to 2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    }

    #[test]
    fn no_network_of_vips_is_of_any_length() {
        let with = |family, length| Aggregation::NONE.with(family, length).is_ok();
        assert_eq!([0, 7, 8, 32, 33].map(|length| with(Family::Ipv4, length)), [false, false, true, true, false]);
        assert_eq!([0, 15, 16, 128, 129].map(|length| with(Family::Ipv6, length)), [false, false, true, true, false]);
    }
}

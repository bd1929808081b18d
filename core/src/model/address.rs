// SPDX-License-Identifier: Apache-2.0
//! Addresses: of load-balancers, of backends, of either family.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::Invalid;

/// The two kinds of addresses. A packet of one never becomes one of the other, unless in a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Four bytes.
    Ipv4,
    /// Sixteen bytes.
    Ipv6,
}

impl Family {
    /// Of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// The length of the prefix that is a single address.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }
}

/// Which families the VIPs of a load-balancer are to be of; `family` in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Families {
    /// One VIP, of this family.
    One(Family),
    /// One VIP of each.
    Dual,
}

impl FromStr for Families {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "ipv4" => Ok(Self::One(Family::Ipv4)),
            "ipv6" => Ok(Self::One(Family::Ipv6)),
            "dual" => Ok(Self::Dual),
            _ => Err(Invalid(format!(
                "{text:?} is no family of addresses; there are \"ipv4\", \"ipv6\", and \"dual\" for one of each"
            ))),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// A virtual IP: the address that clients connect to. An ordinary unicast address of either family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "IpAddr", into = "IpAddr")]
pub struct Vip(Mapped);

/// A backend's address: unicast, of either family. May be a loopback address, which the kernel serves to clients on this host only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "IpAddr", into = "IpAddr")]
pub struct BackendIp(Mapped);

/// An address of either family in the bytes of IPv6, one of IPv4 mapped (RFC 4291, section 2.5.5.2): no host has such an address of
/// IPv6 of its own. There may be a hundred thousand, and a byte that tells the families apart is seven more where others follow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Mapped(Ipv6Addr);

impl From<IpAddr> for Mapped {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped()),
            IpAddr::V6(address) => Self(address),
        }
    }
}

impl From<Mapped> for IpAddr {
    fn from(Mapped(address): Mapped) -> Self {
        address.to_canonical()
    }
}

/// What is the same for every kind of address.
macro_rules! addresses {
    ($($kind:ident),*) => {$(
        impl $kind {
            /// The address.
            #[must_use]
            pub fn address(self) -> IpAddr {
                self.0.into()
            }

            /// Its family.
            #[must_use]
            pub fn family(self) -> Family {
                Family::of(self.address())
            }
        }

        impl TryFrom<IpAddr> for $kind {
            type Error = Invalid;

            fn try_from(address: IpAddr) -> Result<Self, Invalid> {
                all_hosts(address, address)?;
                Ok(Self(address.into()))
            }
        }

        impl TryFrom<Ipv4Addr> for $kind {
            type Error = Invalid;

            fn try_from(address: Ipv4Addr) -> Result<Self, Invalid> {
                Self::try_from(IpAddr::V4(address))
            }
        }

        impl TryFrom<Ipv6Addr> for $kind {
            type Error = Invalid;

            fn try_from(address: Ipv6Addr) -> Result<Self, Invalid> {
                Self::try_from(IpAddr::V6(address))
            }
        }

        impl FromStr for $kind {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                let address = text.parse::<IpAddr>().map_err(|_| Invalid(format!("{text:?} is not an IP address")))?;
                Self::try_from(address)
            }
        }

        impl From<$kind> for IpAddr {
            fn from(address: $kind) -> Self {
                address.address()
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.address().fmt(f)
            }
        }

        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($kind)).field(&self.address()).finish()
            }
        }
    )*};
}

addresses!(Vip, BackendIp);

/// Addresses that no server has, from the first to the last, each with the reason in words that follow "ADDRESS is …".
const NOT_HOSTS: [(IpAddr, IpAddr, &str); 7] = [
    (v4(0, 0), v4(0, u32::MAX), "an address of \"this network\" (0.0.0.0/8), not a host's"),
    (v4(224, 0), v4(239, u32::MAX), "a multicast address, not a host's"),
    (v4(240, 0), v4(255, u32::MAX), "a reserved or broadcast address, not a host's"),
    (v6(0, 0), v6(0, 0), "the unspecified address, not a host's"),
    (v6(0, 0xffff << 32), v6(0, 0xffff_ffff_ffff), "an IPv4 address in the form of IPv6; write it as IPv4"),
    (
        v6(0xfe80 << 112, 0),
        v6(0xfebf << 112, u128::MAX >> 16),
        "a link-local address, which is nobody's without an adapter; give one that has a route",
    ),
    (v6(0xff00 << 112, 0), v6(0xff00 << 112, u128::MAX >> 8), "a multicast address, not a host's"),
];

const fn v4(first: u8, rest: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits((first as u32) << 24 | rest & 0x00ff_ffff))
}

const fn v6(high: u128, low: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(high | low))
}

/// Whether hosts can have all addresses from `first` to `last`, both of one family.
///
/// # Errors
/// The first one that they cannot have, and why.
pub fn all_hosts(first: IpAddr, last: IpAddr) -> Result<(), Invalid> {
    match NOT_HOSTS.iter().find(|(low, high, _)| first <= *high && *low <= last) {
        Some((low, _, why)) => Err(Invalid(format!("{} is {why}", first.max(*low)))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hosts_address_is_one() {
        for (text, why) in [
            ("192.168.0.85", None),
            ("127.0.0.1", None),
            ("fd00::85", None),
            ("2001:db8::1", None),
            ("::1", None),
            ("0.1.2.3", Some("\"this network\"")),
            ("224.0.0.1", Some("multicast")),
            ("255.255.255.255", Some("broadcast")),
            ("::", Some("unspecified")),
            ("::ffff:192.168.0.85", Some("write it as IPv4")),
            ("fe80::1", Some("link-local")),
            ("febf:ffff::1", Some("link-local")),
            ("fe80::1%eth0", Some("not an IP address")),
            ("ff02::1", Some("multicast")),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("multicast")),
            ("eth0", Some("not an IP address")),
        ] {
            match (text.parse::<Vip>(), why) {
                (Ok(vip), None) => assert_eq!(vip.to_string(), text),
                (Err(Invalid(said)), Some(why)) => assert!(said.contains(why), "{text}: {said}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn addresses_of_either_family_are_told_as_they_were_given() {
        for text in ["192.168.0.85", "223.255.255.254", "::1", "::2:3", "fd00::85", "2001:db8::1"] {
            let address: IpAddr = text.parse().unwrap();
            let vip = Vip::try_from(address).unwrap();
            assert_eq!((vip.address(), vip.family()), (address, Family::of(address)));
            assert_eq!(format!("{vip:?}"), format!("Vip({text})"));
        }
        let sorted: Vec<Vip> = ["10.0.0.9", "10.0.0.10", "fd00::1"].map(|text| text.parse().unwrap()).into();
        assert!(sorted.is_sorted(), "{sorted:?}");
    }

    #[test]
    fn what_hosts_cannot_have_is_found_in_the_middle() {
        let between = |first: &str, last: &str| all_hosts(first.parse().unwrap(), last.parse().unwrap());
        assert_eq!(between("fd00::", "fdff::"), Ok(()));
        assert_eq!(between("1.0.0.0", "223.255.255.255"), Ok(()));
        assert!(between("fd00::", "fed0::").unwrap_err().0.starts_with("fe80:: is a link-local"));
        assert!(between("fe90::", "fed0::").unwrap_err().0.starts_with("fe90:: is a link-local"));
        assert!(between("200.0.0.0", "230.0.0.0").unwrap_err().0.starts_with("224.0.0.0 is a multicast"));
    }
}

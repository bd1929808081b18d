// SPDX-License-Identifier: Apache-2.0
//! Reads ranges of addresses: `A-B`, CIDR, single addresses, or a comma-separated list of them. Spaces around the parts, the
//! commas and the signs do not matter. A list may have addresses of both families.
//!
//! Loopback addresses are let through: drivers that put nothing on a wire can use them.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use slb_core::model::{Family, all_hosts};

/// Addresses of one family from `first` to `last`, both included. Every one of them is a [`Vip`](slb_core::model::Vip).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    family: Family,
    /// As a number.
    pub(crate) first: u128,
    /// As a number.
    pub(crate) last: u128,
}

/// A text that is no range, with the reason. Display names the offending text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRange {
    /// Nothing was written, or nothing between two commas.
    #[error("an address is missing in {0:?}")]
    Empty(String),
    /// Not an address where one should be.
    #[error("{0:?} is not a range of addresses; write A-B, A/PREFIX or A, and lists of them with commas")]
    NotAddresses(String),
    /// The two ends are of different families.
    #[error("{0:?} goes from one family of addresses to the other")]
    Families(String),
    /// The prefix length is not 0 to 32, or 128.
    #[error("{text:?} has no prefix length from 0 to {longest}")]
    Prefix {
        /// What was written.
        text: String,
        /// The length of a single address.
        longest: u8,
    },
    /// Bits of the host part are set: a slip is more likely than a wish for the whole network.
    #[error("{text:?} has host bits set; the network is {network}")]
    HostBits {
        /// What was written.
        text: String,
        /// What was probably meant.
        network: String,
    },
    /// The last address comes before the first.
    #[error("{0:?} is the wrong way round: its last address comes before its first")]
    Reversed(String),
    /// Some of it cannot be a host's address.
    #[error("{text:?} cannot be handed out")]
    NotHosts {
        /// What was written.
        text: String,
        /// Why.
        #[source]
        source: slb_core::model::Invalid,
    },
    /// Two parts of a list share addresses. A network's own and its broadcast address count: they are no part's to hand out.
    #[error("{one:?} and {other:?} overlap")]
    Overlap {
        /// A part of the list.
        one: String,
        /// Another.
        other: String,
    },
}

impl Range {
    /// The lowest address.
    #[must_use]
    pub fn first(self) -> IpAddr {
        address_of(self.family, self.first)
    }

    /// The highest address.
    #[must_use]
    pub fn last(self) -> IpAddr {
        address_of(self.family, self.last)
    }

    /// The family of all of them.
    #[must_use]
    pub fn family(self) -> Family {
        self.family
    }

    /// How many addresses there are.
    #[must_use]
    pub fn size(self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    /// Whether the address is one of them.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        (self.first()..=self.last()).contains(&address)
    }

    fn checked(self, text: &str) -> Result<Self, BadRange> {
        let hosts = all_hosts(self.first(), self.last());
        hosts.map_err(|source| BadRange::NotHosts { text: text.to_owned(), source })?;
        Ok(self)
    }
}

impl FromStr for Range {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Self, BadRange> {
        Part::read(text).map(|part| part.range)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first())
        } else {
            write!(f, "{}-{}", self.first(), self.last())
        }
    }
}

/// Reads a list: its ranges in ascending order. One bad part, and none of it is taken.
///
/// # Errors
/// What is wrong with which part.
pub fn list(text: &str) -> Result<Vec<Range>, BadRange> {
    if text.split(',').any(|part| part.trim().is_empty()) {
        return Err(BadRange::Empty(text.to_owned()));
    }
    let mut parts = text.split(',').map(Part::read).collect::<Result<Vec<_>, _>>()?;
    parts.sort_by_key(|part| part.whole);
    for (one, other) in parts.iter().zip(parts.iter().skip(1)) {
        if other.whole.first() <= one.whole.last() {
            return Err(BadRange::Overlap { one: one.text.to_owned(), other: other.text.to_owned() });
        }
    }
    Ok(parts.into_iter().map(|part| part.range).collect())
}

/// One part of a list.
struct Part<'a> {
    text: &'a str,
    /// What it names, with a network's own and its broadcast address.
    whole: Range,
    /// What is handed out of it.
    range: Range,
}

impl<'a> Part<'a> {
    fn read(text: &'a str) -> Result<Self, BadRange> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadRange::Empty(text.to_owned()));
        }
        let (whole, range) = if let Some((address, prefix)) = text.split_once('/') {
            network(text, address, prefix)?
        } else {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let (first, last) = (address(text, first)?, address(text, last)?);
            if Family::of(first) != Family::of(last) {
                return Err(BadRange::Families(text.to_owned()));
            }
            if last < first {
                return Err(BadRange::Reversed(text.to_owned()));
            }
            let range = Range { family: Family::of(first), first: number_of(first), last: number_of(last) };
            (range, range)
        };
        Ok(Self { text, whole, range: range.checked(text)? })
    }
}

/// A network as a whole, and the addresses in it that hosts can have.
fn network(text: &str, first: &str, prefix: &str) -> Result<(Range, Range), BadRange> {
    let first = address(text, first)?;
    let (family, first) = (Family::of(first), number_of(first));
    let longest = family.bits();
    let prefix = prefix.trim();
    // The standard parser takes a sign, which no one means here.
    let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = prefix.parse::<u8>().ok().filter(|prefix| digits && *prefix <= longest);
    let prefix = prefix.ok_or_else(|| BadRange::Prefix { text: text.to_owned(), longest })?;
    let host_bits = u32::from(longest - prefix);
    let hosts = u128::MAX.checked_shr(u128::BITS - host_bits).unwrap_or(0);
    if first & hosts != 0 {
        let network = format!("{}/{prefix}", address_of(family, first & !hosts));
        return Err(BadRange::HostBits { text: text.to_owned(), network });
    }
    let whole = Range { family, first, last: first | hosts };
    let usable = match family {
        _ if host_bits < 2 => whole,
        // The first address is the network's own, the last its broadcast address; RFC 3021 takes both away from a /31.
        Family::Ipv4 => Range { first: whole.first + 1, last: whole.last - 1, ..whole },
        // The first address means any router of the network (RFC 4291, section 2.6.1); RFC 6164 takes it away from a /127.
        Family::Ipv6 => Range { first: whole.first + 1, ..whole },
    };
    Ok((whole, usable))
}

/// An address within `text`.
fn address(text: &str, address: &str) -> Result<IpAddr, BadRange> {
    address.trim().parse().map_err(|_| BadRange::NotAddresses(text.to_owned()))
}

/// An address as a number.
pub(crate) fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a number that belongs to the family.
pub(crate) fn address_of(family: Family, number: u128) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::from_bits(number as u32).into(),
        Family::Ipv6 => Ipv6Addr::from_bits(number).into(),
    }
}

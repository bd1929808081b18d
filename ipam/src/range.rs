// SPDX-License-Identifier: Apache-2.0
//! Reads ranges of addresses: `A-B`, CIDR, single addresses, or a comma-separated list of them. Spaces around the parts, the
//! commas and the signs do not matter.
//!
//! Loopback addresses are let through: drivers that put nothing on a wire can use them.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use slb_core::model::Vip;

/// Addresses from `first` to `last`, both included. Every one of them is a [`Vip`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    first: u32,
    last: u32,
}

/// A text that is no range, with the reason. Display names the offending text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRange {
    /// Nothing was written, or nothing between two commas.
    #[error("an address is missing in {0:?}")]
    Empty(String),
    /// Not an address where one should be.
    #[error("{0:?} is not a range of IPv4 addresses; write A-B, A/PREFIX or A, and lists of them with commas")]
    NotAddresses(String),
    /// IPv6.
    #[error("{0:?} is an IPv6 address; this version hands out IPv4 addresses only")]
    Ipv6(String),
    /// The prefix length is not 0 to 32.
    #[error("{0:?} has no prefix length from 0 to 32")]
    Prefix(String),
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
    pub fn first(self) -> Ipv4Addr {
        self.first.into()
    }

    /// The highest address.
    #[must_use]
    pub fn last(self) -> Ipv4Addr {
        self.last.into()
    }

    /// How many addresses there are.
    #[must_use]
    pub fn size(self) -> u64 {
        u64::from(self.last) - u64::from(self.first) + 1
    }

    /// Whether the address is one of them.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        (IpAddr::V4(self.first())..=IpAddr::V4(self.last())).contains(&address)
    }

    /// All addresses between two that hosts can have are such: what hosts cannot have, 0/8 and 224/3, is at the ends.
    fn checked(self, text: &str) -> Result<Self, BadRange> {
        for end in [self.first(), self.last()] {
            Vip::try_from(end).map_err(|source| BadRange::NotHosts { text: text.to_owned(), source })?;
        }
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
        if other.whole.first <= one.whole.last {
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
            let range = Range { first: address(text, first)?, last: address(text, last)? };
            if range.last < range.first {
                return Err(BadRange::Reversed(text.to_owned()));
            }
            (range, range)
        };
        Ok(Self { text, whole, range: range.checked(text)? })
    }
}

/// A network as a whole, and the addresses in it that hosts can have.
fn network(text: &str, first: &str, prefix: &str) -> Result<(Range, Range), BadRange> {
    let first = address(text, first)?;
    let prefix = prefix.trim();
    // The standard parser takes a sign, which no one means here.
    let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = prefix.parse::<u32>().ok().filter(|prefix| digits && *prefix <= 32);
    let prefix = prefix.ok_or_else(|| BadRange::Prefix(text.to_owned()))?;
    let hosts = u32::MAX.checked_shr(prefix).unwrap_or(0);
    if first & hosts != 0 {
        let network = format!("{}/{prefix}", Ipv4Addr::from(first & !hosts));
        return Err(BadRange::HostBits { text: text.to_owned(), network });
    }
    let whole = Range { first, last: first | hosts };
    // The first address is the network's own, the last its broadcast address; RFC 3021 takes both away from a /31.
    let usable = if prefix <= 30 { Range { first: whole.first + 1, last: whole.last - 1 } } else { whole };
    Ok((whole, usable))
}

/// An address within `text`.
fn address(text: &str, address: &str) -> Result<u32, BadRange> {
    match address.trim().parse() {
        Ok(IpAddr::V4(address)) => Ok(address.into()),
        Ok(IpAddr::V6(_)) => Err(BadRange::Ipv6(text.to_owned())),
        Err(_) => Err(BadRange::NotAddresses(text.to_owned())),
    }
}

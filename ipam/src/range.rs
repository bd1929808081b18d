// SPDX-License-Identifier: Apache-2.0
//! Reads ranges of addresses: `A-B`, CIDR, single addresses, or a comma-separated list of them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
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
    /// There is no address in it.
    #[error("there is no address in {0:?}")]
    Empty(String),
    /// Not an address.
    #[error("{0:?} is not an IPv4 address; ranges are written A-B, A/PREFIX or A, and lists of them with commas")]
    NotAnAddress(String),
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
    /// Two parts of a list share addresses.
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
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address.into())
    }

    fn network(text: &str, address: &str, prefix: &str) -> Result<Self, BadRange> {
        let address = u32::from(parse(address)?);
        let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse::<u32>().ok().filter(|prefix| digits && *prefix <= 32);
        let prefix = prefix.ok_or_else(|| BadRange::Prefix(text.to_owned()))?;
        let hosts = u32::MAX.checked_shr(prefix).unwrap_or(0);
        if address & hosts != 0 {
            let network = format!("{}/{prefix}", Ipv4Addr::from(address & !hosts));
            return Err(BadRange::HostBits { text: text.to_owned(), network });
        }
        let (first, last) = (address, address | hosts);
        // The first address is the network's own, the last its broadcast address; RFC 3021 takes both away from a /31.
        if prefix <= 30 { Ok(Self { first: first + 1, last: last - 1 }) } else { Ok(Self { first, last }) }
    }

    /// All addresses between two that hosts can have are such, but for 127/8 and 0/8, 224/3 at the ends.
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
        let text = text.trim();
        if text.is_empty() {
            return Err(BadRange::Empty(text.to_owned()));
        }
        let range = if let Some((address, prefix)) = text.split_once('/') {
            Self::network(text, address.trim(), prefix.trim())?
        } else if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (parse(first.trim())?.into(), parse(last.trim())?.into());
            if last < first {
                return Err(BadRange::Reversed(text.to_owned()));
            }
            Self { first, last }
        } else {
            let only = parse(text)?.into();
            Self { first: only, last: only }
        };
        range.checked(text)
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

/// Reads a list: its ranges in ascending order.
///
/// # Errors
/// What is wrong with which part.
pub fn list(text: &str) -> Result<Vec<Range>, BadRange> {
    if text.trim().is_empty() {
        return Err(BadRange::Empty(text.to_owned()));
    }
    let mut parts: Vec<(Range, &str)> =
        text.split(',').map(|part| Ok((part.parse()?, part.trim()))).collect::<Result<_, BadRange>>()?;
    parts.sort_by_key(|(range, _)| *range);
    for ((one, one_text), (other, other_text)) in parts.iter().zip(parts.iter().skip(1)) {
        if other.first <= one.last {
            return Err(BadRange::Overlap { one: (*one_text).to_owned(), other: (*other_text).to_owned() });
        }
    }
    Ok(parts.into_iter().map(|(range, _)| range).collect())
}

fn parse(text: &str) -> Result<Ipv4Addr, BadRange> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => Ok(address),
        Ok(IpAddr::V6(Ipv6Addr { .. })) => Err(BadRange::Ipv6(text.to_owned())),
        Err(_) => Err(BadRange::NotAnAddress(text.to_owned())),
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Labels of routes, as operators write them: `65000:100` (RFC 1997), `65000:1:2` (RFC 8092), or a well-known name.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::model::Invalid;

/// A label of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Community {
    /// Of RFC 1997, in two halves.
    Standard(u16, u16),
    /// Of RFC 8092.
    Large(u32, u32, u32),
}

/// IANA, "BGP Well-known Communities", in the words of routers.
const WELL_KNOWN: [(&str, Community); 9] = [
    ("graceful-shutdown", Community::GRACEFUL_SHUTDOWN),
    ("accept-own", Community::Standard(65535, 1)),
    ("llgr-stale", Community::Standard(65535, 6)),
    ("no-llgr", Community::Standard(65535, 7)),
    ("blackhole", Community::Standard(65535, 666)),
    ("no-export", Community::Standard(65535, 65281)),
    ("no-advertise", Community::Standard(65535, 65282)),
    ("no-export-subconfed", Community::Standard(65535, 65283)),
    ("no-peer", Community::Standard(65535, 65284)),
];

impl Community {
    /// The way goes away soon (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self::Standard(65535, 0);
}

impl FromStr for Community {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Some((_, known)) = WELL_KNOWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            return Ok(*known);
        }
        let wrong = || {
            let names = WELL_KNOWN.map(|(name, _)| name).join(", ");
            Invalid(format!("{text:?} is no community: write 65000:100, 65000:1:2 or one of {names}"))
        };
        let parts: Vec<&str> = text.split(':').collect();
        match *parts {
            [high, low] => Ok(Self::Standard(number(high).ok_or_else(wrong)?, number(low).ok_or_else(wrong)?)),
            [a, b, c] => {
                let [a, b, c] = [a, b, c].map(number);
                a.zip(b).zip(c).map(|((a, b), c)| Self::Large(a, b, c)).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }
}

/// Digits alone: no sign.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (WELL_KNOWN.iter().find(|(_, known)| known == self), self) {
            (Some((name, _)), _) => f.write_str(name),
            (None, Self::Standard(high, low)) => write!(f, "{high}:{low}"),
            (None, Self::Large(a, b, c)) => write!(f, "{a}:{b}:{c}"),
        }
    }
}

/// All labels of a route; so few that they leave room for routes in a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Communities(BTreeSet<Community>);

impl Communities {
    /// At most; 64 large ones take a fifth of a message.
    pub const MOST: usize = 64;

    /// As a set.
    ///
    /// # Errors
    /// There are too many.
    pub fn try_from_iter(all: impl IntoIterator<Item = Community>) -> Result<Self, Invalid> {
        let all: BTreeSet<Community> = all.into_iter().collect();
        if all.len() > Self::MOST {
            return Err(Invalid(format!("a route has at most {} communities, not {}", Self::MOST, all.len())));
        }
        Ok(Self(all))
    }

    /// In order, the standard ones first.
    pub fn iter(&self) -> impl Iterator<Item = Community> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_are_written_as_they_are_read() {
        for text in ["65000:100", "0:0", "65535:65535", "4294967295:0:1", "no-export", "graceful-shutdown"] {
            assert_eq!(text.parse::<Community>().unwrap().to_string(), text);
        }
        assert_eq!("65535:666".parse::<Community>().unwrap().to_string(), "blackhole");
        for text in ["", "65000", "65536:1", "1:2:3:4", "1:-2", "+1:2", "4294967296:0:1", "no-such", "1:", " 1:2"] {
            assert!(text.parse::<Community>().is_err(), "{text}");
        }
    }
}

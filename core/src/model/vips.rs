// SPDX-License-Identifier: Apache-2.0
//! The VIPs of one load-balancer.

use std::fmt;

use super::{Family, Invalid, Vip};

/// The VIPs of a load-balancer: one, or one of each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vips {
    /// Of IPv4, if there are two.
    first: Vip,
    /// Of IPv6, if there is one.
    second: Option<Vip>,
}

impl Vips {
    /// Both, in any order.
    ///
    /// # Errors
    /// They are of the same family.
    pub fn both(one: Vip, other: Vip) -> Result<Self, Invalid> {
        match (one.family(), other.family()) {
            (Family::Ipv4, Family::Ipv6) => Ok(Self { first: one, second: Some(other) }),
            (Family::Ipv6, Family::Ipv4) => Ok(Self { first: other, second: Some(one) }),
            (family, _) => Err(Invalid(format!(
                "{one} and {other} are both of {family}; a load-balancer has one VIP of each family"
            ))),
        }
    }

    /// The only one, or that of IPv4.
    #[must_use]
    pub fn first(self) -> Vip {
        self.first
    }

    /// That of IPv6 beside one of IPv4.
    #[must_use]
    pub fn second(self) -> Option<Vip> {
        self.second
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn contains(self, vip: Vip) -> bool {
        self.into_iter().any(|each| each == vip)
    }

    /// The other one beside it; `None` if there is none, or it is not one of them.
    #[must_use]
    pub fn beside(self, vip: Vip) -> Option<Vip> {
        let second = self.second?;
        if vip == self.first { Some(second) } else { (vip == second).then_some(self.first) }
    }
}

impl From<Vip> for Vips {
    fn from(only: Vip) -> Self {
        Self { first: only, second: None }
    }
}

/// That of IPv4 first.
impl IntoIterator for Vips {
    type Item = Vip;
    type IntoIter = std::iter::Chain<std::iter::Once<Vip>, std::option::IntoIter<Vip>>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.first).chain(self.second)
    }
}

impl fmt::Display for Vips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        self.second.map_or(Ok(()), |second| write!(f, " and {second}"))
    }
}

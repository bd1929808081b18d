// SPDX-License-Identifier: Apache-2.0
//! What the data plane balances: connections to an endpoint, or to whatever the firewall has marked.

use std::{fmt, num::NonZeroU32};

use super::{Endpoint, Family, Invalid, Vip};

/// A mark that the firewall puts on packets, so that all ports of a load-balancer are one service. IPVS compares the whole of it, and so
/// slb sets the whole of it, on packets to its VIPs alone.
///
/// The range is slb's own: 0x51b00001 to 0x51b01fff. It keeps clear of the bits by which others tell packets apart on the same host:
/// portmap (0x2000) and kube-proxy (0x4000, 0x8000), the first ones of Calico (0x10000 to 0x80000), Weave (0x20000, 0x40000), Tailscale
/// (0x40000 and 0x80000 under 0xff0000), Antrea (0x80000000); and of small numbers, which people choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(NonZeroU32);

impl Mark {
    /// The lowest that there is, whoever's.
    pub const FIRST: Self = Self(NonZeroU32::MIN);
    /// The first of slb's own.
    pub const LOWEST: u32 = 0x51b0_0001;
    /// The last of them.
    pub const HIGHEST: u32 = 0x51b0_1fff;
    /// What all of them have in common, and no other but one that nobody has: 0x51b00000.
    pub const COMMON: u32 = 0x51b0_0000;
    /// Where those bits are.
    pub const COMMON_BITS: u32 = 0xffff_e000;

    /// All of slb's own, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (Self::LOWEST..=Self::HIGHEST).filter_map(NonZeroU32::new).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl TryFrom<u32> for Mark {
    type Error = Invalid;

    fn try_from(number: u32) -> Result<Self, Invalid> {
        let own = NonZeroU32::new(number).filter(|number| (Self::LOWEST..=Self::HIGHEST).contains(&number.get()));
        own.map(Self).ok_or_else(|| Invalid(format!("{number:#x} is none of slb's marks")))
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// What the data plane balances on a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VirtualService {
    /// Connections to the endpoint.
    Endpoint(Endpoint),
    /// Connections to the VIP that carry the mark.
    Mark(Vip, Mark),
}

/// What the data plane tells services apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKey {
    /// The endpoint.
    Endpoint(Endpoint),
    /// The mark, of packets of the family.
    Mark(Family, Mark),
}

impl VirtualService {
    /// The VIP that clients connect to.
    #[must_use]
    pub fn vip(self) -> Vip {
        match self {
            Self::Endpoint(Endpoint { vip, .. }) | Self::Mark(vip, _) => vip,
        }
    }

    /// What the data plane tells it from others by.
    #[must_use]
    pub fn key(self) -> ServiceKey {
        match self {
            Self::Endpoint(endpoint) => ServiceKey::Endpoint(endpoint),
            Self::Mark(vip, mark) => ServiceKey::Mark(vip.family(), mark),
        }
    }
}

impl ServiceKey {
    /// The address that it is on, if the data plane knows.
    #[must_use]
    pub fn vip(self) -> Option<Vip> {
        match self {
            Self::Endpoint(Endpoint { vip, .. }) => Some(vip),
            Self::Mark(..) => None,
        }
    }
}

impl From<Endpoint> for VirtualService {
    fn from(endpoint: Endpoint) -> Self {
        Self::Endpoint(endpoint)
    }
}

impl From<Endpoint> for ServiceKey {
    fn from(endpoint: Endpoint) -> Self {
        Self::Endpoint(endpoint)
    }
}

impl fmt::Display for VirtualService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(endpoint) => endpoint.fmt(f),
            Self::Mark(vip, mark) => write!(f, "{vip} (mark {mark})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_keep_clear_of_others_bits() {
        for mark in Mark::all() {
            assert_eq!(mark.get() & 0x800f_e000, 0, "{mark}");
            assert!(mark.get() & 0xff_0000 != 0x4_0000 && mark.get() & 0xff_0000 != 0x8_0000, "{mark}");
            assert_eq!(Mark::try_from(mark.get()), Ok(mark));
            assert_eq!(mark.get() & Mark::COMMON_BITS, Mark::COMMON, "{mark}");
        }
        let next = [Mark::LOWEST - 2, Mark::HIGHEST + 1];
        assert!(next.into_iter().all(|other| other & Mark::COMMON_BITS != Mark::COMMON));
        assert!([0, 1, 0x51b0_0000, 0x51b0_2000].into_iter().all(|other| Mark::try_from(other).is_err()));
    }
}

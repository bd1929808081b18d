// SPDX-License-Identifier: Apache-2.0
//! The routes that routers are told of, made of VIPs. Pure.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use slb_core::{
    model::{Family, Vip},
    prefix::{Aggregation, Prefix},
    step::AdvertStep,
};

/// VIPs at a time that are worth going through all of them.
const FEW: usize = 64;

/// VIPs, and the networks around them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    vips: BTreeSet<IpAddr>,
    /// How long the networks are that routers are told of.
    aggregation: Aggregation,
}

/// What peers are to be told, with no route in both.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) announced: BTreeSet<Prefix>,
    pub(crate) withdrawn: BTreeSet<Prefix>,
}

impl Routes {
    /// None yet.
    pub(crate) fn new(aggregation: Aggregation) -> Self {
        Self { vips: BTreeSet::new(), aggregation }
    }

    /// Every route that is to be announced, in order.
    pub(crate) fn all(&self) -> Vec<Prefix> {
        let around = |address: &IpAddr| Prefix::around(*address, self.aggregation.length(Family::of(*address)));
        // In order, since the VIPs are.
        let mut routes: Vec<Prefix> = self.vips.iter().map(around).collect();
        routes.dedup();
        routes
    }

    /// Adds VIPs and takes some away, the new ones first. A network is announced with its first VIP, and again if one of it is; it is withdrawn with the last.
    pub(crate) fn change(&mut self, steps: &[AdvertStep]) -> Change {
        let announced =
            steps.iter().filter_map(|step| if let AdvertStep::Advertise(vip) = step { Some(vip) } else { None });
        let withdrawn =
            steps.iter().filter_map(|step| if let AdvertStep::Withdraw(vip) = step { Some(vip) } else { None });
        let mut change = Change::default();
        for vip in announced {
            let prefix = Prefix::of(*vip, self.aggregation);
            if self.vips.contains(&vip.address()) || self.is_empty(prefix) {
                change.announced.insert(prefix);
            }
            self.vips.insert(vip.address());
        }
        for vip in withdrawn {
            self.vips.remove(&vip.address());
            let prefix = Prefix::of(*vip, self.aggregation);
            if self.is_empty(prefix) {
                change.announced.remove(&prefix);
                change.withdrawn.insert(prefix);
            }
        }
        if steps.len() > FEW {
            self.pack();
        }
        change
    }

    /// Takes no more memory than it needs: where VIPs come one by one and in order, half of each node of their set stays empty.
    fn pack(&mut self) {
        self.vips = std::mem::take(&mut self.vips).into_iter().collect();
    }

    fn is_empty(&self, prefix: Prefix) -> bool {
        self.vips.range(prefix.first()..=prefix.last()).next().is_none()
    }
}

/// A network in an UPDATE (RFC 4271, section 4.3): its length, and as many bytes of it as count.
pub(crate) fn nlri(prefix: Prefix) -> impl Iterator<Item = u8> {
    let length = prefix.length();
    let bytes = match prefix.first() {
        IpAddr::V4(first) => first.octets().to_vec(),
        IpAddr::V6(first) => first.octets().to_vec(),
    };
    std::iter::once(length).chain(bytes.into_iter().take(usize::from(length).div_ceil(8)))
}

/// What [`nlri`] makes of a network of VIPs of the family; `None` if it is something else.
pub(crate) fn from_nlri(family: Family, bytes: &[u8]) -> Option<Prefix> {
    let (length, most) = bytes.split_first()?;
    let first = match family {
        Family::Ipv4 => IpAddr::from(Ipv4Addr::from(padded(most)?)),
        Family::Ipv6 => IpAddr::from(Ipv6Addr::from(padded(most)?)),
    };
    Aggregation::NONE.with(family, *length).ok()?;
    let prefix = Prefix::around(Vip::try_from(first).ok()?.address(), *length);
    nlri(prefix).eq(bytes.iter().copied()).then_some(prefix)
}

/// With zeros where there is nothing.
fn padded<const LENGTH: usize>(most: &[u8]) -> Option<[u8; LENGTH]> {
    let mut all = [0; LENGTH];
    all.get_mut(..most.len())?.copy_from_slice(most);
    Some(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vips() -> impl Strategy<Value = Vec<Vip>> {
        prop::collection::vec(
            (0_u32..24, any::<bool>()).prop_map(|(low, is_ipv6)| {
                let text = if is_ipv6 { format!("fd00::{low:x}") } else { format!("10.0.0.{low}") };
                text.parse().unwrap()
            }),
            0..4,
        )
    }

    proptest! {
        /// A peer that does what it is told has the network of each VIP and no other, whatever came when.
        #[test]
        fn peers_have_a_network_as_long_as_there_is_a_vip_in_it(
            lengths in (28_u8..=32, 124_u8..=128),
            changes in prop::collection::vec((vips(), vips()), 1..12),
        ) {
            let length = Aggregation::NONE.with(Family::Ipv4, lengths.0).unwrap().with(Family::Ipv6, lengths.1).unwrap();
            let mut routes = Routes::new(length);
            let (mut wanted, mut peer) = (BTreeSet::new(), BTreeSet::new());
            for (announced, withdrawn) in changes {
                // The plan never has a VIP in both.
                let withdrawn: Vec<Vip> = withdrawn.into_iter().filter(|vip| !announced.contains(vip)).collect();
                let told_again: Vec<Vip> = announced.iter().copied().filter(|vip| wanted.contains(vip)).collect();
                let steps = announced.iter().copied().map(AdvertStep::Advertise);
                let steps: Vec<_> = steps.chain(withdrawn.iter().copied().map(AdvertStep::Withdraw)).collect();
                let change = routes.change(&steps);
                prop_assert!(change.announced.is_disjoint(&change.withdrawn));
                for vip in told_again {
                    prop_assert!(change.announced.contains(&Prefix::of(vip, length)));
                }
                peer.retain(|prefix| !change.withdrawn.contains(prefix));
                peer.extend(&change.announced);
                wanted.extend(&announced);
                wanted.retain(|vip| !withdrawn.contains(vip));
                let expected: BTreeSet<Prefix> = wanted.iter().map(|vip| Prefix::of(*vip, length)).collect();
                prop_assert_eq!(&peer, &expected);
                prop_assert_eq!(routes.all(), expected.into_iter().collect::<Vec<_>>());
            }
        }
    }

    proptest! {
        #[test]
        fn networks_are_read_as_they_are_written(bits: u128, length in 16_u8..=128) {
            let ipv6 = Ipv6Addr::from_bits(0xfd << 120 | bits >> 8);
            let ipv4 = Ipv4Addr::from_bits(0x0a00_0000 | bits as u32 >> 8);
            for (family, address) in [(Family::Ipv6, IpAddr::from(ipv6)), (Family::Ipv4, ipv4.into())] {
                let prefix = Prefix::around(address, length);
                prop_assert_eq!(from_nlri(family, &nlri(prefix).collect::<Vec<_>>()), Some(prefix));
            }
        }

        #[test]
        fn what_is_no_network_of_vips_is_not_read_as_one(bytes in prop::collection::vec(any::<u8>(), 0..19)) {
            for family in [Family::Ipv4, Family::Ipv6] {
                if let Some(prefix) = from_nlri(family, &bytes) {
                    prop_assert_eq!(nlri(prefix).collect::<Vec<_>>(), bytes.clone());
                }
            }
        }
    }
}

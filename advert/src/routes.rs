// SPDX-License-Identifier: Apache-2.0
//! The routes that routers are told of, made of VIPs. Pure.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use slb_core::{
    model::Vip,
    prefix::{Prefix, PrefixLength},
    step::AdvertStep,
};

/// VIPs, and the networks around them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    vips: BTreeSet<Vip>,
    /// Of the networks that routers are told of.
    length: PrefixLength,
}

/// What peers are to be told, with no route in both.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) announced: BTreeSet<Prefix>,
    pub(crate) withdrawn: BTreeSet<Prefix>,
}

impl Routes {
    /// None yet; VIPs are announced as networks of this length.
    pub(crate) fn new(length: PrefixLength) -> Self {
        Self { vips: BTreeSet::new(), length }
    }

    /// Every route that is to be announced, in order.
    pub(crate) fn all(&self) -> Vec<Prefix> {
        let around = |vip: &Vip| Prefix::around(*vip, self.length);
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
            let prefix = Prefix::around(*vip, self.length);
            if self.vips.contains(vip) || self.is_empty(prefix) {
                change.announced.insert(prefix);
            }
            self.vips.insert(*vip);
        }
        for vip in withdrawn {
            self.vips.remove(vip);
            let prefix = Prefix::around(*vip, self.length);
            if self.is_empty(prefix) {
                change.announced.remove(&prefix);
                change.withdrawn.insert(prefix);
            }
        }
        change
    }

    fn is_empty(&self, prefix: Prefix) -> bool {
        let [first, last] = [prefix.first(), prefix.last()].map(Vip::try_from);
        match (first, last) {
            (Ok(first), Ok(last)) => self.vips.range(first..=last).next().is_none(),
            // Networks of VIPs hold nothing but addresses that could be VIPs.
            _ => true,
        }
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

/// What [`nlri`] makes; `None` if it is something else.
pub(crate) fn from_nlri(bytes: &[u8]) -> Option<Prefix> {
    let (length, most) = bytes.split_first()?;
    let mut first = [0; 4];
    first.get_mut(..most.len())?.copy_from_slice(most);
    let prefix = Prefix::around(Vip::try_from(Ipv4Addr::from(first)).ok()?, PrefixLength::try_from(*length).ok()?);
    nlri(prefix).eq(bytes.iter().copied()).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn vips() -> impl Strategy<Value = Vec<Vip>> {
        prop::collection::vec(
            (0_u32..24).prop_map(|low| Vip::try_from(Ipv4Addr::from(0x0a00_0000 + low)).unwrap()),
            0..4,
        )
    }

    proptest! {
        /// A peer that does what it is told has the network of each VIP and no other, whatever came when.
        #[test]
        fn peers_have_a_network_as_long_as_there_is_a_vip_in_it(
            length in 28_u8..=32,
            changes in prop::collection::vec((vips(), vips()), 1..12),
        ) {
            let length = length.try_into().unwrap();
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
                    prop_assert!(change.announced.contains(&Prefix::around(vip, length)));
                }
                peer.retain(|prefix| !change.withdrawn.contains(prefix));
                peer.extend(&change.announced);
                wanted.extend(&announced);
                wanted.retain(|vip| !withdrawn.contains(vip));
                let expected: BTreeSet<Prefix> = wanted.iter().map(|vip| Prefix::around(*vip, length)).collect();
                prop_assert_eq!(&peer, &expected);
                prop_assert_eq!(routes.all(), expected.into_iter().collect::<Vec<_>>());
            }
        }
    }

    proptest! {
        #[test]
        fn networks_are_read_as_they_are_written(address in 0x0a00_0000_u32..0x0b00_0000, length in 8_u8..=32) {
            let vip = Vip::try_from(Ipv4Addr::from(address)).unwrap();
            let prefix = Prefix::around(vip, length.try_into().unwrap());
            prop_assert_eq!(from_nlri(&nlri(prefix).collect::<Vec<_>>()), Some(prefix));
        }

        #[test]
        fn what_is_no_network_of_vips_is_not_read_as_one(bytes in prop::collection::vec(any::<u8>(), 0..7)) {
            if let Some(prefix) = from_nlri(&bytes) {
                prop_assert_eq!(nlri(prefix).collect::<Vec<_>>(), bytes);
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Routes as GoBGP knows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
};

use slb_core::{
    model,
    peer::{Communities, Community},
    prefix::Prefix,
};

use super::wire::gobgp::{Family, Path};
use crate::{
    attribute,
    routes::{from_nlri, nlri},
};

/// Marks a path as slb's ("SLB"). GoBGP keeps who put a path there as an AS number and an id, and tells no peer.
const MARK: u32 = 0x53_4c_42;

/// AFI and SAFI of unicast routes.
pub(super) fn unicast(family: model::Family) -> Family {
    match family {
        model::Family::Ipv4 => Family { afi: 1, safi: 1 },
        model::Family::Ipv6 => Family { afi: 2, safi: 1 },
    }
}

/// What goes with every route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Where packets to VIPs of IPv4 are sent to; `None` is the daemon's own address in each of its sessions.
    pub next_hop: Option<Ipv4Addr>,
    /// The same for VIPs of IPv6.
    pub next_hop_ipv6: Option<Ipv6Addr>,
    /// Of several ways into the same AS the lowest is preferred.
    pub med: Option<u32>,
    /// Within the AS the highest is preferred.
    pub local_pref: Option<u32>,
    /// Labels.
    pub communities: Communities,
}

/// A change of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Announce(Prefix),
    Withdraw(Prefix),
}

/// How this node's routes look to GoBGP.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// Tells them from those of other nodes.
    node: String,
    /// Encoded, one each; those of all routes.
    attributes: Vec<Vec<u8>>,
    next_hop: Ipv4Addr,
    next_hop_ipv6: Ipv6Addr,
}

impl Form {
    pub(super) fn new(node: Ipv4Addr, attributes: &Attributes) -> Self {
        let communities: Vec<Community> = attributes.communities.iter().collect();
        let of_all = [
            Some(attribute::origin()),
            attributes.med.map(attribute::med),
            attributes.local_pref.map(attribute::local_pref),
            attribute::communities(&communities),
            attribute::large_communities(&communities),
        ];
        Self {
            node: node.to_string(),
            attributes: of_all.into_iter().flatten().collect(),
            // No address stands for the daemon's own one in each of its sessions.
            next_hop: attributes.next_hop.unwrap_or(Ipv4Addr::UNSPECIFIED),
            next_hop_ipv6: attributes.next_hop_ipv6.unwrap_or(Ipv6Addr::UNSPECIFIED),
        }
    }

    /// A route of IPv6 is among its own attributes, with its next hop.
    fn attributes(&self, prefix: Prefix) -> Vec<Vec<u8>> {
        let next_hop = match prefix.family() {
            model::Family::Ipv4 => attribute::next_hop(self.next_hop),
            model::Family::Ipv6 => {
                let head = [&[0, 2, 1, 16][..], &self.next_hop_ipv6.octets(), &[0]].concat();
                attribute::mp_reach(&head.into_iter().chain(nlri(prefix)).collect::<Vec<_>>())
            }
        };
        self.attributes.iter().cloned().chain([next_hop]).collect()
    }

    /// A change in the daemon's words.
    pub(super) fn path(&self, change: Change) -> Path {
        let (prefix, is_withdraw) = match change {
            Change::Announce(prefix) => (prefix, false),
            Change::Withdraw(prefix) => (prefix, true),
        };
        Path {
            is_withdraw,
            family: Some(unicast(prefix.family())),
            source_asn: MARK,
            source_id: self.node.clone(),
            nlri_binary: nlri(prefix).collect(),
            pattrs_binary: self.attributes(prefix),
        }
    }

    /// The route of the family, if this node put it into the table, and whether it is as it would be put there now.
    pub(super) fn own(&self, family: model::Family, path: &Path) -> Option<(Prefix, bool)> {
        if path.source_asn != MARK || path.source_id != self.node {
            return None;
        }
        let prefix = from_nlri(family, &path.nlri_binary)?;
        let [mut is, mut would_be] = [path.pattrs_binary.clone(), self.attributes(prefix)];
        is.sort();
        would_be.sort();
        Some((prefix, is == would_be))
    }
}

/// What brings a table that has `is` to `wanted`; what is not as it would be put there now is put there again.
pub(super) fn difference(is: &BTreeMap<Prefix, bool>, wanted: &BTreeSet<Prefix>) -> Vec<Change> {
    let surplus = is.keys().filter(|prefix| !wanted.contains(prefix)).copied().map(Change::Withdraw);
    let missing = wanted.iter().filter(|prefix| is.get(prefix) != Some(&true)).copied().map(Change::Announce);
    surplus.chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slb_core::model::Vip;

    use super::*;

    const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    const IPV4: model::Family = model::Family::Ipv4;

    /// Of either family.
    fn route(last: u8) -> Prefix {
        let text = if last.is_multiple_of(2) { format!("2001:db8::{last}") } else { format!("203.0.113.{last}") };
        text.parse::<Vip>().unwrap().into()
    }

    #[test]
    fn what_was_put_there_is_found_again() {
        let form = Form::new(NODE, &Attributes::default());
        let with_med = Form::new(NODE, &Attributes { med: Some(7), ..Attributes::default() });
        for route in [route(1), route(2)] {
            let path = form.path(Change::Announce(route));
            assert_eq!(form.own(route.family(), &path), Some((route, true)));
            assert_eq!(with_med.own(route.family(), &path), Some((route, false)));
        }
    }

    #[test]
    fn what_others_put_there_is_not_ours() {
        let form = Form::new(NODE, &Attributes::default());
        let path = form.path(Change::Announce(route(1)));
        assert_eq!(Form::new(Ipv4Addr::new(10, 0, 0, 2), &Attributes::default()).own(IPV4, &path), None);
        assert_eq!(form.own(IPV4, &Path { source_asn: 65_000, ..path.clone() }), None);
        assert_eq!(form.own(IPV4, &Path { nlri_binary: vec![33, 203, 0, 113, 1], ..path }), None);
    }

    proptest! {
        /// Whatever is there, the difference makes it what is wanted, and then there is none.
        #[test]
        fn a_difference_leads_to_what_is_wanted(
            is in prop::collection::btree_map(any::<u8>().prop_map(route), any::<bool>(), 0..20),
            wanted in prop::collection::btree_set(any::<u8>().prop_map(route), 0..20),
        ) {
            let mut table = is.clone();
            for change in difference(&is, &wanted) {
                match change {
                    Change::Announce(route) => prop_assert!(table.insert(route, true) != Some(true)),
                    Change::Withdraw(route) => prop_assert!(table.remove(&route).is_some()),
                }
            }
            prop_assert_eq!(table.keys().copied().collect::<BTreeSet<_>>(), wanted.clone());
            prop_assert_eq!(difference(&table, &wanted), Vec::new());
        }
    }
}

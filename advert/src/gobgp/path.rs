// SPDX-License-Identifier: Apache-2.0
//! Routes to VIPs as GoBGP knows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use slb_core::model::Vip;

use super::wire::gobgp::{Family, Path};

/// Marks a path as slb's ("SLB"). GoBGP keeps who put a path there as an AS number and an id, and tells no peer.
const MARK: u32 = 0x53_4c_42;

/// AFI and SAFI of IPv4 unicast.
pub(super) const IPV4_UNICAST: Family = Family { afi: 1, safi: 1 };

/// Flags, type, length and value (RFC 4271, section 4.3): from an interior protocol.
const ORIGIN_IGP: [u8; 4] = [0x40, 1, 1, 0];
/// The unspecified address stands for the daemon's own address in each of its sessions.
const NEXT_HOP_SELF: [u8; 7] = [0x40, 3, 4, 0, 0, 0, 0];

/// A change of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Announce(Vip),
    Withdraw(Vip),
}

impl Change {
    /// The same for GoBGP.
    pub(super) fn path(self, node: Ipv4Addr) -> Path {
        let (vip, is_withdraw) = match self {
            Self::Announce(vip) => (vip, false),
            Self::Withdraw(vip) => (vip, true),
        };
        let [a, b, c, d] = vip.address().octets();
        Path {
            is_withdraw,
            family: Some(IPV4_UNICAST),
            source_asn: MARK,
            source_id: node.to_string(),
            nlri_binary: vec![32, a, b, c, d],
            pattrs_binary: attributes(),
        }
    }
}

fn attributes() -> Vec<Vec<u8>> {
    vec![ORIGIN_IGP.to_vec(), NEXT_HOP_SELF.to_vec()]
}

/// What this node put into the table: whose prefix, and whether it is as it would be put there now.
pub(super) fn own(path: &Path, node: Ipv4Addr) -> Option<(Vip, bool)> {
    if path.source_asn != MARK || path.source_id != node.to_string() {
        return None;
    }
    let [32, a, b, c, d] = path.nlri_binary[..] else { return None };
    let vip = Vip::try_from(Ipv4Addr::from([a, b, c, d])).ok()?;
    let [mut is, mut would_be] = [path.pattrs_binary.clone(), attributes()];
    is.sort();
    would_be.sort();
    Some((vip, is == would_be))
}

/// What brings a table that has `is` to `wanted`; what is not as it would be put there now is put there again.
pub(super) fn difference(is: &BTreeMap<Vip, bool>, wanted: &BTreeSet<Vip>) -> Vec<Change> {
    let surplus = is.keys().filter(|vip| !wanted.contains(vip)).copied().map(Change::Withdraw);
    let missing = wanted.iter().filter(|vip| is.get(vip) != Some(&true)).copied().map(Change::Announce);
    surplus.chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn vip(last: u8) -> Vip {
        Vip::try_from(Ipv4Addr::new(203, 0, 113, last)).unwrap()
    }

    #[test]
    fn what_was_put_there_is_found_again() {
        let path = Change::Announce(vip(1)).path(NODE);
        assert_eq!(own(&path, NODE), Some((vip(1), true)));
        let other = Path { pattrs_binary: vec![ORIGIN_IGP.to_vec()], ..path };
        assert_eq!(own(&other, NODE), Some((vip(1), false)));
    }

    #[test]
    fn what_others_put_there_is_not_ours() {
        let path = Change::Announce(vip(1)).path(NODE);
        assert_eq!(own(&path, Ipv4Addr::new(10, 0, 0, 2)), None);
        assert_eq!(own(&Path { source_asn: 65_000, ..path.clone() }, NODE), None);
        assert_eq!(own(&Path { nlri_binary: vec![24, 203, 0, 113], ..path }, NODE), None);
    }

    proptest! {
        /// Whatever is there, the difference makes it what is wanted, and then there is none.
        #[test]
        fn a_difference_leads_to_what_is_wanted(
            is in prop::collection::btree_map(any::<u8>().prop_map(vip), any::<bool>(), 0..20),
            wanted in prop::collection::btree_set(any::<u8>().prop_map(vip), 0..20),
        ) {
            let mut table = is.clone();
            for change in difference(&is, &wanted) {
                match change {
                    Change::Announce(vip) => prop_assert!(table.insert(vip, true) != Some(true)),
                    Change::Withdraw(vip) => prop_assert!(table.remove(&vip).is_some()),
                }
            }
            prop_assert_eq!(table.keys().copied().collect::<BTreeSet<_>>(), wanted.clone());
            prop_assert_eq!(difference(&table, &wanted), Vec::new());
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What all sessions share: the routes, and how each peer is doing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use slb_core::{
    model::Vip,
    peer::{Peer, PeerAddress},
    prefix::{Prefix, PrefixLength},
    routing::{Agreed, PeerState, PeerStatus, Traffic},
};

/// Shared by all that hold a clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    vips: BTreeSet<Vip>,
    /// Of the networks that peers are told of.
    length: PrefixLength,
    peers: BTreeMap<PeerAddress, PeerStatus>,
}

/// What peers are to be told, with no route in both.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) announced: BTreeSet<Prefix>,
    pub(super) withdrawn: BTreeSet<Prefix>,
}

impl Contents {
    fn routes(&self) -> Vec<Prefix> {
        let around = |vip: &Vip| Prefix::around(*vip, self.length);
        // In order, since the VIPs are.
        let mut routes: Vec<Prefix> = self.vips.iter().map(around).collect();
        routes.dedup();
        routes
    }

    /// A network is announced with its first VIP, and again if one of it is; it is withdrawn with the last.
    fn change(&mut self, announced: &[Vip], withdrawn: &[Vip]) -> Change {
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

impl Table {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A table without routes; VIPs are announced as networks of this length.
    pub(super) fn new(length: PrefixLength) -> Self {
        Self(Arc::new(Mutex::new(Contents { length, ..Contents::default() })))
    }

    /// Every route that is to be announced.
    pub(super) fn routes(&self) -> Vec<Prefix> {
        self.contents().routes()
    }

    /// Every peer.
    pub(super) fn peers(&self) -> Vec<PeerStatus> {
        let contents = self.contents();
        let routes = contents.routes().len();
        let announced = |status: &PeerStatus| {
            let is_told = status.session.as_ref().is_some_and(|session| session.next_hop.is_some());
            if is_told { routes } else { 0 }
        };
        contents
            .peers
            .values()
            .map(|status| PeerStatus { routes_announced: announced(status), ..status.clone() })
            .collect()
    }

    /// Adds VIPs and takes some away. What peers are to be told.
    pub(super) fn change(&self, announced: &[Vip], withdrawn: &[Vip]) -> Change {
        self.contents().change(announced, withdrawn)
    }

    pub(super) fn add_peer(&self, peer: Peer) {
        self.contents().peers.insert(peer.address, PeerStatus::new(peer, SystemTime::now()));
    }

    /// Counts a try to connect.
    pub(super) fn attempt(&self, address: PeerAddress) {
        if let Some(status) = self.contents().peers.get_mut(&address) {
            status.connection_attempts += 1;
        }
    }

    /// Counts messages.
    pub(super) fn count(&self, address: PeerAddress, traffic: Traffic) {
        if let Some(status) = self.contents().peers.get_mut(&address) {
            status.traffic += traffic;
        }
    }

    /// Writes down what was agreed upon with a peer.
    pub(super) fn agree(&self, address: PeerAddress, agreed: Option<Agreed>) {
        if let Some(status) = self.contents().peers.get_mut(&address) {
            status.session = agreed;
        }
    }

    pub(super) fn remove_peer(&self, address: PeerAddress) {
        self.contents().peers.remove(&address);
    }

    /// Writes down how a peer is doing. Whether the error is another than before, or the session was established.
    pub(super) fn note(&self, address: PeerAddress, state: PeerState, error: Option<&str>) -> bool {
        let contents = &mut *self.contents();
        let Some(status) = contents.peers.get_mut(&address) else { return false };
        let [was, is] = [status.state, state].map(|state| state == PeerState::Established);
        if was != is {
            status.since = SystemTime::now();
        }
        if is {
            status.times_established += u64::from(!was);
            status.last_error = None;
        } else {
            status.session = None;
        }
        status.state = state;
        let Some(error) = error else { return false };
        let is_news = was || status.last_error.as_deref() != Some(error);
        status.last_error = Some(error.to_owned());
        is_news
    }

    /// Writes down why an established session announces nothing.
    pub(super) fn complain(&self, address: PeerAddress, why: &str) {
        if let Some(status) = self.contents().peers.get_mut(&address) {
            status.last_error = Some(why.to_owned());
        }
    }
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
            let table = Table::new(length);
            let (mut wanted, mut peer) = (BTreeSet::new(), BTreeSet::new());
            for (announced, withdrawn) in changes {
                // The plan never has a VIP in both.
                let withdrawn: Vec<Vip> = withdrawn.into_iter().filter(|vip| !announced.contains(vip)).collect();
                let told_again: Vec<Vip> = announced.iter().copied().filter(|vip| wanted.contains(vip)).collect();
                let change = table.change(&announced, &withdrawn);
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
                prop_assert_eq!(table.routes(), expected.into_iter().collect::<Vec<_>>());
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What all sessions share: the routes, and how each peer is doing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use slb_core::{
    model::Family,
    peer::{Peer, PeerAddress},
    prefix::{Aggregation, Prefix},
    routing::{Agreed, PeerState, PeerStatus, Traffic},
    step::AdvertStep,
};

use crate::routes::{Change, Routes};

/// Shared by all that hold a clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    routes: Routes,
    peers: BTreeMap<PeerAddress, PeerStatus>,
}

impl Table {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A table without routes.
    pub(super) fn new(aggregation: Aggregation) -> Self {
        Self(Arc::new(Mutex::new(Contents { routes: Routes::new(aggregation), ..Contents::default() })))
    }

    /// Every route that is to be announced.
    pub(super) fn routes(&self) -> Vec<Prefix> {
        self.contents().routes.all()
    }

    /// Every peer.
    pub(super) fn peers(&self) -> Vec<PeerStatus> {
        let contents = self.contents();
        let routes = contents.routes.all();
        let ipv4 = routes.iter().filter(|prefix| prefix.family() == Family::Ipv4).count();
        let ipv6 = routes.len() - ipv4;
        let announced = |status: &PeerStatus| {
            let Some(session) = &status.session else { return 0 };
            session.next_hop.map_or(0, |_| ipv4) + session.next_hop_ipv6.map_or(0, |_| ipv6)
        };
        contents
            .peers
            .values()
            .map(|status| PeerStatus { routes_announced: announced(status), ..status.clone() })
            .collect()
    }

    /// Adds VIPs and takes some away. What peers are to be told.
    pub(super) fn change(&self, steps: &[AdvertStep]) -> Change {
        self.contents().routes.change(steps)
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

    /// Writes down why an established session announces nothing, or not all. Whether that is news.
    pub(super) fn complain(&self, address: PeerAddress, why: &str) -> bool {
        let contents = &mut *self.contents();
        let Some(status) = contents.peers.get_mut(&address) else { return false };
        status.last_error.replace(why.to_owned()).as_deref() != Some(why)
    }
}

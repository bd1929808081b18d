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
    routing::{PeerState, PeerStatus},
};

/// Shared by all that hold a clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    routes: BTreeSet<Vip>,
    peers: BTreeMap<PeerAddress, PeerStatus>,
}

impl Table {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every route that is to be announced.
    pub(super) fn routes(&self) -> Vec<Vip> {
        self.contents().routes.iter().copied().collect()
    }

    /// Every peer.
    pub(super) fn peers(&self) -> Vec<PeerStatus> {
        self.contents().peers.values().cloned().collect()
    }

    /// Adds routes and takes some away.
    pub(super) fn change(&self, announced: &[Vip], withdrawn: &[Vip]) {
        let routes = &mut self.contents().routes;
        routes.extend(announced);
        for vip in withdrawn {
            routes.remove(vip);
        }
    }

    pub(super) fn add_peer(&self, peer: Peer) {
        let address = peer.address;
        let status = PeerStatus {
            peer,
            state: PeerState::Idle,
            since: SystemTime::now(),
            times_established: 0,
            last_error: None,
        };
        self.contents().peers.insert(address, status);
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

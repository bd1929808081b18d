// SPDX-License-Identifier: Apache-2.0
//! What the daemon is to announce, and what it says of its peers; or why it says nothing.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use slb_core::{
    events::{Event, Journal},
    peer::PeerAddress,
    prefix::{Aggregation, Prefix},
    routing::{PeerState, PeerStatus},
    step::AdvertStep,
};

use super::{Daemon, path::Change};
use crate::routes::Routes;

/// Shared by all that hold a clone.
#[derive(Clone, Debug)]
pub(super) struct Board(Arc<Mutex<Contents>>);

#[derive(Debug)]
struct Contents {
    routes: Routes,
    peers: Result<Vec<PeerStatus>, String>,
    /// Where it is told that a session is up or down.
    journal: Option<Arc<Journal>>,
}

impl Contents {
    /// What the daemon says of its peers now, or why it says nothing; what it said before.
    fn replace(&mut self, peers: Result<Vec<PeerStatus>, String>) -> Result<Vec<PeerStatus>, String> {
        let before = std::mem::replace(&mut self.peers, peers);
        if let Some(journal) = &self.journal {
            let [was, is] = [&before, &self.peers].map(|peers| established(peers.as_deref().unwrap_or_default()));
            is.difference(&was).for_each(|address| journal.tell(Event::PeerUp(*address)));
            was.difference(&is).for_each(|address| journal.tell(Event::PeerDown(*address)));
        }
        before
    }
}

/// The peers that have a session.
pub(super) fn established(peers: &[PeerStatus]) -> BTreeSet<PeerAddress> {
    peers.iter().filter(|status| status.state == PeerState::Established).map(|status| status.peer.address).collect()
}

impl Board {
    pub(super) fn new(daemon: Daemon, aggregation: Aggregation) -> Self {
        let peers = Err(format!("GoBGP at {daemon} has not been asked yet"));
        Self(Arc::new(Mutex::new(Contents { routes: Routes::new(aggregation), peers, journal: None })))
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every route that is to be announced, in order.
    pub(super) fn routes(&self) -> Vec<Prefix> {
        self.contents().routes.all()
    }

    /// Adds VIPs and takes some away. What the daemon is to be told.
    pub(super) fn change(&self, steps: &[AdvertStep]) -> Vec<Change> {
        let change = self.contents().routes.change(steps);
        let withdrawn = change.withdrawn.into_iter().map(Change::Withdraw);
        withdrawn.chain(change.announced.into_iter().map(Change::Announce)).collect()
    }

    pub(super) fn peers(&self) -> Result<Vec<PeerStatus>, String> {
        self.contents().peers.clone()
    }

    /// What the daemon says of its peers; what it said before.
    pub(super) fn note(&self, peers: Vec<PeerStatus>) -> Vec<PeerStatus> {
        self.contents().replace(Ok(peers)).unwrap_or_default()
    }

    /// Why it says nothing; whether that is another reason than before.
    pub(super) fn complain(&self, why: &str) -> bool {
        let why = Err(why.to_owned());
        self.contents().replace(why.clone()) != why
    }

    /// Has it told here that a session is up or down.
    pub(super) fn tell(&self, journal: Arc<Journal>) {
        self.contents().journal = Some(journal);
    }
}

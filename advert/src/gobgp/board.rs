// SPDX-License-Identifier: Apache-2.0
//! What the daemon is to announce, and what it says of its peers; or why it says nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slb_core::{
    prefix::{Aggregation, Prefix},
    routing::PeerStatus,
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
}

impl Board {
    pub(super) fn new(daemon: Daemon, aggregation: Aggregation) -> Self {
        let peers = Err(format!("GoBGP at {daemon} has not been asked yet"));
        Self(Arc::new(Mutex::new(Contents { routes: Routes::new(aggregation), peers })))
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
        std::mem::replace(&mut self.contents().peers, Ok(peers)).unwrap_or_default()
    }

    /// Why it says nothing; whether that is another reason than before.
    pub(super) fn complain(&self, why: &str) -> bool {
        let why = Err(why.to_owned());
        std::mem::replace(&mut self.contents().peers, why.clone()) != why
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What the daemon is to announce, and what it says of its peers; or why it says nothing.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use slb_core::{model::Vip, routing::PeerStatus};

use super::{Daemon, path::Change};

/// Shared by all that hold a clone.
#[derive(Clone, Debug)]
pub(super) struct Board(Arc<Mutex<Contents>>);

#[derive(Debug)]
struct Contents {
    routes: BTreeSet<Vip>,
    peers: Result<Vec<PeerStatus>, String>,
}

impl Board {
    pub(super) fn new(daemon: Daemon) -> Self {
        let peers = Err(format!("GoBGP at {daemon} has not been asked yet"));
        Self(Arc::new(Mutex::new(Contents { routes: BTreeSet::new(), peers })))
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every route that is to be announced.
    pub(super) fn routes(&self) -> BTreeSet<Vip> {
        self.contents().routes.clone()
    }

    pub(super) fn change(&self, changes: &[Change]) {
        let routes = &mut self.contents().routes;
        for change in changes {
            match change {
                Change::Announce(vip) => routes.insert(*vip),
                Change::Withdraw(vip) => routes.remove(vip),
            };
        }
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

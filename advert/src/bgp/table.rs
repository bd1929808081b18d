// SPDX-License-Identifier: Apache-2.0
//! What all sessions share: the routes, and how each peer is doing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use slb_core::{
    events::{Event, Journal},
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
    /// Where it is told that a session is up or down.
    journal: Option<Arc<Journal>>,
}

impl Contents {
    fn tell(&self, event: Event) {
        if let Some(journal) = &self.journal {
            journal.tell(event);
        }
    }
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

    /// Has it told here that a session is up or down.
    pub(super) fn tell(&self, journal: Arc<Journal>) {
        self.contents().journal = Some(journal);
    }

    pub(super) fn remove_peer(&self, address: PeerAddress) {
        let mut contents = self.contents();
        let removed = contents.peers.remove(&address);
        if removed.is_some_and(|status| status.state == PeerState::Established) {
            contents.tell(Event::PeerDown(address));
        }
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
        let is_news = error.is_some_and(|error| was || status.last_error.as_deref() != Some(error));
        if let Some(error) = error {
            status.last_error = Some(error.to_owned());
        }
        if was != is {
            contents.tell(if is { Event::PeerUp(address) } else { Event::PeerDown(address) });
        }
        is_news
    }

    /// Writes down why an established session announces nothing, or not all. Whether that is news.
    pub(super) fn complain(&self, address: PeerAddress, why: &str) -> bool {
        let contents = &mut *self.contents();
        let Some(status) = contents.peers.get_mut(&address) else { return false };
        status.last_error.replace(why.to_owned()).as_deref() != Some(why)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, num::NonZeroU32};

    use futures_util::{FutureExt, StreamExt};
    use slb_core::events::Heard;

    use super::*;

    #[test]
    fn sessions_that_come_and_go_are_told_of() {
        let (table, journal) = (Table::default(), Arc::new(Journal::default()));
        table.tell(Arc::clone(&journal));
        let mut reader = journal.read(None);
        let mut told = || {
            let mut told = Vec::new();
            while let Some(Some(heard)) = reader.next().now_or_never() {
                if let Heard::Event(_, entry) = heard {
                    told.push(entry.event.clone());
                }
            }
            told
        };
        assert_eq!(told(), []);
        let address: PeerAddress = IpAddr::from([192, 0, 2, 1]).try_into().unwrap();
        let peer = Peer::new(address, NonZeroU32::MIN);
        table.add_peer(peer);
        table.note(address, PeerState::OpenSent, None);
        assert_eq!(told(), []);
        table.note(address, PeerState::Established, None);
        table.note(address, PeerState::Established, None);
        assert_eq!(told(), [Event::PeerUp(address)]);
        table.note(address, PeerState::Idle, Some("hold timer expired"));
        table.note(address, PeerState::Connect, None);
        assert_eq!(told(), [Event::PeerDown(address)]);
        table.note(address, PeerState::Established, None);
        table.remove_peer(address);
        assert_eq!(told(), [Event::PeerUp(address), Event::PeerDown(address)]);
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Tells routers by BGP where a VIP lives (RFC 4271, RFC 4760): announces a /32 or /128 for each or the network around it, and learns nothing.
//!
//! Reading order: `notification`, `wire`, `open`, `update` (the codec) – `session` (one connection; pure) – `collision` (one of two;
//! pure) – `table` (what all sessions share) – `connect`, `listen`, `outbox`, `conversation` (sockets) – `task` (a peer: trying
//! again) – `shutdown` (leaving gracefully).
//!
//! Sessions stand on their own: a change of one VIP is one UPDATE to each peer, and a peer that comes or goes is nobody else's
//! business. When the process ends without [`Bgp::leave`], peers that restart gracefully (RFC 4724) keep the routes until it is back.

mod collision;
mod connect;
mod conversation;
mod listen;
mod notification;
mod open;
mod outbox;
pub mod session;
mod shutdown;
mod table;
mod task;
mod update;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use slb_core::{
    events::Journal,
    model::{Family, Vip},
    peer::{Peer, PeerAddress, PeerSettings},
    ports::{Advertiser, Cause, Probe, Verdict},
    prefix::{Aggregation, Prefix},
    routing::{PeerStatus, Routing, Shutdown, ShutdownStatus},
    step::AdvertStep,
};
use socket2::Socket;
use tokio::{
    net::TcpStream,
    sync::mpsc::{self, UnboundedSender},
    task::JoinSet,
};
use tracing::{info, warn};

pub use self::{listen::Listener, notification::Notification, session::Speaker};
use self::{
    shutdown::Leaving,
    table::Table,
    task::{Order, Task},
};

/// Advertises VIPs to BGP peers. Clones are handles of the same speaker; its sessions end with the last of them.
#[derive(Clone, Debug)]
pub struct Bgp {
    speaker: Speaker,
    /// For all peers.
    defaults: PeerSettings,
    table: Table,
    sessions: Arc<Mutex<Sessions>>,
}

#[derive(Debug, Default)]
struct Sessions {
    /// Whether peers are connected to yet.
    begun: bool,
    /// Peers to be connected to.
    waiting: Vec<Peer>,
    orders: BTreeMap<PeerAddress, UnboundedSender<Order>>,
    listeners: Vec<Listener>,
    /// Peers that cannot connect: a connection that seems to be from one is not signed.
    unheard: BTreeSet<PeerAddress>,
    /// Those that accept; they end with this.
    accepting: JoinSet<()>,
    /// Whether routers are asked to prefer other ways.
    leaving: Option<Leaving>,
}

impl Bgp {
    /// A speaker without peers. What is not asked for of a peer itself is as in `defaults`. VIPs are announced as the networks around them
    /// that `aggregation` says, as long as there is one in it.
    #[must_use]
    pub fn new(speaker: Speaker, defaults: PeerSettings, aggregation: Aggregation) -> Self {
        Self { speaker, defaults, table: Table::new(aggregation), sessions: Arc::default() }
    }

    /// Has it tell of sessions that come and go from now on.
    pub fn tell(&self, journal: Arc<Journal>) {
        self.table.tell(journal);
    }

    /// Has peers connect to this listener, too, once [`begin`](Self::begin) was called. Call it before peers are added. Within a tokio
    /// runtime.
    ///
    /// # Errors
    /// Somebody else listens there by now; too many open files.
    pub fn listen(&self, listener: Listener) -> io::Result<()> {
        let mut sessions = self.sessions();
        if sessions.begun {
            sessions.accept(self, listener.begin()?);
        }
        sessions.listeners.push(listener);
        Ok(())
    }

    /// Adds a peer, or gives one that is there other settings with a new session. It is connected to once [`begin`](Self::begin) was
    /// called. Within a tokio runtime.
    pub fn add_peer(&self, peer: Peer) {
        let peer = peer.or(&self.defaults);
        self.remove_peer(peer.address);
        info!("Add a peer configuration for:{}", peer.address);
        self.table.add_peer(peer.clone());
        let mut sessions = self.sessions();
        if let Err(why) = sessions.expect(&peer) {
            sessions.unheard.insert(peer.address);
            self.table.complain(peer.address, &why);
            warn!(peer = %peer.address, "this BGP peer cannot connect: {why}");
        }
        if sessions.begun {
            sessions.start(self, peer);
        } else {
            sessions.waiting.push(peer);
        }
    }

    /// Removes a peer; its session ends with words to its operator. Whether there was one.
    pub fn remove_peer(&self, address: PeerAddress) -> bool {
        let mut sessions = self.sessions();
        sessions.listeners.iter().for_each(|listener| listener.forget(address.address()));
        sessions.unheard.remove(&address);
        let waited = sessions.waiting.len();
        sessions.waiting.retain(|peer| peer.address != address);
        let orders = sessions.orders.remove(&address);
        if let Some(orders) = &orders {
            let _ = orders.send(Order::Leave(Notification::PEER_DECONFIGURED, String::new()));
        }
        self.table.remove_peer(address);
        orders.is_some() || sessions.waiting.len() < waited
    }

    /// Connects to the peers, and lets them connect. Call this when the routes of a start have been applied: a peer that kept the routes
    /// of the process before drops what it does not hear of by then.
    pub fn begin(&self) {
        let mut sessions = self.sessions();
        sessions.begun = true;
        for peer in std::mem::take(&mut sessions.waiting) {
            sessions.start(self, peer);
        }
        let begun: Vec<_> = sessions.listeners.iter().map(|listener| (listener.at(), listener.begin())).collect();
        for (at, socket) in begun {
            match socket {
                Ok(socket) => sessions.accept(self, socket),
                Err(error) => warn!("BGP peers cannot connect to {at}: {error}"),
            }
        }
    }

    /// Ends all sessions for good, with words to the operators of the peers (RFC 9003): routes go at once.
    pub fn leave(&self, words: &str) {
        let mut sessions = self.sessions();
        sessions.tell(|| Order::Leave(Notification::ADMINISTRATIVE_SHUTDOWN, words.to_owned()));
        sessions.orders.clear();
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    fn start(&mut self, bgp: &Bgp, peer: Peer) {
        let (orders, received) = mpsc::unbounded_channel();
        if let Some(leaving) = &self.leaving {
            let _ = orders.send(leaving.order());
        }
        self.orders.insert(peer.address, orders);
        tokio::spawn(Task::new(bgp.speaker, peer, bgp.table.clone(), received).run());
    }

    fn accept(&mut self, bgp: &Bgp, socket: Socket) {
        let sessions = Arc::downgrade(&bgp.sessions);
        let take = move |from: IpAddr, stream| match sessions.upgrade() {
            Some(sessions) => sessions.lock().unwrap_or_else(PoisonError::into_inner).incoming(from, stream),
            None => Err(stream),
        };
        self.accepting.spawn(Listener::run(socket, take));
    }

    /// A session that has ended needs no orders.
    fn tell(&self, order: impl Fn() -> Order) {
        self.orders.values().for_each(|orders| drop(orders.send(order())));
    }

    /// Whether neither end would connect.
    fn never_meets(&self, peer: &Peer) -> bool {
        peer.settings.passive() && !self.listeners.iter().any(|listener| listener.hears(peer))
    }

    /// Gets ready for a peer to connect. In words, why it cannot although it should.
    fn expect(&self, peer: &Peer) -> Result<(), String> {
        if self.never_meets(peer) {
            return Err("it is to connect to slb, which does not listen: see --bgpListen".to_owned());
        }
        let mut listeners = self.listeners.iter().filter(|listener| listener.hears(peer));
        listeners
            .try_for_each(|listener| listener.expect(peer))
            .map_err(|error| format!("no password can be set: {error}"))
    }

    /// Hands a connection to the peer that it is from.
    fn incoming(&self, from: IpAddr, stream: TcpStream) -> Result<(), TcpStream> {
        let address = PeerAddress::try_from(from).ok().filter(|address| !self.unheard.contains(address));
        let Some(orders) = address.and_then(|address| self.orders.get(&address)) else { return Err(stream) };
        // A session that is just ending closes it.
        let _ = orders.send(Order::Incoming(stream));
        Ok(())
    }
}

impl Routing for Bgp {
    fn peers(&self) -> Vec<PeerStatus> {
        self.table.peers()
    }

    fn routes(&self) -> Vec<Prefix> {
        self.table.routes()
    }

    fn routes_for(&self, peer: &Peer) -> Vec<Prefix> {
        let peer = peer.clone().or(&self.defaults);
        if self.sessions().never_meets(&peer) {
            return Vec::new();
        }
        let mut routes = self.table.routes();
        routes.retain(|route| route.family() == Family::Ipv4 || session::may_announce_ipv6(self.speaker, &peer));
        routes
    }

    fn add(&self, peer: &Peer) {
        self.add_peer(peer.clone());
    }

    fn remove(&self, address: PeerAddress) {
        self.remove_peer(address);
    }

    fn shut_down(&self, shutdown: Shutdown) {
        self.begin_shutdown(shutdown);
    }

    fn come_back(&self) {
        self.end_shutdown();
    }

    fn shutdown(&self) -> Option<ShutdownStatus> {
        self.sessions().leaving.as_ref().map(Leaving::status)
    }
}

impl Advertiser for Bgp {
    /// A route is not a claim that another host could contradict: every address is free.
    fn probe(&self, _: Vip) -> impl Future<Output = Result<Probe, Cause>> + Send + 'static {
        std::future::ready(Ok(Probe::Free))
    }

    /// Always succeeds: what a peer that is away has missed, it hears when it is back.
    async fn apply(&mut self, steps: &[AdvertStep]) -> Vec<Verdict> {
        let change = self.table.change(steps);
        let sessions = self.sessions();
        if !change.withdrawn.is_empty() {
            let withdrawn: Arc<[_]> = change.withdrawn.into_iter().collect();
            sessions.tell(|| Order::Withdraw(Arc::clone(&withdrawn)));
        }
        if !change.announced.is_empty() {
            let announced: Arc<[_]> = change.announced.into_iter().collect();
            sessions.tell(|| Order::Announce(Arc::clone(&announced)));
        }
        steps.iter().map(|_| Verdict::Applied).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, num::NonZeroU32};

    use slb_core::peer::NextHop;

    use super::*;

    #[test]
    fn a_peer_is_promised_what_it_could_be_told() {
        let speaker = Speaker::new(65_000, Ipv4Addr::new(10, 0, 0, 1));
        let with = |speaker| {
            let bgp = Bgp::new(speaker, PeerSettings::default(), Aggregation::NONE);
            bgp.table.change(&["203.0.113.10", "2001:db8::10"].map(|vip| AdvertStep::Advertise(vip.parse().unwrap())));
            bgp
        };
        let peer = |address: &str, settings: PeerSettings| {
            let address = address.parse::<IpAddr>().unwrap().try_into().unwrap();
            Peer { settings, ..Peer::new(address, NonZeroU32::MIN) }
        };
        let next_hop = Some(NextHop::try_from("fd00::1".parse::<IpAddr>().unwrap()).unwrap());
        let promised = |bgp: &Bgp, address, settings| bgp.routes_for(&peer(address, settings)).len();
        let (bgp, plain) = (with(speaker), PeerSettings::default());
        assert_eq!(promised(&bgp, "10.0.0.254", plain.clone()), 1);
        assert_eq!(promised(&bgp, "::1", plain.clone()), 1);
        assert_eq!(promised(&bgp, "fd00::fe", plain.clone()), 2);
        assert_eq!(promised(&bgp, "10.0.0.254", PeerSettings { next_hop, ..plain.clone() }), 2);
        // Nobody would connect.
        assert_eq!(promised(&bgp, "fd00::fe", PeerSettings { passive: Some(true), ..plain.clone() }), 0);
        let bgp = with(Speaker { next_hop_ipv6: "fd00::1".parse().ok(), ..speaker });
        assert_eq!(promised(&bgp, "10.0.0.254", plain), 2);
        assert!(bgp.peers().is_empty());
    }
}

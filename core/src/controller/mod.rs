// SPDX-License-Identifier: Apache-2.0
//! The controller: the one owner of the desired state. Everything that changes goes through it, one round after the other.
//!
//! ```text
//!  requests ──▶ admission ──▶ (address, probe) ──▶ queue ──▶ round: apply ▶ commit ▶ converge ▶ answer
//!  link and address events, interval, retries ───────────────────────────────▶ converge
//! ```
//! Rooms, in reading order: [`admission`](self) finds addresses for each creation; `round` makes wishes durable and carries
//! them out, or undoes them; `declare` does so with many load-balancers as one; `rehearse` says what they would do; `keys` remembers what was granted, for those who ask again; `peers` adds and removes routers that are told; `converge` brings the kernel to the desired state, in `passes` where that is much, and `report` says how it is doing; `health` takes out
//! backends that fail their checks, and `drain` follows those that are drained to their end; `background` does the same without being
//! asked, as often as `pace` says, and `log` says what was not as desired; `avoid` knows which addresses must not be handed out, and `foreign` what belongs to other programs.
//!
//! A round has at most one request for each VIP, so that undoing a failed one touches no other. The many requests of a
//! round share one commit and packed sends.
//!
//! The controller is plain async code over the [ports](crate::ports); time is an argument. Its futures are not meant to be
//! dropped half-way: a crash is exactly that, and is what the tests do to them.

mod admission;
mod avoid;
mod background;
mod converge;
mod creation;
mod declare;
mod drain;
mod foreign;
mod health;
mod keys;
mod log;
mod pace;
mod passes;
mod peers;
mod rehearse;
mod report;
mod round;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::stream::FuturesUnordered;

use self::{
    admission::{Asker, Inquiry},
    avoid::Avoid,
    background::Retry,
    creation::{Asked, Creation, Number},
    declare::Declaration,
    health::Watched,
    log::Place,
    round::Ready,
};
use crate::{
    board::Board,
    checker::Checker,
    command,
    idempotency::Book,
    model::{LoadBalancerId, Vip},
    peer::PeerAddress,
    plan::Observed,
    ports::{Advertiser, Dataplane, Host, Pool, SettingChange, SettingName, Snapshot, Store},
    state::{Change, Contradiction, State},
};

/// The set of drivers that a controller works with, one type for each port.
pub trait World {
    /// Keeps the desired state.
    type Store: Store;
    /// Hands out addresses.
    type Pool: Pool;
    /// Addresses, source NAT and settings.
    type Host: Host;
    /// What balances.
    type Dataplane: Dataplane;
    /// What tells the network.
    type Advertiser: Advertiser;
    /// What checks backends.
    type Checker: Checker;
}

/// The drivers of a [`World`].
pub struct Drivers<W: World> {
    /// Keeps the desired state.
    pub store: W::Store,
    /// Hands out addresses.
    pub pool: W::Pool,
    /// Addresses, source NAT and settings.
    pub host: W::Host,
    /// What balances.
    pub dataplane: W::Dataplane,
    /// What tells the network.
    pub advertiser: W::Advertiser,
    /// What checks backends.
    pub checker: W::Checker,
}

/// Owns the desired state; see the front page of the module.
pub struct Controller<W: World> {
    drivers: Drivers<W>,
    board: Arc<Board>,
    state: State,
    observed: Observed,
    avoid: Avoid,
    /// Addresses that were released and not handed out since, with the number of their release: as in the store.
    released: BTreeMap<Vip, u64>,
    last_release: u64,
    /// Of requests that may be asked again.
    keys: Book,
    /// Added while a server ran: as in the store.
    peers: BTreeSet<PeerAddress>,
    /// What settings were before slb changed them: as in the store.
    originals: BTreeMap<SettingName, SettingChange>,
    /// Taken from the pool for a creation that is not in the state yet.
    acquired: BTreeMap<Vip, Asked>,
    /// What admission has asked the pool and the network.
    inquiries: FuturesUnordered<Inquiry>,
    /// Creations that wait for what the pool or the network is asked.
    creations: BTreeMap<Number, Creation>,
    last_creation: Number,
    /// Wanted VIPs that the pool is being asked for.
    wanted: BTreeSet<Vip>,
    /// Which creations wait for the probe of a VIP, or for another one that has the pool asked for it.
    waiting: BTreeMap<Vip, BTreeSet<Number>>,
    queue: VecDeque<Ready>,
    /// Whether a configuration file has load-balancers of its own.
    is_declared: bool,
    /// What is declared, while addresses are found for it.
    declaration: Option<Declaration>,
    /// What is declared next.
    declarations: VecDeque<(command::Declaration, Asker)>,
    /// VIPs of load-balancers that make way, which are not given back before it is known who has them.
    kept: BTreeSet<Vip>,
    retries: BTreeMap<Vip, Retry>,
    /// Services and backends that can never be served as they are, and of which that has been said.
    unserved: BTreeMap<Vip, BTreeSet<Place>>,
    watched: Watched,
    /// VIPs with backends whose weights are being raised, with the time of the next step.
    raises: BTreeMap<Vip, Instant>,
    /// Load-balancers of which something is being drained.
    draining: BTreeSet<LoadBalancerId>,
    /// When they are looked at.
    next_look: Instant,
    reconcile_interval: Duration,
    next_reconcile: Instant,
    /// When all of the kernel is read again, at the next look after that.
    next_whole_look: Instant,
    /// How long that took the last time.
    look: Duration,
}

impl<W: World> Controller<W> {
    /// Takes over what the store holds. The kernel is neither read nor changed before the first [`reconcile`](Self::reconcile).
    ///
    /// # Errors
    /// The store contradicts itself.
    pub fn new(
        mut drivers: Drivers<W>,
        snapshot: Snapshot,
        board: Arc<Board>,
        reconcile_interval: Duration,
        now: Instant,
    ) -> Result<Self, Contradiction> {
        let state = State::restore(snapshot.load_balancers, snapshot.last_serial)?;
        let mut by_release: Vec<(u64, Vip)> = snapshot.released.iter().map(|(vip, serial)| (*serial, *vip)).collect();
        by_release.sort_unstable();
        let last_release = by_release.last().map_or(0, |(serial, _)| *serial);
        drivers.pool.restore(state.vips().collect(), by_release.into_iter().map(|(_, vip)| vip).collect());
        let mut peers = snapshot.peers;
        if let Some(routing) = board.routing() {
            // Whatever is given as an option counts, and is no business of those who add and remove.
            let given: BTreeSet<_> = routing.peers().iter().map(|status| status.peer.address).collect();
            peers.retain(|address, _| !given.contains(address));
            peers.values().for_each(|peer| routing.add(peer));
        }
        board.post_used(state.last_serial() > 0);
        let mut controller = Self {
            drivers,
            board,
            state,
            observed: Observed::default(),
            avoid: Avoid::default(),
            released: snapshot.released,
            last_release,
            keys: Book::restore(snapshot.kept),
            peers: peers.into_keys().collect(),
            originals: snapshot.originals,
            acquired: BTreeMap::new(),
            inquiries: FuturesUnordered::new(),
            creations: BTreeMap::new(),
            last_creation: 0,
            wanted: BTreeSet::new(),
            waiting: BTreeMap::new(),
            queue: VecDeque::new(),
            is_declared: false,
            declaration: None,
            declarations: VecDeque::new(),
            kept: BTreeSet::new(),
            retries: BTreeMap::new(),
            unserved: BTreeMap::new(),
            watched: Watched::default(),
            raises: BTreeMap::new(),
            draining: BTreeSet::new(),
            next_look: now,
            reconcile_interval,
            next_reconcile: now,
            next_whole_look: now,
            look: Duration::ZERO,
        };
        let load_balancers: Vec<_> = controller.state.load_balancers().cloned().collect();
        let mut known = Vec::with_capacity(load_balancers.len());
        for load_balancer in load_balancers {
            let restored = Change { before: None, after: Some(load_balancer) };
            let Some(load_balancer) = controller.informed(restored).after else { continue };
            if load_balancer.drains() {
                controller.draining.insert(load_balancer.id);
            }
            controller.watch(&load_balancer, true);
            known.push(load_balancer);
        }
        controller.board.restore(known);
        Ok(controller)
    }

    /// From now on load-balancers of the configuration file are changed by [declarations](crate::command::Declaration) alone. Without
    /// a file, those that one had before can be changed like all others.
    pub fn expect_declarations(&mut self) {
        self.is_declared = true;
    }

    /// What balances, for what is no business of the state: who takes connections while one process goes on for another.
    pub fn dataplane(&mut self) -> &mut W::Dataplane {
        &mut self.drivers.dataplane
    }

    /// Ends, and leaves nothing but what balances: that goes on as it is.
    pub fn into_dataplane(self) -> W::Dataplane {
        self.drivers.dataplane
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Who gets the next connection, as IPVS decides it (net/netfilter/ipvs). Pure: time is an argument, and what a destination is to
//! others is a handle that is only carried along.
//!
//! `rounds` has the schedulers that go round or count, `hashed` those that look at the client; `persistence` remembers clients.
//!
//! Destinations stand in the order in which they were added, which is the order of the list that a user sees: those that go round begin
//! with the first. The kernel's list is the other way round, and `hashed` reads it so: `mh` and `sh` choose what a kernel with the same
//! backends chooses.

mod hashed;
mod persistence;
mod rounds;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, time::Instant};

use slb_core::{
    model::{BackendSettings, Scheduler, ServiceSettings, Target},
    statistics::Connections,
};

use self::{hashed::Table, persistence::Clients, rounds::Rounds};

/// The schedulers that there are in user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Each in turn.
    Rr,
    /// Each in turn, more often by its weight.
    Wrr,
    /// The one with the fewest connections.
    Lc,
    /// The one with the fewest connections for its weight.
    Wlc,
    /// By the client's address.
    Sh,
    /// By the client's address (Maglev).
    Mh,
}

impl Method {
    /// The scheduler, if there is it.
    pub fn of(scheduler: Scheduler) -> Option<Self> {
        match scheduler {
            Scheduler::Rr => Some(Self::Rr),
            Scheduler::Wrr => Some(Self::Wrr),
            Scheduler::Lc => Some(Self::Lc),
            Scheduler::Wlc => Some(Self::Wlc),
            Scheduler::Sh => Some(Self::Sh),
            Scheduler::Mh => Some(Self::Mh),
            Scheduler::Dh
            | Scheduler::Sed
            | Scheduler::Nq
            | Scheduler::Fo
            | Scheduler::Ovf
            | Scheduler::Lblc
            | Scheduler::Lblcr
            | Scheduler::Twos => None,
        }
    }
}

/// Names a destination for as long as it is there: one that goes and comes back is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DestinationId(u64);

/// A connection that was given to a destination. It counts until [`Balancer::end`].
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    destination: DestinationId,
    client: SocketAddr,
    is_active: bool,
}

/// Where a service sends connections.
#[derive(Debug)]
pub struct Destination<H> {
    id: DestinationId,
    target: Target,
    settings: BackendSettings,
    /// The last weight that was not 0, or the first one: `mh` keeps the places of what is only out for a while.
    last_weight: u16,
    /// Has had its upper threshold of connections, and has not fallen below the lower one since (`IP_VS_DEST_F_OVERLOAD`).
    is_overloaded: bool,
    active: u32,
    inactive: u32,
    handle: H,
}

/// A service with its destinations.
#[derive(Debug)]
pub struct Balancer<H> {
    method: Method,
    settings: ServiceSettings,
    destinations: Vec<Destination<H>>,
    next_id: u64,
    rounds: Rounds,
    /// Of `sh` and `mh`.
    table: Table,
    clients: Clients,
}

impl<H> Destination<H> {
    /// Where it listens.
    pub fn target(&self) -> Target {
        self.target
    }

    /// What was asked for.
    pub fn settings(&self) -> BackendSettings {
        self.settings
    }

    /// What was given with it.
    pub fn handle(&self) -> &H {
        &self.handle
    }

    fn weight(&self) -> u16 {
        self.settings.weight.get()
    }

    /// Whether it takes connections (`is_unavailable` in ip_vs_sh.c).
    fn is_available(&self, tried: &[Target]) -> bool {
        self.weight() > 0 && !self.is_overloaded && !tried.contains(&self.target)
    }

    fn total(&self) -> u32 {
        self.active.saturating_add(self.inactive)
    }

    /// Established connections count 256 times as much as others (`ip_vs_dest_conn_overhead`).
    fn overhead(&self) -> u64 {
        (u64::from(self.active) << 8) + u64::from(self.inactive)
    }

    /// At `ip_vs_bind_dest`.
    fn begin(&mut self) {
        self.inactive = self.inactive.saturating_add(1);
        let upper = self.settings.thresholds.upper();
        self.is_overloaded |= upper != 0 && self.total() >= upper;
    }

    /// At `ip_vs_unbind_dest`.
    fn end(&mut self, was_active: bool) {
        let count = if was_active { &mut self.active } else { &mut self.inactive };
        *count = count.saturating_sub(1);
        let (upper, lower) = (self.settings.thresholds.upper(), self.settings.thresholds.lower());
        let total = u64::from(self.total());
        self.is_overloaded &= match (lower, upper) {
            (0, 0) => false,
            (0, upper) => total * 4 >= u64::from(upper) * 3,
            (lower, _) => total >= u64::from(lower),
        };
    }

    /// At `__ip_vs_update_dest`.
    fn set(&mut self, settings: BackendSettings) {
        if settings.weight.get() != 0 {
            self.last_weight = settings.weight.get();
        }
        let (before, upper) = (self.settings.thresholds.upper(), settings.thresholds.upper());
        self.is_overloaded &= upper != 0 && upper <= before;
        self.settings = settings;
    }
}

impl<H: Clone> Balancer<H> {
    /// One without destinations.
    pub fn new(method: Method, settings: ServiceSettings) -> Self {
        Self {
            method,
            settings,
            destinations: Vec::new(),
            next_id: 0,
            rounds: Rounds::default(),
            table: Table::default(),
            clients: Clients::default(),
        }
    }

    /// What was asked for.
    pub fn settings(&self) -> ServiceSettings {
        self.settings
    }

    /// Balances otherwise from now on. Connections and, as in the kernel, clients that are remembered stay.
    pub fn set(&mut self, method: Method, settings: ServiceSettings) {
        if self.method != method {
            self.rounds = Rounds::default();
        }
        self.method = method;
        self.settings = settings;
        self.changed();
    }

    /// Every destination, in the order in which they were added.
    pub fn destinations(&self) -> &[Destination<H>] {
        &self.destinations
    }

    /// Adds the destination, or changes the one that is there.
    pub fn put(&mut self, target: Target, settings: BackendSettings, handle: impl FnOnce() -> H) {
        match self.destinations.iter_mut().find(|each| each.target == target) {
            Some(there) => there.set(settings),
            None => {
                let id = DestinationId(self.next_id);
                self.next_id += 1;
                let last_weight = settings.weight.get();
                let handle = handle();
                let new = Destination {
                    id,
                    target,
                    settings,
                    last_weight,
                    is_overloaded: false,
                    active: 0,
                    inactive: 0,
                    handle,
                };
                self.destinations.push(new);
            }
        }
        self.changed();
    }

    /// Takes the destination out; nothing of it is counted any more.
    pub fn remove(&mut self, target: Target) -> Option<H> {
        let index = self.destinations.iter().position(|each| each.target == target)?;
        let gone = self.destinations.remove(index);
        self.rounds.removed(index);
        self.clients.forget(gone.id);
        self.changed();
        Some(gone.handle)
    }

    fn changed(&mut self) {
        self.rounds.changed(self.method, &self.destinations);
        self.table = Table::of(self.method, &self.destinations);
    }

    /// The destination of a new connection, which counts as inactive for now; `None` if nobody takes it. Those that were `tried` in
    /// vain are passed over, also by schedulers and for clients that would stay with them.
    pub fn choose(&mut self, client: SocketAddr, now: Instant, tried: &[Target]) -> Option<(Ticket, Target, H)> {
        let index = match self.settings.persistence {
            None => self.schedule(client, tried)?,
            Some(persistence) => {
                self.clients.sweep(now);
                let network = persistence::network(client.ip(), persistence.granularity);
                let known = self.clients.destination(network).and_then(|id| self.index(id));
                // Without a weight it loses its clients, too (net.ipv4.vs.expire_quiescent_template, which slb sets).
                let stays = |index: &usize| {
                    self.destinations.get(*index).is_some_and(|it| it.weight() > 0 && !tried.contains(&it.target))
                };
                let index = match known.filter(stays) {
                    Some(index) => index,
                    None => self.schedule(client, tried)?,
                };
                let id = self.destinations.get(index)?.id;
                self.clients.remember(network, id, now + persistence::timeout(persistence));
                index
            }
        };
        let chosen = self.destinations.get_mut(index)?;
        chosen.begin();
        let ticket = Ticket { destination: chosen.id, client, is_active: false };
        Some((ticket, chosen.target, chosen.handle.clone()))
    }

    fn schedule(&mut self, client: SocketAddr, tried: &[Target]) -> Option<usize> {
        let is_available = |index: usize| self.destinations.get(index).is_some_and(|each| each.is_available(tried));
        match self.method {
            Method::Sh | Method::Mh => self.table.choose(client, self.settings.flags, !tried.is_empty(), is_available),
            Method::Rr | Method::Wrr | Method::Lc | Method::Wlc => {
                self.rounds.choose(self.method, &self.destinations, tried)
            }
        }
    }

    fn index(&self, id: DestinationId) -> Option<usize> {
        self.destinations.iter().position(|each| each.id == id)
    }

    /// The connection is established.
    pub fn establish(&mut self, ticket: &mut Ticket) {
        if ticket.is_active {
            return;
        }
        ticket.is_active = true;
        if let Some(index) = self.index(ticket.destination)
            && let Some(it) = self.destinations.get_mut(index)
        {
            it.inactive = it.inactive.saturating_sub(1);
            it.active = it.active.saturating_add(1);
        }
    }

    /// The connection is over. Its client is remembered from now on for as long as it is to be, as far as it is.
    pub fn end(&mut self, ticket: Ticket, now: Instant) {
        if let Some(index) = self.index(ticket.destination)
            && let Some(it) = self.destinations.get_mut(index)
        {
            it.end(ticket.is_active);
        }
        if let Some(persistence) = self.settings.persistence {
            self.clients.ended(
                persistence::network(ticket.client.ip(), persistence.granularity),
                ticket.destination,
                now,
            );
        }
    }

    /// The connections that a destination has now, and the clients that are remembered.
    pub fn connections(&mut self, now: Instant) -> Vec<(Target, Connections)> {
        self.clients.sweep(now);
        let of = |each: &Destination<H>| Connections {
            active: each.active,
            inactive: each.inactive,
            persistent: self.clients.count(each.id),
        };
        self.destinations.iter().map(|each| (each.target, of(each))).collect()
    }
}

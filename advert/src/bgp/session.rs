// SPDX-License-Identifier: Apache-2.0
//! One connection to a peer, from the first message to the last: the states OpenSent, OpenConfirm and Established of RFC 4271,
//! section 8. Pure: bytes and the time come in, bytes go out. Connecting, and trying again, is the task's business.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use slb_core::{
    model::Family,
    peer::{NextHop, Peer, RestartTime},
    prefix::Prefix,
    routing::{Agreed, Messages, Traffic},
};

use super::{
    collision::Identity,
    notification::Notification,
    open::{Capabilities, GracefulRestart, IPV4_UNICAST, IPV6_UNICAST, Open},
    update::{self, Attributes, can_be_next_hop},
    wire::{self, Framer, Message},
};

/// How long a peer may take to say who it is (RFC 4271, section 8.2.2, "a large value").
const PATIENCE: Duration = Duration::from_secs(240);

/// Who slb is to its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// The own AS number.
    pub asn: u32,
    /// The own BGP identifier; the address of the host, by custom.
    pub router_id: Ipv4Addr,
    /// Where routers send packets to VIPs of IPv6. `None` is the own address of each session, which over IPv4 is none.
    pub next_hop_ipv6: Option<Ipv6Addr>,
}

impl Speaker {
    /// One that names no next hop.
    #[must_use]
    pub const fn new(asn: u32, router_id: Ipv4Addr) -> Self {
        Self { asn, router_id, next_hop_ipv6: None }
    }
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The peer has not said who it is.
    OpenSent,
    /// It has, and did not confirm yet that it knows who slb is.
    OpenConfirm,
    /// Routes may be sent.
    Established,
}

/// What became of what was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer has said who it is.
    Met,
    /// Routes may be sent from now on.
    Established,
    /// All of them are to be sent once more.
    Refresh,
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The peer said so.
    #[error("the peer ended the session: {0}")]
    Said(Notification),
    /// The peer did something that it must not; the answer is on its way out.
    #[error("{why} (answered with: {answer})")]
    Answered {
        /// What it did.
        why: String,
        /// What it is told.
        answer: Notification,
    },
}

/// A session.
#[derive(Debug)]
pub struct Session {
    speaker: Speaker,
    peer: Peer,
    /// The own address of the connection.
    local: IpAddr,
    phase: Phase,
    framer: Framer,
    output: Vec<u8>,
    /// Since it was last taken.
    traffic: Traffic,
    /// Agreed upon; zero for none.
    hold_time: Duration,
    /// When the peer has been silent for too long; `None` for never.
    hold_until: Option<Instant>,
    keepalive_at: Option<Instant>,
    /// What the peer said of itself.
    met: Option<Open>,
    /// Whether the peer is to prefer other ways.
    draining: bool,
    /// How routes of each family are sent, or why none can be.
    routes: BTreeMap<Family, Result<Attributes, String>>,
}

impl Session {
    /// Begins on a connection that stands. `restarted` says that this process is new, and that the peer has routes of the one before.
    pub fn new(speaker: Speaker, peer: Peer, local: IpAddr, restarted: bool, now: Instant) -> Self {
        let families = BTreeSet::from([IPV4_UNICAST, IPV6_UNICAST]);
        let settings = &peer.settings;
        let restart_time = settings.restart_time();
        let graceful_restart = (restart_time != RestartTime::NONE).then(|| GracefulRestart {
            restarted,
            time: restart_time.into(),
            preserved: families.clone(),
        });
        let open = Open {
            asn: speaker.asn,
            hold_time: settings.hold_time().seconds(),
            identifier: speaker.router_id,
            can: Capabilities {
                families,
                route_refresh: true,
                four_octet_as: true,
                ipv4_over_ipv6: settings.next_hop.map_or(local.is_ipv6(), |hop| hop.address().is_ipv6()),
                graceful_restart,
            },
        };
        Self {
            speaker,
            peer,
            local: local.to_canonical(),
            phase: Phase::OpenSent,
            framer: Framer::default(),
            output: open.encode(),
            traffic: Traffic { sent: Messages { open: 1, ..Messages::default() }, ..Traffic::default() },
            hold_time: Duration::ZERO,
            hold_until: Some(now + PATIENCE),
            keepalive_at: None,
            met: None,
            draining: false,
            routes: BTreeMap::new(),
        }
    }

    /// How far it has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Who the peer is, once it has said so.
    pub(super) fn identity(&self) -> Option<Identity> {
        let restarts = |open: &Open| open.can.graceful_restart.is_some();
        self.met.as_ref().map(|open| Identity { identifier: open.identifier, asn: open.asn, restarts: restarts(open) })
    }

    /// What is to be sent.
    pub fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// The messages since the last time.
    pub(super) fn traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

    /// What was agreed upon, once the session is established.
    pub(super) fn agreed(&self) -> Option<Agreed> {
        let open = self.met.as_ref().filter(|_| self.phase == Phase::Established)?;
        Some(Agreed {
            local_address: self.local,
            router_id: open.identifier,
            hold_time: self.hold_time,
            four_octet_as: open.can.four_octet_as,
            graceful_restart: open.can.graceful_restart.is_some()
                && self.peer.settings.restart_time() != RestartTime::NONE,
            next_hop: self.next_hop_of(Family::Ipv4),
            next_hop_ipv6: self.next_hop_of(Family::Ipv6),
        })
    }

    /// When [`tick`](Self::tick) is due.
    pub fn deadline(&self) -> Option<Instant> {
        [self.hold_until, self.keepalive_at].into_iter().flatten().min()
    }

    fn next_hop_of(&self, family: Family) -> Option<IpAddr> {
        self.routes.get(&family)?.as_ref().ok().map(|attributes| attributes.next_hop)
    }

    /// Why no routes of a family are sent although the session stands.
    pub fn mute(&self, family: Family) -> Option<&str> {
        match (self.routes.get(&family), self.phase) {
            (Some(Err(why)), Phase::Established) => Some(why),
            _ => None,
        }
    }

    /// Does what is due.
    ///
    /// # Errors
    /// The peer was silent for too long.
    pub fn tick(&mut self, now: Instant) -> Result<(), Ended> {
        if self.hold_until.is_some_and(|at| at <= now) {
            let is_timed = self.phase != Phase::OpenSent && !self.hold_time.is_zero();
            let silence = if is_timed { self.hold_time } else { PATIENCE };
            let why = format!("the peer was silent for {} s", silence.as_secs());
            return Err(self.answer(why, Notification::new(Notification::HOLD_TIMER_EXPIRED, [])));
        }
        if self.keepalive_at.is_some_and(|at| at <= now) {
            self.keepalive(now);
        }
        Ok(())
    }

    /// Takes what arrived.
    ///
    /// # Errors
    /// The session is over; what is left to send is its [`output`](Self::output).
    pub fn hear(&mut self, bytes: &[u8], now: Instant) -> Result<Vec<Event>, Ended> {
        self.framer.push(bytes);
        let mut events = Vec::new();
        loop {
            match self.framer.next() {
                Ok(None) => return Ok(events),
                Ok(Some(message)) => events.extend(self.take(message, now)?),
                Err(answer) => return Err(self.answer(format!("the peer sent what is no message: {answer}"), answer)),
            }
        }
    }

    fn take(&mut self, message: Message, now: Instant) -> Result<Option<Event>, Ended> {
        let received = &mut self.traffic.received;
        match message {
            Message::Open(_) => received.open += 1,
            Message::Update => received.update += 1,
            Message::Notification(_) => received.notification += 1,
            Message::Keepalive => received.keepalive += 1,
            Message::RouteRefresh => received.route_refresh += 1,
        }
        if let Message::Notification(notification) = message {
            return Err(Ended::Said(notification));
        }
        match (self.phase, message) {
            (Phase::OpenSent, Message::Open(open)) => {
                self.meet(&open)?;
                self.met = Some(open);
                self.phase = Phase::OpenConfirm;
                self.heard(now);
                // A session without timers begins with one all the same.
                self.hold_until = self.hold_until.or(Some(now + PATIENCE));
                self.keepalive(now);
                Ok(Some(Event::Met))
            }
            (Phase::OpenConfirm, Message::Keepalive) => {
                self.phase = Phase::Established;
                self.heard(now);
                Ok(Some(Event::Established))
            }
            (Phase::Established, Message::Keepalive | Message::Update) => {
                self.heard(now);
                Ok(None)
            }
            (Phase::Established, Message::RouteRefresh) => {
                self.heard(now);
                Ok(Some(Event::Refresh))
            }
            (phase, _) => {
                let code = match phase {
                    Phase::OpenSent => Notification::UNEXPECTED_IN_OPEN_SENT,
                    Phase::OpenConfirm => Notification::UNEXPECTED_IN_OPEN_CONFIRM,
                    Phase::Established => Notification::UNEXPECTED_IN_ESTABLISHED,
                };
                Err(self.answer("the peer sent a message out of turn".to_owned(), Notification::new(code, [])))
            }
        }
    }

    /// Agrees with the peer, or does not.
    fn meet(&mut self, open: &Open) -> Result<(), Ended> {
        if open.asn != self.peer.asn.get() {
            let why = format!("the peer is AS {}, not AS {}", open.asn, self.peer.asn);
            return Err(self.answer(why, Notification::new(Notification::BAD_PEER_AS, [])));
        }
        let is_internal = open.asn == self.speaker.asn;
        if is_internal && open.identifier == self.speaker.router_id {
            let why = format!("the peer has the BGP identifier of this speaker, {}", open.identifier);
            return Err(self.answer(why, Notification::new(Notification::BAD_IDENTIFIER, [])));
        }
        self.hold_time = Duration::from(self.peer.settings.hold_time()).min(Duration::from_secs(open.hold_time.into()));
        let families = [Family::Ipv4, Family::Ipv6].into_iter();
        self.routes = families.map(|family| (family, self.attributes(family, is_internal, &open.can))).collect();
        Ok(())
    }

    fn attributes(&self, family: Family, is_internal: bool, can: &Capabilities) -> Result<Attributes, String> {
        if !can.takes(family) {
            return Err(format!("the peer takes no {family} routes"));
        }
        let settings = &self.peer.settings;
        let next_hop = match family {
            Family::Ipv4 => self.next_hop_ipv4(can)?,
            Family::Ipv6 => self.next_hop_ipv6()?,
        };
        Ok(Attributes {
            asn: self.speaker.asn,
            is_internal,
            four_octet_as: can.four_octet_as,
            next_hop,
            prepend: settings.prepend().get(),
            med: settings.med,
            local_preference: settings.local_pref(),
            communities: settings.communities().collect(),
        })
    }

    fn next_hop_ipv4(&self, can: &Capabilities) -> Result<IpAddr, String> {
        // Peers on this host reach it by the loopback adapter, which is nobody's next hop.
        let own = if can_be_next_hop(self.local) { self.local } else { self.speaker.router_id.into() };
        let next_hop = self.peer.settings.next_hop.map_or(own, NextHop::address);
        if next_hop.is_ipv6() && !can.ipv4_over_ipv6 {
            return Err(
                "the peer takes no IPv4 routes with an IPv6 next hop (RFC 8950): give it an IPv4 next hop".to_owned()
            );
        }
        Ok(next_hop)
    }

    fn next_hop_ipv6(&self) -> Result<IpAddr, String> {
        next_hop_ipv6(self.speaker, &self.peer, self.local)
            .ok_or_else(|| "IPv6 routes need a next hop of IPv6: see --bgpNextHopIpv6, or peer over IPv6".to_owned())
    }

    /// From now on, routes are sent so that the peer prefers other ways (RFC 8326), or as they were.
    pub(super) fn drain(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// Sends routes. Does nothing before the session is established: all of them are sent then.
    pub fn announce(&mut self, prefixes: &[Prefix]) {
        let draining = self.draining;
        self.update_each(prefixes, |family, attributes, prefixes| match draining {
            true => update::announce(family, &attributes.draining(), prefixes),
            false => update::announce(family, attributes, prefixes),
        });
    }

    /// Takes routes back.
    pub fn withdraw(&mut self, prefixes: &[Prefix]) {
        self.update_each(prefixes, |family, attributes, prefixes| {
            update::withdraw(family, attributes.next_hop, prefixes)
        });
    }

    /// Sends what there is to say of the routes of each family, as far as there is any and it can be sent.
    fn update_each(&mut self, prefixes: &[Prefix], say: impl Fn(Family, &Attributes, &[Prefix]) -> Vec<Vec<u8>>) {
        if self.phase != Phase::Established {
            return;
        }
        let mut messages = Vec::new();
        for (family, attributes) in &self.routes {
            let own: Vec<Prefix> = prefixes.iter().copied().filter(|prefix| prefix.family() == *family).collect();
            if let Ok(attributes) = attributes {
                messages.extend(say(*family, attributes, &own));
            }
        }
        self.update(&messages);
    }

    /// Says that all routes have been sent.
    pub fn end_of_routes(&mut self) {
        if let Some(open) = self.met.as_ref().filter(|_| self.phase == Phase::Established) {
            let families = [Family::Ipv4, Family::Ipv6].into_iter().filter(|family| open.can.takes(*family));
            let messages: Vec<_> = families.map(update::end_of_routes).collect();
            self.update(&messages);
        }
    }

    /// Ends the session for good.
    pub fn leave(&mut self, code: (u8, u8), communication: &str) {
        self.notify(&Notification::leaving(code, communication));
    }

    fn answer(&mut self, why: String, answer: Notification) -> Ended {
        self.notify(&answer);
        Ended::Answered { why, answer }
    }

    fn notify(&mut self, notification: &Notification) {
        self.traffic.sent.notification += 1;
        self.output.extend(wire::notification(notification));
    }

    fn update(&mut self, messages: &[Vec<u8>]) {
        self.traffic.sent.update += messages.len() as u64;
        self.output.extend(messages.concat());
    }

    fn heard(&mut self, now: Instant) {
        self.hold_until = (!self.hold_time.is_zero()).then(|| now + self.hold_time);
    }

    fn keepalive(&mut self, now: Instant) {
        self.traffic.sent.keepalive += 1;
        self.output.extend(wire::keepalive());
        self.keepalive_at = (!self.hold_time.is_zero()).then(|| now + self.hold_time / 3);
    }
}

/// Whether routes of IPv6 would have a next hop in a session with this peer.
pub(super) fn may_announce_ipv6(speaker: Speaker, peer: &Peer) -> bool {
    // Its own end has an address like the other: of the same family, and on this host alone if that is.
    next_hop_ipv6(speaker, peer, peer.address.address()).is_some()
}

/// A next hop of IPv6 that is asked for of the peer is for both families.
fn next_hop_ipv6(speaker: Speaker, peer: &Peer, local: IpAddr) -> Option<IpAddr> {
    let asked_for = peer.settings.next_hop.map(NextHop::address).filter(IpAddr::is_ipv6);
    let own = Some(local).filter(|local| local.is_ipv6() && can_be_next_hop(*local));
    asked_for.or(speaker.next_hop_ipv6.map(IpAddr::V6)).or(own)
}

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: Apache-2.0
//! Where VIPs are announced to routers: who is told, how each is doing, and what it is told.

pub mod rehearsal;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    ops::AddAssign,
    time::{Duration, SystemTime},
};

use crate::{
    model::{Family, Invalid},
    peer::{Peer, PeerAddress},
    prefix::Prefix,
};

/// What announces routes. Nothing here waits: sessions come and go in the background.
pub trait Routing: fmt::Debug + Send + Sync {
    /// How each peer is doing, in the order of their addresses.
    fn peers(&self) -> Vec<PeerStatus>;

    /// Why nothing is known of the peers; `None` if they are as [`peers`](Self::peers) says.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// What every peer is told of, in order.
    fn routes(&self) -> Vec<Prefix>;

    /// Those of them that this peer would be told of if it takes both families, in order; whether it is there or not.
    fn routes_for(&self, _: &Peer) -> Vec<Prefix> {
        self.routes()
    }

    /// Who keeps the peers, if they are not slb's to add and remove: in words that follow "the peers are those of".
    fn peers_belong_to(&self) -> Option<String> {
        None
    }

    /// Tells one more router of all VIPs. One that is there gets the new settings with a new session.
    fn add(&self, peer: &Peer);

    /// Ends the session with a router for good: it forgets the routes at once.
    fn remove(&self, address: PeerAddress);

    /// Asks all routers to prefer other ways, and ends the sessions a while later. Once more, it is as asked for last, but for what has
    /// ended already. It is not remembered over a restart.
    fn shut_down(&self, shutdown: Shutdown);

    /// Takes that back.
    fn come_back(&self);

    /// Whether that was asked for.
    fn shutdown(&self) -> Option<ShutdownStatus>;
}

/// A graceful shutdown (RFC 8326) that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long routers have for finding other ways.
    pub after: Duration,
    /// For the operators of the routers.
    pub words: Words,
}

/// A graceful shutdown that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownStatus {
    /// When sessions end.
    pub ends: SystemTime,
    /// Whether they have.
    pub is_down: bool,
    /// For the operators of the routers.
    pub words: Words,
}

/// What a session ends with, for people (RFC 9003): up to 255 bytes without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(String);

impl Words {
    /// Bytes, at most.
    pub const LONGEST: usize = 255;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Words {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        if text.len() > Self::LONGEST || text.chars().any(char::is_control) {
            return Err(Invalid(format!("words are up to {} bytes without control characters", Self::LONGEST)));
        }
        Ok(Self(text))
    }
}

/// How far the session with a peer has come (RFC 4271, section 8.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Waits before it tries again.
    Idle,
    /// Connects.
    Connect,
    /// Waits for the peer to connect.
    Active,
    /// Has said who it is.
    OpenSent,
    /// Knows who the peer is.
    OpenConfirm,
    /// Routes are announced.
    Established,
}

/// How a peer is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who it is, and what was asked for of it: for itself, or for all peers.
    pub peer: Peer,
    /// How far the session has come.
    pub state: PeerState,
    /// Since when it is established, or is not.
    pub since: SystemTime,
    /// How often it was established.
    pub times_established: u64,
    /// How often it was connected to.
    pub connection_attempts: u64,
    /// Why the session last ended or could not begin, or why no routes are announced. Nothing once it is well again.
    pub last_error: Option<String>,
    /// Since the peer was added.
    pub traffic: Traffic,
    /// What was agreed upon, while the session is established.
    pub session: Option<Agreed>,
    /// How many routes it has been told of and not taken back.
    pub routes_announced: usize,
}

impl PeerStatus {
    /// A peer that has just been added.
    #[must_use]
    pub fn new(peer: Peer, since: SystemTime) -> Self {
        Self {
            peer,
            state: PeerState::Idle,
            since,
            times_established: 0,
            connection_attempts: 0,
            last_error: None,
            traffic: Traffic::default(),
            session: None,
            routes_announced: 0,
        }
    }
}

/// Messages to and from a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// To it.
    pub sent: Messages,
    /// From it.
    pub received: Messages,
}

/// How many messages there were, by type (RFC 4271, section 4; RFC 2918).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are named as the messages are")]
pub struct Messages {
    pub open: u64,
    pub update: u64,
    pub notification: u64,
    pub keepalive: u64,
    pub route_refresh: u64,
}

impl AddAssign for Messages {
    fn add_assign(&mut self, more: Self) {
        self.open += more.open;
        self.update += more.update;
        self.notification += more.notification;
        self.keepalive += more.keepalive;
        self.route_refresh += more.route_refresh;
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, more: Self) {
        self.sent += more.sent;
        self.received += more.received;
    }
}

/// What both ends of an established session agreed upon, and who the peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The own address of the connection.
    pub local_address: IpAddr,
    /// The peer's BGP identifier.
    pub router_id: Ipv4Addr,
    /// The shorter one of the two that were proposed; zero for none.
    pub hold_time: Duration,
    /// Whether the peer reads AS numbers of four bytes.
    pub four_octet_as: bool,
    /// Whether the peer keeps routes while slb restarts (RFC 4724).
    pub graceful_restart: bool,
    /// Of all IPv4 routes; `None` where none are announced.
    pub next_hop: Option<IpAddr>,
    /// Of all IPv6 routes; `None` where none are announced.
    pub next_hop_ipv6: Option<IpAddr>,
}

impl Agreed {
    /// Whether routes of a family are announced.
    #[must_use]
    pub fn announces(&self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.next_hop.is_some(),
            Family::Ipv6 => self.next_hop_ipv6.is_some(),
        }
    }
}

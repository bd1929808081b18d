// SPDX-License-Identifier: Apache-2.0
//! Has a GoBGP that runs already tell routers where a VIP lives: puts a /32 or /128 for each into its table, over gRPC.
//!
//! Reading order: `path` (what a route looks like to GoBGP; pure) – `client` (its API, in two versions) – `status` (a peer as it
//! describes it) – `board` (what is to be, and what is) – `task` (connects, brings the daemon's table in line, keeps it there).
//!
//! Peers are the daemon's own affair. Routes that others put into its table stay; those that slb put there bear its mark, so that what
//! an earlier process left is found again.

mod board;
mod client;
mod path;
mod status;
mod task;
mod wire;

use std::{
    fmt,
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::SystemTime,
};

use slb_core::{
    events::Journal,
    model::Vip,
    peer::{Peer, PeerAddress},
    ports::{Advertiser, Cause, Probe, Verdict},
    prefix::{Aggregation, Prefix},
    routing::{PeerStatus, Routing, Shutdown, ShutdownStatus},
    step::AdvertStep,
};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tracing::warn;

pub use self::path::Attributes;
use self::{
    board::Board,
    path::{Change, Form},
    task::Task,
};

/// The port of GoBGP's API.
const PORT: u16 = 50051;

/// Where a GoBGP listens to its API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Daemon(SocketAddr);

/// Why a text says no such place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as ADDRESS:PORT, like 127.0.0.1:50051, an IPv6 address in brackets")]
pub struct BadDaemon;

impl FromStr for Daemon {
    type Err = BadDaemon;

    /// `127.0.0.1:50051`, `[::1]:50051`, or only the address: then the port is GoBGP's default.
    fn from_str(text: &str) -> Result<Self, BadDaemon> {
        let alone = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT));
        let address = text.parse().or_else(|_| alone()).map_err(|_| BadDaemon)?;
        let is_a_host = !address.ip().is_unspecified() && !address.ip().is_multicast() && address.port() != 0;
        if is_a_host { Ok(Self(address)) } else { Err(BadDaemon) }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Advertises VIPs through a GoBGP. Clones are handles of the same connection; it ends with the last of them, and the routes stay.
#[derive(Clone, Debug)]
pub struct Gobgp {
    daemon: Daemon,
    form: Form,
    attributes: Attributes,
    board: Board,
    changes: UnboundedSender<Vec<Change>>,
}

/// What [`Gobgp::begin`] needs, once.
#[derive(Debug)]
pub struct Beginning(UnboundedReceiver<Vec<Change>>);

impl Gobgp {
    /// Nothing is asked of the daemon yet. `node` tells the routes of this host from those of others that use the same daemon: an
    /// address of this host, by custom, or 0.0.0.0 where nobody else does. VIPs are announced as the networks around them that
    /// `aggregation` says.
    #[must_use]
    pub fn new(daemon: Daemon, node: Ipv4Addr, attributes: Attributes, aggregation: Aggregation) -> (Self, Beginning) {
        let (changes, changed) = mpsc::unbounded_channel();
        let (form, board) = (Form::new(node, &attributes), Board::new(daemon, aggregation));
        (Self { daemon, form, attributes, board, changes }, Beginning(changed))
    }

    /// Has it tell of sessions that come and go from now on.
    pub fn tell(&self, journal: Arc<Journal>) {
        self.board.tell(journal);
    }

    /// Connects, and goes on for as long as there is a handle. Call this when the routes of a start have been applied: marked routes
    /// that are not among them are withdrawn. Within a tokio runtime.
    pub fn begin(&self, Beginning(changes): Beginning) {
        let task = Task {
            daemon: self.daemon,
            form: self.form.clone(),
            attributes: self.attributes.clone(),
            board: self.board.clone(),
            began: SystemTime::now(),
            changes,
        };
        tokio::spawn(task.run());
    }
}

impl Routing for Gobgp {
    fn peers(&self) -> Vec<PeerStatus> {
        self.board.peers().unwrap_or_default()
    }

    fn trouble(&self) -> Option<String> {
        self.board.peers().err()
    }

    fn routes(&self) -> Vec<Prefix> {
        self.board.routes()
    }

    fn peers_belong_to(&self) -> Option<String> {
        Some(format!("GoBGP at {}", self.daemon))
    }

    fn add(&self, peer: &Peer) {
        warn!(peer = %peer.address, "this peer was added over the API; it is not told anything while GoBGP at {} announces", self.daemon);
    }

    /// None was added.
    fn remove(&self, _: PeerAddress) {}

    /// The sessions are the daemon's.
    fn shut_down(&self, _: Shutdown) {}

    fn come_back(&self) {}

    fn shutdown(&self) -> Option<ShutdownStatus> {
        None
    }
}

impl Advertiser for Gobgp {
    /// A route is not a claim that another host could contradict: every address is free.
    fn probe(&self, _: Vip) -> impl Future<Output = Result<Probe, Cause>> + Send + 'static {
        std::future::ready(Ok(Probe::Free))
    }

    /// Always succeeds: what the daemon has missed while it was away, it hears when it is back.
    async fn apply(&mut self, steps: &[AdvertStep]) -> Vec<Verdict> {
        // What is sent before the beginning waits, and is on the board as well.
        let _ = self.changes.send(self.board.change(steps));
        steps.iter().map(|_| Verdict::Applied).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_an_address_with_or_without_a_port() {
        let daemon = |text: &str| text.parse::<Daemon>().map(|daemon| daemon.to_string());
        for (text, is) in [
            ("127.0.0.1:50051", "127.0.0.1:50051"),
            ("127.0.0.1", "127.0.0.1:50051"),
            ("[::1]:50052", "[::1]:50052"),
            ("::1", "[::1]:50051"),
        ] {
            assert_eq!(daemon(text), Ok(is.to_owned()));
        }
        for text in
            ["", "localhost", "127.0.0.1:", "127.0.0.1:0", "0.0.0.0:50051", "127.0.0.1:65536", "http://127.0.0.1"]
        {
            assert_eq!(daemon(text), Err(BadDaemon), "{text}");
        }
    }
}

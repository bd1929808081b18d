// SPDX-License-Identifier: Apache-2.0
//! The port of what checks backends: it is told the whole set of what to ask, and tells what changes.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    health::Standing,
    model::{LoadBalancerId, Mark, Port, ProxyProtocol, Vip, check::Check},
};

/// Something that is asked. All load-balancers that ask the same share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watch {
    /// Where the backend listens. The check may ask another port.
    pub target: SocketAddr,
    /// What it is asked and how often.
    pub check: Arc<Check>,
    /// The way, unless it is asked directly.
    pub through: Option<Through>,
    /// How its connections begin, if the backend is told of its clients: with that the connection is this host's own.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// The way of a check that asks a backend for a VIP as clients do: the question carries a firewall mark, by which IPVS sends it on to this
/// backend alone, routed directly or through its tunnel. So a backend that does not have the VIP is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Through {
    /// What the backend is asked for.
    pub vip: Vip,
    /// The port that clients connect to. The check may ask another one.
    pub port: Port,
    /// The mark of a service of the data plane whose only backend it is.
    pub mark: Mark,
}

impl Watch {
    /// Whether it asks the same in the same way, be it at other times or by another way.
    #[must_use]
    pub fn asks_as(&self, other: &Self) -> bool {
        self.check.asks_as(&other.check) && self.proxy_protocol == other.proxy_protocol
    }

    /// Where it is asked.
    #[must_use]
    pub fn asked(&self) -> SocketAddr {
        let (address, port) = match self.through {
            None => (self.target.ip(), self.target.port()),
            Some(Through { vip, port, .. }) => (vip.address(), port.get()),
        };
        SocketAddr::new(address, self.check.port.map_or(port, Port::get))
    }
}

/// How something that is asked does, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Whether it is up.
    pub standing: Standing,
    /// Since when.
    pub since: SystemTime,
}

/// How something that nobody has asked yet begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// It is up until it fails, and its first check decides.
    New,
    /// It is as it was before a restart, and takes as much to change as ever.
    Known(Known),
    /// It asks what this one asks or has asked, at other times or with other counts that decide, and goes on from there.
    After(Watch),
}

/// A backend is out, or back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What was asked.
    pub watch: Watch,
    /// How it is now, and since when.
    pub now: Known,
    /// Why, in words that follow "it is down:"; what was missing in the last answer. `None` if it is up.
    pub reason: Option<String>,
}

/// What is known of something that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it does; up, before it was asked for the first time.
    pub now: Known,
    /// The last check that ended; `None` before the first.
    pub last: Option<LastCheck>,
}

/// A check that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastCheck {
    /// When it began.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Why it failed, if it did: in words for the operator, on one line.
    pub error: Option<String>,
}

/// What checks backends, in the background.
pub trait Checker: Send {
    /// Says all that is to be asked for a load-balancer from now on; nothing, if it is gone. The same set twice costs a comparison.
    ///
    /// What is asked already, for whomever, goes on as it is. What is new is asked at once.
    fn set(&mut self, owner: LoadBalancerId, watches: BTreeMap<Watch, Beginning>);

    /// What has changed since it was told last, at least one; of several changes of the same, the last, and none at all if it is as it
    /// was. Cancel-safe: what is not returned is told the next time.
    fn next(&mut self) -> impl Future<Output = Vec<Transition>> + Send;
}

/// What checks have found, for any number of readers. Nobody waits for a check.
pub trait Reports: fmt::Debug + Send + Sync {
    /// What is known of it; `None` if nobody asks it.
    fn report(&self, watch: &Watch) -> Option<Report>;
}

// SPDX-License-Identifier: Apache-2.0
//! What routers would be told if a peer came or went, or slb left gracefully or came back, without telling them.

use std::{fmt, time::Duration};

use super::{PeerStatus, Routing};
use crate::{
    peer::{Community, Peer, PeerAddress},
    prefix::Prefix,
};

/// What one router is told of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteStep {
    /// The route.
    pub route: Prefix,
    /// The router.
    pub peer: PeerAddress,
    /// What it is told.
    pub told: Told,
}

/// What is said of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It leads here.
    Advertise,
    /// It leads here, and any other way is better (RFC 8326).
    GracefulShutdown,
    /// It does not lead here any more, since the session ends after that time.
    Withdraw(Duration),
}

impl fmt::Display for RouteStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { route, peer, told } = self;
        match told {
            Told::Advertise => write!(f, "advertise {route} to {peer}"),
            Told::GracefulShutdown => {
                write!(f, "advertise {route} to {peer} with the community {}", Community::GRACEFUL_SHUTDOWN)
            }
            Told::Withdraw(Duration::ZERO) => write!(f, "withdraw {route} from {peer} as its session ends"),
            Told::Withdraw(after) => {
                write!(f, "withdraw {route} from {peer} as its session ends in {} s", after.as_secs_f64())
            }
        }
    }
}

/// With one more peer: what it is told once its session is up. During a shutdown that is what all of them are told.
#[must_use]
pub fn adding(routing: &dyn Routing, peer: &Peer) -> Vec<RouteStep> {
    match routing.shutdown() {
        None => promised(routing, peer),
        Some(shutdown) if shutdown.is_down => Vec::new(),
        Some(_) => with(&promised(routing, peer), Told::GracefulShutdown),
    }
}

/// Without one of them: it forgets what it has been told.
#[must_use]
pub fn removing(routing: &dyn Routing, address: PeerAddress) -> Vec<RouteStep> {
    let mut steps = announced(routing);
    steps.retain(|step| step.peer == address);
    with(&steps, Told::Withdraw(Duration::ZERO))
}

/// With a shutdown. Once more, all are told again, unless the sessions have ended.
#[must_use]
pub fn shutting_down(routing: &dyn Routing, after: Duration) -> Vec<RouteStep> {
    if routing.shutdown().is_some_and(|shutdown| shutdown.is_down) {
        return Vec::new();
    }
    let steps = announced(routing);
    [with(&steps, Told::GracefulShutdown), with(&steps, Told::Withdraw(after))].concat()
}

/// Without the shutdown: over new sessions, if the old ones have ended.
#[must_use]
pub fn coming_back(routing: &dyn Routing) -> Vec<RouteStep> {
    match routing.shutdown() {
        None => Vec::new(),
        Some(shutdown) if shutdown.is_down => {
            routing.peers().iter().flat_map(|status| promised(routing, &status.peer)).collect()
        }
        Some(_) => announced(routing),
    }
}

/// What a peer is told at the beginning of a session.
fn promised(routing: &dyn Routing, peer: &Peer) -> Vec<RouteStep> {
    let step = |route| RouteStep { route, peer: peer.address, told: Told::Advertise };
    routing.routes_for(peer).into_iter().map(step).collect()
}

/// What the peers have been told that have a session.
fn announced(routing: &dyn Routing) -> Vec<RouteStep> {
    let (routes, mut steps) = (routing.routes(), Vec::new());
    for PeerStatus { peer, session, .. } in routing.peers() {
        let Some(session) = session else { continue };
        let told = routes.iter().filter(|route| session.announces(route.family()));
        steps.extend(told.map(|route| RouteStep { route: *route, peer: peer.address, told: Told::Advertise }));
    }
    steps
}

fn with(steps: &[RouteStep], told: Told) -> Vec<RouteStep> {
    steps.iter().map(|step| RouteStep { told, ..*step }).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        net::IpAddr,
        num::NonZeroU32,
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::routing::{Agreed, Shutdown, ShutdownStatus, Words};

    /// The first of two peers has a session, for IPv4. A third could be told nothing of IPv6.
    #[derive(Debug)]
    struct Routers {
        is_down: Option<bool>,
    }

    fn peer(last: u8) -> Peer {
        Peer::new(IpAddr::from([10, 0, 0, last]).try_into().unwrap(), NonZeroU32::MIN)
    }

    impl Routing for Routers {
        fn peers(&self) -> Vec<PeerStatus> {
            let agreed = Agreed {
                local_address: [10, 0, 0, 254].into(),
                router_id: [10, 0, 0, 1].into(),
                hold_time: Duration::ZERO,
                four_octet_as: true,
                graceful_restart: true,
                next_hop: Some([10, 0, 0, 254].into()),
                next_hop_ipv6: None,
            };
            let [one, two] = [1, 2].map(|last| PeerStatus::new(peer(last), SystemTime::UNIX_EPOCH));
            vec![PeerStatus { session: Some(agreed).filter(|_| self.is_down != Some(true)), ..one }, two]
        }

        fn routes(&self) -> Vec<Prefix> {
            [("203.0.113.10", 24), ("2001:db8::10", 128)]
                .map(|(address, length)| Prefix::around(address.parse().unwrap(), length))
                .into()
        }

        fn routes_for(&self, peer: &Peer) -> Vec<Prefix> {
            let mut routes = self.routes();
            routes.truncate(if peer.address == self::peer(3).address { 1 } else { 2 });
            routes
        }

        fn add(&self, peer: &Peer) {
            panic!("{peer:?}");
        }

        fn remove(&self, address: PeerAddress) {
            panic!("{address}");
        }

        fn shut_down(&self, shutdown: Shutdown) {
            panic!("{shutdown:?}");
        }

        fn come_back(&self) {
            panic!("nobody is to come back");
        }

        fn shutdown(&self) -> Option<ShutdownStatus> {
            self.is_down.map(|is_down| ShutdownStatus {
                ends: SystemTime::UNIX_EPOCH,
                is_down,
                words: Words::default(),
            })
        }
    }

    /// Neither, draining and down.
    fn each(foreseen: impl Fn(&dyn Routing) -> Vec<RouteStep>) -> [Vec<String>; 3] {
        [None, Some(false), Some(true)]
            .map(|is_down| foreseen(&Routers { is_down }).iter().map(RouteStep::to_string).collect())
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn one_more_peer_is_told_what_all_are() {
        let [off, draining, down] = each(|routing| adding(routing, &peer(9)));
        assert_eq!(off, ["advertise 203.0.113.0/24 to 10.0.0.9", "advertise 2001:db8::10/128 to 10.0.0.9"]);
        let asked = off.iter().map(|step| format!("{step} with the community graceful-shutdown"));
        assert_eq!(draining, asked.collect::<Vec<_>>());
        assert_eq!(down, NONE);
        assert_eq!(each(|routing| adding(routing, &peer(3)))[0], ["advertise 203.0.113.0/24 to 10.0.0.3"]);
    }

    #[test]
    fn one_less_forgets_what_it_was_told() {
        let [off, draining, down] = each(|routing| removing(routing, peer(1).address));
        assert_eq!(off, ["withdraw 203.0.113.0/24 from 10.0.0.1 as its session ends"]);
        assert_eq!((&draining, down.len()), (&off, 0));
        assert_eq!(each(|routing| removing(routing, peer(2).address)).concat(), NONE);
    }

    #[test]
    fn a_shutdown_asks_and_withdraws_once() {
        let [off, draining, down] = each(|routing| shutting_down(routing, Duration::from_millis(90_500)));
        assert_eq!(
            off,
            [
                "advertise 203.0.113.0/24 to 10.0.0.1 with the community graceful-shutdown",
                "withdraw 203.0.113.0/24 from 10.0.0.1 as its session ends in 90.5 s",
            ]
        );
        assert_eq!((&draining, down.len()), (&off, 0));
    }

    #[test]
    fn coming_back_is_for_all_that_can_be_told() {
        let [off, draining, down] = each(coming_back);
        assert_eq!(off, NONE);
        assert_eq!(draining, ["advertise 203.0.113.0/24 to 10.0.0.1"]);
        assert_eq!(
            down,
            [
                "advertise 203.0.113.0/24 to 10.0.0.1",
                "advertise 2001:db8::10/128 to 10.0.0.1",
                "advertise 203.0.113.0/24 to 10.0.0.2",
                "advertise 2001:db8::10/128 to 10.0.0.2",
            ]
        );
    }
}

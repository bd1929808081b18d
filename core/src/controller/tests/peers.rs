// SPDX-License-Identifier: Apache-2.0
//! Peers that come and go.

use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU32, sync::Mutex, time::SystemTime};

use super::*;
use crate::{
    command::{PeerCommand, Tally},
    peer::{Peer, PeerAddress},
    ports::Snapshot,
    prefix::Prefix,
    rehearsal::Rehearsed,
    routing::{PeerStatus, Routing, Shutdown, ShutdownStatus, rehearsal::RouteStep},
};

#[derive(Debug, Default)]
struct Routers(Mutex<BTreeMap<PeerAddress, Peer>>);

impl Routing for Routers {
    fn peers(&self) -> Vec<PeerStatus> {
        let status = |peer: &Peer| PeerStatus::new(peer.clone(), SystemTime::UNIX_EPOCH);
        self.0.lock().unwrap().values().map(status).collect()
    }

    fn routes(&self) -> Vec<Prefix> {
        vec![Prefix::from(vip(85))]
    }

    fn add(&self, peer: &Peer) {
        self.0.lock().unwrap().insert(peer.address, peer.clone());
    }

    fn remove(&self, address: PeerAddress) {
        self.0.lock().unwrap().remove(&address);
    }

    fn shut_down(&self, _: Shutdown) {}

    fn come_back(&self) {}

    fn shutdown(&self) -> Option<ShutdownStatus> {
        None
    }
}

fn peer(last: u8, asn: u32) -> Peer {
    let address = IpAddr::from([10, 0, 0, last]).try_into().unwrap();
    Peer::new(address, NonZeroU32::new(asn).unwrap())
}

/// A controller on the disk of a world, with these peers given as options, and the routers it tells.
fn start(sim: &Sim, given: &[Peer]) -> (Controller<SimWorld>, Arc<Routers>) {
    let (board, routers) = (Arc::new(Board::default()), Arc::new(Routers::default()));
    given.iter().for_each(|peer| routers.add(peer));
    board.post_routing(Arc::clone(&routers) as Arc<dyn Routing>);
    let disk = sim.with(|remains| remains.disk.clone());
    (Controller::new(drivers(sim, &[]), disk, board, INTERVAL, Instant::now()).unwrap(), routers)
}

fn ask(controller: &mut Controller<SimWorld>, command: PeerCommand) -> Option<Result<Answer, Failure>> {
    ask_on(controller, command, Terms::default())
}

fn rehearse(controller: &mut Controller<SimWorld>, command: PeerCommand) -> Option<Result<Answer, Failure>> {
    ask_on(controller, command, Terms { rehearse: true, ..Terms::default() })
}

fn ask_on(
    controller: &mut Controller<SimWorld>,
    command: PeerCommand,
    terms: Terms,
) -> Option<Result<Answer, Failure>> {
    let (answer, mut answered) = oneshot::channel();
    let request = Request { wish: command.into(), terms, span: Span::none(), answer };
    controller.handle(vec![request], Instant::now()).now_or_never()?;
    answered.try_recv().unwrap()
}

#[test]
fn peers_are_told_once_they_are_written_down_and_again_after_a_start() {
    let sim = Sim::default();
    let (mut controller, routers) = start(&sim, &[]);
    let (one, two) = (peer(1, 65_001), peer(2, 65_002));
    for peer in [&one, &two] {
        assert!(matches!(ask(&mut controller, PeerCommand::Add(peer.clone())), Some(Ok(Answer::Peer(_)))));
    }
    let again = ask(&mut controller, PeerCommand::Add(one.clone()));
    assert!(matches!(again, Some(Err(Failure::Rejected(Rejected::PeerExists(_))))), "{again:?}");
    assert_eq!(routers.peers().len(), 2);

    // An option counts more than what is on the disk.
    let (mut controller, routers) = start(&sim, &[peer(1, 1)]);
    assert_eq!(routers.peers().iter().map(|status| status.peer.asn.get()).collect::<Vec<_>>(), [1, 65_002]);
    let option = ask(&mut controller, PeerCommand::Remove(one.address));
    assert!(matches!(option, Some(Err(Failure::Rejected(Rejected::PeerIsAnOption(_))))), "{option:?}");
    assert!(matches!(ask(&mut controller, PeerCommand::Remove(two.address)), Some(Ok(Answer::Gone))));
    let unknown = ask(&mut controller, PeerCommand::Remove(two.address));
    assert!(matches!(unknown, Some(Err(Failure::Rejected(Rejected::UnknownPeer(_))))), "{unknown:?}");
    let (_, routers) = start(&sim, &[]);
    assert_eq!(routers.peers().iter().map(|status| status.peer.asn.get()).collect::<Vec<_>>(), [65_001]);
}

#[test]
fn what_a_peer_would_be_told_is_said_and_nothing_else_happens() {
    let sim = Sim::default();
    let (mut controller, routers) = start(&sim, &[peer(9, 1)]);
    let said = |answer: Option<Result<Answer, Failure>>| match answer {
        Some(Ok(Answer::Rehearsed(Rehearsed { steps, routes, tally, tentative }))) => {
            assert_eq!((steps, tally, tentative), (Vec::new(), Tally::default(), BTreeSet::new()));
            routes.iter().map(RouteStep::to_string).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    // Nothing is written even where nothing could be.
    sim.with(|remains| remains.disk_full = true);
    for _ in 0..2 {
        let added = said(rehearse(&mut controller, PeerCommand::Add(peer(1, 1))));
        assert_eq!(added, ["advertise 192.168.0.85/32 to 10.0.0.1"]);
    }
    assert_eq!(routers.peers().len(), 1);
    sim.with(|remains| remains.disk_full = false);
    assert!(matches!(ask(&mut controller, PeerCommand::Add(peer(1, 1))), Some(Ok(Answer::Peer(_)))));
    // There is no session yet.
    let none: [&str; 0] = [];
    assert_eq!(said(rehearse(&mut controller, PeerCommand::Remove(peer(1, 1).address))), none);
    assert_eq!((routers.peers().len(), sim.with(|remains| remains.disk.peers.len())), (2, 1));
    for command in [
        PeerCommand::Add(peer(1, 1)),
        PeerCommand::Add(peer(9, 1)),
        PeerCommand::Remove(peer(9, 1).address),
        PeerCommand::Remove(peer(7, 1).address),
    ] {
        let refused = |answer: Option<Result<Answer, Failure>>| match answer {
            Some(Err(Failure::Rejected(rejected))) => rejected,
            other => panic!("{other:?}"),
        };
        let dry = refused(rehearse(&mut controller, command.clone()));
        assert_eq!(dry, refused(ask(&mut controller, command)));
    }
}

#[test]
fn a_peer_that_cannot_be_written_down_is_not_told() {
    let sim = Sim::default();
    let (mut controller, routers) = start(&sim, &[]);
    sim.with(|remains| remains.disk_full = true);
    let failed = ask(&mut controller, PeerCommand::Add(peer(1, 1)));
    assert!(matches!(failed, Some(Err(Failure::Store(_)))), "{failed:?}");
    assert!(routers.peers().is_empty());
    sim.with(|remains| {
        remains.disk_full = false;
        // A crash right after the commit.
        remains.fuse = Some(1);
    });
    assert!(ask(&mut controller, PeerCommand::Add(peer(1, 1))).is_none());
    sim.with(|remains| remains.fuse = None);
    let (mut controller, routers) = start(&sim, &[]);
    assert_eq!(routers.peers().len(), 1);
    sim.with(|remains| remains.disk_full = true);
    assert!(matches!(ask(&mut controller, PeerCommand::Remove(peer(1, 1).address)), Some(Err(Failure::Store(_)))));
    assert_eq!(routers.peers().len(), 1);
}

#[test]
fn without_bgp_there_is_nobody_to_tell() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    for command in [PeerCommand::Add(peer(1, 1)), PeerCommand::Remove(peer(1, 1).address)] {
        for ask in [ask, rehearse] {
            let refused = ask(&mut server.controller, command.clone());
            assert!(matches!(refused, Some(Err(Failure::Rejected(Rejected::NoRouting)))), "{refused:?}");
        }
    }
}

/// Peers of another program.
#[derive(Debug)]
struct Daemon;

impl Routing for Daemon {
    fn peers(&self) -> Vec<PeerStatus> {
        Vec::new()
    }

    fn peers_belong_to(&self) -> Option<String> {
        Some("GoBGP".to_owned())
    }

    fn routes(&self) -> Vec<Prefix> {
        Vec::new()
    }

    fn add(&self, peer: &Peer) {
        panic!("{peer:?}");
    }

    fn remove(&self, address: PeerAddress) {
        panic!("{address}");
    }

    fn shut_down(&self, _: Shutdown) {}

    fn come_back(&self) {}

    fn shutdown(&self) -> Option<ShutdownStatus> {
        None
    }
}

#[test]
fn peers_of_another_program_are_left_to_it() {
    let sim = Sim::default();
    let board = Arc::new(Board::default());
    board.post_routing(Arc::new(Daemon));
    let mut controller =
        Controller::new(drivers(&sim, &[]), Snapshot::default(), board, INTERVAL, Instant::now()).unwrap();
    for command in [PeerCommand::Add(peer(1, 65_530)), PeerCommand::Remove(peer(1, 1).address)] {
        for ask in [ask, rehearse] {
            let refused = ask(&mut controller, command.clone());
            assert!(matches!(refused, Some(Err(Failure::Rejected(Rejected::PeersElsewhere(_))))), "{refused:?}");
        }
    }
    assert!(sim.with(|remains| remains.disk.peers.is_empty()));
}

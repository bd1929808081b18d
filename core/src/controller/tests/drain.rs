// SPDX-License-Identifier: Apache-2.0
//! What is drained gets no new connections, and is done when the last one is gone, or at the deadline; also over a restart.

use super::*;
use crate::{drain::Left, model::Then};

const SECOND: Duration = Duration::from_secs(1);

fn two_backends(sim: &Sim) -> Server {
    let mut server = Server::start(sim).unwrap();
    server.created(1);
    server.ask(Command::AddBackends(lb(1), vec![backend(1), backend(2)])).unwrap();
    server
}

fn drain(which: Option<u8>, deadline: Option<u64>, then: Then) -> Command {
    let wish = DrainWish { deadline: deadline.map(Duration::from_secs), then };
    Command::Drain(lb(1), which.map(|which| backend(which).id), wish)
}

fn weights(sim: &Sim) -> Vec<u16> {
    let of = |service: &ServiceView| {
        service.backends.listed().values().map(|settings| settings.unwrap().weight.get()).collect::<Vec<_>>()
    };
    sim.with(|remains| remains.kernel.services.values().flat_map(of).collect())
}

fn connections(sim: &Sim, which: u8, count: u32) {
    sim.with(|remains| *remains.connections.entry(backend(which).target).or_default() = count);
}

fn left(server: &Server, which: Option<u8>) -> Option<u64> {
    let target = which.map(|which| backend(which).target);
    server.board.look(lb(1)).and_then(|seen| seen.left(target)).map(Left::total)
}

fn is_done(server: &Server, which: u8) -> bool {
    let load_balancer = server.board.get(lb(1)).unwrap();
    load_balancer.backend(backend(which).id).unwrap().condition().drain.unwrap().done.is_some()
}

#[test]
fn a_backend_is_drained_when_its_last_connection_is_gone() {
    let sim = Sim::default();
    let mut server = two_backends(&sim);
    connections(&sim, 1, 2);
    server.ask(drain(Some(1), None, Then::Stay)).unwrap();
    assert_eq!(weights(&sim), [0, 1]);
    assert_eq!(left(&server, Some(1)), Some(2), "known with the answer");
    (0..100).for_each(|_| server.pass(SECOND));
    assert!(!is_done(&server, 1), "two connections are left");
    connections(&sim, 1, 1);
    server.pass(SECOND);
    assert_eq!([left(&server, Some(1)), left(&server, Some(2)), left(&server, None)], [Some(1), Some(0), Some(1)]);
    connections(&sim, 1, 0);
    server.pass(SECOND);
    assert!(is_done(&server, 1));
    assert_eq!(weights(&sim), [0, 1], "it stays out");
    server.check();
    server.ask(Command::Undrain(lb(1), Some(backend(1).id))).unwrap();
    assert_eq!(weights(&sim), [1, 1]);
    assert_eq!(left(&server, Some(1)), None);
    server.check();
}

#[test]
fn a_deadline_ends_a_drain_and_a_restart_does_not_move_it() {
    let sim = Sim::default();
    let mut server = two_backends(&sim);
    connections(&sim, 1, 1);
    server.ask(drain(Some(1), Some(30), Then::Stay)).unwrap();
    (0..20).for_each(|_| server.pass(SECOND));
    let mut server = Server::start(&sim).unwrap();
    assert_eq!(weights(&sim), [0, 1]);
    (0..9).for_each(|_| server.pass(SECOND));
    assert!(!is_done(&server, 1));
    server.pass(SECOND * 2);
    assert!(is_done(&server, 1));
}

#[test]
fn what_is_deleted_with_a_drain_goes_when_it_is_done() {
    let sim = Sim::default();
    let mut server = two_backends(&sim);
    connections(&sim, 2, 1);
    server.ask(drain(Some(2), None, Then::Delete)).unwrap();
    (0..9).for_each(|_| server.pass(SECOND));
    assert_eq!(weights(&sim), [1, 0]);
    connections(&sim, 2, 0);
    server.pass(SECOND);
    assert_eq!(weights(&sim), [1]);
    assert_eq!(server.board.get(lb(1)).unwrap().backends().len(), 1);
    connections(&sim, 1, 1);
    server.ask(drain(None, None, Then::Delete)).unwrap();
    assert_eq!(weights(&sim), [0]);
    (0..9).for_each(|_| server.pass(SECOND));
    assert!(server.sim.with(|remains| remains.kernel.advertised.contains(&vip(85))), "its connections go on");
    connections(&sim, 1, 0);
    server.pass(SECOND);
    assert_eq!(server.board.get(lb(1)), None);
    server.check();
}

#[test]
fn a_handshake_that_is_under_way_is_waited_for() {
    let sim = Sim::default();
    let mut server = two_backends(&sim);
    server.ask(drain(Some(1), None, Then::Stay)).unwrap();
    server.pass(SECOND);
    assert!(!is_done(&server, 1));
    (0..3).for_each(|_| server.pass(SECOND));
    assert!(is_done(&server, 1));
}

/// Its scheduler is no module of the kernel that was booted last, say.
#[test]
fn what_the_kernel_does_not_have_has_no_connections() {
    let sim = Sim::default();
    let mut server = two_backends(&sim);
    let endpoint = endpoint(&server.board.get(lb(1)).unwrap());
    let add = Step::Dataplane(DataplaneStep::AddService(endpoint.into(), ServiceSettings::default()));
    connections(&sim, 1, 1);
    server.ask(drain(Some(1), None, Then::Stay)).unwrap();
    sim.with(|remains| (remains.kernel.services.clear(), remains.broken.push((add, false))));
    server.pass(SECOND * 4);
    assert!(!is_done(&server, 1), "it may be there again in a moment, with its connections");
    server.pass(INTERVAL);
    (0..4).for_each(|_| server.pass(SECOND));
    assert!(is_done(&server, 1));
}

/// A crash would bring it back.
#[test]
fn nothing_is_deleted_before_that_is_written_down() {
    let sim = Sim::default();
    let mut server = two_backends(&sim);
    server.ask(drain(None, None, Then::Delete)).unwrap();
    sim.with(|remains| remains.disk_full = true);
    (0..9).for_each(|_| server.pass(SECOND));
    assert_eq!(weights(&sim), [0, 0]);
    server.check();
    sim.with(|remains| remains.disk_full = false);
    server.pass(SECOND);
    assert_eq!(server.board.get(lb(1)), None);
    server.check();
}

#[test]
fn a_clock_that_is_set_back_holds_up_no_drain_that_is_done() {
    let sim = Sim::default();
    let mut server = two_backends(&sim);
    CLOCK.with(|clock| clock.set(clock.get() + SECOND * 10_000));
    server.ask(drain(Some(1), None, Then::Stay)).unwrap();
    CLOCK.with(|clock| clock.set(clock.get() - SECOND * 5_000));
    server.pass(SECOND);
    assert!(is_done(&server, 1));
}

#[test]
fn what_is_deleted_while_it_is_drained_is_not_waited_for() {
    let sim = Sim::default();
    let mut server = two_backends(&sim);
    let endpoint = endpoint(&server.board.get(lb(1)).unwrap());
    connections(&sim, 1, 1);
    server.ask(drain(None, None, Then::Delete)).unwrap();
    sim.with(|remains| remains.broken.push((Step::Dataplane(DataplaneStep::RemoveService(endpoint.into())), true)));
    server.ask(Command::Delete(lb(1))).unwrap_err();
    assert!(server.controller.draining.is_empty(), "its connections are counted no more");
    sim.with(|remains| remains.broken.clear());
    server.pass(SECOND * 2);
    assert_eq!(server.board.get(lb(1)), None);
    server.check();
}

/// Between the drain's commit and what comes after it, a crash may happen at each step.
#[test]
fn killed_anywhere_what_is_drained_is_drained() {
    for fuse in 0.. {
        let sim = Sim::default();
        drop(two_backends(&sim));
        let mut server = Server::start(&sim).unwrap();
        sim.with(|remains| remains.fuse = Some(fuse));
        let (ended, answers) = server.ask_all(vec![drain(Some(1), None, Then::Stay)]);
        sim.with(|remains| remains.fuse = None);
        let server = Server::start(&sim).unwrap();
        server.check();
        let drained = weights(&sim) == [0, 1];
        assert!(drained || answers.iter().all(Option::is_none), "acknowledged and not so");
        if ended.is_some() {
            break;
        }
    }
}

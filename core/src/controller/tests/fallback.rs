// SPDX-License-Identifier: Apache-2.0
//! The fallback is one more backend in the kernel: it may be refused, and is drained with the others.

use super::*;
use crate::model::Fallback;

fn fallback(number: u8) -> Fallback {
    Fallback { target: backend(number).target, settings: BackendSettings::default() }
}

fn with_fallback(number: u8) -> Command {
    let Command::Create(new) = create(1, None) else { panic!("no creation") };
    Command::Create(NewLoadBalancer { fallback: Some(fallback(number)), ..new })
}

fn to(number: u8) -> Command {
    Command::Update(lb(1), LoadBalancerChange { fallback: Some(Some(fallback(number))), ..Default::default() })
}

fn served_by(sim: &Sim) -> Vec<(Target, u16)> {
    let of = |service: &ServiceView| -> Vec<_> {
        service.backends.listed().iter().map(|(target, is)| (*target, is.unwrap().weight.get())).collect()
    };
    sim.with(|remains| remains.kernel.services.values().flat_map(of).collect())
}

#[test]
fn one_that_the_kernel_refuses_is_no_success() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let add = |number| {
        let Fallback { target, settings } = fallback(number);
        let step = DataplaneStep::AddBackend(Endpoint::tcp(vip(85), port(6443)).into(), target, settings);
        (Step::Dataplane(step), false)
    };
    sim.with(|remains| remains.broken = vec![add(9)]);
    let failure = server.ask(with_fallback(9)).unwrap_err();
    assert!(matches!(failure, Failure::Step { undone: true, .. }), "{failure}");
    server.check();
    sim.with(|remains| remains.broken = vec![add(8)]);
    let Command::Create(new) = with_fallback(9) else { panic!("no creation") };
    server.ask(Command::Create(NewLoadBalancer { vips: Some(vip(85)).into(), ..new })).unwrap();
    let failure = server.ask(to(8)).unwrap_err();
    assert!(matches!(failure, Failure::Step { undone: true, .. }), "{failure}");
    assert_eq!(served_by(&sim), [(backend(9).target, 1)], "as it was before");
    server.check();
}

/// An admin takes it out, and there is no request that could fail.
#[test]
fn one_that_is_lacking_is_told() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.ask(with_fallback(9)).unwrap();
    let endpoint = endpoint(&server.board.get(lb(1)).unwrap());
    let programmed = |server: &Server| server.board.look(lb(1)).unwrap().status.programmed().why_not.clone();
    assert_eq!(programmed(&server), None);
    let Fallback { target, settings } = fallback(9);
    sim.with(|remains| {
        remains.kernel.services.get_mut(&endpoint.into()).unwrap().backends = Backends::default();
        remains.broken.push((Step::Dataplane(DataplaneStep::AddBackend(endpoint.into(), target, settings)), false));
    });
    server.pass(INTERVAL);
    let why = programmed(&server).unwrap();
    assert!(why.starts_with("could not add backend 10.0.0.9:80"), "{why}");
    sim.with(|remains| remains.broken.clear());
    server.pass(INTERVAL);
    assert_eq!(programmed(&server), None);
    server.check();
}

#[test]
fn it_is_no_broadcast_address() {
    let sim = Sim::default();
    sim.with(|remains| remains.kernel.host.broadcasts.insert(Ipv4Addr::new(10, 0, 0, 9).into()));
    let mut server = Server::start(&sim).unwrap();
    let refused = |answer| matches!(answer, Err(Failure::Rejected(Rejected::Unfit { why: Unfit::IsBroadcast, .. })));
    assert!(refused(server.ask(with_fallback(9))));
    server.ask(with_fallback(8)).unwrap();
    assert!(refused(server.ask(to(9))));
    server.check();
}

/// Otherwise a drain would send every new client there, and never end.
#[test]
fn while_all_is_drained_it_gets_no_new_connections_either() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.ask(with_fallback(9)).unwrap();
    assert_eq!(served_by(&sim), [(backend(9).target, 1)]);
    server.ask(Command::Drain(lb(1), None, DrainWish::default())).unwrap();
    assert_eq!(served_by(&sim), [(backend(9).target, 0)], "what it has goes on");
    server.check();
    server.ask(Command::Undrain(lb(1), None)).unwrap();
    assert_eq!(served_by(&sim), [(backend(9).target, 1)]);
    server.check();
}

// SPDX-License-Identifier: Apache-2.0
//! Backends that are asked for the VIP, each by a service of its own.

use super::*;
use crate::{
    checker::{Beginning, Watch},
    command::WantedVips,
    health::Standing,
    model::{
        BackendIp, CheckService, Encapsulation, Families, Forwarding, ForwardingKind, Mark, ServiceKey, VirtualService,
        check::{Address, Check, HealthCheck, Question, Reaction, Timing},
    },
};

pub(super) fn asking_for_vip() -> Arc<HealthCheck> {
    let timing = Timing::default();
    let check = Check { question: Question::Tcp, timing, address: Address::Vip, port: None, source: None };
    Arc::new(HealthCheck { check: Arc::new(check), reaction: Reaction::default() })
}

pub(super) fn direct(which: u8) -> Backend {
    let settings = BackendSettings { forwarding: Forwarding::DirectRoute, ..BackendSettings::default() };
    backend(which).with_settings(settings)
}

fn asked(number: u128, backends: &[Backend]) -> Command {
    let Command::Create(new) = create(number, None) else { panic!("no creation") };
    Command::Create(NewLoadBalancer { check: Some(asking_for_vip()), backends: Some(backends.to_vec()), ..new })
}

/// The backends by mark, counted from the first that slb has.
fn ways(sim: &Sim) -> Vec<(u32, Vec<String>)> {
    let way = |(key, service): (&ServiceKey, &ServiceView)| match key {
        ServiceKey::Mark(_, mark) => {
            assert_eq!(service.settings, Some(CheckService::settings()));
            Some((
                mark.get() - Mark::LOWEST,
                service.backends.listed().keys().map(|target| target.ip.to_string()).collect(),
            ))
        }
        ServiceKey::Endpoint(_) => None,
    };
    sim.with(|remains| remains.kernel.services.iter().filter_map(way).collect())
}

pub(super) fn watched(sim: &Sim) -> Vec<(Watch, Beginning)> {
    sim.with(|remains| remains.watched.values().flatten().map(|(watch, it)| (watch.clone(), it.clone())).collect())
}

fn way(mark: u32, backend: &str) -> (u32, Vec<String>) {
    (mark, vec![backend.to_owned()])
}

#[test]
fn each_is_asked_by_a_service_of_its_own_until_it_is_gone() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.ask(asked(1, &[direct(1), direct(2)])).unwrap();
    assert_eq!(ways(&sim), [way(0, "10.0.0.1"), way(1, "10.0.0.2")]);
    assert!(sim.with(|remains| remains.expects_answers_from_vips));
    let watched: Vec<_> = watched(&sim).into_iter().map(|(watch, it)| (watch.asked().to_string(), it)).collect();
    assert_eq!(watched, ["192.168.0.85:6443"; 2].map(|asked| (asked.to_owned(), Beginning::New)));
    server.check();
    server.ask(Command::RemoveBackend(lb(1), backend(1).id)).unwrap();
    assert_eq!(ways(&sim), [way(1, "10.0.0.2")]);
    server.ask(Command::AddBackends(lb(1), vec![direct(3)])).unwrap();
    assert_eq!(ways(&sim), [way(0, "10.0.0.3"), way(1, "10.0.0.2")]);
    let direct_check = LoadBalancerChange { check: Some(None), ..LoadBalancerChange::default() };
    server.ask(Command::Update(lb(1), direct_check)).unwrap();
    assert_eq!(ways(&sim), []);
    server.check();
    server.ask(asked(2, &[direct(1)])).unwrap();
    assert_eq!(ways(&sim), [way(2, "10.0.0.1")], "what another one has had is not given away");
    server.ask(Command::Delete(lb(1))).unwrap();
    server.ask(Command::Delete(lb(2))).unwrap();
    assert!(sim.with(|remains| remains.kernel.services.is_empty()));
}

/// The kernel would send the question somewhere else, and the first answer decides.
#[test]
fn nobody_is_asked_before_the_way_is_there() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.ask(asked(1, &[direct(1)])).unwrap();
    let mark = VirtualService::Mark(vip(85), Mark::all().nth(1).unwrap());
    let step = DataplaneStep::AddBackend(mark, direct(2).target, direct(2).settings());
    sim.with(|remains| remains.broken = vec![(Step::Dataplane(step), true)]);
    assert!(server.ask(Command::AddBackends(lb(1), vec![direct(2)])).is_err());
    assert_eq!((ways(&sim), watched(&sim).len()), (vec![way(0, "10.0.0.1")], 1));
    server.check();
    sim.with(|remains| remains.broken.clear());
    server.ask(Command::AddBackends(lb(1), vec![direct(2)])).unwrap();
    assert_eq!((ways(&sim).len(), watched(&sim).len()), (2, 2));
}

/// A check that begins anew would take it out at its first failure.
#[test]
fn after_a_restart_it_goes_on_as_it_was_once_the_way_is_there() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.ask(asked(1, &[direct(1)])).unwrap();
    drop(server);
    sim.with(|remains| {
        remains.watched.clear();
        remains.kernel.services.clear();
    });
    let server = Server::start(&sim).unwrap();
    server.check();
    let [(_, Beginning::Known(known))] = &watched(&sim)[..] else { panic!("{:?}", watched(&sim)) };
    assert_eq!(known.standing, Standing::Up);
}

#[test]
fn a_tunnel_is_asked_for_the_vip_of_its_own_family() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let Command::Create(new) = asked(1, &[]) else { panic!("no creation") };
    let vips = WantedVips::new(Some(Families::Dual), &[]).unwrap();
    server.ask(Command::Create(NewLoadBalancer { vips, ..new })).unwrap();
    let tunnel = |which, ip: &str| {
        let settings = BackendSettings { forwarding: Forwarding::Tunnel(Encapsulation::Gre), ..direct(1).settings() };
        let ip: BackendIp = ip.parse().unwrap();
        Backend { target: Target { ip, ..backend(which).target }, ..backend(which) }.with_settings(settings)
    };
    server.ask(Command::AddBackends(lb(1), vec![tunnel(1, "10.0.0.1"), tunnel(2, "fd00:1::2")])).unwrap();
    let asked: Vec<_> = watched(&sim).into_iter().map(|(watch, _)| watch.asked().ip().to_string()).collect();
    assert_eq!(asked, ["192.168.0.85", "fd00::85"]);
    server.check();
}

#[test]
fn who_cannot_be_asked_for_a_vip_is_refused() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let field = |answer| match answer {
        Err(Failure::Rejected(Rejected::Discord(discord))) => discord.field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(server.ask(asked(1, &[direct(1), backend(2)]))), "healthCheck.address");
    server.ask(asked(2, &[direct(1)])).unwrap();
    assert_eq!(field(server.ask(Command::AddBackends(lb(2), vec![backend(2)]))), "healthCheck.address");
    let translated = BackendChange { kind: Some(ForwardingKind::Masquerade), ..BackendChange::default() };
    let translate = Command::UpdateBackend(lb(2), backend(1).id, translated);
    assert_eq!(field(server.ask(translate)), "healthCheck.address");
    let settings = BackendSettings { forwarding: Forwarding::Tunnel(Encapsulation::Ipip), ..direct(3).settings() };
    let target = Target { ip: "fd00:1::3".parse().unwrap(), ..backend(3).target };
    let other_family = Backend { target, ..backend(3) }.with_settings(settings);
    assert_eq!(field(server.ask(Command::AddBackends(lb(2), vec![other_family]))), "healthCheck.source");
    server.check();
}

/// The marks that a failed request took are known to be slb's even if they could not be taken away at once.
#[test]
fn what_a_failed_request_leaves_is_taken_away_later() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.ask(asked(1, &[direct(1)])).unwrap();
    let endpoint = endpoint(&server.board.get(lb(1)).unwrap());
    let mark = VirtualService::Mark(vip(85), Mark::all().nth(1).unwrap());
    let add = DataplaneStep::AddBackend(endpoint.into(), direct(2).target, direct(2).settings());
    let remove = DataplaneStep::RemoveService(mark);
    sim.with(|remains| remains.broken = vec![(Step::Dataplane(add), false), (Step::Dataplane(remove), true)]);
    assert!(server.ask(Command::AddBackends(lb(1), vec![direct(2)])).is_err());
    assert_eq!(ways(&sim).len(), 2);
    sim.with(|remains| remains.broken.clear());
    server.pass(INTERVAL);
    assert_eq!(ways(&sim), [way(0, "10.0.0.1")]);
    server.check();
}

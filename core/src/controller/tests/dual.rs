// SPDX-License-Identifier: Apache-2.0
//! Load-balancers with a VIP of each family: both or neither, from the first moment to the last.

use super::*;
use crate::{
    command::WantedVips,
    model::{Encapsulation, Families, Family, Forwarding, Persistence, PersistenceTimeout, Phase},
    ports::Wanted,
};

fn dual(number: u128, named: &[Vip]) -> Command {
    let Command::Create(new) = create(number, None) else { panic!("no creation") };
    Command::Create(NewLoadBalancer { vips: WantedVips::new(Some(Families::Dual), named).unwrap(), ..new })
}

/// So many, each with a backend.
pub(super) fn many(numbers: RangeInclusive<u8>, ip: &str) -> Vec<NewLoadBalancer> {
    let one = |number: u8| {
        let Command::Create(new) = with_backends(dual(number.into(), &[]), &[ip]) else { panic!("no creation") };
        new
    };
    numbers.map(one).collect()
}

fn with_backends(command: Command, ips: &[&str]) -> Command {
    let Command::Create(new) = command else { panic!("no creation") };
    let backend = |(number, ip): (u128, &&str)| {
        let target = Target { ip: ip.parse().unwrap(), port: Some(port(80)) };
        Backend::new(BackendId(Uuid::from_u128(number)), target, BackendSettings::default())
    };
    Command::Create(NewLoadBalancer { backends: Some((1..).zip(ips).map(backend).collect()), ..new })
}

fn vips_of(answer: Result<Answer, Failure>) -> Vec<Vip> {
    match answer {
        Ok(Answer::LoadBalancer(created)) => created.vips.into_iter().collect(),
        other => panic!("{other:?}"),
    }
}

fn reserved(sim: &Sim) -> BTreeSet<Vip> {
    sim.with(|remains| remains.reserved.clone())
}

#[test]
fn both_come_and_go_together() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let command = with_backends(dual(1, &[]), &["10.0.0.1", "fd00:1::1"]);
    assert_eq!(vips_of(server.ask(command)), [vip(85), ipv6(85)]);
    server.check();
    let log: Vec<String> = sim.with(|remains| remains.log.drain(..).map(|step| step.to_string()).collect());
    assert_eq!(
        log,
        [
            "add service 192.168.0.85:6443 (rr)",
            "add backend 10.0.0.1:80 (MASQ weight 1) to 192.168.0.85:6443",
            "add service [fd00::85]:6443 (rr)",
            "add backend [fd00:1::1]:80 (MASQ weight 1) to [fd00::85]:6443",
            "enable source NAT for 192.168.0.85 (always)",
            "enable source NAT for fd00::85 (always)",
            "bind 192.168.0.85",
            "bind fd00::85",
            "advertise 192.168.0.85",
            "advertise fd00::85",
        ]
    );
    drop(server);
    let mut server = Server::start(&sim).unwrap();
    sim.with(|remains| remains.log.retain(|step| !matches!(step, Step::Advert(_))));
    assert_eq!(sim.with(|remains| remains.log.clone()), [], "a restart writes nothing");
    server.ask(Command::Delete(lb(1))).unwrap();
    server.check();
    assert_eq!(reserved(&sim), BTreeSet::new());
    assert_eq!(sim.with(|remains| remains.disk.released.len()), 2);
}

#[test]
fn without_an_address_of_ipv6_the_other_goes_back() {
    for pool_takes in [0, 3] {
        let sim = Sim::default();
        let mut server = Server::start(&sim).unwrap();
        for number in 0..6 {
            server.ask(dual(number, &[])).unwrap();
        }
        server.ask(Command::Delete(lb(0))).unwrap();
        let only = NewLoadBalancer { vips: Wanted::Of(Family::Ipv6).into(), ..new(6) };
        server.ask(Command::Create(only)).unwrap();
        let before = reserved(&sim);
        sim.with(|remains| remains.pool_takes = pool_takes);
        let refused = server.ask(dual(7, &[])).unwrap_err();
        assert!(matches!(refused, Failure::Pool(PoolError::Exhausted { family: Family::Ipv6, .. })), "{refused}");
        assert_eq!(reserved(&sim), before);
        assert_eq!(vips_of(server.ask(create(8, Some(vip(85))))), [vip(85)]);
        server.check();
    }
}

fn new(number: u128) -> NewLoadBalancer {
    let Command::Create(new) = create(number, None) else { panic!("no creation") };
    new
}

/// Only the one that somebody has is given up for another; one that was asked for by name gives both up.
#[test]
fn an_address_in_use_costs_the_other_only_if_it_was_named() {
    let sim = Sim::default();
    sim.with(|remains| remains.neighbours.insert(ipv6(85), "02:00:00:00:00:99".to_owned()));
    let mut server = Server::start(&sim).unwrap();
    assert_eq!(vips_of(server.ask(dual(1, &[]))), [vip(85), ipv6(86)]);
    let before = reserved(&sim);
    sim.with(|remains| remains.neighbours.insert(ipv6(88), "02:00:00:00:00:99".to_owned()));
    let refused = server.ask(dual(2, &[ipv6(88)])).unwrap_err();
    assert!(matches!(refused, Failure::AddressInUse { vip, .. } if vip == ipv6(88)), "{refused}");
    assert_eq!(reserved(&sim), before);
    assert_eq!(vips_of(server.ask(dual(3, &[vip(86)]))), [vip(86), ipv6(87)]);
    server.check();
}

/// Whichever is found out first, and while the pool is asked for another one.
#[test]
fn both_may_be_in_use() {
    for (named, pool_takes) in [(&[][..], 0), (&[], 3), (&[vip(87)][..], 3), (&[ipv6(87)][..], 3)] {
        let sim = Sim::default();
        sim.with(|remains| {
            let in_use = [vip(85), ipv6(85), ipv6(86)].map(|vip| (vip, "02:00:00:00:00:99".to_owned()));
            remains.neighbours.extend(in_use);
            remains.probe_takes.extend([(vip(85), 2)]);
            remains.pool_takes = pool_takes;
        });
        let mut server = Server::start(&sim).unwrap();
        let (_, mut answers) = server.ask_all(vec![dual(1, named), dual(2, &[])]);
        let second = vips_of(answers.pop().flatten().unwrap());
        let first = vips_of(answers.pop().flatten().unwrap());
        for vips in [&first, &second] {
            assert_eq!(vips.iter().map(|vip| vip.family()).collect::<Vec<_>>(), [Family::Ipv4, Family::Ipv6]);
        }
        assert!(named.iter().all(|vip| first.contains(vip)), "{first:?}");
        assert_eq!(reserved(&sim), first.into_iter().chain(second).collect());
        server.check();
    }
}

#[test]
fn the_network_is_asked_for_both_at_once() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let (answer, mut answered) = oneshot::channel();
    let request = Request { wish: dual(1, &[]).into(), terms: Terms::default(), span: Span::none(), answer };
    server.controller.handle(vec![request], server.now).now_or_never().unwrap();
    assert_eq!(server.controller.inquiries.len(), 2);
    // A service of another program comes meanwhile.
    let foreign = Endpoint::tcp(ipv6(85), port(6443));
    sim.with(|remains| remains.kernel.services.insert(foreign.into(), ServiceView::default()));
    server.ask_all(Vec::new());
    assert_eq!(vips_of(answered.try_recv().unwrap().unwrap()), [vip(85), ipv6(86)]);
    assert_eq!(reserved(&sim), BTreeSet::from([vip(85), ipv6(86)]));
}

/// Whoever shares a VIP with it stays, and keeps it.
#[test]
fn each_vip_may_be_shared() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.ask(dual(1, &[])).unwrap();
    for (number, at) in [(2, vip(85)), (3, ipv6(85))] {
        let beside = NewLoadBalancer { listen: port(80).into(), vips: Some(at).into(), ..new(number) };
        server.ask(Command::Create(beside)).unwrap();
        let taken = server.ask(create(number + 10, Some(at))).unwrap_err();
        assert!(matches!(taken, Failure::Rejected(Rejected::EndpointTaken { by, .. }) if by == lb(1)), "{taken}");
    }
    server.ask(Command::Delete(lb(1))).unwrap();
    server.check();
    server.ask(Command::Delete(lb(2))).unwrap();
    assert_eq!(reserved(&sim), BTreeSet::from([ipv6(85)]));
    // Both are another's by now: one is shared, one is free.
    assert_eq!(vips_of(server.ask(dual(4, &[vip(85), ipv6(85)]))), [vip(85), ipv6(85)]);
    server.check();
}

#[test]
fn nobody_hears_of_one_whose_other_one_fails() {
    for (broken, is_bound) in [
        (
            Step::Dataplane(DataplaneStep::AddService(
                Endpoint::tcp(ipv6(85), port(6443)).into(),
                ServiceSettings::default(),
            )),
            false,
        ),
        (Step::Host(HostStep::Bind(ipv6(85))), true),
    ] {
        let sim = Sim::default();
        sim.with(|remains| remains.broken.push((broken, false)));
        let mut server = Server::start(&sim).unwrap();
        let failure = server.ask(dual(1, &[])).unwrap_err();
        assert!(matches!(failure, Failure::Step { step, undone: true, .. } if step == broken), "{failure:?}");
        server.check();
        assert_eq!((server.board.list().unwrap(), reserved(&sim)), (Vec::new(), BTreeSet::new()));
        sim.with(|remains| {
            assert!(!remains.log.contains(&Step::Advert(AdvertStep::Advertise(vip(85)))));
            assert_eq!(remains.log.contains(&Step::Host(HostStep::Bind(vip(85)))), is_bound);
        });
    }
}

/// Its record stays, and both addresses, until the kernel has nothing of it any more.
#[test]
fn a_deletion_waits_for_both() {
    for stays in [vip(85), ipv6(85)] {
        let sim = Sim::default();
        let mut server = Server::start(&sim).unwrap();
        server.ask(dual(1, &[])).unwrap();
        let remove = DataplaneStep::RemoveService(Endpoint::tcp(stays, port(6443)).into());
        sim.with(|remains| remains.broken.push((Step::Dataplane(remove), true)));
        server.ask(Command::Delete(lb(1))).unwrap_err();
        server.pass(Duration::from_secs(2));
        assert_eq!(server.board.get(lb(1)).unwrap().phase, Phase::Deleting);
        assert_eq!(reserved(&sim), BTreeSet::from([vip(85), ipv6(85)]));
        sim.with(|remains| remains.broken.clear());
        server.pass(Duration::from_secs(5));
        assert_eq!(server.board.list().unwrap(), []);
        server.check();
    }
}

#[test]
fn a_vip_is_told_of_only_if_a_backend_serves_it() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let Command::Create(new) = with_backends(dual(1, &[]), &["10.0.0.1"]) else { panic!("no creation") };
    server.ask(Command::Create(NewLoadBalancer { advertise: Advertise::WithBackends, ..new })).unwrap();
    server.check();
    assert_eq!(sim.with(|remains| remains.kernel.advertised.clone()), BTreeSet::from([vip(85)]));
    let status = server.board.look(lb(1)).unwrap().status;
    let told: Vec<_> = status.vips().map(|each| (each.advertised.holds(), each.programmed.holds())).collect();
    assert_eq!(told, [(true, true), (false, true)]);
    assert_eq!(status.advertised().why_not.as_deref(), Some("no backend takes connections"));

    let target = Target { ip: "10.0.0.2".parse().unwrap(), port: Some(port(6443)) };
    let forwarding = Forwarding::Tunnel(Encapsulation::Ipip);
    let tunnel =
        Backend::new(BackendId(Uuid::from_u128(2)), target, BackendSettings { forwarding, ..Default::default() });
    server.ask(Command::AddBackends(lb(1), vec![tunnel])).unwrap();
    server.check();
    assert_eq!(sim.with(|remains| remains.kernel.advertised.clone()), BTreeSet::from([vip(85), ipv6(85)]));
    server.ask(Command::Drain(lb(1), Some(BackendId(Uuid::from_u128(2))), DrainWish::default())).unwrap();
    server.check();
    assert_eq!(sim.with(|remains| remains.kernel.advertised.clone()), BTreeSet::from([vip(85)]));
}

/// A tunnel backend has connections to either VIP; it is drained when neither has any.
#[test]
fn a_drain_ends_with_the_last_connection_of_both() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.ask(with_backends(dual(1, &[]), &["10.0.0.1", "fd00:1::1"])).unwrap();
    let target = Target { ip: "fd00:1::1".parse().unwrap(), port: Some(port(80)) };
    sim.with(|remains| remains.connections.extend([(target, 1)]));
    server.ask(Command::Drain(lb(1), None, DrainWish::default())).unwrap();
    let is_done = |server: &Server| server.board.get(lb(1)).unwrap().drain().unwrap().done.is_some();
    server.pass(Duration::from_secs(5));
    assert!(!is_done(&server));
    sim.with(|remains| remains.connections.clear());
    server.pass(Duration::from_secs(1));
    assert!(is_done(&server));
}

/// One setting for both: where it is as narrow as an address, each client counts for itself.
#[test]
fn persistence_is_as_narrow_as_the_family_allows() {
    let with = |granularity| {
        let persistence = Persistence { timeout: PersistenceTimeout::default(), granularity: Some(granularity) };
        ServiceSettings { persistence: Some(persistence), ..ServiceSettings::default() }
    };
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let Command::Create(dual) = dual(1, &[]) else { panic!("no creation") };
    let wide = NewLoadBalancer { service: with(129), ..dual.clone() };
    assert!(matches!(server.ask(Command::Create(wide)), Err(Failure::Rejected(Rejected::Discord(_)))));
    assert_eq!(reserved(&sim), BTreeSet::new());
    let vips = vips_of(server.ask(Command::Create(NewLoadBalancer { service: with(64), ..dual })));
    server.check();
    let granularity = |vip| {
        let key = Endpoint::tcp(vip, port(6443)).into();
        sim.with(|remains| remains.kernel.services[&key].settings.unwrap().persistence.unwrap().granularity)
    };
    assert_eq!(vips.into_iter().map(granularity).collect::<Vec<_>>(), [None, Some(64)]);
}

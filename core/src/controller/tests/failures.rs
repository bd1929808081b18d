// SPDX-License-Identifier: Apache-2.0
//! What happens when something is refused.

use super::*;

/// It may have been fine when it was added: the host's networks are others today.
#[test]
fn a_backend_that_is_refused_at_a_start_holds_up_nobody_else() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let first = endpoint(&server.created(1));
    server.ask(Command::AddBackends(lb(1), vec![backend(1)])).unwrap();
    server.ask(Command::AddBackends(lb(1), vec![backend(2)])).unwrap();
    let mut second = create(2, Some(first.vip));
    if let Command::Create(new) = &mut second {
        new.listen = port(80).into();
    }
    server.ask(second).unwrap();
    let refused = Step::Dataplane(DataplaneStep::AddBackend(first.into(), backend(1).target, backend(1).settings()));
    sim.with(|remains| {
        remains.kernel = Observed::default();
        remains.broken.push((refused, false));
    });

    let mut server = Server::start(&sim).unwrap();
    assert!(server.board.is_ready());
    sim.with(|remains| {
        assert!(remains.kernel.advertised.contains(&first.vip));
        assert!(remains.kernel.services[&first.into()].backends.listed().contains_key(&backend(2).target));
    });
    server.ask(Command::AddBackends(lb(1), vec![backend(3)])).unwrap();
    let name = Some(Name::try_from("new".to_owned()).unwrap());
    server.ask(Command::Update(lb(1), LoadBalancerChange { name, ..LoadBalancerChange::default() })).unwrap();
    server.ask(Command::Delete(lb(2))).unwrap();
    sim.with(|remains| remains.broken.clear());
    server.pass(INTERVAL);
    server.check();
}

#[test]
fn a_vip_is_advertised_as_long_as_one_of_its_services_is_there() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let first = endpoint(&server.created(1));
    let mut second = create(2, Some(first.vip));
    if let Command::Create(new) = &mut second {
        new.listen = port(80).into();
    }
    server.ask(second).unwrap();
    let adds = [first, Endpoint { port: port(80), ..first }].map(|endpoint| {
        (Step::Dataplane(DataplaneStep::AddService(endpoint.into(), ServiceSettings::default())), false)
    });
    for broken in [&adds[..1], &adds[..]] {
        sim.with(|remains| {
            remains.kernel = Observed::default();
            remains.broken = broken.to_vec();
        });
        let _ = Server::start(&sim).unwrap();
        let told = sim.with(|remains| (remains.kernel.host.bound.len(), remains.kernel.advertised.len()));
        assert_eq!(told, if broken.len() == 1 { (1, 1) } else { (0, 0) });
    }
}

#[test]
fn a_failing_step_undoes_the_request_and_says_which() {
    let endpoint = Endpoint::tcp(vip(85), port(6443));
    let bind = Step::Host(HostStep::Bind(vip(85)));
    let add = Step::Dataplane(DataplaneStep::AddService(endpoint.into(), ServiceSettings::default()));
    for broken in [bind, add] {
        let sim = Sim::default();
        sim.with(|remains| remains.broken.push((broken, false)));
        let mut server = Server::start(&sim).unwrap();
        let failure = server.ask(create(1, None)).unwrap_err();
        let expected = matches!(failure, Failure::Step { step, may_pass: false, undone: true, .. } if step == broken);
        assert!(expected, "{failure:?}");
        server.check();
        assert_eq!(server.board.list().unwrap(), []);
        assert_eq!(server.created(2).vips.first(), vip(86), "the address went back behind the others");
    }
}

#[test]
fn a_failing_backend_change_leaves_the_load_balancer_as_it_was() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let before = server.created(1);
    let (target, settings) = (backend(1).target, backend(1).settings());
    let add = Step::Dataplane(DataplaneStep::AddBackend(endpoint(&before).into(), target, settings));
    sim.with(|remains| remains.broken.push((add, false)));
    let failure = server.ask(Command::AddBackends(lb(1), vec![backend(1)])).unwrap_err();
    assert!(matches!(failure, Failure::Step { undone: true, .. }), "{failure}");
    assert_eq!(server.board.get(lb(1)), Some(before));
    server.check();
}

#[test]
fn a_deletion_that_fails_is_finished_later() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let endpoint = endpoint(&server.created(1));
    let remove = Step::Dataplane(DataplaneStep::RemoveService(endpoint.into()));
    sim.with(|remains| remains.broken.push((remove, true)));
    let failure = server.ask(Command::Delete(lb(1))).unwrap_err();
    assert!(matches!(failure, Failure::Step { undone: false, may_pass: true, .. }), "{failure}");
    assert!(matches!(
        server.ask(Command::AddBackends(lb(1), vec![backend(1)])),
        Err(Failure::Rejected(Rejected::Deleting(_)))
    ));
    sim.with(|remains| remains.broken.clear());
    assert!(server.controller.next_deadline() < server.now + INTERVAL);
    server.pass(Duration::from_secs(2));
    assert_eq!(server.board.list().unwrap(), []);
    server.check();
}

#[test]
fn a_creation_beside_a_deletion_that_fails_is_served() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let going = endpoint(&server.created(1));
    sim.with(|remains| remains.broken.push((Step::Dataplane(DataplaneStep::RemoveService(going.into())), false)));
    server.ask(Command::Delete(lb(1))).unwrap_err();
    let mut second = create(2, Some(going.vip));
    if let Command::Create(new) = &mut second {
        new.listen = port(80).into();
    }
    server.ask(second).unwrap();
    sim.with(|remains| {
        assert!(remains.kernel.host.bound.contains(&going.vip));
        assert!(remains.kernel.advertised.contains(&going.vip));
    });
    sim.with(|remains| remains.broken.clear());
    server.pass(INTERVAL);
    server.check();
}

#[test]
fn a_full_disk_changes_nothing() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.created(1);
    sim.with(|remains| remains.disk_full = true);
    for command in [create(2, None), Command::AddBackends(lb(1), vec![backend(1)]), Command::Delete(lb(1))] {
        let Err(Failure::Store(cause)) = server.ask(command) else { panic!("not the store's failure") };
        let disk = cause.source().and_then(|error| error.downcast_ref::<io::Error>());
        assert_eq!(disk.map(io::Error::kind), Some(io::ErrorKind::StorageFull), "{cause:?}");
        server.check();
    }
    sim.with(|remains| remains.disk_full = false);
    assert_eq!(server.created(3).vips.first(), vip(87), "86 was given back behind the others");
    server.check();
}

#[test]
fn readiness_comes_with_the_last_vip() {
    let sim = Sim::default();
    let _ = Server::start(&sim).unwrap().created(1);
    sim.with(|remains| {
        remains.kernel = Observed::default();
        remains.broken.push((Step::Host(HostStep::Bind(vip(85))), true));
    });
    let mut server = Server::start(&sim).unwrap();
    assert!(!server.board.is_ready());
    server.pass(Duration::from_secs(1));
    assert!(!server.board.is_ready());
    sim.with(|remains| remains.broken.clear());
    server.pass(Duration::from_secs(2));
    assert!(server.board.is_ready());
    server.check();
}

/// The address went back to the pool, and whoever is first to want it again has the network asked for it again: the others wait for that, too.
#[test]
fn creations_that_want_the_address_of_one_that_failed_wait_until_it_has_been_asked_for_again() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let endpoint = Endpoint::tcp(vip(85), port(6443));
    let refused = Step::Dataplane(DataplaneStep::AddService(endpoint.into(), ServiceSettings::default()));
    sim.with(|remains| remains.broken.push((refused, false)));
    let wishes = [None, Some(vip(85)), Some(vip(85)), None];
    let (ended, answers) = server.ask_all((1..).zip(wishes).map(|(number, vip)| create(number, vip)).collect());
    assert!(ended.is_some());
    assert!(answers[..3].iter().all(|answer| matches!(answer, Some(Err(Failure::Step { undone: true, .. })))));
    assert!(matches!(answers[3], Some(Ok(_))));
    server.check();
}

#[test]
fn of_two_creations_that_want_the_address_of_a_deleted_one_the_first_gets_it() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.created(1);
    let again = |number| {
        let Command::Create(new) = create(number, Some(vip(85))) else { panic!("no creation") };
        Command::Create(NewLoadBalancer { listen: port(80).into(), ..new })
    };
    let (ended, answers) = server.ask_all(vec![Command::Delete(lb(1)), again(2), again(3)]);
    assert!(ended.is_some());
    let [Some(Ok(_)), Some(Ok(_)), Some(Err(Failure::Rejected(taken)))] = &answers[..] else { panic!("{answers:?}") };
    assert!(matches!(taken, Rejected::EndpointTaken { by, .. } if *by == lb(2)), "{taken}");
    server.check();
    assert_eq!(server.created(4).vips.first(), vip(86));
}

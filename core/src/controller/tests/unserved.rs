// SPDX-License-Identifier: Apache-2.0
//! What the data plane can never do, and is in the store from a time when another one served it.

use super::*;
use crate::ports::Unserved;

fn add_service(service: VirtualService) -> DataplaneStep {
    DataplaneStep::AddService(service, ServiceSettings::default())
}

fn add_backend(service: VirtualService, number: u8) -> DataplaneStep {
    DataplaneStep::AddBackend(service, backend(number).target, backend(number).settings())
}

/// Starts on what is on the disk, over a data plane that can do all but that.
fn start_over(sim: &Sim, unserved: &[DataplaneStep]) -> Server {
    sim.with(|remains| {
        remains.kernel = Observed::default();
        remains.unserved = unserved.to_vec();
    });
    Server::start(sim).unwrap()
}

fn update(service: ServiceChange) -> Command {
    Command::Update(lb(1), LoadBalancerChange { service, ..LoadBalancerChange::default() })
}

#[test]
fn what_cannot_be_served_waits_for_a_change_and_nobody_waits_for_it() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let first = endpoint(&server.created(1));
    server.ask(Command::AddBackends(lb(1), vec![backend(1)])).unwrap();
    let beside = server.creates_on(2, first.vip, 80);
    server.ask(Command::AddBackends(lb(2), vec![backend(1), backend(2)])).unwrap();

    let unserved = [add_service(first.into()), add_backend(beside, 1)];
    let mut server = start_over(&sim, &unserved);
    for _ in 0..3 {
        assert!(server.board.is_ready());
        assert_eq!(server.controller.next_deadline(), server.now + INTERVAL, "only what is done at an interval anyway");
        assert_eq!(server.controller.unserved.values().map(BTreeSet::len).sum::<usize>(), 2);
        sim.with(|remains| {
            assert!(remains.kernel.advertised.contains(&first.vip));
            assert!(!remains.kernel.services.contains_key(&first.into()));
            let beside: Vec<_> = remains.kernel.services[&beside.key()].backends.listed().keys().copied().collect();
            assert_eq!(beside, [backend(2).target]);
            remains.log.clear();
        });
        server.pass(INTERVAL);
        assert_eq!(sim.with(|remains| remains.log.len()), 0, "nothing is done again");
    }
    let status = server.board.look(lb(1)).unwrap().status;
    for observed in [status.programmed(), &status.backend(backend(1).id).unwrap().programmed] {
        let why = observed.why_not.as_deref().unwrap();
        assert!(why.ends_with("it takes another data plane"), "{why}");
    }

    let failure = server.ask(Command::AddBackends(lb(1), vec![backend(3)])).unwrap_err();
    let is_for_good =
        |failure: &Failure| matches!(failure, Failure::Step { cause, undone: true, .. } if cause.is::<Unserved>());
    assert!(is_for_good(&failure), "{failure}");
    server.ask(update(ServiceChange { scheduler: Some(Scheduler::Mh), ..ServiceChange::default() })).unwrap();
    sim.with(|remains| {
        assert!(remains.kernel.services[&first.into()].backends.listed().contains_key(&backend(1).target))
    });
    server.ask(Command::RemoveBackend(lb(2), backend(1).id)).unwrap();
    server.pass(INTERVAL);
    assert!(server.controller.unserved.is_empty());
    server.check();
}

#[test]
fn a_creation_that_cannot_be_served_is_refused_and_undone() {
    let sim = Sim::default();
    let endpoint = Endpoint::tcp(vip(85), port(6443));
    let mut server = start_over(&sim, &[add_service(endpoint.into())]);
    let failure = server.ask(create(1, None)).unwrap_err();
    assert!(matches!(&failure, Failure::Step { may_pass: false, undone: true, .. }), "{failure}");
    assert_eq!(sim.with(|remains| remains.log.len()), 0);
    server.check();
    assert_eq!(server.board.list().unwrap(), []);
}

#[test]
fn nothing_is_marked_for_a_service_that_cannot_be() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let mut several = create(1, Some(vip(85)));
    if let Command::Create(new) = &mut several {
        new.listen = Listen::Ports(Ports::new([port(443).into(), port(445).into()]).unwrap());
    }
    server.ask(several).unwrap();
    let marked = server.board.get(lb(1)).unwrap().virtual_service(vip(85));
    let beside = server.creates_on(2, vip(85), 80);
    let server = start_over(&sim, &[add_service(marked)]);
    assert!(server.board.is_ready());
    sim.with(|remains| {
        assert!(remains.kernel.host.marks.is_empty());
        assert!(remains.kernel.services.contains_key(&beside.key()));
        assert!(remains.kernel.advertised.contains(&vip(85)));
    });
}

// SPDX-License-Identifier: Apache-2.0
//! What is said of a wish is what is done, and saying it does nothing.

use proptest::prelude::*;

use super::{
    laws::{act, create_as, once_each, wanted},
    *,
};
use crate::{
    command::{Declaration, Extent, Wish},
    rehearsal::Rehearsed,
};

/// `None` if there is no answer.
fn ask(server: &mut Server, wish: Wish, rehearse: bool) -> Option<Result<Answer, Failure>> {
    let (answer, mut answered) = oneshot::channel();
    let terms = Terms { rehearse, ..Terms::default() };
    server.run(vec![Request { wish, terms, span: Span::none(), answer }])?;
    answered.try_recv().ok().flatten()
}

/// Whatever could be touched.
fn world(server: &Server) -> String {
    let remains = server.sim.with(|remains| {
        format!("{:?} {:?} {:?} {:?}", remains.disk, remains.kernel, remains.reserved, remains.watched)
    });
    format!("{remains} {:?} {:?}", server.board.list(), server.controller.observed)
}

/// Rehearses it and does it.
fn rehearse_and_do(server: &mut Server, wish: Wish) {
    let before = world(server);
    server.sim.with(|remains| remains.log.clear());
    let said = ask(server, wish.clone(), true).unwrap();
    assert_eq!(world(server), before);
    assert_eq!(server.sim.with(|remains| remains.log.clone()), []);
    let shown = |server: &Server| -> BTreeSet<LoadBalancerId> {
        server.board.list().into_iter().flatten().map(|seen| seen.load_balancer.id).collect()
    };
    let there = shown(server);
    match (said, ask(server, wish, false).unwrap()) {
        (Ok(Answer::Rehearsed(Rehearsed { steps, tally, tentative, .. })), Ok(_)) => {
            assert_eq!(server.sim.with(|remains| remains.log.clone()), steps);
            let now = shown(server);
            assert_eq!(now.difference(&there).count(), tally.created);
            assert_eq!(there.difference(&now).count(), tally.removed);
            assert!(tentative.iter().all(|vip| server.controller.state.holds(*vip)));
        }
        (Err(said), Err(met)) => assert_eq!(said.to_string(), met.to_string()),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_is_what_is_done(acts in prop::collection::vec(prop::collection::vec(act(), 1..4), 1..5)) {
        let sim = Sim::default();
        let mut server = Server::start(&sim).unwrap();
        for act in once_each(acts).iter().flatten() {
            rehearse_and_do(&mut server, act.command().into());
            server.check();
        }
    }

    #[test]
    fn so_is_that_of_many(sets in prop::collection::vec((any::<bool>(), prop::collection::vec(wanted(), 0..4)), 1..4)) {
        let sim = Sim::default();
        let mut server = Server::start(&sim).unwrap();
        let mut numbers = 1..;
        for (whole, set) in &sets {
            let extent = if *whole { Extent::Requests } else { Extent::More };
            let load_balancers = set.iter().zip(numbers.by_ref()).map(|(wanted, number)| {
                let Command::Create(new) = create_as(number, wanted) else { panic!("no creation") };
                new
            });
            let load_balancers = load_balancers.collect();
            rehearse_and_do(&mut server, Declaration { extent, load_balancers, known: BTreeSet::new() }.into());
            server.check();
        }
    }
}

/// More than are planned for at once: they are made, get another backend each, and go.
#[test]
fn a_plan_of_many_vips_is_in_the_order_of_what_is_done() {
    let sim = Sim::default();
    let mut server = Server::with_pool(&sim, 85..=160).unwrap();
    for (load_balancers, known) in
        [(dual::many(1..=70, "10.0.0.1"), 0), (dual::many(1..=70, "10.0.0.2"), 70), (Vec::new(), 70)]
    {
        let known = (1..=known).map(lb).collect();
        rehearse_and_do(&mut server, Declaration { extent: Extent::Requests, load_balancers, known }.into());
        server.check();
    }
}

#[test]
fn a_service_of_another_program_is_passed_over_in_a_rehearsal_too() {
    let sim = Sim::default();
    let foreign = Endpoint::tcp(vip(85), port(6443));
    sim.with(|remains| remains.kernel.services.insert(foreign.into(), ServiceView::default()));
    let mut server = Server::start(&sim).unwrap();
    rehearse_and_do(&mut server, create(1, None).into());
    assert_eq!(server.board.get(lb(1)).unwrap().vips.first(), vip(86));
    let refused = ask(&mut server, create(2, Some(vip(85))).into(), true).unwrap().unwrap_err();
    assert!(matches!(refused, Failure::Pool(_) | Failure::Foreign(_)), "{refused}");
}

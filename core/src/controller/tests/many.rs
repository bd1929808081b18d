// SPDX-License-Identifier: Apache-2.0
//! Many load-balancers in one request: all are there, or nothing has changed.

use proptest::prelude::*;

use super::{
    declare::declare,
    laws::{building, create_as, wanted},
    *,
};
use crate::command::{Declaration, Extent, Tally};

type Outcome = Result<(Tally, Vec<Arc<LoadBalancer>>), (Option<usize>, Failure)>;

/// `None` if it crashed on the way.
fn ask(server: &mut Server, wish: Declaration) -> Option<Outcome> {
    let (answer, mut answered) = oneshot::channel();
    server.run(vec![Request { wish: wish.into(), terms: Terms::default(), span: Span::none(), answer }])?;
    match answered.try_recv().ok().flatten()? {
        Ok(Answer::Declared(tally, all)) => Some(Ok((tally, all))),
        Err(Failure::Declared { index, why }) => Some(Err((index, *why))),
        other => panic!("{other:?}"),
    }
}

fn new(command: Command) -> NewLoadBalancer {
    let Command::Create(new) = command else { panic!("no creation") };
    new
}

/// On any VIP.
fn plain(number: u128) -> NewLoadBalancer {
    new(create(number, None))
}

fn more(server: &mut Server, all: Vec<NewLoadBalancer>) -> Outcome {
    ask(server, Declaration::more(all)).unwrap()
}

/// The whole set that requests ask for; of those ids that are not new.
fn whole(server: &mut Server, load_balancers: Vec<NewLoadBalancer>, known: &[u128]) -> Outcome {
    let known = known.iter().map(|number| lb(*number)).collect();
    ask(server, Declaration { extent: Extent::Requests, load_balancers, known }).unwrap()
}

/// As they are, without what changes by itself.
fn states(server: &Server) -> Vec<Arc<LoadBalancer>> {
    let mut all: Vec<_> = server.board.list().into_iter().flatten().map(|seen| seen.load_balancer).collect();
    all.sort_by_key(|each| each.id);
    all
}

#[test]
fn a_list_is_made_in_its_order_beside_what_there_is() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.created(9);
    let named = NewLoadBalancer { vips: Some(vip(90)).into(), ..plain(2) };
    let (tally, made) = more(&mut server, vec![plain(1), named, plain(3)]).unwrap();
    server.check();
    assert_eq!(tally, Tally { created: 3, ..Tally::default() });
    let made: Vec<_> = made.iter().map(|each| (each.id, each.vips.first())).collect();
    assert_eq!(made, [(lb(1), vip(86)), (lb(2), vip(90)), (lb(3), vip(87))]);
    assert_eq!(states(&server).len(), 4);
}

/// More than are carried out at once.
#[test]
fn of_many_nothing_is_left_if_one_fails() {
    for step in [
        Step::Dataplane(DataplaneStep::AddService(
            Endpoint::tcp(vip(150), port(6443)).into(),
            ServiceSettings::default(),
        )),
        Step::Host(HostStep::EnableSourceNat(vip(150), SourceNat::default())),
        Step::Host(HostStep::Bind(vip(150))),
    ] {
        let sim = Sim::default();
        let mut server = Server::with_pool(&sim, 85..=160).unwrap();
        sim.with(|remains| remains.broken.push((step, true)));
        assert!(more(&mut server, dual::many(1..=70, "10.0.0.1")).is_err(), "{step}");
        assert_eq!(states(&server), []);
        server.check();
        sim.with(|remains| remains.broken.clear());
        assert_eq!(more(&mut server, dual::many(1..=70, "10.0.0.1")).unwrap().0.created, 70);
        server.check();
    }
}

#[test]
fn the_whole_set_leaves_alone_what_is_of_the_file() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    declare(&mut server, &[NewLoadBalancer { name: Name::try_from("file".to_owned()).unwrap(), ..plain(7) }])
        .unwrap()
        .unwrap();
    server.created(1);
    server.created(2);
    server.ask(Command::AddBackends(lb(1), vec![backend(1)])).unwrap();
    server.ask(Command::Drain(lb(1), Some(backend(1).id), DrainWish::default())).unwrap();
    // What is known stays, with its backends' ids and drains; one goes, and one comes.
    let again = NewLoadBalancer { backends: Some(vec![Backend { id: backend(5).id, ..backend(1) }]), ..plain(1) };
    let (tally, declared) = whole(&mut server, vec![plain(3), again], &[1]).unwrap();
    server.check();
    assert_eq!(tally, Tally { created: 1, changed: 0, removed: 1 });
    assert_eq!(declared.iter().map(|each| each.id).collect::<Vec<_>>(), [lb(3), lb(1)]);
    assert_eq!(declared[1].backends()[0].id, backend(1).id);
    assert!(declared[1].backends()[0].condition().drain.is_some());
    assert_eq!(states(&server).iter().map(|each| each.id).collect::<Vec<_>>(), [lb(1), lb(3), lb(7)]);

    let (index, why) = whole(&mut server, vec![plain(1), plain(7)], &[1, 7]).unwrap_err();
    assert!(matches!(why, Failure::Rejected(Rejected::OfFile(_))), "{why}");
    assert_eq!(index, Some(1));
    let (_, why) = whole(&mut server, vec![plain(8)], &[8]).unwrap_err();
    assert!(matches!(why, Failure::Rejected(Rejected::UnknownLoadBalancer(_))), "{why}");
    let moved = NewLoadBalancer { listen: port(81).into(), ..plain(1) };
    let (_, why) = whole(&mut server, vec![moved.clone()], &[1]).unwrap_err();
    assert!(matches!(why, Failure::Rejected(Rejected::Immutable { field: "port", .. })), "{why}");
    assert_eq!(states(&server).len(), 3);

    // Without its id it is made anew, where it was.
    let (tally, declared) = whole(&mut server, vec![NewLoadBalancer { id: lb(6), ..moved }], &[]).unwrap();
    assert_eq!((tally.created, tally.removed, declared[0].vips.first()), (1, 2, vip(86)));
    server.check();
    whole(&mut server, Vec::new(), &[]).unwrap();
    assert_eq!(states(&server).iter().map(|each| each.id).collect::<Vec<_>>(), [lb(7)]);
    server.check();
}

/// Before a crash or after it, never in between: the store has all of it or nothing.
#[test]
fn a_crash_leaves_all_of_it_or_nothing() {
    let moved = NewLoadBalancer { listen: port(81).into(), id: lb(6), ..plain(2) };
    let set = [plain(1), moved, plain(4)];
    let mut ended = false;
    for fuse in 0..400 {
        let sim = Sim::default();
        let mut server = Server::start(&sim).unwrap();
        (1..=3).for_each(|number| drop(server.created(number)));
        sim.with(|remains| remains.fuse = Some(fuse));
        let wish = Declaration { extent: Extent::Requests, load_balancers: set.to_vec(), known: BTreeSet::new() };
        ended = ask(&mut server, wish).is_some();
        sim.with(|remains| remains.fuse = None);
        let server = Server::start(&sim).unwrap();
        server.check();
        let there: Vec<u128> = states(&server).iter().map(|each| each.id.0.as_u128()).collect();
        assert!(there == [1, 2, 3] || there == [1, 4, 6], "{fuse}: {there:?}");
        if ended {
            assert_eq!(there, [1, 4, 6]);
            break;
        }
    }
    assert!(ended, "the fuse is longer than the work");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A list does what its load-balancers would one after the other, if none of them is refused; else nothing.
    #[test]
    fn a_list_is_each_of_its_load_balancers_or_nothing(
        wanted in prop::collection::vec(wanted(), 1..5),
        broken in prop::collection::vec((building(), any::<bool>()), 0..3),
    ) {
        let singly = Sim::default();
        let mut one_by_one = Server::start(&singly).unwrap();
        one_by_one.created(99);
        let news: Vec<NewLoadBalancer> = (1..).zip(&wanted).map(|(number, wanted)| new(create_as(number, wanted))).collect();
        // Those that name their addresses get them first, in a list.
        let mut by_need: Vec<&NewLoadBalancer> = news.iter().collect();
        by_need.sort_by_key(|new| new.vips.named().is_none());
        let singles: Vec<_> = by_need.into_iter().map(|new| one_by_one.ask(Command::Create(new.clone()))).collect();

        let sim = Sim::default();
        let mut server = Server::start(&sim).unwrap();
        server.created(99);
        let before = states(&server);
        match more(&mut server, news.clone()) {
            Ok((_, made)) => {
                prop_assert!(made.iter().map(|each| each.id).eq(news.iter().map(|new| new.id)));
                prop_assert_eq!(states(&server).len(), news.len() + 1);
                prop_assert!(made.iter().zip(&news).all(|(is, new)| is.ranges() == new.listen.ranges() && is.name == new.name));
            }
            Err(_) => {
                prop_assert_eq!(states(&server), before.clone());
                let is_dual = |new: &NewLoadBalancer| new.vips.each().count() == 2;
                prop_assert!(singles.iter().any(Result::is_err) || news.iter().any(is_dual));
            }
        }
        server.check();

        // Whatever fails, all or nothing.
        let sim = Sim::default();
        let mut server = Server::start(&sim).unwrap();
        server.created(99);
        let before = states(&server);
        sim.with(|remains| remains.broken = broken);
        if more(&mut server, news).is_err() {
            prop_assert_eq!(states(&server), before);
        }
        server.check();
    }
}

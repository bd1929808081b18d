// SPDX-License-Identifier: Apache-2.0
//! Requests that are asked again under their keys: carried out once, wherever the server was killed meanwhile.

use super::*;
use crate::{
    command::{Declaration, Wish},
    idempotency::{Digest, Key, Keyed, LONGEST},
};

fn keyed(text: &str) -> Keyed {
    Keyed { key: Key::try_from(text).unwrap(), request: Digest([0; 32]) }
}

impl Server {
    /// `None` if it crashed on the way, or nobody answered yet.
    fn ask_under(&mut self, keyed: Keyed, wish: impl Into<Wish>) -> Option<Result<Answer, Failure>> {
        let (request, mut answered) = under(keyed, wish);
        self.run(vec![request])?;
        answered.try_recv().ok()?
    }
}

fn under(keyed: Keyed, wish: impl Into<Wish>) -> (Request, oneshot::Receiver<Result<Answer, Failure>>) {
    let (answer, answered) = oneshot::channel();
    let terms = Terms { key: Some(keyed), ..Terms::default() };
    (Request { wish: wish.into(), terms, span: Span::none(), answer }, answered)
}

/// The load-balancers of an answer.
fn made(answer: Result<Answer, Failure>) -> Vec<Arc<LoadBalancer>> {
    match answer {
        Ok(Answer::LoadBalancer(one)) => vec![one],
        Ok(Answer::Declared(_, all)) => all,
        other => panic!("{other:?}"),
    }
}

fn list(numbers: std::ops::Range<u128>) -> Declaration {
    let each = |number| {
        let Command::Create(new) = create(number, None) else { panic!("no creation") };
        new
    };
    Declaration::more(numbers.map(each).collect())
}

#[test]
fn who_asks_again_gets_the_same_answer_and_nothing_is_done() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let first = made(server.ask_under(keyed("one"), create(1, None)).unwrap());
    let added = server.ask_under(keyed("backends"), Command::AddBackends(lb(1), vec![backend(1), backend(2)]));
    let added = added.unwrap().unwrap();
    let drain = || Command::Drain(lb(1), Some(backend(1).id), DrainWish::default());
    let drained = server.ask_under(keyed("drain"), drain()).unwrap().unwrap();
    let all = made(server.ask_under(keyed("list"), list(2..5)).unwrap());
    server.ask(Command::Undrain(lb(1), Some(backend(1).id))).unwrap();
    server.ask(Command::Delete(lb(3))).unwrap();
    server.check();
    let mut steps = sim.with(|remains| remains.log.len());
    for _ in 0..2 {
        // Ids are made anew each time.
        assert_eq!(made(server.ask_under(keyed("one"), create(11, None)).unwrap()), first);
        let again = server.ask_under(keyed("backends"), Command::AddBackends(lb(1), vec![backend(3), backend(4)]));
        assert_eq!(again.unwrap().unwrap(), added);
        assert_eq!(server.ask_under(keyed("drain"), drain()).unwrap().unwrap(), drained);
        assert_eq!(made(server.ask_under(keyed("list"), list(12..15)).unwrap()), all);
        assert_eq!(sim.with(|remains| remains.log.len()), steps);
        server.check();
        server = Server::start(&sim).unwrap();
        steps = sim.with(|remains| remains.log.len());
    }
}

#[test]
fn a_key_is_one_requests_and_free_again_when_that_was_refused_or_undone() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let refused = |answer: Option<Result<Answer, Failure>>| match answer {
        Some(Err(Failure::Rejected(rejected))) => rejected,
        other => panic!("{other:?}"),
    };
    let add = || Command::AddBackends(lb(1), vec![backend(1)]);
    assert_eq!(refused(server.ask_under(keyed("a"), add())), Rejected::UnknownLoadBalancer(lb(1)));
    // The same key, since nothing has come of it.
    let bind = Step::Host(HostStep::Bind(vip(85)));
    sim.with(|remains| remains.broken = vec![(bind, false)]);
    assert!(matches!(server.ask_under(keyed("a"), create(1, None)), Some(Err(Failure::Step { undone: true, .. }))));
    let Command::Create(new) = create(2, Some(vip(85))) else { panic!("no creation") };
    assert!(matches!(server.ask_under(keyed("a"), Declaration::more(vec![new])), Some(Err(Failure::Declared { .. }))));
    sim.with(|remains| remains.disk_full = true);
    assert!(matches!(server.ask_under(keyed("a"), create(2, Some(vip(86)))), Some(Err(Failure::Store(_)))));
    assert_eq!(sim.with(|remains| remains.disk.kept.clone()), []);
    sim.with(|remains| (remains.broken, remains.disk_full) = (Vec::new(), false));
    assert_eq!(made(server.ask_under(keyed("a"), create(3, None)).unwrap()).len(), 1);
    let other = Keyed { request: Digest([1; 32]), ..keyed("a") };
    assert_eq!(refused(server.ask_under(other, create(4, None))), Rejected::KeyOfAnother);
    server.check();
    assert_eq!(server.board.list().unwrap().len(), 1);
}

#[test]
fn a_key_is_in_use_until_its_request_is_answered() {
    for probe_takes in [0, 3] {
        let sim = Sim::default();
        let mut server = Server::start(&sim).unwrap();
        sim.with(|remains| remains.probe_takes.insert(vip(85), probe_takes));
        let (requests, answers): (Vec<_>, Vec<_>) =
            [1, 2, 3].map(|number| under(keyed("a"), create(number, None))).into_iter().unzip();
        server.run(requests).unwrap();
        let answers: Vec<_> = answers.into_iter().map(|mut answer| answer.try_recv().unwrap().unwrap()).collect();
        let in_use = |answer: &_| matches!(answer, Err(Failure::Rejected(Rejected::KeyInUse)));
        assert_eq!(answers.iter().map(in_use).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(server.board.list().unwrap().len(), 1);
        server.check();
    }
}

#[test]
fn nothing_is_kept_of_a_rehearsal() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let (request, mut answered) = under(keyed("a"), create(1, None));
    let rehearsal = Request { terms: Terms { rehearse: true, ..request.terms }, ..request };
    server.run(vec![rehearsal]).unwrap();
    assert!(matches!(answered.try_recv(), Ok(Some(Ok(Answer::Rehearsed(_))))));
    assert_eq!(made(server.ask_under(keyed("a"), create(1, None)).unwrap()).len(), 1);
}

/// Ageing alone writes nothing; the next change strikes out what is too old.
#[test]
fn old_keys_go_with_the_next_change() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let first = made(server.ask_under(keyed("a"), create(1, None)).unwrap());
    server.pass(LONGEST + INTERVAL);
    assert_eq!(sim.with(|remains| remains.disk.kept.len()), 1);
    server.ask(Command::AddBackends(lb(1), vec![backend(1)])).unwrap();
    assert_eq!(sim.with(|remains| remains.disk.kept.len()), 0);
    assert_ne!(made(server.ask_under(keyed("a"), create(2, None)).unwrap()), first);
}

/// A client that asks until it is answered has one of each, wherever the server is killed, and whatever fails.
#[test]
fn killed_anywhere_it_is_done_once() {
    for (wish, count) in [(Wish::from(create(1, None)), 1), (Wish::from(list(1..4)), 3)] {
        for fuse in 0.. {
            let sim = Sim::default();
            sim.with(|remains| remains.fuse = Some(fuse));
            let first = Server::start(&sim).and_then(|mut server| server.ask_under(keyed("a"), wish.clone()));
            let was_killed = first.is_none();
            sim.with(|remains| remains.fuse = None);
            let mut server = Server::start(&sim).unwrap();
            let again = match &wish {
                Wish::Declare(_) => Wish::from(list(11..14)),
                Wish::LoadBalancer(_) | Wish::Peer(_) => Wish::from(create(11, None)),
            };
            let again = made(server.ask_under(keyed("a"), again).unwrap());
            first.into_iter().for_each(|first| assert_eq!(made(first), again, "after {fuse} points"));
            server.check();
            let shown = server.board.list().unwrap().into_iter().map(|seen| seen.load_balancer).collect::<Vec<_>>();
            assert_eq!((shown.len(), &shown), (count, &again), "after {fuse} points");
            if !was_killed {
                break;
            }
        }
    }
}

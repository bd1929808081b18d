// SPDX-License-Identifier: Apache-2.0
//! A pool that has to ask somebody else takes its time.

use futures_util::FutureExt;

use super::*;

type Answered = oneshot::Receiver<Result<Answer, Failure>>;

/// A world whose pool does not answer at once.
fn slow() -> Sim {
    let sim = Sim::default();
    sim.with(|remains| remains.pool_takes = 3);
    sim
}

impl Server {
    /// Hands requests in, and does no more.
    fn begin(&mut self, commands: Vec<Command>) -> Vec<Answered> {
        let (requests, answers) = commands
            .into_iter()
            .map(|command| {
                let (answer, answered) = oneshot::channel();
                (Request { wish: command.into(), terms: Terms::default(), span: Span::none(), answer }, answered)
            })
            .unzip();
        self.controller.handle(requests, self.now).now_or_never().unwrap();
        answers
    }

    /// Goes on until nothing is asked any more.
    fn finish(&mut self) {
        drop(self.ask_all(Vec::new()));
    }
}

#[test]
fn it_holds_up_nobody() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.created(1);
    sim.with(|remains| remains.pool_takes = 3);
    let mut answers =
        server.begin(vec![create(2, None), Command::AddBackends(lb(1), vec![backend(1)]), create(3, None)]);
    let answered: Vec<bool> = answers.iter_mut().map(|answer| answer.try_recv().unwrap().is_some()).collect();
    assert_eq!(answered, [false, true, false]);
    server.begin(vec![Command::Delete(lb(1))]);
    assert_eq!(server.board.list().unwrap(), []);
    server.finish();
    assert_eq!(server.board.list().unwrap().len(), 2);
    server.check();
}

/// They are asked for once, and none is told that the address is being handed out to somebody else.
#[test]
fn several_creations_may_want_the_same_address() {
    let sim = slow();
    let mut server = Server::start(&sim).unwrap();
    let mut second = create(2, Some(vip(88)));
    if let Command::Create(new) = &mut second {
        new.listen = port(80).into();
    }
    let mut answers = server.begin(vec![create(1, Some(vip(88))), second, create(3, Some(vip(88)))]);
    server.finish();
    let outcome: Vec<bool> = answers.iter_mut().map(|answer| answer.try_recv().unwrap().unwrap().is_ok()).collect();
    assert_eq!(outcome, [true, true, false]);
    server.check();
}

/// Nobody can tell a client that has gone from one that only listens: the wish stands, and the address is not lost.
#[test]
fn who_does_not_wait_gets_it_all_the_same() {
    let sim = slow();
    let mut server = Server::start(&sim).unwrap();
    drop(server.begin(vec![create(1, None), create(2, Some(vip(88)))]));
    server.finish();
    assert_eq!(server.board.list().unwrap().len(), 2);
    server.check();
}

/// The others are not turned away with it.
#[test]
fn a_wanted_address_that_cannot_be_had_is_refused_to_each() {
    let sim = slow();
    sim.with(|remains| remains.kernel.host.bound.insert(vip(88)));
    let mut server = Server::start(&sim).unwrap();
    let (_, answers) = server.ask_all(vec![create(1, Some(vip(88))), create(2, Some(vip(88))), create(3, None)]);
    let outcome: Vec<bool> = answers.iter().map(|answer| answer.as_ref().unwrap().is_ok()).collect();
    assert_eq!(outcome, [false, false, true]);
}

#[test]
fn an_address_with_a_service_of_another_program_goes_back() {
    let sim = slow();
    let mut server = Server::start(&sim).unwrap();
    let foreign = Endpoint::tcp(vip(85), port(6443));
    sim.with(|remains| remains.kernel.services.insert(foreign.into(), ServiceView::default()));
    let (_, answers) = server.ask_all(vec![create(1, Some(vip(85))), create(2, None)]);
    assert!(matches!(answers[0], Some(Err(Failure::Foreign(_)))), "{answers:?}");
    assert!(answers[1].as_ref().unwrap().is_ok(), "{answers:?}");
    assert_eq!(sim.with(|remains| remains.reserved.clone()), BTreeSet::from([vip(86)]));
}

#[test]
fn what_is_not_written_down_when_it_is_killed_goes_back_at_the_start() {
    let sim = slow();
    let mut server = Server::start(&sim).unwrap();
    server.begin(vec![create(1, None)]);
    assert_eq!(sim.with(|remains| remains.reserved.len()), 1);
    drop(server);
    Server::start(&sim).unwrap().check();
}

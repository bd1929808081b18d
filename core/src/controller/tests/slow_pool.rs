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
                (Request { wish: command.into(), span: Span::none(), answer }, answered)
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
    let mut answers = server.begin(vec![create(2, None), Command::AddBackend(lb(1), backend(1)), create(3, None)]);
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
        new.port = port(80);
    }
    let mut answers = server.begin(vec![create(1, Some(vip(88))), second, create(3, Some(vip(88)))]);
    server.finish();
    let outcome: Vec<bool> = answers.iter_mut().map(|answer| answer.try_recv().unwrap().unwrap().is_ok()).collect();
    assert_eq!(outcome, [true, true, false]);
    server.check();
}

/// Who asked first, and gave up, must not take the others along.
#[test]
fn an_address_that_nobody_waits_for_any_more_goes_back() {
    let sim = slow();
    let mut server = Server::start(&sim).unwrap();
    let mut answers = server.begin(vec![create(1, None), create(2, Some(vip(88))), create(3, Some(vip(88)))]);
    let mut third = answers.pop().unwrap();
    drop(answers);
    server.finish();
    let ids: Vec<LoadBalancerId> = server.board.list().unwrap().iter().map(|each| each.id).collect();
    assert_eq!(ids, [lb(3)]);
    assert!(third.try_recv().unwrap().unwrap().is_ok());
    server.check();
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

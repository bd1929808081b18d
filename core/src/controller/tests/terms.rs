// SPDX-License-Identifier: Apache-2.0
//! Of several who expect the same, one is granted, and the others hear of it.

use super::*;
use crate::{
    command::{Declaration, Extent, Wish},
    tag::{Expected, Tags},
};

fn expecting(tag: Tag, wish: Wish) -> (Request, oneshot::Receiver<Result<Answer, Failure>>) {
    let expected = Expected { is: Some(Tags::Of(vec![tag])), is_not: None };
    let (answer, answered) = oneshot::channel();
    (Request { wish, terms: Terms { expected, ..Terms::default() }, span: Span::none(), answer }, answered)
}

fn granted(server: &mut Server, wishes: Vec<(Request, oneshot::Receiver<Result<Answer, Failure>>)>) -> Vec<bool> {
    let (requests, answers): (Vec<_>, Vec<_>) = wishes.into_iter().unzip();
    server.run(requests).unwrap();
    let answers = answers.into_iter().map(|mut answer| answer.try_recv().unwrap().unwrap());
    let granted = answers.map(|answer| match answer {
        Ok(_) => true,
        Err(Failure::Rejected(Rejected::NotAsExpected)) => false,
        Err(Failure::Declared { why, .. }) if matches!(*why, Failure::Rejected(Rejected::NotAsExpected)) => false,
        Err(other) => panic!("{other:?}"),
    });
    granted.collect()
}

#[test]
fn one_of_those_that_come_at_once_is_granted() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    let tag = Tag::of(&server.created(1));
    let rename = |name: &str| {
        let name = Some(Name::try_from(name.to_owned()).unwrap());
        Wish::from(Command::Update(lb(1), LoadBalancerChange { name, ..LoadBalancerChange::default() }))
    };
    let wishes = ["a", "b", "c"].map(|name| expecting(tag, rename(name))).into();
    assert_eq!(granted(&mut server, wishes), [true, false, false]);
    assert_eq!(server.board.get(lb(1)).unwrap().name.as_str(), "a");
    server.check();
}

/// The list that it replaces is another one by the time that its addresses have been found.
#[test]
fn what_changes_while_addresses_are_looked_for_is_noticed() {
    let sim = Sim::default();
    let mut server = Server::start(&sim).unwrap();
    server.created(1);
    sim.with(|remains| remains.probe_takes.insert(vip(86), 3));
    let set = |number| {
        let Command::Create(new) = create(number, None) else { panic!("no creation") };
        Wish::from(Declaration { extent: Extent::Requests, load_balancers: vec![new], known: BTreeSet::new() })
    };
    let list = Tag::of_list(&server.controller.state).unwrap();
    let (meanwhile, _) = expecting(Tag::of(&server.board.get(lb(1)).unwrap()), Command::Delete(lb(1)).into());
    let (first, mut answered) = expecting(list, set(2));
    server.run(vec![first, meanwhile]).unwrap();
    let answer = answered.try_recv().unwrap().unwrap();
    let Err(Failure::Declared { why, .. }) = answer else { panic!("{answer:?}") };
    assert!(matches!(*why, Failure::Rejected(Rejected::NotAsExpected)), "{why}");
    assert_eq!(server.board.list().unwrap().len(), 0);
    server.check();
    let list = Tag::of_list(&server.controller.state).unwrap();
    let wishes = vec![expecting(list, set(3)), expecting(list, set(4))];
    assert_eq!(granted(&mut server, wishes), [true, false]);
    server.check();
}

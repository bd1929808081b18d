// SPDX-License-Identifier: Apache-2.0
//! A tag is another one after each change that somebody asked for, and after no other.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use uuid::Uuid;

use super::*;
use crate::{
    command::{DrainWish, LoadBalancerChange, NewLoadBalancer},
    model::{
        BackendId, BackendSettings, Condition, LoadBalancerId, Name, Port, Protocol, ServiceSettings, Target, Time, Vip,
    },
    state::{Change, tests::new},
};

const ID: LoadBalancerId = LoadBalancerId(Uuid::nil());

fn backend(last: u8) -> Backend {
    let port = Port::try_from(80).unwrap();
    let target = Target { ip: Ipv4Addr::new(10, 0, 0, last).try_into().unwrap(), port: Some(port) };
    Backend::new(BackendId(Uuid::from_u128(last.into())), target, BackendSettings::default())
}

fn state() -> State {
    let mut state = State::default();
    let new =
        NewLoadBalancer { id: ID, ..new(Protocol::Tcp, ServiceSettings::default(), vec![backend(1), backend(2)]) };
    let vip = Vip::try_from(Ipv4Addr::new(192, 0, 2, 1)).unwrap();
    state.create(new, vip.into(), &BTreeSet::new()).unwrap();
    state
}

/// Of the list, the load-balancer, its backends, the first of them.
fn tags(state: &State) -> [Option<Tag>; 4] {
    let of = |command: Command| Tag::of_subject(&command, state);
    let [one, backends, backend] =
        [Command::Delete(ID), Command::AddBackends(ID, Vec::new()), Command::RemoveBackend(ID, backend(1).id)].map(of);
    [Tag::of_list(state), one, backends, backend]
}

#[test]
fn what_is_changed_has_another_tag() {
    let rename = LoadBalancerChange { name: Some(Name::try_from("x".to_owned()).unwrap()), ..Default::default() };
    for (command, changes) in [
        (Command::Update(ID, LoadBalancerChange::default()), [false; 4]),
        (Command::Update(ID, rename), [true, true, false, false]),
        (Command::AddBackends(ID, vec![backend(3)]), [true, true, true, false]),
        (Command::RemoveBackend(ID, backend(2).id), [true, true, true, false]),
        (Command::Drain(ID, Some(backend(1).id), DrainWish::default()), [true; 4]),
        (Command::Drain(ID, None, DrainWish::default()), [true, true, false, false]),
        (Command::Delete(ID), [true, true, false, false]),
    ] {
        let mut state = state();
        let before = tags(&state);
        state.apply(&command, Time::FIRST).unwrap();
        let differ: Vec<bool> = before.iter().zip(tags(&state)).map(|(before, after)| *before != after).collect();
        assert_eq!(differ, changes, "{command:?}");
    }
}

#[test]
fn what_becomes_of_it_is_no_part_of_a_tag() {
    let mut state = state();
    let before = tags(&state);
    let is = Arc::clone(state.get(ID).unwrap());
    let down = |backend: &Backend| {
        let condition = Condition { down: Some(Time::FIRST), back: Some(Time::FIRST), ..*backend.condition() };
        backend.clone().with_condition(condition)
    };
    let backends = Some(is.backends().iter().map(down).collect());
    let after = LoadBalancer { backends, ..LoadBalancer::clone(&is) };
    state.put(&Change { before: Some(is), after: Some(after.into()) });
    assert_eq!(tags(&state), before);
}

#[test]
fn what_is_not_as_expected_is_refused() {
    let current = Tag::of_list(&state()).unwrap();
    let other = Tag(current.0 ^ 1);
    let of = |tags: &[Tag]| Some(Tags::Of(tags.to_vec()));
    for (is, is_not, granted) in [
        (None, None, true),
        (of(&[current]), None, true),
        (of(&[other, current]), None, true),
        (of(&[other]), None, false),
        (of(&[]), None, false),
        (Some(Tags::Any), None, true),
        (None, Some(Tags::Any), false),
        (None, of(&[other]), true),
        (None, of(&[current]), false),
    ] {
        let expected = Expected { is, is_not };
        assert_eq!(expected.check(|| Some(current)).is_ok(), granted, "{expected:?}");
    }
    // Nothing was ever made: there is nothing to match.
    assert_eq!(Tag::of_list(&State::default()), None);
    assert!(Expected { is: Some(Tags::Any), is_not: None }.check(|| None).is_err());
    assert!(Expected { is: None, is_not: Some(Tags::Any) }.check(|| None).is_ok());
}

#[test]
fn a_tag_is_read_as_it_is_written() {
    for number in [0, 1, u64::MAX] {
        assert_eq!(Tag(number).to_string().parse(), Ok(Tag(number)));
    }
    for text in ["", "1", "00000000000000ZZ", "00000000000000AA", "+000000000000001", "00000000000000001"] {
        assert_eq!(text.parse::<Tag>(), Err(NoTag), "{text}");
    }
}

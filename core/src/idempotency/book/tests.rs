// SPDX-License-Identifier: Apache-2.0
//! The book of keys beside a model of it: the same request gets the same answer, another one none, and the book is bounded.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    command::{NewLoadBalancer, Tally},
    idempotency::Made,
    model::{
        Backend, BackendId, BackendSettings, LoadBalancer, LoadBalancerId, Port, Protocol, ServiceSettings, Target, Vip,
    },
    state::{State, tests::new},
};

#[test]
fn keys_are_visible_and_of_some_length() {
    for text in ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", &"x".repeat(255), "!#~"] {
        assert_eq!(Key::try_from(text).unwrap().as_str(), text);
    }
    for text in ["", " ", "a b", "a\tb", "ü", "\u{7f}", "a\"", "a\\", &"x".repeat(256)] {
        assert!(Key::try_from(text).is_err(), "{text:?}");
    }
}

fn load_balancer(number: u128, backends: u32) -> Arc<LoadBalancer> {
    let port = Port::try_from(80).unwrap();
    let backend = |at: u32| {
        let target = Target { ip: Ipv4Addr::from(0x0a00_0000 + at).try_into().unwrap(), port: Some(port) };
        Backend::new(BackendId(Uuid::from_u128(at.into())), target, BackendSettings::default())
    };
    let backends = (1..=backends).map(backend).collect();
    let new = NewLoadBalancer {
        id: LoadBalancerId(Uuid::from_u128(number)),
        ..new(Protocol::Tcp, ServiceSettings::default(), backends)
    };
    let vip = Vip::try_from(Ipv4Addr::new(192, 0, 2, 1)).unwrap();
    State::default().create(new, vip.into(), &BTreeSet::new()).unwrap().after.unwrap()
}

fn keyed(key: u16, request: u8) -> Keyed {
    Keyed { key: Key::try_from(format!("key-{key}").as_str()).unwrap(), request: Digest([request; 32]) }
}

fn kept(keyed: Keyed, at: Time, made: Made) -> Arc<Kept> {
    Arc::new(Kept { keyed, at, made })
}

/// What a commit does to the book.
fn commit(book: &mut Book, kept: Arc<Kept>, now: Time) {
    book.outdated([&*kept], now).iter().for_each(|key| book.remove(key));
    book.put(kept);
    check(book);
}

fn check(book: &Book) {
    let objects: usize = book.kept.values().map(|kept| kept.made.objects()).sum();
    let by_age: BTreeSet<_> = book.kept.iter().map(|(key, kept)| (kept.at, key.clone())).collect();
    assert_eq!((book.objects, &book.by_age), (objects, &by_age));
    assert!(book.kept.len() <= MOST_KEYS);
    assert!(objects <= MOST_OBJECTS || book.kept.len() == 1, "{objects} objects");
}

/// What becomes of a request that gets its key.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Granted,
    Refused,
    /// It takes until the end of the round.
    Slow,
}

proptest! {
    #[test]
    fn as_the_model_has_it(rounds in prop::collection::vec(
        (prop::collection::vec((0_u16..4, 0_u8..2, 0..3), 1..5), prop::sample::select(vec![0_u64, 1, 11, 13, 25])),
        1..12,
    )) {
        let mut book = Book::default();
        let mut model: BTreeMap<u16, (u8, Time, u128)> = BTreeMap::new();
        let (mut now, mut number) = (Time::FIRST, 0);
        for (requests, hours) in rounds {
            let mut slow: Vec<(u16, u8, Claim)> = Vec::new();
            for (key, request, fate) in requests {
                let fate = [Fate::Granted, Fate::Refused, Fate::Slow][usize::try_from(fate).unwrap()];
                let known = model.get(&key).filter(|(_, at, _)| now.since(*at) < LONGEST);
                let in_use = slow.iter().find(|(used, ..)| *used == key).map(|(_, request, _)| *request);
                match book.claim(keyed(key, request), now) {
                    Err(Rejected::KeyOfAnother) => {
                        prop_assert!(in_use.or(known.map(|(known, ..)| *known)).is_some_and(|known| known != request));
                    }
                    Err(Rejected::KeyInUse) => prop_assert_eq!(in_use, Some(request)),
                    Err(other) => prop_assert!(false, "{}", other),
                    Ok(Standing::Answered(answer)) => {
                        let Answer::LoadBalancer(found) = answer else { panic!("{answer:?}") };
                        let (known, _, id) = known.unwrap();
                        prop_assert_eq!((*known, *id, in_use), (request, found.id.0.as_u128(), None));
                    }
                    Ok(Standing::New(claim)) => {
                        prop_assert!(known.is_none() && in_use.is_none());
                        match fate {
                            Fate::Refused => {}
                            Fate::Slow => slow.push((key, request, claim)),
                            Fate::Granted => {
                                number += 1;
                                let made = Made::LoadBalancer(load_balancer(number, 1));
                                commit(&mut book, kept(claim.keyed().clone(), now, made), now);
                                model.insert(key, (request, now, number));
                            }
                        }
                    }
                }
            }
            for (key, request, claim) in slow {
                number += 1;
                let made = Made::LoadBalancer(load_balancer(number, 1));
                commit(&mut book, kept(claim.keyed().clone(), now, made), now);
                model.insert(key, (request, now, number));
            }
            now = now.after(Duration::from_secs(hours * 60 * 60));
            // A restart forgets nothing.
            book = Book::restore(book.kept.values().cloned().collect());
            check(&book);
        }
    }

    /// The newest is always there, and what is not is older than all that is.
    #[test]
    fn what_is_large_pushes_out_the_oldest(sizes in prop::collection::vec(prop::sample::select(vec![1_usize, 20_000, 70_000, 140_000]), 1..12)) {
        let one = load_balancer(1, 1);
        let mut book = Book::default();
        let mut now = Time::FIRST;
        for (key, size) in (0..).zip(&sizes) {
            let made = Made::Declared(Tally::default(), vec![Arc::clone(&one); *size]);
            commit(&mut book, kept(keyed(key, 0), now, made), now);
            let found: Vec<bool> = (0..=key).map(|key| book.kept.contains_key(&keyed(key, 0).key)).collect();
            prop_assert!(found.is_sorted() && found.last() == Some(&true), "{:?}", found);
            let next = found.iter().rposition(|found| !found).map_or(0, |at| 2 * sizes[at]);
            prop_assert!(next == 0 || book.objects + next > MOST_OBJECTS, "{:?}: it had room", found);
            // Other changes push nothing out.
            prop_assert_eq!(book.outdated([], now), []);
            now = now.after(Duration::from_secs(1));
        }
    }
}

#[test]
fn there_are_never_too_many_and_what_is_old_goes_with_the_next_change() {
    let made = Made::Declared(Tally::default(), Vec::new());
    let mut book = Book::default();
    let mut now = Time::FIRST;
    for key in 0..=u16::try_from(MOST_KEYS).unwrap() {
        commit(&mut book, kept(keyed(key, 0), now, made.clone()), now);
        now = now.after(Duration::from_secs(1));
    }
    assert_eq!((book.kept.len(), book.kept.contains_key(&keyed(0, 0).key)), (MOST_KEYS, false));
    assert!(matches!(book.claim(keyed(1, 0), now), Ok(Standing::Answered(_))));
    now = now.after(LONGEST);
    assert!(matches!(book.claim(keyed(1, 0), now), Ok(Standing::New(_))));
    assert_eq!(book.kept.len(), MOST_KEYS);
    let outdated = book.outdated([], now);
    assert_eq!(outdated.len(), MOST_KEYS);
    outdated.iter().for_each(|key| book.remove(key));
    check(&book);
}

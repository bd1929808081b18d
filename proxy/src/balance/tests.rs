// SPDX-License-Identifier: Apache-2.0
//! The laws of balancing, and what the kernel is known to do.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use slb_core::model::{
    BackendSettings, Persistence, Port, SchedulerFlags, ServiceSettings, Target, Thresholds, Weight,
};

use super::{Balancer, Method, Ticket};

const METHODS: [Method; 6] = [Method::Rr, Method::Wrr, Method::Lc, Method::Wlc, Method::Sh, Method::Mh];

fn target(number: u8) -> Target {
    Target { ip: format!("10.0.0.{number}").parse().unwrap(), port: Port::try_from(80).ok() }
}

fn weighing(weight: u16) -> BackendSettings {
    BackendSettings { weight: Weight::from(weight), ..BackendSettings::default() }
}

fn client(number: u32) -> SocketAddr {
    SocketAddr::new(std::net::Ipv4Addr::from_bits(0x0a01_0000 + number).into(), 40_000)
}

fn balancer(method: Method, settings: ServiceSettings, weights: &[u16]) -> Balancer<()> {
    let mut balancer = Balancer::new(method, settings);
    for (number, weight) in (0..).zip(weights) {
        balancer.put(target(number), weighing(*weight), || ());
    }
    balancer
}

fn chosen(balancer: &mut Balancer<()>, from: SocketAddr, now: Instant) -> Option<(Ticket, Target)> {
    balancer.choose(from, now, &[]).map(|(ticket, target, ())| (ticket, target))
}

fn order(method: Method, weights: &[u16], many: u32) -> Vec<u8> {
    let mut balancer = balancer(method, ServiceSettings::default(), weights);
    let now = Instant::now();
    let place = |at: Target| (0..).find(|number| target(*number) == at).unwrap();
    (0..many).map(|number| place(chosen(&mut balancer, client(number), now).unwrap().1)).collect()
}

#[test]
fn round_robin_passes_over_who_has_no_weight() {
    assert_eq!(order(Method::Rr, &[1, 0, 7], 5), [0, 2, 0, 2, 0]);
}

/// A, B and C with 4, 3 and 2 are served as AABABCABC. The first time begins where all have a share.
#[test]
fn weighted_round_robin_is_the_kernels() {
    assert_eq!(order(Method::Wrr, &[4, 3, 2], 9), [0, 1, 2, 0, 0, 1, 0, 1, 2]);
    assert_eq!(order(Method::Wrr, &[4, 2], 6), [0, 1, 0, 0, 1, 0]);
    assert_eq!(order(Method::Wrr, &[65535, 0], 3), [0, 0, 0]);
}

#[test]
fn a_removed_destination_leaves_the_turn_where_it_was() {
    let now = Instant::now();
    let mut balancer = balancer(Method::Rr, ServiceSettings::default(), &[1, 1, 1]);
    let next = |balancer: &mut Balancer<()>| chosen(balancer, client(0), now).unwrap().1;
    assert_eq!([next(&mut balancer), next(&mut balancer)], [target(0), target(1)]);
    balancer.remove(target(1));
    assert_eq!([next(&mut balancer), next(&mut balancer)], [target(2), target(0)]);
}

#[test]
fn who_was_refused_by_one_takes_nobodys_turn_and_goes_to_each_of_the_others() {
    let now = Instant::now();
    for method in [Method::Rr, Method::Wrr] {
        let mut balancer = balancer(method, ServiceSettings::default(), &[1, 1, 1]);
        let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
        for number in 0..12 {
            let (_, first) = chosen(&mut balancer, client(number), now).unwrap();
            firsts.push(first);
            if first == target(0) {
                let (_, second, ()) = balancer.choose(client(number), now, &[target(0)]).unwrap();
                seconds.push(second);
            }
        }
        assert_eq!(firsts, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2].map(target), "{method:?}");
        assert_eq!(seconds, [1, 2, 1, 2].map(target), "{method:?}");
        let (_, third, ()) = balancer.choose(client(0), now, &[target(0), target(1)]).unwrap();
        assert_eq!(third, target(2), "{method:?}");
    }
}

/// Established connections weigh 256 times as much as others.
#[test]
fn least_connections_counts_as_the_kernel_does() {
    let now = Instant::now();
    for (method, weights, expected) in [(Method::Lc, [1, 9], 1), (Method::Wlc, [1, 9], 1), (Method::Wlc, [512, 1], 0)] {
        let mut balancer = balancer(method, ServiceSettings::default(), &weights);
        let (mut first, place) = chosen(&mut balancer, client(0), now).unwrap();
        assert_eq!(place, target(0));
        balancer.establish(&mut first);
        let (_, at, ()) = balancer.choose(client(1), now, &[target(0)]).unwrap();
        assert_eq!(at, target(1));
        assert_eq!(chosen(&mut balancer, client(2), now).unwrap().1, target(expected), "{method:?} {weights:?}");
    }
}

#[test]
fn thresholds_shut_and_open_as_in_the_kernel() {
    let now = Instant::now();
    for (upper, lower, ends) in [(4, 0, 2), (4, 1, 4), (4, 3, 2)] {
        let mut balancer = Balancer::new(Method::Rr, ServiceSettings::default());
        let thresholds = Thresholds::new(upper, lower).unwrap();
        balancer.put(target(1), BackendSettings { thresholds, ..BackendSettings::default() }, || ());
        let mut tickets: Vec<Ticket> = std::iter::from_fn(|| Some(chosen(&mut balancer, client(0), now)?.0)).collect();
        assert_eq!(tickets.len(), 4);
        let mut ended = 0;
        while let Some(ticket) = tickets.pop() {
            balancer.end(ticket, now);
            ended += 1;
            if let Some((ticket, _)) = chosen(&mut balancer, client(0), now) {
                balancer.end(ticket, now);
                break;
            }
        }
        assert_eq!(ended, ends, "{upper} {lower}");
    }
}

#[test]
fn clients_are_remembered_for_their_time_and_while_they_are_there() {
    let begin = Instant::now();
    let later = |seconds| begin + Duration::from_secs(seconds);
    let persistence = Persistence { timeout: Duration::from_secs(10).try_into().unwrap(), granularity: Some(24) };
    let settings = ServiceSettings { persistence: Some(persistence), ..ServiceSettings::default() };
    let mut balancer = balancer(Method::Rr, settings, &[1, 1, 1]);
    let at = |balancer: &mut Balancer<()>, from, seconds| chosen(balancer, client(from), later(seconds)).unwrap();
    let (ticket, place) = at(&mut balancer, 1, 0);
    assert_eq!(at(&mut balancer, 2, 9).1, place, "a neighbour counts as the same");
    assert_ne!(at(&mut balancer, 256, 9).1, place, "one of another network does not");
    assert_eq!(at(&mut balancer, 1, 40).1, place, "there are connections");
    balancer.put(place, weighing(0), || ());
    let other = at(&mut balancer, 1, 41).1;
    assert_ne!(other, place, "a weight of 0 takes nothing new");
    balancer.end(ticket, later(42));
    balancer.remove(other);
    assert_ne!(at(&mut balancer, 1, 43).1, other);
    let remembered = balancer.connections(later(43)).iter().map(|(_, counted)| counted.persistent).sum::<u32>();
    assert_eq!(remembered, 2);
}

#[test]
fn hashed_clients_move_only_where_the_flag_allows() {
    let now = Instant::now();
    for method in [Method::Sh, Method::Mh] {
        let flags = |fallback| ServiceSettings {
            flags: SchedulerFlags { fallback, port: false },
            ..ServiceSettings::default()
        };
        let mut strict = balancer(method, flags(false), &[1, 1]);
        let mut lenient = balancer(method, flags(true), &[1, 1]);
        for number in 0..64 {
            let (_, place) = chosen(&mut strict, client(number), now).unwrap();
            assert_eq!(chosen(&mut lenient, client(number), now).unwrap().1, place);
            for balancer in [&mut strict, &mut lenient] {
                balancer.put(place, weighing(0), || ());
            }
            assert!(chosen(&mut strict, client(number), now).is_none());
            assert_ne!(chosen(&mut lenient, client(number), now).unwrap().1, place);
            let (_, second, ()) = strict.choose(client(number), now, &[place]).unwrap();
            assert_ne!(second, place, "who cannot be reached is passed over all the same");
            for balancer in [&mut strict, &mut lenient] {
                balancer.put(place, weighing(1), || ());
            }
        }
    }
}

/// The kernel's table begins with the newest destination, and this client's hash is its first place.
#[test]
fn hashes_begin_with_the_newest() {
    let mut balancer = balancer(Method::Sh, ServiceSettings::default(), &[3, 2]);
    let first_place = SocketAddr::from(([0, 0, 0, 0], 40_000));
    assert_eq!(chosen(&mut balancer, first_place, Instant::now()).unwrap().1, target(1));
}

/// Maglev: who stays keeps nearly all of its clients.
#[test]
fn maglev_moves_few_clients() {
    let now = Instant::now();
    let mut balancer = balancer(Method::Mh, ServiceSettings::default(), &[1; 10]);
    let places = |balancer: &mut Balancer<()>| {
        (0..2000).map(|number| chosen(balancer, client(number), now).unwrap().1).collect::<Vec<_>>()
    };
    let before = places(&mut balancer);
    balancer.remove(target(3));
    let after = places(&mut balancer);
    let moved = before.iter().zip(&after).filter(|(before, after)| **before != target(3) && before != after).count();
    assert!(moved < 200, "{moved} of 2000 moved");
    assert!(!after.contains(&target(3)));
}

proptest! {
    /// Whatever comes and goes: nobody without a weight, nobody full, nobody who was tried; and somebody, if anybody may.
    #[test]
    fn only_those_that_take_connections_are_chosen(
        which in 0..METHODS.len(),
        weights in prop::collection::vec(prop_oneof![Just(0u16), 1..5u16, 1..=u16::MAX], 1..8),
        uppers in prop::collection::vec(0..3u32, 8),
        clients in prop::collection::vec(any::<u16>(), 1..60),
        tried in any::<u8>(),
    ) {
        let method = METHODS[which];
        let flags = SchedulerFlags { fallback: true, port: false };
        let mut balancer = Balancer::new(method, ServiceSettings { flags, ..ServiceSettings::default() });
        let mut limits = BTreeMap::new();
        for (number, (weight, upper)) in (0..).zip(weights.iter().zip(&uppers)) {
            let thresholds = Thresholds::new(*upper, 0).unwrap();
            balancer.put(target(number), BackendSettings { thresholds, ..weighing(*weight) }, || ());
            limits.insert(target(number), (*weight, *upper));
        }
        let tried: Vec<Target> = (0..8).filter(|bit| tried & 1 << bit != 0).map(target).collect();
        let mut counts: BTreeMap<Target, u32> = BTreeMap::new();
        let now = Instant::now();
        for from in clients {
            let may = |counts: &BTreeMap<Target, u32>, at: &Target| {
                let (weight, upper) = limits[at];
                weight > 0 && (upper == 0 || counts.get(at).copied().unwrap_or(0) < upper) && !tried.contains(at)
            };
            let anybody = limits.keys().any(|at| may(&counts, at));
            match balancer.choose(client(from.into()), now, &tried) {
                Some((_, at, ())) => {
                    prop_assert!(may(&counts, &at), "{at}");
                    *counts.entry(at).or_default() += 1;
                }
                None => prop_assert!(!anybody || matches!(method, Method::Sh | Method::Mh)),
            }
        }
    }

    /// In each cycle everybody is served as often as its weight says.
    #[test]
    fn weights_are_shares(weights in prop::collection::vec(0..20u16, 1..6)) {
        let divisor = super::rounds::gcd_of(weights.iter().map(|weight| u32::from(*weight)));
        prop_assume!(divisor > 0);
        let cycle: u32 = weights.iter().map(|weight| u32::from(*weight) / divisor).sum();
        let served = order(Method::Wrr, &weights, 2 * cycle);
        for (number, weight) in (0..).zip(&weights) {
            let times = served.iter().filter(|each| **each == number).count();
            prop_assert_eq!(times, 2 * usize::from(*weight) / usize::try_from(divisor).unwrap());
        }
    }

    /// What has ended does not count, whatever became of its destination.
    #[test]
    fn counts_come_back_to_nothing(steps in prop::collection::vec((0..5u8, 0..4u8), 1..80)) {
        let now = Instant::now();
        let mut balancer = Balancer::new(Method::Wlc, ServiceSettings::default());
        let mut tickets = Vec::new();
        for (step, number) in steps {
            match step {
                0 => balancer.put(target(number), weighing(u16::from(number) + 1), || ()),
                1 => drop(balancer.remove(target(number))),
                2 => tickets.extend(chosen(&mut balancer, client(0), now).map(|(ticket, _)| ticket)),
                3 => if let Some(ticket) = tickets.last_mut() { balancer.establish(ticket) },
                _ => if let Some(ticket) = tickets.pop() { balancer.end(ticket, now) },
            }
        }
        tickets.into_iter().for_each(|ticket| balancer.end(ticket, now));
        prop_assert!(balancer.connections(now).iter().all(|(_, counted)| counted.active + counted.inactive == 0));
    }
}

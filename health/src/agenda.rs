// SPDX-License-Identifier: Apache-2.0
//! What is due when. Pure.
//!
//! A new check is due at once, but many new ones not in the same moment. From then on each is due at moments of its own, which are spread over
//! the interval by what is asked; failures and jitter move them. A few that are next to each other are made one.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use slb_core::checker::Watch;

/// How many new checks begin in a second, at most.
const NEW_A_SECOND: u32 = 10_000;
/// Entries before it is worth looking for those that are over.
const FEW: usize = 1024;

/// What is due when; the first due comes first.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    /// By the moment, and by a number for each entry.
    due: BTreeMap<(Instant, u64), T>,
    entries: u64,
    /// From here on there is room for new ones.
    room: Instant,
    /// With so many entries it is looked for those that are over.
    many: usize,
}

impl<T> Agenda<T> {
    pub(crate) fn new(now: Instant) -> Self {
        Self { due: BTreeMap::new(), entries: 0, room: now, many: FEW }
    }

    /// Puts it on the agenda for a moment.
    pub(crate) fn put(&mut self, at: Instant, what: T) {
        self.entries += 1;
        self.due.insert((at, self.entries), what);
    }

    /// Puts something new on it, for as soon as there is room.
    pub(crate) fn put_new(&mut self, now: Instant, what: T) {
        let at = self.room.max(now);
        self.room = at + Duration::from_secs(1) / NEW_A_SECOND;
        self.put(at, what);
    }

    /// Strikes out what is over, once that may be half of all: otherwise it would stay until it is due, which may be an hour.
    pub(crate) fn sweep(&mut self, is_over: impl Fn(&T) -> bool) {
        if self.due.len() > self.many {
            self.due.retain(|_, what| !is_over(what));
            self.many = FEW.max(2 * self.due.len());
        }
    }

    /// When the next is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next if it is due, with when it was.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(Instant, T)> {
        let next = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, _), what) = next.remove_entry();
        Some((at, what))
    }
}

/// Where in its interval a check has its place: the same for the same, and evenly spread over different ones.
pub(crate) fn place(watch: &Watch) -> Duration {
    let mut hasher = DefaultHasher::new();
    watch.target.hash(&mut hasher);
    let share = hasher.finish() as f64 / u64::MAX as f64;
    watch.check.timing.interval().mul_f64(share)
}

/// The next moment after `now` in the place, counted from the beginning: within an interval.
pub(crate) fn next_in_place(beginning: Instant, now: Instant, place: Duration, interval: Duration) -> Instant {
    let into = (now.saturating_duration_since(beginning).as_nanos() % interval.as_nanos().max(1)) as u64;
    let into = Duration::from_nanos(into);
    let wait = if place > into { place - into } else { place + interval - into };
    now + wait.min(interval)
}

/// A moment not after `at` that others share, so that the thread wakes for several at once: one of every ms, or of 64 in an interval.
/// Never later, so that no interval gets longer.
pub(crate) fn together(beginning: Instant, at: Instant, interval: Duration) -> Instant {
    const COARSEST: Duration = Duration::from_millis(1);
    let grid = (interval / 64).min(COARSEST).as_nanos().max(1);
    let beyond = (at.saturating_duration_since(beginning).as_nanos() % grid) as u64;
    at - Duration::from_nanos(beyond)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn many_new_ones_are_spread_and_few_are_not() {
        let start = Instant::now();
        let mut agenda = Agenda::new(start);
        (0..20_000).for_each(|each| agenda.put_new(start, each));
        let mut count = |millis| {
            let now = start + Duration::from_millis(millis);
            std::iter::from_fn(|| agenda.take(now)).count()
        };
        assert_eq!([0, 1, 1000, 5000].map(&mut count), [1, 10, 9990, 9999]);
        let later = start + Duration::from_secs(60);
        agenda.put_new(later, 0);
        assert_eq!(agenda.next(), Some(later));
    }

    #[test]
    fn what_is_over_does_not_pile_up() {
        let start = Instant::now();
        let mut agenda = Agenda::new(start);
        (0..3000).for_each(|each| agenda.put(start, each));
        for each in 3000..100_000 {
            agenda.put(start, each);
            agenda.sweep(|each| *each >= 3000);
            assert!(agenda.due.len() <= 6001);
        }
        assert_eq!(std::iter::from_fn(|| agenda.take(start)).filter(|(_, each)| *each < 3000).count(), 3000);
    }

    proptest! {
        #[test]
        fn the_first_due_comes_first(mut times in prop::collection::vec(0_u64..1000, 0..50)) {
            let start = Instant::now();
            let mut agenda = Agenda::new(start);
            times.iter().for_each(|time| agenda.put(start + Duration::from_millis(*time), *time));
            let end = start + Duration::from_secs(1);
            let taken: Vec<_> = std::iter::from_fn(|| agenda.take(end)).map(|(_, time)| time).collect();
            times.sort_unstable();
            prop_assert_eq!(taken, times);
        }

        #[test]
        fn moments_that_are_shared_are_soon_before(interval in 10_u64..10_000, passed in 0_u64..1_000_000_000) {
            let interval = Duration::from_millis(interval);
            let beginning = Instant::now();
            let at = beginning + Duration::from_micros(passed);
            let shared = together(beginning, at, interval);
            prop_assert!(shared <= at && at - shared < Duration::from_millis(5) && at - shared <= interval / 64);
            prop_assert_eq!(together(beginning, shared, interval), shared);
        }

        #[test]
        fn a_place_is_within_the_next_interval(interval in 10_u64..10_000, share in 0.0..1.0, passed in 0_u64..1_000_000) {
            let interval = Duration::from_millis(interval);
            let place = interval.mul_f64(share);
            let beginning = Instant::now();
            let now = beginning + Duration::from_millis(passed);
            let at = next_in_place(beginning, now, place, interval);
            prop_assert!(now < at && at <= now + interval);
            prop_assert_eq!(next_in_place(beginning, at, place, interval), at + interval);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Schedulers that go round (`rr`, `wrr`) or take the least loaded (`lc`, `wlc`): ip_vs_rr.c, ip_vs_wrr.c, ip_vs_lc.c, ip_vs_wlc.c, but for
//! the order of the list.

use slb_core::model::Target;

use super::{Destination, Method};

/// Where those that go round are.
#[derive(Debug, Default)]
pub struct Rounds {
    turn: Turn,
    /// Of clients who come back from a destination that does not answer. They have rounds of their own: in those of the others they would
    /// skip somebody, and beginning behind the silent one each time, its neighbour would get them all.
    detour: Turn,
    /// Of `wrr`.
    range: Range,
}

#[derive(Debug, Default)]
struct Turn {
    /// The one that was chosen last; `None` before the first, as after a change with `wrr`.
    last: Option<usize>,
    /// Of `wrr`: only weights from this on are chosen now (`cw`).
    current: u32,
}

/// What `current` goes through.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    /// What it falls by after each round (`di`): the greatest common divisor of all weights.
    step: u32,
    /// What it begins at (`mw`).
    highest: u32,
}

impl Rounds {
    /// The destination that stood there is gone.
    pub fn removed(&mut self, index: usize) {
        for turn in [&mut self.turn, &mut self.detour] {
            turn.last = match turn.last {
                Some(last) if last >= index => last.checked_sub(1),
                last => last,
            };
        }
    }

    /// Destinations or their weights have changed.
    pub fn changed<H>(&mut self, method: Method, destinations: &[Destination<H>]) {
        if method != Method::Wrr {
            return;
        }
        let weights = || destinations.iter().map(|each| u32::from(each.weight()));
        let step = gcd_of(weights()).max(1);
        // So that the last round takes every weight from 1 on.
        let highest = weights().max().unwrap_or_default().saturating_sub(step - 1);
        self.range = Range { step, highest };
        for turn in [&mut self.turn, &mut self.detour] {
            turn.last = None;
            if turn.current > highest || turn.current == 0 {
                turn.current = highest;
            } else if step > 1 {
                turn.current = turn.current / step * step + 1;
            }
        }
    }

    /// The place of the next one, if any takes connections.
    pub fn choose<H>(&mut self, method: Method, destinations: &[Destination<H>], tried: &[Target]) -> Option<usize> {
        let turn = if tried.is_empty() { &mut self.turn } else { &mut self.detour };
        turn.next(method, self.range, destinations, tried)
    }
}

impl Turn {
    fn next<H>(
        &mut self,
        method: Method,
        range: Range,
        destinations: &[Destination<H>],
        tried: &[Target],
    ) -> Option<usize> {
        let available = || destinations.iter().enumerate().filter(|(_, each)| each.is_available(tried));
        match method {
            Method::Lc => first_least(available(), |least, each| least.overhead() > each.overhead()),
            Method::Wlc => first_least(available(), |least, each| {
                least.overhead() * u64::from(each.weight()) > each.overhead() * u64::from(least.weight())
            }),
            Method::Wrr => {
                let best = available().map(|(_, each)| u32::from(each.weight())).max()?;
                self.weighted(range, destinations, best, tried)
            }
            Method::Rr | Method::Sh | Method::Mh => {
                let after = self.last.map_or(0, |last| last + 1);
                let next = available().find(|(index, _)| *index >= after).or_else(|| available().next());
                self.last = Some(next?.0);
                self.last
            }
        }
    }

    /// `best` is the highest weight among those that take connections: rounds that nobody is chosen in are left out.
    fn weighted<H>(
        &mut self,
        range: Range,
        destinations: &[Destination<H>],
        best: u32,
        tried: &[Target],
    ) -> Option<usize> {
        let Range { step, highest } = range;
        // Twice is enough: for the rest of this round, and for one with a weight that somebody has.
        for _ in 0..2 {
            let after = self.last.map_or(0, |last| last + 1);
            let fits = |each: &Destination<H>| each.is_available(tried) && u32::from(each.weight()) >= self.current;
            let found = destinations.iter().enumerate().skip(after).find(|(_, each)| fits(each));
            if let Some((index, _)) = found {
                self.last = Some(index);
                return Some(index);
            }
            self.last = None;
            self.current = self.current.checked_sub(step).filter(|current| *current > 0).unwrap_or(highest);
            let above = self.current.saturating_sub(best);
            self.current = self.current.saturating_sub(above.div_ceil(step) * step).max(1);
        }
        None
    }
}

/// The first of those that nobody is better than.
fn first_least<'a, H: 'a>(
    available: impl Iterator<Item = (usize, &'a Destination<H>)>,
    is_better: impl Fn(&Destination<H>, &Destination<H>) -> bool,
) -> Option<usize> {
    available.reduce(|least, each| if is_better(least.1, each.1) { each } else { least }).map(|(index, _)| index)
}

/// The greatest common divisor of all that are not 0; 0 if all are.
pub fn gcd_of(numbers: impl Iterator<Item = u32>) -> u32 {
    fn gcd(a: u32, b: u32) -> u32 {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    numbers.fold(0, gcd)
}

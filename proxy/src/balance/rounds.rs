// SPDX-License-Identifier: Apache-2.0
//! Schedulers that go round (`rr`, `wrr`) or take the least loaded (`lc`, `wlc`): ip_vs_rr.c, ip_vs_wrr.c, ip_vs_lc.c, ip_vs_wlc.c, but for
//! the order of the list.

use slb_core::model::Target;

use super::{Destination, Method};

/// Where those that go round are.
#[derive(Debug, Default)]
pub struct Rounds {
    /// The one that was chosen last; `None` before the first, as after a change with `wrr`.
    last: Option<usize>,
    /// Of `wrr`: only weights from this on are chosen now (`cw`).
    current: u32,
    /// What it falls by after each round (`di`): the greatest common divisor of all weights.
    step: u32,
    /// What it begins at (`mw`).
    highest: u32,
}

impl Rounds {
    /// The destination that stood there is gone.
    pub fn removed(&mut self, index: usize) {
        self.last = match self.last {
            Some(last) if last >= index => last.checked_sub(1),
            last => last,
        };
    }

    /// Destinations or their weights have changed.
    pub fn changed<H>(&mut self, method: Method, destinations: &[Destination<H>]) {
        if method != Method::Wrr {
            return;
        }
        let weights = || destinations.iter().map(|each| u32::from(each.weight()));
        self.last = None;
        self.step = gcd_of(weights()).max(1);
        // So that the last round takes every weight from 1 on.
        self.highest = weights().max().unwrap_or_default().saturating_sub(self.step - 1);
        if self.current > self.highest || self.current == 0 {
            self.current = self.highest;
        } else if self.step > 1 {
            self.current = self.current / self.step * self.step + 1;
        }
    }

    /// The place of the next one, if any takes connections. Who comes back from those that were tried takes nobody else's turn: while one
    /// backend does not answer, the next has its own share of clients and that one's, and not the latter only.
    pub fn choose<H>(&mut self, method: Method, destinations: &[Destination<H>], tried: &[Target]) -> Option<usize> {
        if tried.is_empty() {
            return self.next(method, destinations, tried);
        }
        Self { ..*self }.next(method, destinations, tried)
    }

    fn next<H>(&mut self, method: Method, destinations: &[Destination<H>], tried: &[Target]) -> Option<usize> {
        let available = || destinations.iter().enumerate().filter(|(_, each)| each.is_available(tried));
        match method {
            Method::Lc => first_least(available(), |least, each| least.overhead() > each.overhead()),
            Method::Wlc => first_least(available(), |least, each| {
                least.overhead() * u64::from(each.weight()) > each.overhead() * u64::from(least.weight())
            }),
            Method::Wrr => {
                let best = available().map(|(_, each)| u32::from(each.weight())).max()?;
                self.weighted(destinations, best, tried)
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
    fn weighted<H>(&mut self, destinations: &[Destination<H>], best: u32, tried: &[Target]) -> Option<usize> {
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
            self.current = self.current.checked_sub(self.step).filter(|current| *current > 0).unwrap_or(self.highest);
            let above = self.current.saturating_sub(best);
            self.current = self.current.saturating_sub(above.div_ceil(self.step) * self.step).max(1);
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

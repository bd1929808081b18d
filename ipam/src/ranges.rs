// SPDX-License-Identifier: Apache-2.0
//! Hands out addresses of ranges: the lowest that never was handed out, and once all were, the one released longest ago, so
//! that stale ARP caches and half-open clients do not meet a new owner soon.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::{Future, ready},
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use slb_core::{
    model::Vip,
    ports::{Pool, PoolError},
};

use crate::range::{self, BadRange, Range};

/// A pool of the operator's own addresses. Its memory is that of the addresses that were ever handed out, not of the ranges.
#[derive(Clone, Debug)]
pub struct Ranges {
    text: String,
    /// In ascending order, apart from each other.
    ranges: Vec<Range>,
    held: BTreeSet<Vip>,
    /// Released and not handed out since, by the order of their release.
    released: BTreeMap<u64, Vip>,
    turns: BTreeMap<Vip, u64>,
    last_turn: u64,
    /// Every address of the pool below this one was handed out, is held or was to be avoided; see [`Ranges::never_used`].
    frontier: u32,
    /// Below the frontier and never handed out: passed over because they were to be avoided.
    skipped: BTreeSet<Vip>,
}

impl Ranges {
    /// Whether the address is one of the pool's.
    #[must_use]
    pub fn contains(&self, vip: Vip) -> bool {
        let at = self.ranges.partition_point(|range| range.last() < vip.address());
        self.ranges.get(at).is_some_and(|range| range.contains(vip.address()))
    }

    /// Whether some of the addresses from `first` to `last` are the pool's.
    #[must_use]
    pub fn overlaps(&self, first: Ipv4Addr, last: Ipv4Addr) -> bool {
        self.ranges.iter().any(|range| range.first() <= last && first <= range.last())
    }

    /// The lowest address of the pool that is in none of the networks, each given by its first and last address.
    #[must_use]
    pub fn outside(&self, networks: &[(Ipv4Addr, Ipv4Addr)]) -> Option<Ipv4Addr> {
        self.ranges.iter().find_map(|range| {
            let mut next = range.first();
            while next <= range.last() {
                let Some((_, last)) = networks.iter().find(|(first, last)| (*first..=*last).contains(&next)) else {
                    return Some(next);
                };
                next = Ipv4Addr::from_bits(last.to_bits().checked_add(1)?);
            }
            None
        })
    }

    /// How many addresses there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.ranges.iter().map(|range| range.size()).sum()
    }

    fn take(&mut self, wanted: Option<Vip>, avoid: &BTreeMap<IpAddr, String>) -> Result<Vip, PoolError> {
        let vip = match wanted {
            Some(wanted) => self.take_wanted(wanted, avoid)?,
            None => self.never_used(avoid).or_else(|| self.longest_released(avoid)).ok_or_else(|| self.exhausted())?,
        };
        self.hold(vip);
        Ok(vip)
    }

    fn take_wanted(&self, wanted: Vip, avoid: &BTreeMap<IpAddr, String>) -> Result<Vip, PoolError> {
        if !self.contains(wanted) {
            return Err(PoolError::Outside { wanted, pool: self.to_string() });
        }
        if let Some(why) = avoid.get(&wanted.address()) {
            return Err(PoolError::Unavailable { wanted, why: why.clone() });
        }
        if self.held.contains(&wanted) {
            return Err(PoolError::Unavailable { wanted, why: "being handed out to somebody else".to_owned() });
        }
        Ok(wanted)
    }

    /// The lowest address that never was handed out and need not be avoided. Moves the frontier, so that the next search does not
    /// begin at the beginning.
    fn never_used(&mut self, avoid: &BTreeMap<IpAddr, String>) -> Option<Vip> {
        if let Some(vip) = self.skipped.iter().find(|vip| !avoid.contains_key(&vip.address())) {
            return Some(*vip);
        }
        let reached = self.ranges.partition_point(|range| u32::from(range.last()) < self.frontier);
        for range in self.ranges.iter().skip(reached) {
            let first = u32::from(range.first()).max(self.frontier);
            for number in first..=u32::from(range.last()) {
                let address = Ipv4Addr::from(number);
                self.frontier = number;
                let Ok(vip) = Vip::try_from(address) else { continue };
                if self.held.contains(&vip) || self.turns.contains_key(&vip) {
                    continue;
                }
                if !avoid.contains_key(&vip.address()) {
                    return Some(vip);
                }
                self.skipped.insert(vip);
            }
        }
        None
    }

    fn longest_released(&self, avoid: &BTreeMap<IpAddr, String>) -> Option<Vip> {
        self.released.values().copied().find(|vip| self.contains(*vip) && !avoid.contains_key(&vip.address()))
    }

    fn exhausted(&self) -> PoolError {
        let held = self.held.iter().filter(|vip| self.contains(**vip)).count() as u64;
        PoolError::Exhausted { pool: self.to_string(), held, avoided: self.size().saturating_sub(held) }
    }

    fn hold(&mut self, vip: Vip) {
        self.held.insert(vip);
        self.skipped.remove(&vip);
        if let Some(turn) = self.turns.remove(&vip) {
            self.released.remove(&turn);
        }
    }

    fn note_release(&mut self, vip: Vip) {
        self.held.remove(&vip);
        self.skipped.remove(&vip);
        if let Some(turn) = self.turns.remove(&vip) {
            self.released.remove(&turn);
        }
        self.last_turn += 1;
        self.released.insert(self.last_turn, vip);
        self.turns.insert(vip, self.last_turn);
    }
}

impl FromStr for Ranges {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Self, BadRange> {
        Ok(Self {
            text: text.trim().to_owned(),
            ranges: range::list(text)?,
            held: BTreeSet::new(),
            released: BTreeMap::new(),
            turns: BTreeMap::new(),
            last_turn: 0,
            frontier: 0,
            skipped: BTreeSet::new(),
        })
    }
}

/// As the operator wrote it.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl Pool for Ranges {
    fn restore(&mut self, held: BTreeSet<Vip>, released: Vec<Vip>) {
        released.into_iter().for_each(|vip| self.note_release(vip));
        held.into_iter().for_each(|vip| self.hold(vip));
    }

    /// The lowest address never handed out, else the one released longest ago; without waiting.
    fn acquire(
        &mut self,
        wanted: Option<Vip>,
        avoid: &BTreeMap<IpAddr, String>,
    ) -> impl Future<Output = Result<Vip, PoolError>> + Send + 'static {
        ready(self.take(wanted, avoid))
    }

    fn release(&mut self, vip: Vip) {
        self.note_release(vip);
    }
}

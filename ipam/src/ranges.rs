// SPDX-License-Identifier: Apache-2.0
//! Hands out addresses of ranges: the lowest of a family that never was handed out, and once all were, the one released longest ago, so
//! that stale ARP caches and half-open clients do not meet a new owner soon.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::{Future, ready},
    net::IpAddr,
    str::FromStr,
};

use slb_core::{
    model::{Family, Vip},
    ports::{Pool, PoolError, Wanted},
};

use crate::range::{self, BadRange, Range, address_of, number_of};

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
    /// Every address of the family in the pool below this one was handed out, is held or was to be avoided; see
    /// [`Ranges::never_used`].
    frontiers: BTreeMap<Family, u128>,
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
    pub fn overlaps(&self, first: IpAddr, last: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.first() <= last && first <= range.last())
    }

    /// The lowest address of the pool that is in none of the networks, each given by its first and last address.
    #[must_use]
    pub fn outside(&self, networks: &[(IpAddr, IpAddr)]) -> Option<IpAddr> {
        self.ranges.iter().find_map(|range| {
            let mut next = range.first();
            while next <= range.last() {
                let Some((_, last)) = networks.iter().find(|(first, last)| (*first..=*last).contains(&next)) else {
                    return Some(next);
                };
                // A network that ends beyond the range may have the last address of all.
                if *last >= range.last() {
                    return None;
                }
                next = address_of(range.family(), number_of(*last).checked_add(1)?);
            }
            None
        })
    }

    /// Whether there are addresses of the family.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.of(family).next().is_some()
    }

    /// How many addresses of the family there are.
    #[must_use]
    pub fn size(&self, family: Family) -> u128 {
        self.of(family).map(Range::size).sum()
    }

    fn of(&self, family: Family) -> impl Iterator<Item = Range> {
        self.ranges.iter().copied().filter(move |range| range.family() == family)
    }

    fn take(&mut self, wanted: Wanted, avoid: &BTreeMap<IpAddr, String>) -> Result<Vip, PoolError> {
        let vip = match wanted {
            Wanted::Vip(wanted) => self.take_wanted(wanted, avoid)?,
            Wanted::Of(family) => self.take_any(family, avoid)?,
            Wanted::Any if self.has(Family::Ipv4) => self.take_any(Family::Ipv4, avoid)?,
            Wanted::Any => self.take_any(Family::Ipv6, avoid)?,
        };
        self.hold(vip);
        Ok(vip)
    }

    fn take_any(&mut self, family: Family, avoid: &BTreeMap<IpAddr, String>) -> Result<Vip, PoolError> {
        if !self.has(family) {
            return Err(PoolError::OtherFamily { family, pool: self.to_string() });
        }
        let found = self.never_used(family, avoid).or_else(|| self.longest_released(family, avoid));
        found.ok_or_else(|| self.exhausted(family))
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
    fn never_used(&mut self, family: Family, avoid: &BTreeMap<IpAddr, String>) -> Option<Vip> {
        if let Some(vip) = self.skipped.iter().find(|vip| vip.family() == family && !avoid.contains_key(&vip.address()))
        {
            return Some(*vip);
        }
        let frontier = self.frontiers.entry(family).or_default();
        let ahead = self.ranges.iter().filter(|range| range.family() == family && *frontier <= range.last);
        let ahead: Vec<Range> = ahead.copied().collect();
        for range in ahead {
            for number in range.first.max(*frontier)..=range.last {
                *frontier = number;
                let Ok(vip) = Vip::try_from(address_of(family, number)) else { continue };
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

    fn longest_released(&self, family: Family, avoid: &BTreeMap<IpAddr, String>) -> Option<Vip> {
        let mut released = self.released.values().copied().filter(|vip| vip.family() == family);
        released.find(|vip| self.contains(*vip) && !avoid.contains_key(&vip.address()))
    }

    fn exhausted(&self, family: Family) -> PoolError {
        let held = self.held.iter().filter(|vip| vip.family() == family && self.contains(**vip)).count() as u64;
        let avoided = u64::try_from(self.size(family)).unwrap_or(u64::MAX).saturating_sub(held);
        PoolError::Exhausted { family, pool: self.to_string(), held, avoided }
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
            frontiers: BTreeMap::new(),
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
    fn restore(&mut self, mut held: BTreeSet<Vip>, released: Vec<Vip>) {
        released.into_iter().filter(|vip| !held.contains(vip)).for_each(|vip| self.note_release(vip));
        self.held.append(&mut held);
    }

    /// The lowest address never handed out, else the one released longest ago; without waiting.
    fn acquire(
        &mut self,
        wanted: Wanted,
        avoid: &BTreeMap<IpAddr, String>,
    ) -> impl Future<Output = Result<Vip, PoolError>> + Send + 'static {
        ready(self.take(wanted, avoid))
    }

    fn trial(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn release(&mut self, vip: Vip) {
        self.note_release(vip);
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What is to be done for which address, and when: a map by VIP that also knows who is due next.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use slb_core::model::Vip;

/// One entry per VIP, each due at some moment, or never.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    entries: BTreeMap<Vip, (Option<Instant>, T)>,
    /// The entries that are due some day, soonest first.
    due: BTreeSet<(Instant, Vip)>,
}

impl<T> Agenda<T> {
    pub(super) fn new() -> Self {
        Self { entries: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// Enters `value` for `vip`, over what was there.
    pub(super) fn put(&mut self, vip: Vip, due: Option<Instant>, value: T) {
        self.remove(vip);
        self.due.extend(due.map(|due| (due, vip)));
        self.entries.insert(vip, (due, value));
    }

    /// Strikes the entry of `vip` out.
    pub(super) fn remove(&mut self, vip: Vip) -> Option<T> {
        let (due, value) = self.entries.remove(&vip)?;
        if let Some(due) = due {
            self.due.remove(&(due, vip));
        }
        Some(value)
    }

    /// The entry of `vip`; it stays due when it was.
    pub(super) fn get_mut(&mut self, vip: Vip) -> Option<&mut T> {
        self.entries.get_mut(&vip).map(|(_, value)| value)
    }

    /// When the next entry is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|&(due, _)| due)
    }

    /// Strikes out the entry that has been due for longest, if any is due by `now`.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Vip, T)> {
        let &(_, vip) = self.due.first().filter(|&&(due, _)| due <= now)?;
        Some((vip, self.remove(vip)?))
    }

    /// The lowest and the highest VIP entered.
    pub(super) fn ends(&self) -> Option<(Vip, Vip)> {
        Some((*self.entries.first_key_value()?.0, *self.entries.last_key_value()?.0))
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What a wish would do, without doing any of it: its plan, on copies of what is wanted and of what there is. Pure.

use std::{borrow::Cow, collections::BTreeSet};

use crate::{
    command::Tally,
    model::{Phase, Time, Vip},
    plan::{
        Observed,
        passes::{next_part, passes},
        plan_stages,
    },
    routing::rehearsal::RouteStep,
    state::{Change, State},
    step::Step,
};

/// What a wish would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rehearsed {
    /// In the order in which they would be taken.
    pub steps: Vec<Step>,
    /// The same of a change that is not about load-balancers but about the routers that are told.
    pub routes: Vec<RouteStep>,
    /// How many load-balancers would be made, not be as they were, and go.
    pub tally: Tally,
    /// VIPs that the network has not been asked for. In earnest they may be others.
    pub tentative: BTreeSet<Vip>,
}

/// Goes through a wish, part by part.
#[derive(Debug)]
pub struct Rehearsal<'a> {
    observed: Cow<'a, Observed>,
    now: Time,
    /// How many of the steps have been taken on the copy of what there is.
    taken: usize,
    rehearsed: Rehearsed,
}

impl<'a> Rehearsal<'a> {
    /// From what there is at that time.
    #[must_use]
    pub fn new(observed: &'a Observed, now: Time) -> Self {
        Self { observed: Cow::Borrowed(observed), now, taken: 0, rehearsed: Rehearsed::default() }
    }

    /// Has the kernel follow these changes, which are in the state.
    pub fn follow(&mut self, state: &State, changes: &[Change]) {
        let Rehearsed { steps, tally, .. } = &mut self.rehearsed;
        for step in steps.iter().skip(std::mem::replace(&mut self.taken, steps.len())) {
            self.observed.to_mut().note(step);
        }
        let after = changes.iter().filter_map(|change| change.after.as_ref());
        let vips = state.together(after.flat_map(|after| after.vips));
        for (stages, many) in passes(vips.len()) {
            let mut left = vips.clone();
            while let Some(part) = next_part(state, &mut left, *many) {
                let plan = plan_stages(stages.clone(), state, &self.observed, &part, self.now);
                steps.extend(plan.into_values().flatten());
            }
        }
        for change in changes.iter().filter(|change| change.write().is_some()) {
            let goes = change.after.as_ref().is_none_or(|after| after.phase == Phase::Deleting);
            match change.created() {
                Some(_) => tally.created += 1,
                None if goes => tally.removed += 1,
                None => tally.changed += 1,
            }
        }
    }

    /// What came of it; these VIPs are not settled.
    #[must_use]
    pub fn end(self, tentative: BTreeSet<Vip>) -> Rehearsed {
        Rehearsed { tentative, ..self.rehearsed }
    }
}

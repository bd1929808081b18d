// SPDX-License-Identifier: Apache-2.0
//! Brings VIPs to the desired state in as many [passes](crate::plan::passes) as they take.

use std::{collections::BTreeSet, time::Instant};

use super::{
    Controller, World,
    converge::{Course, Failures},
    log::Repairs,
};
use crate::{
    model::Vip,
    plan::{
        Scope, Stage,
        passes::{FEW, next_part, passes},
    },
    state::Change,
};

impl<W: World> Controller<W> {
    /// Carries out the plan for `scope`, from what was last observed. `asked` is what requests have changed in the state; a creation
    /// among it that fails will be undone.
    pub(super) async fn converge(&mut self, scope: &Scope, asked: &[Change], now: Instant) -> Failures {
        let mut course = Course::new(asked, self.time());
        self.pass_through(scope, &mut course).await;
        self.take_stock(scope, course, now)
    }

    /// The same for what nobody asked for, and is told: a repair.
    pub(super) async fn converge_and_tell(&mut self, scope: &Scope, now: Instant) -> Failures {
        let mut course = Course::new(&[], self.time());
        course.repairs = Some(Repairs::default());
        self.pass_through(scope, &mut course).await;
        if let Some(repairs) = &course.repairs {
            repairs.log_more();
        }
        self.take_stock(scope, course, now)
    }

    async fn pass_through(&mut self, scope: &Scope, course: &mut Course<'_>) {
        let vips = self.vips_in(scope);
        let (passes, before) = (passes(vips.len()), self.observed.services.len());
        for (stages, many) in passes {
            let mut left = vips.clone();
            while let Some(part) = next_part(&self.state, &mut left, *many) {
                let feasible = self.feasible(stages.clone(), &part, course.time);
                self.follow(feasible, course).await;
                if stages.contains(&Stage::Program) {
                    self.settle(&part);
                }
            }
            // The next pass takes the room that this gives back.
            if before + FEW < self.observed.services.len() {
                self.observed.pack(stages);
            }
        }
    }

    /// Also those of which something is left and no load-balancer.
    fn vips_in(&self, scope: &Scope) -> BTreeSet<Vip> {
        match scope {
            Scope::Vips(vips) => vips.clone(),
            Scope::All => {
                // One by one: to collect them, all would be listed first, and most of them three times.
                let mut vips = BTreeSet::new();
                vips.extend(self.state.vips().chain(self.observed.strays()));
                vips
            }
        }
    }
}

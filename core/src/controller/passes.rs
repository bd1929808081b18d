// SPDX-License-Identifier: Apache-2.0
//! Brings everything to the desired state, after a start or a look at the kernel: all services are programmed before the first VIP is
//! bound. In parts, for the steps of a start are a hundred thousand, and would leave holes in the memory that are there to the end.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Instant};

use super::{
    Controller, World,
    converge::{Course, Failures, STEPS},
    log::Repairs,
};
use crate::{
    model::Vip,
    plan::{Scope, Stage},
};

/// Stages with how many VIPs are planned for at a time. Few, where each piece is no more than a packet to the kernel: a VIP has ten times
/// as many steps where it is programmed. As many as go where it may be a run of iptables.
const PASSES: [(RangeInclusive<Stage>, usize); 5] = [
    (Stage::Withdraw..=Stage::EnableSourceNat, STEPS),
    (Stage::Program..=Stage::Prune, 64),
    (Stage::Mark..=Stage::Mark, STEPS),
    (Stage::Bind..=Stage::Advertise, 512),
    (Stage::DisableSourceNat..=Stage::DisableSourceNat, STEPS),
];

impl<W: World> Controller<W> {
    /// Converges for what nobody asked for; `repairs` are told.
    pub(super) async fn pass_through(&mut self, scope: &Scope, mut repairs: Option<Repairs>, now: Instant) -> Failures {
        let mut course = Course::new(&[], self.time());
        for (stages, vips) in PASSES {
            for part in self.parts(scope, vips) {
                let feasible = self.feasible(stages.clone(), &part, course.time);
                if let Some(repairs) = &mut repairs {
                    repairs.log(&feasible.plan);
                }
                self.follow(feasible, &mut course).await;
                if stages.contains(&Stage::Program) {
                    self.settle(&part);
                }
            }
            if repairs.is_none() {
                self.observed.pack();
            }
        }
        if let Some(repairs) = repairs {
            repairs.log_more();
        }
        self.take_stock(scope, course, now)
    }

    /// A scope in parts of so many VIPs, and those that belong to them. Also what is left of VIPs that there are no more.
    fn parts(&self, scope: &Scope, vips: usize) -> Vec<Scope> {
        let Scope::All = scope else { return vec![scope.clone()] };
        let of_before = self.retries.keys().chain(self.raises.keys()).copied();
        let more = self.observed.strays().chain(of_before).filter(|vip| !self.state.holds(*vip));
        let mut left: BTreeSet<Vip> = self.state.vips().chain(more).collect();
        let mut parts = Vec::new();
        while !left.is_empty() {
            let part = self.state.together(left.iter().copied().take(vips));
            for vip in &part {
                left.remove(vip);
            }
            parts.push(Scope::Vips(part));
        }
        parts
    }
}

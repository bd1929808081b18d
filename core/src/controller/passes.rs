// SPDX-License-Identifier: Apache-2.0
//! Brings many VIPs to the desired state, after a start, a look at the kernel or a request for all of them: all services are programmed
//! before the first VIP is bound. In parts, for the steps may be a hundred thousand, and would leave holes in the memory that are there to
//! the end.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Instant};

use super::{
    Controller, World,
    converge::{Course, Failures, STEPS},
    log::Repairs,
};
use crate::{
    model::Vip,
    plan::{ALL_STAGES, Scope, Stage},
    state::Change,
};

/// Stages, with how many VIPs they are planned for at a time.
type Pass = (RangeInclusive<Stage>, usize);

/// VIPs that take one pass.
const FEW: usize = 64;

/// What more than a few take. Few at a time, where each piece is no more than a packet to the kernel: a VIP has ten times as many steps where
/// it is programmed. As many as go where it may be a run of iptables.
const PASSES: [Pass; 5] = [
    (Stage::Withdraw..=Stage::EnableSourceNat, STEPS),
    (Stage::Program..=Stage::Prune, FEW),
    (Stage::Prepare..=Stage::Mark, STEPS),
    (Stage::Bind..=Stage::Advertise, 512),
    (Stage::DisableSourceNat..=Stage::DisableSourceNat, STEPS),
];

impl<W: World> Controller<W> {
    /// Carries out the plan for `scope`, from what was last observed. `asked` is what requests have changed in the state; a creation
    /// among it that fails will be undone.
    pub(super) async fn converge(&mut self, scope: &Scope, asked: &[Change], now: Instant) -> Failures {
        let mut course = Course::new(asked, self.time());
        self.pass_through(scope, &mut course, None).await;
        self.take_stock(scope, course, now)
    }

    /// The same for what nobody asked for, and is told: a repair.
    pub(super) async fn converge_and_tell(&mut self, scope: &Scope, now: Instant) -> Failures {
        let mut course = Course::new(&[], self.time());
        let mut repairs = Repairs::default();
        self.pass_through(scope, &mut course, Some(&mut repairs)).await;
        repairs.log_more();
        self.take_stock(scope, course, now)
    }

    async fn pass_through(&mut self, scope: &Scope, course: &mut Course<'_>, mut repairs: Option<&mut Repairs>) {
        let passes = if self.vips_in(scope).len() > FEW { &PASSES[..] } else { &[(ALL_STAGES, FEW)] };
        for (stages, many) in passes {
            let mut left = self.vips_in(scope);
            while let Some(part) = self.next_of(&mut left, *many) {
                let feasible = self.feasible(stages.clone(), &part, course.time);
                if let Some(repairs) = &mut repairs {
                    repairs.log(&feasible.plan);
                }
                self.follow(feasible, course).await;
                if stages.contains(&Stage::Program) {
                    self.settle(&part);
                }
            }
            // The next pass takes the room that this gives back.
            if !self.board.is_ready() {
                self.observed.pack();
            }
        }
    }

    /// Also what is left of VIPs that there are no more.
    fn vips_in(&self, scope: &Scope) -> BTreeSet<Vip> {
        let vips = match scope {
            Scope::Vips(vips) => return vips.clone(),
            Scope::All => self.state.vips(),
        };
        let of_before = self.retries.keys().chain(self.raises.keys()).copied();
        vips.chain(self.observed.strays().chain(of_before)).collect()
    }

    /// Takes out so many of these VIPs, and those that belong to them.
    fn next_of(&self, vips: &mut BTreeSet<Vip>, many: usize) -> Option<Scope> {
        let part = self.state.together(vips.iter().copied().take(many));
        for vip in &part {
            vips.remove(vip);
        }
        (!part.is_empty()).then_some(Scope::Vips(part))
    }
}

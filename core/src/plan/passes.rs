// SPDX-License-Identifier: Apache-2.0
//! In which pieces many VIPs are planned for, so that all services are programmed before the first VIP is bound. Their steps may be a hundred
//! thousand, and planned for at once would leave holes in the memory that are there to the end.

use std::{collections::BTreeSet, ops::RangeInclusive};

use super::{ALL_STAGES, Scope, Stage};
use crate::{model::Vip, state::State};

/// Stages, with how many VIPs they are planned for at a time.
pub type Pass = (RangeInclusive<Stage>, usize);

/// VIPs that take one pass.
pub const FEW: usize = 64;

/// As many as go at a time, where it may be a run of iptables, which writes its whole table each time.
pub const MANY: usize = 16_384;

/// What more than a few take. Few at a time, where each piece is no more than a packet to the kernel: a VIP has ten times as many steps where
/// it is programmed.
const PASSES: [Pass; 6] = [
    (Stage::Withdraw..=Stage::EnableSourceNat, MANY),
    (Stage::Program..=Stage::Prune, FEW),
    // In a start these are all VIPs: few runs of iptables, and lists that take little beside the state.
    (Stage::Prepare..=Stage::Prepare, 4_096),
    (Stage::Mark..=Stage::Mark, MANY),
    (Stage::Bind..=Stage::Advertise, 512),
    (Stage::DisableSourceNat..=Stage::DisableSourceNat, MANY),
];

/// What so many VIPs take, one after the other.
#[must_use]
pub fn passes(vips: usize) -> &'static [Pass] {
    if vips > FEW { &PASSES } else { &[(ALL_STAGES, FEW)] }
}

/// Takes out so many of these VIPs, and those that belong to them; `None` if there are none left.
pub fn next_part(state: &State, vips: &mut BTreeSet<Vip>, many: usize) -> Option<Scope> {
    let part = state.together(vips.iter().copied().take(many));
    for vip in &part {
        vips.remove(vip);
    }
    (!part.is_empty()).then_some(Scope::Vips(part))
}

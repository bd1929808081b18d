// SPDX-License-Identifier: Apache-2.0
//! What answers mean: when a backend is out and back, how soon to ask again, what weight it has while it warms up, and when failures are not
//! to be believed. Pure: times are arguments.
//!
//! ```text
//!                 rise successes in a row
//!        ┌──────────────────────────────────────┐
//!        ▼                                      │
//!       up ──── fall failures in a row ──────▶ down
//!        ▲      (the first check of a new one)
//!       new
//! ```

use std::time::Duration;

use crate::model::{
    Weight,
    check::{PanicThreshold, SlowStart, Timing},
};

/// Whether a backend gets connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It does.
    Up,
    /// It does not.
    Down,
}

impl Standing {
    /// The word that the API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// How a backend has answered so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    standing: Standing,
    /// How many answers in a row spoke against that.
    against: u8,
    is_new: bool,
}

impl Health {
    /// A backend that nobody has asked yet is up, so that it serves at once, but its first check decides: a failure takes it out.
    #[must_use]
    pub fn new() -> Self {
        Self { standing: Standing::Up, against: 0, is_new: true }
    }

    /// A backend whose standing is known from before: it takes as much to change as if nothing had happened in between.
    #[must_use]
    pub fn known(standing: Standing) -> Self {
        Self { standing, against: 0, is_new: false }
    }

    /// Whether it is up.
    #[must_use]
    pub fn standing(self) -> Standing {
        self.standing
    }

    /// Takes an answer to account. Says the new standing if that is what it takes.
    pub fn record(&mut self, passed: bool, timing: Timing) -> Option<Standing> {
        let answer = if passed { Standing::Up } else { Standing::Down };
        let is_first = std::mem::take(&mut self.is_new);
        if answer == self.standing {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let enough = if passed { timing.rise } else { timing.fall };
        if !is_first && self.against < enough.get() {
            return None;
        }
        *self = Self::known(answer);
        Some(answer)
    }

    /// The time from the beginning of the check that was recorded last, which took `took`, until the next one. `roll` is random.
    ///
    /// It is never more than the interval, unless the check took longer than it may, so `fall` failures follow each other within so many
    /// intervals. After a failure that has not decided yet it is less.
    #[must_use]
    pub fn pause(self, timing: Timing, took: Duration, roll: u32) -> Duration {
        if self.standing == Standing::Up && self.against > 0 {
            return timing.fast_interval().max(took);
        }
        let jitter = timing.jitter().mul_f64(f64::from(roll) / f64::from(u32::MAX));
        timing.interval().saturating_sub(jitter).max(took)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

/// The weight of a backend on its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ramp {
    /// What it is now.
    pub weight: Weight,
    /// When it changes, from the same moment on as `elapsed`; `None` once it is what was asked for.
    pub next: Option<Duration>,
}

/// The steps of a ramp, at most: a weight that changes a thousand times is a thousand writes to the kernel.
pub const STEPS: u16 = 20;

/// The weight of a backend that has been back for `elapsed`: it rises evenly, by whole numbers from 1 on, in up to 20 steps.
#[must_use]
pub fn ramp(asked: Weight, over: SlowStart, elapsed: Duration) -> Ramp {
    let over = Duration::from(over);
    let steps = asked.get().min(STEPS);
    if steps <= 1 || elapsed >= over {
        return Ramp { weight: asked, next: None };
    }
    // The step begins when its share of the time is over, to the nanosecond: the same arithmetic says when, and whether it has.
    let begins = |step: u16| (over * step.into()) / steps.into();
    let weight = |step: u16| {
        let share = u32::from(asked.get()) * u32::from(step) / u32::from(steps);
        u16::try_from(share).unwrap_or(u16::MAX).max(1)
    };
    let step = (0..steps).rev().find(|step| begins(*step) <= elapsed).unwrap_or_default();
    // The first two steps of a small weight are both 1.
    let next = (step + 1..=steps).find(|next| weight(*next) != weight(step));
    Ramp { weight: weight(step).into(), next: next.map(begins) }
}

/// Whether so many of a load-balancer's backends are down that all of them are sent to: more than the threshold's share. Those that the
/// operator gave a weight of 0 belong to neither number.
#[must_use]
pub fn is_panic(down: usize, all: usize, threshold: PanicThreshold) -> bool {
    down.saturating_mul(100) > all.saturating_mul(threshold.get().into())
}

#[cfg(test)]
mod tests;

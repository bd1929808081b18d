// SPDX-License-Identifier: Apache-2.0
//! Spreads frames out: a burst, then one at a time. A leaky bucket that needs no timer of its own (the "virtual scheduling
//! algorithm" of ITU-T I.371).

use std::time::{Duration, Instant};

/// Tells when the next frames may go out.
#[derive(Debug)]
pub(super) struct Pace {
    burst: u32,
    interval: Duration,
    /// When a whole burst may go out again; `None`: nothing went out yet.
    whole: Option<Instant>,
}

impl Pace {
    /// `burst` frames at once, then one each `interval`.
    pub(super) fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval, whole: None }
    }

    /// When a frame may go out; `None`: it always may have.
    pub(super) fn opens(&self) -> Option<Instant> {
        let early = self.interval.saturating_mul(self.burst.saturating_sub(1));
        self.whole.and_then(|whole| whole.checked_sub(early))
    }

    /// Notes that one goes out.
    pub(super) fn take(&mut self, now: Instant) {
        let from = self.whole.map_or(now, |whole| whole.max(now));
        self.whole = from.checked_add(self.interval);
    }
}

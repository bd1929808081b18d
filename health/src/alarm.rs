// SPDX-License-Identifier: Apache-2.0
//! Wakes the thread when it is time: to the microsecond, where a timer of the runtime wakes it up to a millisecond late, and not always equally late.

use std::{
    future::pending,
    io,
    time::{Duration, Instant},
};

use rustix::{
    fd::OwnedFd,
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime},
};
use tokio::io::{Interest, unix::AsyncFd};

/// One moment at a time.
pub(crate) struct Alarm {
    /// timerfd_create(2).
    timer: AsyncFd<OwnedFd>,
    set: Option<Instant>,
}

impl Alarm {
    /// Not set. Within a runtime.
    ///
    /// # Errors
    /// The process has no file left.
    pub(crate) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(deprecated, reason = "what its successor has callers promise, an `OwnedFd` keeps by itself")]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self { timer, set: None })
    }

    /// Rings at that moment instead, or never. At once, if it is over.
    pub(crate) fn set(&mut self, at: Option<Instant>) {
        if at == self.set {
            return;
        }
        self.set = at;
        // No time at all would stop it.
        let wait = at.map(|at| at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1)));
        // No process lives to see a moment that does not fit.
        if let Ok(value) = Timespec::try_from(wait.unwrap_or_default()) {
            let once = Itimerspec { it_interval: Timespec::default(), it_value: value };
            // It fails only for times that are none and files that are no timers.
            let _ = timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once);
        }
    }

    /// Waits until it rings, or has rung before it was set anew. Cancel-safe: a ring that nobody has heard rings on.
    pub(crate) async fn ring(&mut self) {
        match self.timer.readable().await {
            // Whether the same moment comes again is asked anew.
            Ok(mut ready) => ready.clear_ready(),
            // The runtime ends.
            Err(_) => pending().await,
        }
        self.set = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_rings_when_it_is_time_and_once() {
        let mut alarm = Alarm::new().unwrap();
        let begun = Instant::now();
        for millis in [20, 0, 40] {
            let at = begun + Duration::from_millis(millis);
            alarm.set(Some(at));
            alarm.ring().await;
            assert!(Instant::now() >= at, "{millis}");
        }
    }

    #[tokio::test]
    async fn the_last_moment_that_was_set_counts() {
        let mut alarm = Alarm::new().unwrap();
        let begun = Instant::now();
        let late = begun + Duration::from_secs(3600);
        alarm.set(Some(late));
        alarm.set(Some(begun));
        alarm.ring().await;
        let next = begun + Duration::from_millis(30);
        alarm.set(Some(late));
        alarm.set(Some(next));
        alarm.ring().await;
        assert!((next..late).contains(&Instant::now()));
    }
}

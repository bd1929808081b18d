// SPDX-License-Identifier: Apache-2.0
//! Tells systemd that the server is alive, where its unit says `WatchdogSec=`.

use sd_notify::NotifyState;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::run::notify;

/// When it is told next.
#[derive(Debug)]
pub struct Watchdog(Option<Interval>);

impl Watchdog {
    /// As this process was asked for it (`WATCHDOG_USEC`, `WATCHDOG_PID`): twice in the time after which it would be ended.
    pub fn asked_for() -> Self {
        let period = sd_notify::watchdog_enabled().map(|within| within / 2).filter(|period| !period.is_zero());
        Self(period.map(|period| {
            let mut interval = interval_at(Instant::now() + period, period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        }))
    }

    /// Says it when it is time, and that never comes if nobody asked. Cancel-safe: nothing is said before its time.
    pub async fn say(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
                notify(&[NotifyState::Watchdog]);
            }
            None => std::future::pending().await,
        }
    }
}

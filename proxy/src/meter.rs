// SPDX-License-Identifier: Apache-2.0
//! Counters for readers. They are in memory, so a look is quick.

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::{Arc, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use slb_core::statistics::{Answer, Reading, Statistics};
use tokio::time::{MissedTickBehavior, interval};

use crate::service::Services;

/// As often as the kernel estimates (ip_vs_est.c).
const ESTIMATES: Duration = Duration::from_secs(2);

/// Reads what is counted.
#[derive(Clone, Debug)]
pub struct Meter {
    services: Services,
}

impl Meter {
    /// Of these.
    pub fn new(services: Services) -> Self {
        Self { services }
    }
}

impl Statistics for Meter {
    fn read(&self) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let at = SystemTime::now();
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let services = services.iter().map(|(key, service)| (*key, service.count())).collect();
        Box::pin(ready(Ok(Arc::new(Reading { at, services }))))
    }
}

/// Estimates rates, for as long as it is not dropped.
pub async fn estimate(services: Services) {
    let mut ticks = interval(ESTIMATES);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let seconds = now.duration_since(last).as_secs_f64();
        // The first tick is at once.
        if seconds >= 1.0 {
            last = now;
            let services = services.lock().unwrap_or_else(PoisonError::into_inner);
            services.values().for_each(|service| service.estimate(seconds));
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! When something came last on a connection. Both directions note it, so that one that only sends is not given up.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Starts with the connection.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    /// In milliseconds after the start.
    last: AtomicU64,
}

impl Clock {
    /// Something has come now.
    pub fn start() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }

    /// Something comes now.
    pub fn touch(&self) {
        self.last.store(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// When something came last, to the millisecond.
    pub fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last.load(Relaxed))
    }

    /// Ends when nothing has come for so long.
    pub async fn silence(&self, limit: Duration) {
        while self.last().elapsed() < limit {
            sleep_until(self.last() + limit).await;
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Leaving gracefully (RFC 8326): routers are asked to prefer other ways, and a while later the sessions end.
//!
//! ```text
//!  off ──shut_down──▶ draining ──time──▶ down
//!   ▲                    │                 │
//!   └──────come_back─────┴─────────────────┘
//! ```

use std::time::SystemTime;

use slb_core::routing::{Shutdown, ShutdownStatus, Words};
use tokio::{task::JoinSet, time::sleep};
use tracing::info;

use super::{Bgp, Sessions, task::Order};

/// A shutdown that has begun.
#[derive(Debug)]
pub(super) struct Leaving {
    status: ShutdownStatus,
    /// What ends the sessions; it ends with this.
    _timer: JoinSet<()>,
}

impl Leaving {
    pub(super) fn status(&self) -> ShutdownStatus {
        self.status.clone()
    }

    /// What a peer is told that comes meanwhile.
    pub(super) fn order(&self) -> Order {
        if self.status.is_down { Order::Down(self.status.words.clone()) } else { Order::Drain }
    }
}

impl Bgp {
    pub(super) fn begin_shutdown(&self, Shutdown { after, words }: Shutdown) {
        let sessions = &mut *self.sessions();
        if sessions.leaving.as_ref().is_some_and(|leaving| leaving.status.is_down) {
            return;
        }
        info!(
            "leaving gracefully: routers are asked to prefer other ways, and BGP sessions end in {} s",
            after.as_secs()
        );
        let weak = std::sync::Arc::downgrade(&self.sessions);
        let mut timer = JoinSet::new();
        timer.spawn(async move {
            sleep(after).await;
            if let Some(sessions) = weak.upgrade() {
                sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner).go_down();
            }
        });
        let status = ShutdownStatus { ends: SystemTime::now() + after, is_down: false, words };
        sessions.leaving = Some(Leaving { status, _timer: timer });
        sessions.tell(|| Order::Drain);
        if after.is_zero() {
            sessions.go_down();
        }
    }

    pub(super) fn end_shutdown(&self) {
        let sessions = &mut *self.sessions();
        if sessions.leaving.take().is_some() {
            info!("no longer leaving: routes are announced as before");
            sessions.tell(|| Order::ComeBack);
        }
    }
}

impl Sessions {
    fn go_down(&mut self) {
        let Some(leaving) = &mut self.leaving else { return };
        info!("BGP sessions end: routers had the time that was asked for");
        leaving.status.is_down = true;
        let words: Words = leaving.status.words.clone();
        self.tell(|| Order::Down(words.clone()));
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What has become of a backend since it was added: it failed and came back, or is being drained. It is remembered over a restart.

use std::{
    num::NonZeroU64,
    time::{Duration, SystemTime},
};

/// A time of day, in milliseconds since 1970: what is earlier counts as the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(NonZeroU64);

impl Time {
    /// The first of them.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// Milliseconds since 1970.
    #[must_use]
    pub fn millis(self) -> u64 {
        self.0.get()
    }

    /// So many milliseconds after the beginning of 1970, at least one.
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
        Self(NonZeroU64::new(millis).unwrap_or(NonZeroU64::MIN))
    }

    /// So much later, and no less: the next whole millisecond.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)))
    }

    /// How long ago the other time was; nothing if it is to come.
    #[must_use]
    pub fn since(self, other: Self) -> Duration {
        Duration::from_millis(self.0.get().saturating_sub(other.0.get()))
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Time> for SystemTime {
    fn from(time: Time) -> Self {
        let since = Duration::from_millis(time.0.get());
        Self::UNIX_EPOCH.checked_add(since).unwrap_or(Self::UNIX_EPOCH)
    }
}

/// What has become of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Since when it fails its checks; `None` while it passes them, and without any.
    pub down: Option<Time>,
    /// When it last came back, after it had been down or drained.
    pub back: Option<Time>,
    /// Whether it is being drained.
    pub drain: Option<Drain>,
}

/// Something takes no new connections, and those that it has may finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Drain {
    /// Since when.
    pub since: Time,
    /// When it is over, whatever connections are left; `None`: only when there are none.
    pub deadline: Option<Time>,
    /// What comes then.
    pub then: Then,
    /// When it was over.
    pub done: Option<Time>,
}

/// What comes after a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Then {
    /// It stays, without connections, until it is taken back in.
    #[default]
    Stay,
    /// It is deleted.
    Delete,
}

impl Drain {
    /// Whether there is still something to wait for.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.done.is_none()
    }
}

// SPDX-License-Identifier: Apache-2.0
//! How often a backend is asked, and how many answers decide.

use std::{num::NonZeroU8, time::Duration};

use super::Invalid;

/// How often a backend is asked, and how many answers decide. A check ends before the next begins: whatever happens, a backend that
/// answers no more is out within interval × fall + timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timing {
    interval: Duration,
    timeout: Duration,
    fast_interval: Duration,
    jitter: Duration,
    /// How many successes in a row bring a backend back.
    pub rise: Times,
    /// How many failures in a row take a backend out.
    pub fall: Times,
}

impl Timing {
    /// A failure is found in less than four seconds, and a check costs next to nothing.
    const INTERVAL: Duration = Duration::from_secs(1);
    /// Between a SYN that is lost and its first repetition (RFC 6298 section 2).
    const TIMEOUT: Duration = Duration::from_secs(1);
    /// Two, as with HAProxy: one success may be luck.
    const RISE: Times = Times(2);
    /// Three, as with HAProxy: one lost packet is no failure.
    const FALL: Times = Times(3);
    const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
    const LONGEST_INTERVAL: Duration = Duration::from_secs(60 * 60);
    const SHORTEST: Duration = Duration::from_millis(1);

    /// One check an interval, 10 ms to an hour. Each may take as long, but a second at most; fast ones are twice as frequent.
    ///
    /// # Errors
    /// An interval beyond these limits.
    pub fn every(interval: Duration) -> Result<Self, Invalid> {
        if !(Self::SHORTEST_INTERVAL..=Self::LONGEST_INTERVAL).contains(&interval) {
            return Err(Invalid("an interval between checks is 10 ms to an hour".to_owned()));
        }
        let timeout = interval.min(Self::TIMEOUT);
        let timing = Self { interval, timeout, fast_interval: interval / 2, ..Self::ORDINARY };
        Ok(timing)
    }

    const ORDINARY: Self = Self {
        interval: Self::INTERVAL,
        timeout: Self::TIMEOUT,
        fast_interval: Duration::from_millis(500),
        jitter: Duration::ZERO,
        rise: Self::RISE,
        fall: Self::FALL,
    };

    /// With another time after which a check has failed: 1 ms to the interval.
    ///
    /// # Errors
    /// A time beyond these limits.
    pub fn with_timeout(self, timeout: Duration) -> Result<Self, Invalid> {
        self.up_to_the_interval("timeout", timeout)?;
        Ok(Self { timeout, ..self })
    }

    /// With another interval after failures that have not decided yet: 1 ms to the interval.
    ///
    /// # Errors
    /// A time beyond these limits.
    pub fn with_fast_interval(self, fast_interval: Duration) -> Result<Self, Invalid> {
        self.up_to_the_interval("fast interval", fast_interval)?;
        Ok(Self { fast_interval, ..self })
    }

    /// With intervals that are shortened at random by up to so much: half of the interval at most.
    ///
    /// # Errors
    /// A longer time.
    pub fn with_jitter(self, jitter: Duration) -> Result<Self, Invalid> {
        if jitter > self.interval / 2 {
            return Err(Invalid(format!("jitter is at most half of the interval, which is {:?}", self.interval)));
        }
        Ok(Self { jitter, ..self })
    }

    fn up_to_the_interval(self, what: &str, time: Duration) -> Result<(), Invalid> {
        if (Self::SHORTEST..=self.interval).contains(&time) {
            return Ok(());
        }
        Err(Invalid(format!("a {what} is 1 ms at least, and the interval at most, which is {:?}", self.interval)))
    }

    /// The time between the beginnings of two checks.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.interval
    }

    /// When a check has failed.
    #[must_use]
    pub fn timeout(self) -> Duration {
        self.timeout
    }

    /// The interval after failures that have not decided yet, but for the end of the failed check.
    #[must_use]
    pub fn fast_interval(self) -> Duration {
        self.fast_interval
    }

    /// How much shorter an interval can be, at random.
    #[must_use]
    pub fn jitter(self) -> Duration {
        self.jitter
    }
}

/// Each second.
impl Default for Timing {
    fn default() -> Self {
        Self::ORDINARY
    }
}

/// How many answers in a row decide: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Times(u8);

impl Times {
    const MOST: u8 = 100;

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<i64> for Times {
    type Error = Invalid;

    fn try_from(number: i64) -> Result<Self, Invalid> {
        let times = u8::try_from(number).ok().and_then(NonZeroU8::new).map(NonZeroU8::get);
        times
            .filter(|times| *times <= Self::MOST)
            .map(Self)
            .ok_or_else(|| Invalid(format!("{number} is no number of answers that decide; they go from 1 to 100")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn what_is_not_said_follows_the_interval() {
        assert_eq!(Timing::every(ms(1000)), Ok(Timing::default()));
        let quick = Timing::every(ms(100)).unwrap();
        assert_eq!((quick.timeout(), quick.fast_interval(), quick.jitter()), (ms(100), ms(50), ms(0)));
        assert_eq!(Timing::every(ms(60_000)).unwrap().timeout(), ms(1000));
    }

    #[test]
    fn nothing_is_longer_than_the_interval() {
        let timing = Timing::every(ms(200)).unwrap();
        for (time, is_right) in [(0, false), (1, true), (200, true), (201, false)] {
            assert_eq!(timing.with_timeout(ms(time)).is_ok(), is_right, "{time}");
            assert_eq!(timing.with_fast_interval(ms(time)).is_ok(), is_right, "{time}");
        }
        assert!(timing.with_jitter(ms(100)).is_ok() && timing.with_jitter(ms(101)).is_err());
        for (time, is_right) in [(9, false), (10, true), (3_600_000, true), (3_600_001, false)] {
            assert_eq!(Timing::every(ms(time)).is_ok(), is_right, "{time}");
        }
        assert_eq!([0, 1, 100, 101, -1].map(|n| Times::try_from(n).is_ok()), [false, true, true, false, false]);
    }
}

// SPDX-License-Identifier: Apache-2.0
//! How often all of the kernel is read without being asked: the more there is in it the longer that takes, and a small machine has
//! better things to do. In between slb looks at what has changed, as far as that is seen at a glance.

use std::time::Duration;

/// A look takes no more than one part in so many of the time.
const PARTS: u32 = 50;
/// So many times the interval that was asked for is the longest wait, however long a look takes.
const LONGEST: u32 = 10;

/// The time from the beginning of a look that took so long to the beginning of the next one.
pub(super) fn wait(interval: Duration, look: Duration) -> Duration {
    look.saturating_mul(PARTS).clamp(interval, interval.saturating_mul(LONGEST))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    #[test]
    fn what_is_asked_for_counts_while_looks_are_quick() {
        assert_eq!(wait(INTERVAL, Duration::from_millis(600)), INTERVAL);
        assert_eq!(wait(INTERVAL, Duration::from_millis(2_500)), Duration::from_secs(125));
        assert_eq!(wait(INTERVAL, Duration::from_secs(60)), Duration::from_secs(300));
    }

    proptest! {
        #[test]
        fn a_look_takes_a_fiftieth_of_the_time_at_most_until_the_wait_is_ten_times_as_long(
            interval in 1..10_000_000_u64, look in any::<u64>(),
        ) {
            let [interval, look] = [interval, look].map(Duration::from_millis);
            let wait = wait(interval, look);
            prop_assert!((interval..=interval * 10).contains(&wait));
            prop_assert!(wait == interval * 10 || look <= wait / 50);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Waiting for a state that has no event to wait for.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Longer than anything that works takes, also on a slow machine.
const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is an answer.
///
/// # Panics
/// There is none for a minute; says what was waited for.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        if start.elapsed() > DEADLINE {
            panic!("waited for a minute, in vain: {what}");
        }
        thread::sleep(PAUSE);
    }
}

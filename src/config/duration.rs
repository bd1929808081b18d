// SPDX-License-Identifier: Apache-2.0
//! Durations as they are given.

use std::time::Duration;

use super::BadOption;

/// As good as never, and far from where a clock ends.
pub(super) const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A time that was given, with the name of its option.
pub(super) struct Time {
    option: &'static str,
    pub(super) is: Duration,
}

/// What was given, if anything.
pub(super) fn parse(option: &'static str, given: Option<String>) -> Result<Option<Time>, BadOption> {
    let Some(text) = given else { return Ok(None) };
    let is = humantime::parse_duration(&text)
        .map_err(|error| BadOption(format!("--{option} {text}: {error}; write it like 500ms, 30s or 5m")))?;
    Ok(Some(Time { option, is }))
}

impl Time {
    /// If it is neither shorter than this nor of no use.
    pub(super) fn within(self, shortest: Duration) -> Result<Duration, BadOption> {
        let Self { option, is } = self;
        if (shortest..=LONGEST).contains(&is) {
            return Ok(is);
        }
        let [is, shortest, longest] = [is, shortest, LONGEST].map(humantime::format_duration);
        Err(BadOption(format!("--{option} {is}: it goes from {shortest} to {longest}")))
    }
}

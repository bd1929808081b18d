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
        self.between(shortest, LONGEST)
    }

    /// In seconds, if it is neither shorter than the one nor longer than the other, and whole.
    pub(super) fn seconds(self, shortest: Duration, longest: Duration) -> Result<u32, BadOption> {
        let option = self.option;
        let is = self.between(shortest, longest)?;
        if is.subsec_nanos() != 0 {
            let is = humantime::format_duration(is);
            return Err(BadOption(format!("--{option} {is}: the kernel counts whole seconds here")));
        }
        u32::try_from(is.as_secs()).map_err(|error| BadOption(format!("--{option}: {error}")))
    }

    fn between(self, shortest: Duration, longest: Duration) -> Result<Duration, BadOption> {
        let Self { option, is } = self;
        if (shortest..=longest).contains(&is) {
            return Ok(is);
        }
        let [is, shortest, longest] = [is, shortest, longest].map(humantime::format_duration);
        Err(BadOption(format!("--{option} {is}: it goes from {shortest} to {longest}")))
    }
}

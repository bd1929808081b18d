// SPDX-License-Identifier: Apache-2.0
//! How often and how fast. The names are those of RFC 5227 section 1.1 where it has one.

use std::{num::NonZeroU8, time::Duration};

/// `PROBE_NUM`: probes before an address counts as free.
pub const PROBE_COUNT: NonZeroU8 = NonZeroU8::new(3).unwrap();

/// Between two probes, and after the last one. RFC 5227 asks for 1 to 2 s (`PROBE_MIN`, `PROBE_MAX`), for hosts on radio links
/// and for crowds that power on at once. Here somebody waits for the answer to a request, and hosts on a wired segment answer
/// within a millisecond; three losses in a row within 0.6 s are as unlikely as within 6 s.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(200);

/// `ANNOUNCE_NUM`: announcements after a VIP was advertised.
pub const ANNOUNCE_COUNT: NonZeroU8 = NonZeroU8::new(2).unwrap();

/// `ANNOUNCE_INTERVAL`: between two of those.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);

/// Between two announcements after that. Some switches and routers miss the first ones, and keep a stale entry for hours.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(60);

/// `DEFEND_INTERVAL`: a VIP is defended, and its conflict reported, no more often than this.
pub const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// Frames that may go out at once. Switches commonly police ARP to some tens of frames at a time and drop the rest.
pub const BURST: u32 = 16;

/// Between two frames after a burst: 500 frames a second, so 1,000 VIPs are heard of after 2 s and have been announced in
/// both forms after 4 s. Switches often take no more than some hundreds.
pub const FRAME_INTERVAL: Duration = Duration::from_millis(2);

/// How often and how fast; the default is the constants of this module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// See [`PROBE_COUNT`].
    pub probe_count: NonZeroU8,
    /// See [`PROBE_INTERVAL`].
    pub probe_interval: Duration,
    /// See [`ANNOUNCE_COUNT`].
    pub announce_count: NonZeroU8,
    /// See [`ANNOUNCE_INTERVAL`].
    pub announce_interval: Duration,
    /// See [`REFRESH_INTERVAL`]. Zero: no more announcements after the first ones.
    pub refresh_interval: Duration,
    /// See [`DEFEND_INTERVAL`].
    pub defend_interval: Duration,
    /// See [`BURST`].
    pub burst: u32,
    /// See [`FRAME_INTERVAL`]. Zero: everything at once.
    pub frame_interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            probe_count: PROBE_COUNT,
            probe_interval: PROBE_INTERVAL,
            announce_count: ANNOUNCE_COUNT,
            announce_interval: ANNOUNCE_INTERVAL,
            refresh_interval: REFRESH_INTERVAL,
            defend_interval: DEFEND_INTERVAL,
            burst: BURST,
            frame_interval: FRAME_INTERVAL,
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! How many checks can be under way at a time: each takes a file, some take two.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the rest of the process may need: connections of the API, peers, netlink, the store.
const FOR_OTHERS: u64 = 512;
/// A check that speaks over a pipe has one for its output, beside the handle of the process.
const FILES_EACH: u64 = 3;
/// More than that are not needed: a hundred thousand checks a second that nobody answers for a sixth of a second. A check from an address
/// that was set takes one of its ports, of which there are 28,232 by default (`net.ipv4.ip_local_port_range`).
const MOST: u64 = 16_384;

/// Raises the limit of open files to the highest that this process may have, and says how many checks that is good for.
pub(crate) fn checks_at_a_time() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    // No limit is what `None` says.
    let files = if raised { maximum } else { current }.unwrap_or(u64::MAX);
    let checks = (files.saturating_sub(FOR_OTHERS) / FILES_EACH).clamp(16, MOST);
    usize::try_from(checks).unwrap_or(16)
}

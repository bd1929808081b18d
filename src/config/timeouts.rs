// SPDX-License-Identifier: Apache-2.0
//! How long the kernel remembers connections on which nothing is sent.

use std::time::Duration;

use slb_dataplane::Timeouts;

use super::{BadOption, duration::parse};
use crate::args::Given;

/// The kernel counts ticks in an `int`: at 1000 a second that is 24 days and 20 hours.
const LONGEST: Duration = Duration::from_secs(24 * 24 * 60 * 60);

/// Those that were given; 0 for the others.
pub(super) fn timeouts(given: &Given) -> Result<Timeouts, BadOption> {
    let seconds = |option, given: &Option<String>| {
        parse(option, given.clone())?.map_or(Ok(0), |time| time.seconds(Duration::from_secs(1), LONGEST))
    };
    Ok(Timeouts {
        tcp: seconds("tcpTimeout", &given.tcp_timeout)?,
        tcp_fin: seconds("tcpFinTimeout", &given.tcp_fin_timeout)?,
        udp: seconds("udpTimeout", &given.udp_timeout)?,
    })
}

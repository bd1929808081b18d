// SPDX-License-Identifier: Apache-2.0
//! When an address of IPv6 works.
//!
//! The kernel says that it has the address, shows it without `tentative`, and takes packets for it in a moment later: the local route is
//! made, and the solicited-node group joined, by a worker (`addrconf_dad_work` in net/ipv6/addrconf.c), also without duplicate address
//! detection. Until then a host that forwards sends those packets on to the network, looks there for whom they are for, and tells clients
//! that there is nobody. An address of IPv4 works when the kernel says that it has it.

use std::{net::Ipv6Addr, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{Error, routing::Routing};

/// More than the worker takes on a busy machine. Where rules for routes of the operator's own come first, packets for the address may never
/// be the host's.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// Waits until packets that come in by the adapter number `index` for each of the addresses are this host's own, or for two seconds.
pub(crate) async fn begun(routing: &mut Routing, index: u32, addresses: &[Ipv6Addr]) -> Result<(), Error> {
    let end = Instant::now() + PATIENCE;
    for address in addresses {
        while !routing.takes_in(*address, index).await? && Instant::now() < end {
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

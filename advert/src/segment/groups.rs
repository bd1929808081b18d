// SPDX-License-Identifier: Apache-2.0
//! Groups that the adapter listens to while addresses of IPv6 are probed (RFC 4862, section 5.4.2): who is about to take the same address asks
//! its group, and the adapter takes nothing from groups that nobody on the host listens to. ARP needs none.
//!
//! Who has the address already tells all nodes. So a group that cannot be joined makes a probe deaf to nobody but hosts that probe at the
//! same moment, and is no reason to fail.

use std::collections::BTreeMap;

use slb_core::model::Vip;
use socket2::{Domain, Socket, Type};

use crate::ndp;

/// One socket for each group: joining is undone by closing it.
#[derive(Debug, Default)]
pub(super) struct Groups(BTreeMap<Vip, Option<Socket>>);

impl Groups {
    /// Listens to the group of the address on the adapter number `index`, from now on.
    pub(super) fn join(&mut self, vip: Vip, index: u32) {
        self.0.entry(vip).or_insert_with(|| {
            let group = ndp::solicited_node(ndp::ipv6(vip)?);
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).ok()?;
            socket.join_multicast_v6(&group, index).ok()?;
            Some(socket)
        });
    }

    /// Listens to it no more.
    pub(super) fn leave(&mut self, vip: Vip) {
        self.0.remove(&vip);
    }
}

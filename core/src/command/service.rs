// SPDX-License-Identifier: Apache-2.0
//! What may be changed of how a load-balancer balances.

use crate::model::{Persistence, ProxyProtocol, Scheduler, SchedulerFlags, ServiceSettings};

/// A change to [`ServiceSettings`]. What is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ServiceChange {
    /// Which backend new connections go to.
    pub scheduler: Option<Scheduler>,
    /// How it chooses.
    pub flags: Option<SchedulerFlags>,
    /// Whether clients stay with their backends.
    pub persistence: Option<Option<Persistence>>,
    /// Whether each packet is scheduled for itself.
    pub one_packet: Option<bool>,
    /// Whether backends are told who their clients are.
    pub proxy_protocol: Option<Option<ProxyProtocol>>,
}

impl ServiceChange {
    /// The settings after it.
    #[must_use]
    pub fn of(&self, before: ServiceSettings) -> ServiceSettings {
        ServiceSettings {
            scheduler: self.scheduler.unwrap_or(before.scheduler),
            flags: self.flags.unwrap_or(before.flags),
            persistence: self.persistence.unwrap_or(before.persistence),
            one_packet: self.one_packet.unwrap_or(before.one_packet),
            proxy_protocol: self.proxy_protocol.unwrap_or(before.proxy_protocol),
            source_nat: before.source_nat,
        }
    }
}

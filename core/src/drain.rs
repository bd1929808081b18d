// SPDX-License-Identifier: Apache-2.0
//! What a drain waits for. Pure.

use std::collections::BTreeMap;

use crate::{
    model::{Protocol, Target},
    statistics::Connections,
};

/// The connections that a load-balancer's backends have.
pub type ByBackend = BTreeMap<Target, Connections>;

/// What has yet to finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Established connections.
    pub active: u64,
    /// What UDP has of connections. Of TCP and SCTP, the inactive ones are those that are closed already.
    pub inactive: Option<u64>,
    /// Clients that are remembered: they may come back.
    pub persistent: u64,
}

impl Left {
    /// Of a backend, or of all.
    #[must_use]
    pub fn of(connections: &ByBackend, protocol: Protocol, target: Option<Target>) -> Self {
        let counted: Vec<&Connections> = match target {
            Some(target) => connections.get(&target).into_iter().collect(),
            None => connections.values().collect(),
        };
        let sum = |of: fn(&Connections) -> u32| counted.iter().map(|each| u64::from(of(each))).sum();
        Self {
            active: sum(|each| each.active),
            inactive: (protocol == Protocol::Udp).then(|| sum(|each| each.inactive)),
            persistent: sum(|each| each.persistent),
        }
    }

    /// How many in all.
    #[must_use]
    pub fn total(self) -> u64 {
        self.active + self.inactive.unwrap_or_default() + self.persistent
    }
}

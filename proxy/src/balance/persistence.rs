// SPDX-License-Identifier: Apache-2.0
//! Clients that are remembered: IPVS's connection templates. One is kept while it has connections, and for its time after the last began.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use slb_core::model::Persistence;

use super::DestinationId;

/// How often all are looked at for those that are over.
const SWEEP: Duration = Duration::from_secs(1);
/// A client whose time is over, but not its connections, is kept for so long at a time (`ip_vs_conn_expire`).
const GRACE: Duration = Duration::from_secs(60);

/// Those that are remembered, by what they have in common.
#[derive(Debug, Default)]
pub struct Clients {
    by_network: BTreeMap<IpAddr, Template>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Template {
    destination: DestinationId,
    until: Instant,
    connections: u32,
}

impl Clients {
    /// Where the client is to go.
    pub fn destination(&self, network: IpAddr) -> Option<DestinationId> {
        self.by_network.get(&network).map(|template| template.destination)
    }

    /// It has one more connection, to there.
    pub fn remember(&mut self, network: IpAddr, destination: DestinationId, until: Instant) {
        match self.by_network.get_mut(&network) {
            Some(template) if template.destination == destination => {
                template.until = until;
                template.connections = template.connections.saturating_add(1);
            }
            _ => drop(self.by_network.insert(network, Template { destination, until, connections: 1 })),
        }
    }

    /// It has one connection less.
    pub fn ended(&mut self, network: IpAddr, destination: DestinationId, now: Instant) {
        if let Some(template) = self.by_network.get_mut(&network)
            && template.destination == destination
        {
            template.connections = template.connections.saturating_sub(1);
            if template.connections == 0 && template.until <= now {
                self.by_network.remove(&network);
            }
        }
    }

    /// The destination is gone.
    pub fn forget(&mut self, destination: DestinationId) {
        self.by_network.retain(|_, template| template.destination != destination);
    }

    /// How many are with the destination.
    pub fn count(&self, destination: DestinationId) -> u32 {
        let count = self.by_network.values().filter(|template| template.destination == destination).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Drops those that are over.
    pub fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        self.by_network.retain(|_, template| {
            if template.until <= now && template.connections > 0 {
                template.until = now + GRACE;
            }
            template.until > now
        });
    }
}

/// How long a client is remembered.
pub fn timeout(persistence: Persistence) -> Duration {
    Duration::from_secs(persistence.timeout.seconds().into())
}

/// What the addresses of clients that count as one have in common.
pub fn network(address: IpAddr, granularity: Option<u8>) -> IpAddr {
    let Some(bits) = granularity.map(u32::from) else { return address };
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(bits)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(bits)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

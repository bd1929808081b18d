// SPDX-License-Identifier: Apache-2.0
//! Follows what is being drained to its end: the last connection, or the deadline.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{Controller, World};
use crate::{
    drain::{ByBackend, Left},
    errors::Chain,
    model::{Backend, Drain, LoadBalancer, LoadBalancerId, Time},
    ports::{Cause, Dataplane},
};

/// How often connections are counted while something is drained.
const PERIOD: Duration = Duration::from_secs(1);
/// A connection that begins when a drain does is not established yet; the kernel sends the third answer to it after so long.
const EARLIEST: Duration = Duration::from_secs(3);

impl<W: World> Controller<W> {
    /// Looks after everything that is being drained.
    pub(super) async fn follow_drains(&mut self, now: Instant) {
        self.next_look = now + PERIOD;
        let time = self.time();
        let ids: Vec<LoadBalancerId> = self.draining.iter().copied().collect();
        let (mut changes, mut news) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(load_balancer) = self.state.get(id).cloned() else { continue };
            let connections = self.count_connections(&load_balancer).await;
            let left = |backend: Option<&Backend>| {
                let target = backend.map(|backend| backend.target);
                let connections = connections.as_deref()?;
                Some(Left::of(connections, load_balancer.protocol, target).total())
            };
            let is_over = |backend: Option<&Backend>, drain: Drain| is_over(drain, left(backend), time);
            let Some(change) = self.state.end_drains(id, time, is_over) else { continue };
            let over = load_balancer.backends().iter().filter(|backend| {
                backend.condition().drain.is_some_and(|drain| drain.is_under_way() && is_over(Some(backend), drain))
            });
            news.extend(over.map(|backend| (id, Some(backend.target), left(Some(backend)))));
            if load_balancer.drain().is_some_and(|drain| drain.is_under_way() && is_over(None, drain)) {
                news.push((id, None, left(None)));
            }
            changes.push(change);
        }
        if let Err(cause) = self.commit(&changes).await {
            warn!(error = %Chain(&*cause), "that drains are over could not be written down; it is tried again");
            return changes.into_iter().for_each(|change| self.state.put(&change.inverse()));
        }
        for (lb, target, left) in news {
            let left = left.unwrap_or_default();
            match target {
                Some(backend) => info!(%lb, %backend, left, "drained backend"),
                None => info!(%lb, left, "drained load-balancer"),
            }
        }
        self.carry_out(&changes, now).await;
    }

    /// Counts the connections of a load-balancer that is drained, and shows them to readers. `None` if nobody knows.
    pub(super) async fn count_connections(&mut self, of: &LoadBalancer) -> Option<Arc<ByBackend>> {
        match self.connections(of).await {
            Ok(connections) => {
                let connections = Arc::new(connections);
                self.board.post_connections(of.id, Arc::clone(&connections));
                Some(connections)
            }
            Err(cause) => {
                warn!(lb = %of.id, error = %Chain(&*cause), "cannot count connections; the drain ends at its deadline");
                None
            }
        }
    }

    /// The connections that each backend has now, on all VIPs that it serves.
    async fn connections(&mut self, of: &LoadBalancer) -> Result<ByBackend, Cause> {
        let mut all = ByBackend::new();
        for service in of.virtual_services() {
            match self.drivers.dataplane.connections(service).await {
                Ok(connections) => {
                    for (target, more) in connections {
                        let count = all.entry(target).or_default();
                        *count = *count + more;
                    }
                }
                // What the kernel does not take has none. Before the first look nobody knows.
                Err(_) if self.board.is_ready() && !self.observed.services.contains_key(&service.key()) => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(all)
    }
}

fn is_over(drain: Drain, left: Option<u64>, now: Time) -> bool {
    let is_late = drain.deadline.is_some_and(|deadline| deadline <= now);
    // Or the clock was set back.
    let passed = now.since(drain.since).max(drain.since.since(now));
    is_late || (left == Some(0) && passed >= EARLIEST)
}

// SPDX-License-Identifier: Apache-2.0
//! Makes load-balancers what is declared of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Change, State, families, targets::check_targets};
use crate::{
    command::{Extent, NewLoadBalancer, Rejected},
    model::{Backend, Condition, Listen, LoadBalancer, LoadBalancerId, Mark, Origin, Vips},
};

impl State {
    /// Creates a load-balancer of that origin, as [`create`](Self::create) does one of the API.
    ///
    /// # Errors
    /// As there.
    pub fn create_declared(
        &mut self,
        origin: Origin,
        new: NewLoadBalancer,
        vips: Vips,
        foreign: &BTreeSet<Mark>,
    ) -> Result<Change, Rejected> {
        self.create_of(origin, new, vips, foreign)
    }

    /// Gives a load-balancer everything that is said of it, and nothing else. It stays where it is; of several ports there may be
    /// others. A backend at an address and port that is there already keeps its id, and what checks have found. What is drained stays so,
    /// unless the file says it: it has no words for that, and there would be nobody to take it back.
    ///
    /// # Errors
    /// There is no such load-balancer or it is being deleted, a port is taken, or the settings do not go together. Nothing has changed
    /// then.
    pub fn redeclare(&mut self, id: LoadBalancerId, new: &NewLoadBalancer, extent: Extent) -> Result<Change, Rejected> {
        let stays_drained = extent != Extent::File;
        let before = self.active(id)?;
        let mut after = LoadBalancer::clone(&before);
        if let (Some(marked), Listen::Ports(ports)) = (&mut after.marked, &new.listen) {
            let mut vips = before.vips.into_iter();
            vips.try_for_each(|vip| self.check_ports(vip, before.protocol, ports.ranges(), Some(id)))?;
            marked.ports.clone_from(ports);
            after.port = ports.lowest();
        }
        after.name.clone_from(&new.name);
        after.advertise = new.advertise;
        after.source_nat = new.source_nat;
        after.service = new.service;
        after.service.check(before.protocol, families(before.vips))?;
        after.check.clone_from(&new.check);
        after = after.with_fallback(new.fallback).with_drain(before.drain().filter(|_| stays_drained));
        let wanted = new.backends.as_deref().unwrap_or_default();
        let there: BTreeMap<_, _> = before.backends().iter().map(|each| (each.target, each)).collect();
        let known = |wanted: &Backend| there.get(&wanted.target);
        let kept = wanted.iter().map(|wanted| match known(wanted) {
            Some(known) => {
                let condition =
                    Condition { drain: known.condition().drain.filter(|_| stays_drained), ..*known.condition() };
                Backend { id: known.id, ..wanted.clone() }.with_condition(condition)
            }
            None => wanted.clone(),
        });
        let kept: Arc<[Backend]> = kept.collect();
        after.backends = (before.backends.is_some() || !kept.is_empty()).then_some(kept);
        check_targets(&after)?;
        self.check_loops(&after)?;
        Ok(self.done(Some(before), Some(after)))
    }
}

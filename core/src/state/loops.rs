// SPDX-License-Identifier: Apache-2.0
//! Load-balancers behind load-balancers, which loopback addresses make possible: in user space two that have each other would connect to
//! each other without an end.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::State;
use crate::{
    command::Rejected,
    model::{BackendIp, LoadBalancer, LoadBalancerId, Port, PortRange, Protocol, Target, Vip},
};

/// Where on loopback addresses load-balancers go, and which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Loops(BTreeSet<(Protocol, BackendIp, Option<Port>, LoadBalancerId)>);

impl Loops {
    pub(super) fn add(&mut self, of: &LoadBalancer) {
        self.0.extend(targets(of).map(|target| (of.protocol, target.ip, target.port, of.id)));
    }

    pub(super) fn remove(&mut self, of: &LoadBalancer) {
        for target in targets(of) {
            self.0.remove(&(of.protocol, target.ip, target.port, of.id));
        }
    }

    /// Where another load-balancer goes that would get there to this one.
    fn leading_to(&self, of: &LoadBalancer) -> Option<Target> {
        let ends = |ports: PortRange| (Some(ports.first()), Some(ports.last()));
        let spans: Vec<_> = of.ranges().into_iter().map(ends).chain([(None, None)]).collect();
        let first = LoadBalancerId(Uuid::nil());
        let last = LoadBalancerId(Uuid::from_u128(u128::MAX));
        let on = |ip: BackendIp| {
            let within = |(low, high)| self.0.range((of.protocol, ip, low, first)..=(of.protocol, ip, high, last));
            let mut found = spans.iter().copied().flat_map(within);
            found.find(|(.., id)| *id != of.id).map(|(_, ip, port, _)| Target { ip: *ip, port: *port })
        };
        of.vips.into_iter().filter_map(|vip| BackendIp::try_from(vip.address()).ok()).find_map(on)
    }
}

impl State {
    /// Whether, on loopback addresses, it has another load-balancer behind it or is behind one.
    ///
    /// # Errors
    /// The backend or fallback that is a load-balancer.
    pub(super) fn check_loops(&self, of: &LoadBalancer) -> Result<(), Rejected> {
        let every = PortRange::up_from(Port::LOWEST);
        let is_another = |target: &Target| {
            let vip = Vip::try_from(target.ip.address()).ok();
            let ports = target.port.map_or(every, PortRange::from);
            vip.is_some_and(|vip| self.holder(vip, of.protocol, ports, Some(of.id)).is_some())
        };
        match targets(of).find(is_another).or_else(|| self.loops.leading_to(of)) {
            Some(target) => Err(Rejected::BackendIsVip(target)),
            None => Ok(()),
        }
    }
}

/// Those on loopback addresses.
fn targets(of: &LoadBalancer) -> impl Iterator<Item = Target> {
    let all = of.backends().iter().map(|backend| backend.target).chain(of.fallback().map(|it| it.target));
    all.filter(|target| target.ip.address().is_loopback())
}

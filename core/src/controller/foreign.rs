// SPDX-License-Identifier: Apache-2.0
//! Asks the data plane what other programs have in it before a load-balancer takes a place there.

use std::collections::BTreeSet;

use super::{Controller, World};
use crate::{
    command::{Command, Failure, LoadBalancerChange, NewLoadBalancer},
    model::{Endpoint, Family, Listen, Mark, Protocol, ServiceKey, Vip, Vips},
    ports::{Cause, Dataplane},
};

impl<W: World> Controller<W> {
    /// Another program's service on one of these ports of the VIP.
    pub(super) async fn foreign_service(
        &mut self,
        vip: Vip,
        protocol: Protocol,
        listen: &Listen,
    ) -> Result<Option<Endpoint>, Failure> {
        let lowest = Endpoint { vip, port: listen.lowest(), protocol };
        let failed = |cause: Cause| Failure::Ask { doing: format!("look for a service on {lowest}"), cause };
        let ports = match listen {
            Listen::Port(_) => {
                let is_there = self.drivers.dataplane.exists(lowest.into()).await.map_err(failed)?;
                return Ok(is_there.then_some(lowest));
            }
            Listen::Ports(ports) => ports,
        };
        let is_foreign = |endpoint: &Endpoint| {
            let port = endpoint.port.into();
            (endpoint.vip, endpoint.protocol) == (vip, protocol)
                && ports.ranges().iter().any(|range| range.common(port).is_some())
                && self.state.check_ports(vip, protocol, &[port], None).is_ok()
        };
        let keys = self.drivers.dataplane.keys().await.map_err(failed)?;
        let mut endpoints = keys.into_iter().filter_map(|key| match key {
            ServiceKey::Endpoint(endpoint) => Some(endpoint),
            ServiceKey::Mark(..) => None,
        });
        Ok(endpoints.find(is_foreign))
    }

    /// The marks that services have now, for a command that needs one that none has. A command that takes more ports is refused if one of
    /// them is another program's.
    pub(super) async fn marks_in_use(&mut self, command: &Command, vips: Vips) -> Result<BTreeSet<Mark>, Failure> {
        if let Command::Create(NewLoadBalancer { listen: Listen::Ports(_), .. }) = command {
            return self.marks_now().await;
        }
        if let Command::Update(id, LoadBalancerChange { ports: Some(ports), .. }) = command
            && let Some(load_balancer) = self.state.get(*id)
        {
            let (protocol, listen) = (load_balancer.protocol, Listen::Ports(ports.clone()));
            for vip in vips {
                if let Some(endpoint) = self.foreign_service(vip, protocol, &listen).await? {
                    return Err(Failure::Foreign(endpoint));
                }
            }
        }
        Ok(BTreeSet::new())
    }

    /// The marks that services have now.
    pub(super) async fn marks_now(&mut self) -> Result<BTreeSet<Mark>, Failure> {
        let failed = |cause| Failure::Ask { doing: "look for a free mark".to_owned(), cause };
        let keys = self.drivers.dataplane.keys().await.map_err(failed)?;
        Ok(marks(keys.iter()))
    }

    /// The marks that services had when the kernel was last looked at. Each request asks; they come after all endpoints, which it need not
    /// look through.
    pub(super) fn marks_seen(&self) -> BTreeSet<Mark> {
        let first = ServiceKey::Mark(Family::Ipv4, Mark::FIRST);
        marks(self.observed.services.range(first..).map(|(key, _)| key))
    }
}

fn marks<'a>(keys: impl Iterator<Item = &'a ServiceKey>) -> BTreeSet<Mark> {
    let mark = |key: &ServiceKey| match key {
        ServiceKey::Mark(_, mark) => Some(*mark),
        ServiceKey::Endpoint(_) => None,
    };
    keys.filter_map(mark).collect()
}

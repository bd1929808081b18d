// SPDX-License-Identifier: Apache-2.0
//! How backends are watched, and what the data plane has to hold for those that are asked for a VIP: each is the only backend of a service of
//! its own, by a mark that the questions carry.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Backend, BackendSettings, Family, LoadBalancer, Mark, ServiceSettings, Target, Time, Vip, VirtualService,
    check::Address,
};
use crate::checker::{Through, Watch};

/// A service by which a backend is asked for a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CheckService {
    /// What the data plane tells it by.
    pub service: VirtualService,
    /// The backend and how packets get there. `None`: nobody is asked by it now.
    pub backend: Option<(Target, BackendSettings)>,
}

impl CheckService {
    /// What the data plane is asked for of such a service. Each datagram is for itself: an entry would lead the answers to a later
    /// question from the same port to the backend of this one.
    #[must_use]
    pub fn settings() -> ServiceSettings {
        ServiceSettings { one_packet: true, ..ServiceSettings::default() }
    }
}

impl LoadBalancer {
    /// How a backend of it is watched.
    #[must_use]
    pub fn watch(&self, backend: &Backend) -> Option<Watch> {
        let check = Arc::clone(&self.check_of(backend)?.check);
        let through = match self.asked_vip(backend) {
            None => None,
            Some(vip) => Some(Through { vip, port: self.port, mark: self.check_marks().of(backend.id)? }),
        };
        let target = backend.target.at(self.port);
        // Another port is another server, which may know nothing of it.
        let is_told = check.port.is_none_or(|port| port.get() == target.port()) && check.question.connects();
        let proxy_protocol = self.service.proxy_protocol.filter(|_| is_told);
        Some(Watch { target, check, through, proxy_protocol })
    }

    /// The VIP that the backend is asked for, if it is: one of its own family, or else of the other one by its tunnel.
    #[must_use]
    pub fn asked_vip(&self, backend: &Backend) -> Option<Vip> {
        if self.check_of(backend)?.check.address == Address::Backend {
            return None;
        }
        let own = self.vips.into_iter().find(|vip| vip.family() == backend.target.ip.family());
        own.or_else(|| self.vips.into_iter().find(|vip| backend.serves(*vip)))
    }

    /// Whether any of its backends is asked for a VIP of the family.
    #[must_use]
    pub fn asks_for_vips(&self, family: Family) -> bool {
        let is_asked = |backend: &Backend| self.asked_vip(backend).is_some_and(|vip| vip.family() == family);
        !self.check_marks().is_empty() && self.backends().iter().any(is_asked)
    }

    /// The services on that VIP by which its backends are asked for it, or have been.
    #[must_use]
    pub fn check_services(&self, vip: Vip) -> Vec<CheckService> {
        if self.check_marks().is_empty() {
            return Vec::new();
        }
        let asked = self.backends().iter().filter(|backend| self.asked_vip(backend) == Some(vip));
        let asked: BTreeMap<_, _> = asked.map(|backend| (backend.id, backend)).collect();
        let service = |(id, mark)| CheckService {
            service: VirtualService::Mark(vip, mark),
            backend: asked.get(&id).map(|backend| {
                let forwarding = backend.settings().forwarding;
                (backend.target, BackendSettings { forwarding, ..BackendSettings::default() })
            }),
        };
        self.check_marks().all().map(service).collect()
    }

    /// The marks that nobody else may have.
    pub fn marks(&self) -> impl Iterator<Item = Mark> {
        let own = self.marked.iter().map(|marked| marked.mark);
        own.chain(self.check_marks().all().map(|(_, mark)| mark))
    }

    /// All services that the data plane may hold for it.
    pub fn all_services(&self) -> impl Iterator<Item = VirtualService> {
        let marks = |vip| self.check_marks().all().map(move |(_, mark)| VirtualService::Mark(vip, mark));
        self.virtual_services().chain(self.vips.into_iter().flat_map(marks))
    }

    /// What the data plane is to hold at that time of a service; `None` of one that is not this load-balancer's.
    #[must_use]
    pub fn held(&self, service: VirtualService, now: Time) -> Option<Vec<(Target, BackendSettings)>> {
        let vip = service.vip();
        if self.virtual_services().any(|own| own == service) {
            return Some(self.programmed(vip, now).backends);
        }
        let own = self.all_services().any(|own| own == service);
        let check = own.then(|| self.check_services(vip).into_iter().find(|check| check.service == service))??;
        Some(check.backend.into_iter().collect())
    }
}

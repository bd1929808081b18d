// SPDX-License-Identifier: Apache-2.0
//! A load-balancer. There may be ten thousand of them, so what most have none of takes no more than a pointer, all together.

use std::{net::SocketAddr, sync::Arc};

use super::{
    Advertise, Backend, BackendId, CheckMarks, Drain, Endpoint, Fallback, LoadBalancerId, MarkRule, Marked, Name,
    Origin, Phase, Port, PortRange, Protocol, ServiceSettings, SourceNat, Vip, Vips, VirtualService,
    check::HealthCheck,
};

/// A port of one VIP, or of one of each family, that clients connect to, and the backends behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoadBalancer {
    /// Its name in the API.
    pub id: LoadBalancerId,
    /// Counts creations; lists are in this order.
    pub serial: u64,
    /// The operator's label.
    pub name: Name,
    /// The addresses that clients connect to.
    pub vips: Vips,
    /// The port that they connect to; unique on either VIP. Of several ports, the lowest.
    pub port: Port,
    /// All of its ports, if it was made for several.
    pub marked: Option<Box<Marked>>,
    /// The protocol that they are of.
    pub protocol: Protocol,
    /// In the order they were added. `None` until the first was added: the original's API tells the two apart.
    pub backends: Option<Arc<[Backend]>>,
    /// Where it is in its life.
    pub phase: Phase,
    /// When the network is told of it.
    pub advertise: Advertise,
    /// Which connections get this host's own source address.
    pub source_nat: SourceNat,
    /// How it balances.
    pub service: ServiceSettings,
    /// What its backends are asked.
    pub check: Option<Arc<HealthCheck>>,
    /// Who asked for it.
    pub origin: Origin,
    /// What else there is to tell of it; `None` if that is nothing.
    pub extras: Option<Box<Extras>>,
}

/// What few load-balancers have: of others, this is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extras {
    fallback: Option<Fallback>,
    drain: Option<Drain>,
    check_marks: CheckMarks,
}

impl LoadBalancer {
    /// The backends, none before the first was added.
    #[must_use]
    pub fn backends(&self) -> &[Backend] {
        self.backends.as_deref().unwrap_or_default()
    }

    /// Where connections go while no backend takes any.
    #[must_use]
    pub fn fallback(&self) -> Option<&Fallback> {
        self.extras.as_ref()?.fallback.as_ref()
    }

    /// Whether all of its backends are being drained.
    #[must_use]
    pub fn drain(&self) -> Option<Drain> {
        self.extras.as_ref()?.drain
    }

    /// By which its backends are asked for a VIP.
    #[must_use]
    pub fn check_marks(&self) -> &CheckMarks {
        const NONE: &CheckMarks = &CheckMarks::NONE;
        self.extras.as_ref().map_or(NONE, |extras| &extras.check_marks)
    }

    /// The same with this fallback, or with none.
    #[must_use]
    pub fn with_fallback(self, fallback: Option<Fallback>) -> Self {
        self.telling(|extras| extras.fallback = fallback)
    }

    /// The same whose backends are drained like this, or are not.
    #[must_use]
    pub fn with_drain(self, drain: Option<Drain>) -> Self {
        self.telling(|extras| extras.drain = drain)
    }

    /// The same with these marks.
    #[must_use]
    pub fn with_check_marks(self, check_marks: CheckMarks) -> Self {
        self.telling(|extras| extras.check_marks = check_marks)
    }

    fn telling(self, tell: impl FnOnce(&mut Extras)) -> Self {
        let mut extras = self.extras.map(|extras| *extras).unwrap_or_default();
        tell(&mut extras);
        Self { extras: (extras != Extras::default()).then(|| Box::new(extras)), ..self }
    }

    /// What the data plane balances for it on a VIP of it.
    #[must_use]
    pub fn virtual_service(&self, vip: Vip) -> VirtualService {
        match &self.marked {
            Some(marked) => VirtualService::Mark(vip, marked.mark),
            None => Endpoint { vip, port: self.port, protocol: self.protocol }.into(),
        }
    }

    /// Its ports, in order.
    #[must_use]
    pub fn ranges(&self) -> Vec<PortRange> {
        self.marked.as_ref().map_or_else(|| vec![self.port.into()], |marked| marked.ports.ranges().to_vec())
    }

    /// What makes the firewall mark packets to a VIP of it, if they need to be.
    pub fn mark_rules(&self, vip: Vip) -> impl Iterator<Item = MarkRule> {
        let protocol = self.protocol;
        self.marked.iter().flat_map(move |marked| {
            let rule = move |ports: &PortRange| MarkRule { vip, protocol, ports: *ports, mark: marked.mark };
            marked.ports.ranges().iter().map(rule)
        })
    }

    /// The same on each of them.
    pub fn virtual_services(&self) -> impl Iterator<Item = VirtualService> {
        self.vips.into_iter().map(|vip| self.virtual_service(vip))
    }

    /// Where clients connect to, on each of its VIPs.
    pub fn endpoints(&self) -> impl Iterator<Item = Endpoint> + use<> {
        let Self { vips, port, protocol, .. } = *self;
        vips.into_iter().map(move |vip| Endpoint { vip, port, protocol })
    }

    /// Whether the network is to be told of that VIP on its account.
    #[must_use]
    pub fn is_to_be_told(&self, vip: Vip) -> bool {
        self.phase == Phase::Active && (self.advertise == Advertise::Always || self.has_place(vip))
    }

    /// How its service on that VIP balances: what is as narrow as an address can be, is no narrower.
    #[must_use]
    pub fn service_on(&self, vip: Vip) -> ServiceSettings {
        self.service.of_family(vip.family())
    }

    /// What a backend of it is asked.
    #[must_use]
    pub fn check_of<'a>(&'a self, backend: &'a Backend) -> Option<&'a Arc<HealthCheck>> {
        backend.check().or(self.check.as_ref())
    }

    /// Whether something of it is drained, and is not done. What is being deleted waits for nothing.
    #[must_use]
    pub fn drains(&self) -> bool {
        self.phase == Phase::Active && self.all_drains().any(|drain| drain.is_under_way())
    }

    /// Whether one of its backends has failed its checks, and is not back.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.backends().iter().any(|backend| backend.condition().down.is_some())
    }

    /// Whether something of it is drained, or has been and is not back.
    #[must_use]
    pub fn has_drain(&self) -> bool {
        self.all_drains().next().is_some()
    }

    fn all_drains(&self) -> impl Iterator<Item = Drain> {
        self.backends().iter().filter_map(|backend| backend.condition().drain).chain(self.drain())
    }

    /// The backend that is asked there.
    #[must_use]
    pub fn backend_at(&self, target: SocketAddr) -> Option<&Backend> {
        self.backends().iter().find(|backend| backend.target.at(self.port) == target)
    }

    /// The backend of that name.
    #[must_use]
    pub fn backend(&self, id: BackendId) -> Option<&Backend> {
        self.backends().iter().find(|backend| backend.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_of_them_take_less_than_140_kilobytes() {
        assert!(1_000 * size_of::<LoadBalancer>() < 140_000, "{}", size_of::<LoadBalancer>());
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The desired state. A command becomes a [`Change`] or is refused and leaves everything as it was; a change can be undone.

mod check_marks;
mod conditions;
mod declared;
mod loops;
mod targets;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::{
    conditions::unwatched,
    loops::Loops,
    targets::{check_fallback, check_persistence, check_targets},
};
use crate::{
    command::{BackendChange, Command, LoadBalancerChange, NewLoadBalancer, Rejected},
    model::{
        Backend, BackendId, Endpoint, Family, Listen, LoadBalancer, LoadBalancerId, Mark, Marked, Origin, Phase, Port,
        PortRange, Protocol, ServiceKey, Time, Vip, Vips, VirtualService,
    },
    ports::Write,
    step::DataplaneStep,
};

/// Every load-balancer that slb answers for: those that are wanted, and those whose removal has not been finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    by_id: BTreeMap<LoadBalancerId, Arc<LoadBalancer>>,
    /// Each range of each load-balancer. No two of a VIP and protocol overlap.
    by_ports: BTreeMap<(Vip, Protocol, PortRange), LoadBalancerId>,
    /// Where those go that go to loopback addresses.
    loops: Loops,
    last_serial: u64,
}

/// One load-balancer before and after a command. `None` is "not there".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// As it was.
    pub before: Option<Arc<LoadBalancer>>,
    /// As it is now.
    pub after: Option<Arc<LoadBalancer>>,
}

impl Change {
    /// What undoes it.
    #[must_use]
    pub fn inverse(self) -> Self {
        Self { before: self.after, after: self.before }
    }

    /// The record that makes it durable. `None` if nothing was changed.
    #[must_use]
    pub fn write(&self) -> Option<Write> {
        match (&self.before, &self.after) {
            (before, Some(after)) if before.as_ref() != Some(after) => Some(Write::Put(Arc::clone(after))),
            (Some(before), None) => Some(Write::Erase(before.id)),
            (_, Some(_)) | (None, None) => None,
        }
    }
}

impl Change {
    /// The load-balancer that was not there before.
    #[must_use]
    pub fn created(&self) -> Option<&Arc<LoadBalancer>> {
        self.after.as_ref().filter(|_| self.before.is_none())
    }

    /// Whether it asks anything of the kernel; a new name does not.
    #[must_use]
    pub fn concerns_kernel(&self) -> bool {
        let Some((before, after)) = self.before.as_ref().zip(self.after.as_ref()) else { return true };
        let name = after.name.clone();
        LoadBalancer { name, ..LoadBalancer::clone(before) } != **after
    }

    /// Whether the step is about its service, or about a backend or fallback that it has the data plane add, change or remove at that time.
    #[must_use]
    pub fn touches(&self, step: &DataplaneStep, now: Time) -> bool {
        let [before, after] =
            [&self.before, &self.after].map(|side| side.as_ref().and_then(|is| is.held(step.service(), now)));
        let Some(target) = step.target() else { return before.or(after).is_some() };
        let found = |held: Vec<_>| held.into_iter().find(|(held, _)| *held == target);
        before.and_then(found) != after.and_then(found)
    }
}

impl State {
    /// The state as it was committed.
    ///
    /// # Errors
    /// Two records that claim the same id, the same endpoint or the same mark: names both.
    pub fn restore(load_balancers: Vec<Arc<LoadBalancer>>, last_serial: u64) -> Result<Self, Contradiction> {
        let mut state = Self { last_serial, ..Self::default() };
        let mut marks = BTreeMap::new();
        for load_balancer in load_balancers {
            let protocol = load_balancer.protocol;
            let ranges = load_balancer.ranges();
            let holder = |vip| ranges.iter().find_map(|ports| Some(state.holder(vip, protocol, *ports, None)?.0));
            let one = state.by_id.get(&load_balancer.id).map(|each| each.id);
            let one = one.or_else(|| load_balancer.vips.into_iter().find_map(holder));
            let another = |mark| marks.insert(mark, load_balancer.id);
            if let Some(one) = one.or_else(|| load_balancer.marks().find_map(another)) {
                let claim = load_balancer.virtual_service(load_balancer.vips.first());
                return Err(Contradiction { one, other: load_balancer.id, claim });
            }
            state.last_serial = state.last_serial.max(load_balancer.serial);
            state.put(&Change { before: None, after: Some(load_balancer) });
        }
        // One by one and in order, they leave half of each node empty.
        state.by_id = state.by_id.into_iter().collect();
        state.by_ports = state.by_ports.into_iter().collect();
        Ok(state)
    }

    /// The load-balancer of that name.
    #[must_use]
    pub fn get(&self, id: LoadBalancerId) -> Option<&Arc<LoadBalancer>> {
        self.by_id.get(&id)
    }

    /// The load-balancers that share a VIP, by protocol and lowest port.
    pub fn on(&self, vip: Vip) -> impl Iterator<Item = &Arc<LoadBalancer>> {
        let first = (vip, Protocol::Tcp, PortRange::from(Port::LOWEST));
        let last = (vip, Protocol::Sctp, PortRange::from(Port::HIGHEST));
        let ranges = self.by_ports.range(first..=last);
        let found = ranges.filter_map(|((_, _, ports), id)| Some((ports.first(), self.by_id.get(id)?)));
        found.filter(|(port, load_balancer)| *port == load_balancer.port).map(|(_, load_balancer)| load_balancer)
    }

    /// The load-balancer that a service is of, and on which of its VIPs. None of services by mark, whose VIP they do not name.
    #[must_use]
    pub fn behind(&self, service: ServiceKey) -> Option<(&Arc<LoadBalancer>, Vip)> {
        let ServiceKey::Endpoint(Endpoint { vip, port, protocol }) = service else { return None };
        let load_balancer = self.by_id.get(self.by_ports.get(&(vip, protocol, port.into()))?)?;
        load_balancer.marked.is_none().then_some((load_balancer, vip))
    }

    /// Every VIP that slb answers for, in order. What is bound, programmed or translated for any other address is foreign.
    pub fn vips(&self) -> impl Iterator<Item = Vip> {
        let mut last = None;
        self.by_ports.keys().map(|(vip, ..)| *vip).filter(move |vip| last.replace(*vip) != Some(*vip))
    }

    /// Whether slb answers for the VIP.
    #[must_use]
    pub fn holds(&self, vip: Vip) -> bool {
        self.on(vip).next().is_some()
    }

    /// The same with every VIP that has a load-balancer in common with one of them, and so on.
    #[must_use]
    pub fn together(&self, vips: impl IntoIterator<Item = Vip>) -> BTreeSet<Vip> {
        let mut all = BTreeSet::new();
        let mut left: Vec<Vip> = vips.into_iter().collect();
        while let Some(vip) = left.pop() {
            if all.insert(vip) {
                left.extend(self.on(vip).filter_map(|load_balancer| load_balancer.vips.beside(vip)));
            }
        }
        all
    }

    /// Every load-balancer, by id.
    pub fn load_balancers(&self) -> impl Iterator<Item = &Arc<LoadBalancer>> {
        self.by_id.values()
    }

    /// How many creations there have been, ever.
    #[must_use]
    pub fn last_serial(&self) -> u64 {
        self.last_serial
    }

    /// Whether a load-balancer could have these ports of the VIP; `own` may have some of them already.
    ///
    /// # Errors
    /// Who else has one of them.
    pub fn check_ports(
        &self,
        vip: Vip,
        protocol: Protocol,
        ranges: &[PortRange],
        own: Option<LoadBalancerId>,
    ) -> Result<(), Rejected> {
        ranges.iter().try_for_each(|ports| match self.holder(vip, protocol, *ports, own) {
            Some((by, port)) => Err(Rejected::EndpointTaken { endpoint: Endpoint { vip, port, protocol }, by }),
            None => Ok(()),
        })
    }

    /// Who else has a port of the range, and which.
    fn holder(
        &self,
        vip: Vip,
        protocol: Protocol,
        ports: PortRange,
        own: Option<LoadBalancerId>,
    ) -> Option<(LoadBalancerId, Port)> {
        let first = (vip, protocol, PortRange::from(Port::LOWEST));
        let beginning_before_its_end = (vip, protocol, PortRange::up_from(ports.last()));
        let mut others = self.by_ports.range(first..=beginning_before_its_end).rev();
        // They do not overlap: only the last of them can reach into it.
        let ((.., theirs), id) = others.find(|(_, id)| Some(**id) != own)?;
        Some((*id, theirs.common(ports)?))
    }

    /// Creates a load-balancer on VIPs that have been found for it. If it needs a mark, it gets the lowest that no load-balancer has and
    /// no service of another program (`foreign`).
    ///
    /// # Errors
    /// A port is taken on one of them, or the backends contradict each other or the VIPs, or no mark is left. Nothing has changed then.
    pub fn create(&mut self, new: NewLoadBalancer, vips: Vips, foreign: &BTreeSet<Mark>) -> Result<Change, Rejected> {
        self.create_of(Origin::Api, new, vips, foreign)
    }

    fn create_of(
        &mut self,
        origin: Origin,
        new: NewLoadBalancer,
        vips: Vips,
        foreign: &BTreeSet<Mark>,
    ) -> Result<Change, Rejected> {
        let ranges = new.listen.ranges();
        vips.into_iter().try_for_each(|vip| self.check_ports(vip, new.protocol, &ranges, None))?;
        new.service.check(new.protocol, families(vips))?;
        let port = new.listen.lowest();
        let marked = match new.listen {
            Listen::Port(_) => None,
            Listen::Ports(ports) => Some(Box::new(Marked { ports, mark: self.free_mark(foreign)? })),
        };
        let backends = new.backends.unwrap_or_default();
        let after = LoadBalancer {
            id: new.id,
            serial: self.last_serial + 1,
            name: new.name,
            vips,
            port,
            marked,
            protocol: new.protocol,
            backends: (!backends.is_empty()).then(|| backends.into()),
            phase: Phase::Active,
            advertise: new.advertise,
            source_nat: new.source_nat,
            service: new.service,
            check: new.check,
            origin,
            extras: None,
        }
        .with_fallback(new.fallback);
        check_targets(&after)?;
        self.check_loops(&after)?;
        Ok(self.done(None, Some(after)))
    }

    fn free_mark(&self, foreign: &BTreeSet<Mark>) -> Result<Mark, Rejected> {
        self.free_marks(foreign).next().ok_or(Rejected::NoMark)
    }

    /// The marks that neither a load-balancer has nor a service of another program, in order.
    fn free_marks(&self, foreign: &BTreeSet<Mark>) -> impl Iterator<Item = Mark> {
        let own: BTreeSet<Mark> = self.by_id.values().flat_map(|each| each.marks()).collect();
        Mark::all().filter(move |mark| !own.contains(mark) && !foreign.contains(mark))
    }

    /// Carries out, at that time, any command but [`Command::Create`], which needs a VIP first and is refused here as an unknown load-balancer.
    ///
    /// # Errors
    /// Why the command contradicts the state. Nothing has changed then.
    pub fn apply(&mut self, command: &Command, now: Time) -> Result<Change, Rejected> {
        match command {
            Command::Create(new) => Err(Rejected::UnknownLoadBalancer(new.id)),
            Command::Update(id, change) => self.update(*id, change),
            Command::Delete(id) => self.mark_deleting(*id),
            Command::AddBackends(id, backends) => self.add_backends(*id, backends),
            Command::ReplaceBackends(id, backends) => self.replace_backends(*id, backends),
            Command::UpdateBackend(id, backend, change) => self.update_backend(*id, *backend, change),
            Command::RemoveBackend(id, backend) => self.remove_backend(*id, *backend),
            Command::Drain(id, which, wish) => self.drain(*id, *which, *wish, now),
            Command::Undrain(id, which) => self.undrain(*id, *which, now),
        }
    }

    /// Forgets a load-balancer whose removal is finished.
    pub fn erase(&mut self, id: LoadBalancerId) -> Change {
        let before = self.by_id.get(&id).cloned();
        let change = Change { before, after: None };
        self.put(&change);
        change
    }

    /// Marks a load-balancer as going away; marking it again is fine.
    ///
    /// # Errors
    /// There is no such load-balancer.
    pub fn mark_deleting(&mut self, id: LoadBalancerId) -> Result<Change, Rejected> {
        let before = self.get(id).cloned().ok_or(Rejected::UnknownLoadBalancer(id))?;
        let after = LoadBalancer { phase: Phase::Deleting, ..LoadBalancer::clone(&before) };
        Ok(self.done(Some(before), Some(after)))
    }

    /// Makes the state what the change says, whatever it was.
    pub fn put(&mut self, change: &Change) {
        if let Some(before) = &change.before {
            self.loops.remove(before);
            self.by_id.remove(&before.id);
            for vip in before.vips {
                for ports in before.ranges() {
                    self.by_ports.remove(&(vip, before.protocol, ports));
                }
            }
        }
        if let Some(after) = &change.after {
            self.loops.add(after);
            self.last_serial = self.last_serial.max(after.serial);
            for vip in after.vips {
                let ports = after.ranges().into_iter();
                self.by_ports.extend(ports.map(|ports| ((vip, after.protocol, ports), after.id)));
            }
            self.by_id.insert(after.id, Arc::clone(after));
        }
    }

    fn update(&mut self, id: LoadBalancerId, change: &LoadBalancerChange) -> Result<Change, Rejected> {
        let before = self.active(id)?;
        unchanged("eip", before.vips.first(), change.vip)?;
        unchanged("eips", before.vips, change.vips)?;
        let mut after = LoadBalancer::clone(&before);
        match (&mut after.marked, &change.ports) {
            (None, None) => unchanged("port", before.port, change.port)?,
            (None, Some(_)) => return Err(immutable("ports", format!("the single port {}", before.port))),
            (Some(marked), _) if change.port.is_some() => {
                return Err(immutable("port", format!("one of several ({})", marked.ports)));
            }
            (Some(_), None) => {}
            (Some(marked), Some(ports)) => {
                let mut vips = before.vips.into_iter();
                vips.try_for_each(|vip| self.check_ports(vip, before.protocol, ports.ranges(), Some(id)))?;
                marked.ports.clone_from(ports);
                after.port = ports.lowest();
            }
        }
        unchanged("protocol", before.protocol, change.protocol)?;
        if let Some(name) = &change.name {
            after.name.clone_from(name);
        }
        after.advertise = change.advertise.unwrap_or(after.advertise);
        after.source_nat = change.source_nat.unwrap_or(after.source_nat);
        after.service = change.service.of(before.service);
        after.service.check(before.protocol, families(before.vips))?;
        if let Some(check) = &change.check {
            after.check.clone_from(check);
        }
        if let Some(fallback) = &change.fallback {
            after = after.with_fallback(*fallback);
            check_fallback(&after)?;
        }
        check_persistence(&after)?;
        self.check_loops(&after)?;
        Ok(self.done(Some(before), Some(after)))
    }

    fn add_backends(&mut self, id: LoadBalancerId, added: &[Backend]) -> Result<Change, Rejected> {
        let before = self.active(id)?;
        let backends: Arc<[Backend]> = before.backends().iter().chain(added).cloned().collect();
        let after = LoadBalancer { backends: Some(backends), ..LoadBalancer::clone(&before) };
        check_targets(&after)?;
        self.check_loops(&after)?;
        Ok(self.done(Some(before), Some(after)))
    }

    fn replace_backends(&mut self, id: LoadBalancerId, backends: &[Backend]) -> Result<Change, Rejected> {
        let before = self.active(id)?;
        let known = |target| before.backends().iter().find(|each| each.target == target);
        let kept = backends.iter().map(|each| match known(each.target) {
            Some(known) => Backend { id: known.id, ..each.clone() }.with_condition(*known.condition()),
            None => each.clone(),
        });
        let has_ever_had = before.backends.is_some() || !backends.is_empty();
        let after = LoadBalancer { backends: has_ever_had.then(|| kept.collect()), ..LoadBalancer::clone(&before) };
        check_targets(&after)?;
        self.check_loops(&after)?;
        Ok(self.done(Some(before), Some(after)))
    }

    fn update_backend(
        &mut self,
        id: LoadBalancerId,
        backend: BackendId,
        change: &BackendChange,
    ) -> Result<Change, Rejected> {
        let before = self.active(id)?;
        let old = known_backend(&before, backend)?;
        unchanged("ip", old.target.ip, change.target.ip)?;
        if change.target.port.is_some_and(|port| Some(port) != old.target.port) {
            let is = old.target.port.map_or_else(|| "that of each connection".to_owned(), |port| port.to_string());
            return Err(immutable("port", is));
        }
        let check = change.check.clone().unwrap_or_else(|| old.check().cloned());
        let changed = old.clone().with_settings(change.of(old.settings())?).with_check(check);
        let others = before.backends().iter();
        let backends: Arc<[Backend]> =
            others.map(|each| if each.target == changed.target { &changed } else { each }).cloned().collect();
        let after = LoadBalancer { backends: Some(backends), ..LoadBalancer::clone(&before) };
        check_targets(&after)?;
        self.check_loops(&after)?;
        Ok(self.done(Some(before), Some(after)))
    }

    fn remove_backend(&mut self, id: LoadBalancerId, backend: BackendId) -> Result<Change, Rejected> {
        let before = self.active(id)?;
        known_backend(&before, backend)?;
        let backends = before.backends().iter().filter(|each| each.id != backend).cloned().collect();
        let after = LoadBalancer { backends: Some(backends), ..LoadBalancer::clone(&before) };
        Ok(self.done(Some(before), Some(after)))
    }

    fn active(&self, id: LoadBalancerId) -> Result<Arc<LoadBalancer>, Rejected> {
        let found = self.get(id).ok_or(Rejected::UnknownLoadBalancer(id))?;
        match found.phase {
            Phase::Active => Ok(Arc::clone(found)),
            Phase::Deleting => Err(Rejected::Deleting(id)),
        }
    }

    fn done(&mut self, before: Option<Arc<LoadBalancer>>, after: Option<LoadBalancer>) -> Change {
        let change = Change { before, after: after.map(unwatched).map(Arc::new) };
        self.put(&change);
        change
    }
}

/// Two records of the store that cannot both be true.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the records of load-balancers {one} and {other} contradict each other: both claim {claim}")]
pub struct Contradiction {
    /// A load-balancer.
    pub one: LoadBalancerId,
    /// Another, or the same twice.
    pub other: LoadBalancerId,
    /// What both claim.
    pub claim: VirtualService,
}

fn known_backend(load_balancer: &LoadBalancer, backend: BackendId) -> Result<&Backend, Rejected> {
    load_balancer.backend(backend).ok_or(Rejected::UnknownBackend { load_balancer: load_balancer.id, backend })
}

fn families(vips: Vips) -> impl Iterator<Item = Family> {
    vips.into_iter().map(Vip::family)
}

fn unchanged<T: PartialEq + ToString>(field: &'static str, is: T, wanted: Option<T>) -> Result<(), Rejected> {
    match wanted {
        Some(wanted) if wanted != is => Err(immutable(field, is.to_string())),
        _ => Ok(()),
    }
}

fn immutable(field: &'static str, is: String) -> Rejected {
    Rejected::Immutable { field, is }
}

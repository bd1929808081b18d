// SPDX-License-Identifier: Apache-2.0
//! The desired state. A command becomes a [`Change`] or is refused and leaves everything as it was; a change can be undone.

mod check_marks;
mod conditions;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::conditions::unwatched;
use crate::{
    command::{BackendChange, Command, LoadBalancerChange, NewLoadBalancer, Rejected, Unfit},
    model::{
        Backend, BackendId, BackendSettings, CheckMarks, Endpoint, Fallback, Family, ForwardingKind, LoadBalancer,
        LoadBalancerId, Phase, Port, Protocol, Target, Time, Vip, Vips,
    },
    ports::Write,
    step::DataplaneStep,
};

/// Every load-balancer that slb answers for: those that are wanted, and those whose removal has not been finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    by_id: BTreeMap<LoadBalancerId, Arc<LoadBalancer>>,
    by_endpoint: BTreeMap<Endpoint, LoadBalancerId>,
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
    /// Two records that claim the same id or the same endpoint: names both.
    pub fn restore(load_balancers: Vec<Arc<LoadBalancer>>, last_serial: u64) -> Result<Self, Contradiction> {
        let mut state = Self { last_serial, ..Self::default() };
        for load_balancer in load_balancers {
            for endpoint in load_balancer.endpoints() {
                if let Some(other) = state.at(endpoint).or_else(|| state.by_id.get(&load_balancer.id)) {
                    return Err(Contradiction { one: other.id, other: load_balancer.id, endpoint });
                }
            }
            state.last_serial = state.last_serial.max(load_balancer.serial);
            state.put(&Change { before: None, after: Some(load_balancer) });
        }
        Ok(state)
    }

    /// The load-balancer of that name.
    #[must_use]
    pub fn get(&self, id: LoadBalancerId) -> Option<&Arc<LoadBalancer>> {
        self.by_id.get(&id)
    }

    /// The load-balancer on that endpoint.
    #[must_use]
    pub fn at(&self, endpoint: Endpoint) -> Option<&Arc<LoadBalancer>> {
        self.by_endpoint.get(&endpoint).and_then(|id| self.by_id.get(id))
    }

    /// The load-balancers that share a VIP, by port.
    pub fn on(&self, vip: Vip) -> impl Iterator<Item = &Arc<LoadBalancer>> {
        let [first, last] = [(Port::LOWEST, Protocol::Tcp), (Port::HIGHEST, Protocol::Sctp)]
            .map(|(port, protocol)| Endpoint { vip, port, protocol });
        self.by_endpoint.range(first..=last).filter_map(|(_, id)| self.by_id.get(id))
    }

    /// Every VIP that slb answers for, in order. What is bound, programmed or translated for any other address is foreign.
    pub fn vips(&self) -> impl Iterator<Item = Vip> {
        let mut last = None;
        self.by_endpoint.keys().map(|endpoint| endpoint.vip).filter(move |vip| last.replace(*vip) != Some(*vip))
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

    /// Whether a load-balancer could be created on the endpoint.
    ///
    /// # Errors
    /// Who has it.
    pub fn check_endpoint(&self, endpoint: Endpoint) -> Result<(), Rejected> {
        match self.at(endpoint) {
            Some(holder) => Err(Rejected::EndpointTaken { endpoint, by: holder.id }),
            None => Ok(()),
        }
    }

    /// Creates a load-balancer on VIPs that have been found for it.
    ///
    /// # Errors
    /// An endpoint is taken, or the backends contradict each other or the VIPs. Nothing has changed then.
    pub fn create(&mut self, new: NewLoadBalancer, vips: Vips) -> Result<Change, Rejected> {
        vips.into_iter().try_for_each(|vip| self.check_endpoint(new.endpoint(vip)))?;
        new.service.check(new.protocol, families(vips))?;
        let backends = new.backends.unwrap_or_default();
        check_backends(vips, &backends)?;
        check_fallback(vips, new.fallback.as_ref(), &backends)?;
        let after = LoadBalancer {
            id: new.id,
            serial: self.last_serial + 1,
            name: new.name,
            vips,
            port: new.port,
            protocol: new.protocol,
            backends: (!backends.is_empty()).then(|| backends.into()),
            phase: Phase::Active,
            advertise: new.advertise,
            source_nat: new.source_nat,
            service: new.service,
            check: new.check,
            fallback: new.fallback.map(Box::new),
            drain: None,
            check_marks: CheckMarks::default(),
        };
        Ok(self.done(None, Some(after)))
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
            self.by_id.remove(&before.id);
            for endpoint in before.endpoints() {
                self.by_endpoint.remove(&endpoint);
            }
        }
        if let Some(after) = &change.after {
            self.last_serial = self.last_serial.max(after.serial);
            self.by_endpoint.extend(after.endpoints().map(|endpoint| (endpoint, after.id)));
            self.by_id.insert(after.id, Arc::clone(after));
        }
    }

    fn update(&mut self, id: LoadBalancerId, change: &LoadBalancerChange) -> Result<Change, Rejected> {
        let before = self.active(id)?;
        unchanged("eip", before.vips.first(), change.vip)?;
        unchanged("eips", before.vips, change.vips)?;
        unchanged("port", before.port, change.port)?;
        unchanged("protocol", before.protocol, change.protocol)?;
        let mut after = LoadBalancer::clone(&before);
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
            check_fallback(before.vips, fallback.as_ref(), before.backends())?;
            after.fallback = fallback.map(Box::new);
        }
        Ok(self.done(Some(before), Some(after)))
    }

    fn add_backends(&mut self, id: LoadBalancerId, added: &[Backend]) -> Result<Change, Rejected> {
        let before = self.active(id)?;
        let backends: Arc<[Backend]> = before.backends().iter().chain(added).cloned().collect();
        check_backends(before.vips, &backends)?;
        check_fallback(before.vips, before.fallback.as_deref(), &backends)?;
        let after = LoadBalancer { backends: Some(backends), ..LoadBalancer::clone(&before) };
        Ok(self.done(Some(before), Some(after)))
    }

    fn replace_backends(&mut self, id: LoadBalancerId, backends: &[Backend]) -> Result<Change, Rejected> {
        let before = self.active(id)?;
        check_backends(before.vips, backends)?;
        check_fallback(before.vips, before.fallback.as_deref(), backends)?;
        let known = |target| before.backends().iter().find(|each| each.target == target);
        let kept = backends.iter().map(|each| match known(each.target) {
            Some(known) => Backend { id: known.id, condition: known.condition, ..each.clone() },
            None => each.clone(),
        });
        let has_ever_had = before.backends.is_some() || !backends.is_empty();
        let after = LoadBalancer { backends: has_ever_had.then(|| kept.collect()), ..LoadBalancer::clone(&before) };
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
        unchanged("port", old.target.port, change.target.port)?;
        let check = change.check.clone().unwrap_or_else(|| old.check.clone());
        let changed = Backend { settings: change.of(old.settings)?, check, ..old.clone() };
        let others = before.backends().iter();
        let backends: Arc<[Backend]> =
            others.map(|each| if each.target == changed.target { &changed } else { each }).cloned().collect();
        check_backends(before.vips, &backends)?;
        check_fallback(before.vips, before.fallback.as_deref(), &backends)?;
        let after = LoadBalancer { backends: Some(backends), ..LoadBalancer::clone(&before) };
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
#[error("the records of load-balancers {one} and {other} contradict each other: both claim {endpoint}")]
pub struct Contradiction {
    /// A load-balancer.
    pub one: LoadBalancerId,
    /// Another, or the same twice.
    pub other: LoadBalancerId,
    /// What both claim.
    pub endpoint: Endpoint,
}

fn known_backend(load_balancer: &LoadBalancer, backend: BackendId) -> Result<&Backend, Rejected> {
    load_balancer.backend(backend).ok_or(Rejected::UnknownBackend { load_balancer: load_balancer.id, backend })
}

fn is_one_of(vips: Vips, target: Target) -> bool {
    vips.into_iter().any(|vip| vip.address() == target.ip.address())
}

fn families(vips: Vips) -> impl Iterator<Item = Family> {
    vips.into_iter().map(Vip::family)
}

/// Whether all of them could be the backends of a load-balancer there.
fn check_backends(vips: Vips, backends: &[Backend]) -> Result<(), Rejected> {
    let mut targets = BTreeMap::new();
    let mut hosts = BTreeMap::new();
    backends.iter().try_for_each(|backend| {
        let Backend { id, target, settings, .. } = *backend;
        if is_one_of(vips, target) {
            return Err(Rejected::BackendIsVip(target));
        }
        if let Some(by) = targets.insert(target, id) {
            return Err(Rejected::BackendExists { target, by });
        }
        check_reach(vips, target, settings)?;
        let other = (!settings.forwarding.translates()).then(|| hosts.insert(target.ip, target)).flatten();
        check_server(target, settings, other)
    })
}

/// The fallback is a backend like others, but none of them.
fn check_fallback(vips: Vips, fallback: Option<&Fallback>, backends: &[Backend]) -> Result<(), Rejected> {
    let Some(Fallback { target, settings }) = fallback.copied() else { return Ok(()) };
    if is_one_of(vips, target) {
        return Err(Rejected::BackendIsVip(target));
    }
    if backends.iter().any(|backend| backend.target == target) {
        return Err(Rejected::BackendIsFallback(target));
    }
    check_reach(vips, target, settings)?;
    let is_same = |each: &&Backend| each.target.ip == target.ip && !each.settings.forwarding.translates();
    let other = (!settings.forwarding.translates()).then(|| backends.iter().find(is_same)).flatten();
    check_server(target, settings, other.map(|other| other.target))
}

/// Whether packets can reach it from one of the VIPs by the way that it asks for.
fn check_reach(vips: Vips, target: Target, settings: BackendSettings) -> Result<(), Rejected> {
    let kind = settings.forwarding.kind();
    if kind != ForwardingKind::Tunnel && families(vips).all(|family| family != target.ip.family()) {
        return Err(Rejected::Unfit { target, why: Unfit::OtherFamily { kind, vip: vips.first().family() } });
    }
    Ok(())
}

/// `other` is on the same host, and what is sent there keeps its port as well.
fn check_server(target: Target, settings: BackendSettings, other: Option<Target>) -> Result<(), Rejected> {
    match other {
        Some(other) => {
            let kind = settings.forwarding.kind();
            Err(Rejected::Unfit { target, why: Unfit::SameServer { kind, other } })
        }
        None => Ok(()),
    }
}

fn unchanged<T: PartialEq + ToString>(field: &'static str, is: T, wanted: Option<T>) -> Result<(), Rejected> {
    match wanted {
        Some(wanted) if wanted != is => Err(Rejected::Immutable { field, is: is.to_string() }),
        _ => Ok(()),
    }
}

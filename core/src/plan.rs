// SPDX-License-Identifier: Apache-2.0
//! The plan: which steps lead from what is observed to what is desired, in which order. Pure.
//!
//! ```text
//! take away   withdraw ▶ unbind ▶ remove service
//! build up    enable source NAT, catch answers ▶ program service and backends ▶ prune backends ▶ prepare ▶ mark ▶ bind ▶ advertise
//! last        disable source NAT, release answers
//! ```
//! Each VIP is planned for by itself, also where a load-balancer has another one beside it. It is advertised if one of its load-balancers is
//! to be told of (`LoadBalancer::is_to_be_told`). Without, it stays bound, for the connections that there are.
//!
//! A VIP is bound only once its services are programmed: the kernel answers ARP for an address from the moment it is bound, so
//! binding is already telling. For the same reason it is unbound before they are removed. Backends that are no longer
//! wanted go after new ones have come, so that there is no moment without any.
//!
//! Source NAT is there before a VIP that clients reach has another service or backend. One that is bound next is prepared last, for that may
//! be a run of iptables, and after a start all others wait for their services.
//!
//! Answers to clients' own addresses are caught for a whole family, from the first VIP that needs it to the last.
//!
//! What the firewall marks changes in one piece, after the services: neither a mark without a service nor a service whose mark nobody
//! gets does anything, and a port that goes from one range to another is never without.
//!
//! What is ours is decided here and nowhere else: whatever belongs to a load-balancer in the [`State`], whose record was
//! written before the kernel was touched and is erased after the kernel is clean; and slb's own rules for source NAT, answers and marks. Everything
//! else is foreign and no step ever names it.

pub mod passes;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

use crate::{
    model::{
        BackendSettings, CheckService, Family, LoadBalancer, MarkRule, Phase, ServiceSettings, SourceNat, Target, Time,
        Vip, VirtualService,
    },
    observed::{Extent, HostView, Listed, ServiceView, Services},
    state::State,
    step::{AdvertStep, DataplaneStep, HostStep, Step},
};

/// What the drivers report, together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The host's part.
    pub host: HostView,
    /// The data plane's part.
    pub services: Services,
    /// The VIPs that the advertiser advertises, and that nobody needs to be told of anew.
    pub advertised: BTreeSet<Vip>,
}

/// Which part of the state to plan for. VIPs are independent of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Only what belongs to these.
    Vips(BTreeSet<Vip>),
}

/// Where a step stands in the order. Each stage belongs to one driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// [`AdvertStep::Withdraw`].
    Withdraw,
    /// [`HostStep::Unbind`].
    Unbind,
    /// [`DataplaneStep::RemoveService`].
    RemoveService,
    /// [`HostStep::EnableSourceNat`] of VIPs that are bound, and [`HostStep::CatchAnswers`].
    EnableSourceNat,
    /// Services and backends that are new or changed.
    Program,
    /// [`DataplaneStep::RemoveBackend`].
    Prune,
    /// [`HostStep::EnableSourceNat`] of VIPs that are not bound yet.
    Prepare,
    /// [`HostStep::Mark`] and [`HostStep::Unmark`].
    Mark,
    /// [`HostStep::Bind`].
    Bind,
    /// [`AdvertStep::Advertise`].
    Advertise,
    /// [`HostStep::DisableSourceNat`] and [`HostStep::ReleaseAnswers`].
    DisableSourceNat,
}

/// The steps, by stage. A stage without steps is not there.
pub type Plan = BTreeMap<Stage, Vec<Step>>;

/// From the first to the last.
pub const ALL_STAGES: RangeInclusive<Stage> = Stage::Withdraw..=Stage::DisableSourceNat;

/// The steps from `observed` to `state` as it is to be at that time, for the part in `scope`. Empty when there is nothing to do.
#[must_use]
pub fn plan(state: &State, observed: &Observed, scope: &Scope, now: Time) -> Plan {
    plan_stages(ALL_STAGES, state, observed, scope, now)
}

/// Those of them that stand at these stages.
#[must_use]
pub fn plan_stages(
    stages: RangeInclusive<Stage>,
    state: &State,
    observed: &Observed,
    scope: &Scope,
    now: Time,
) -> Plan {
    let all: BTreeSet<Vip>;
    let vips = match scope {
        Scope::Vips(vips) => vips,
        Scope::All => {
            all = state.vips().chain(observed.strays()).collect();
            &all
        }
    };
    let mut steps = Steps { stages, vips: vips.len(), now, kept: kept_answers(state, observed), plan: Plan::new() };
    vips.iter().for_each(|vip| steps.of_vip(state, observed, *vip));
    steps.plan
}

impl Step {
    /// Where the step stands in the order; what [`Stage::Prepare`] has stands at [`Stage::EnableSourceNat`] where the VIP is bound.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Self::Advert(AdvertStep::Withdraw(_)) => Stage::Withdraw,
            Self::Advert(AdvertStep::Advertise(_)) => Stage::Advertise,
            Self::Host(HostStep::Unbind(_)) => Stage::Unbind,
            Self::Host(HostStep::Bind(_)) => Stage::Bind,
            Self::Host(HostStep::EnableSourceNat(..) | HostStep::CatchAnswers(_)) => Stage::EnableSourceNat,
            Self::Host(HostStep::DisableSourceNat(_) | HostStep::ReleaseAnswers(_)) => Stage::DisableSourceNat,
            Self::Host(HostStep::Mark(_) | HostStep::Unmark(_)) => Stage::Mark,
            Self::Dataplane(DataplaneStep::RemoveService(_)) => Stage::RemoveService,
            Self::Dataplane(DataplaneStep::RemoveBackend(..)) => Stage::Prune,
            Self::Dataplane(
                DataplaneStep::AddService(..)
                | DataplaneStep::SetService(..)
                | DataplaneStep::AddBackend(..)
                | DataplaneStep::SetBackend(..),
            ) => Stage::Program,
        }
    }
}

impl Scope {
    /// The load-balancers in it, once each.
    #[must_use]
    pub fn load_balancers<'a>(&self, state: &'a State) -> Vec<&'a Arc<LoadBalancer>> {
        match self {
            Self::All => state.load_balancers().collect(),
            Self::Vips(vips) => {
                let on_them = vips.iter().flat_map(|vip| state.on(*vip));
                on_them.map(|each| (each.id, each)).collect::<BTreeMap<_, _>>().into_values().collect()
            }
        }
    }
}

impl Observed {
    /// VIPs of which there is something that is slb's own, whether or not the state has them.
    pub fn strays(&self) -> impl Iterator<Item = Vip> {
        self.host.source_nat.keys().chain(self.host.marks.keys()).chain(&self.advertised).copied()
    }

    /// What the data plane is asked for of the load-balancer's service on that VIP.
    #[must_use]
    pub fn asked_of(&self, load_balancer: &LoadBalancer, vip: Vip) -> ServiceSettings {
        let source_nat = self.host.is_relaying.then_some(load_balancer.source_nat);
        ServiceSettings { source_nat, ..load_balancer.service_on(vip) }
    }

    /// Whether backends of the load-balancer answer to clients' own addresses, and the answers have to be brought back.
    #[must_use]
    pub fn needs_answers(&self, load_balancer: &LoadBalancer) -> bool {
        self.host.is_relaying && load_balancer.phase == Phase::Active && load_balancer.source_nat == SourceNat::Never
    }

    /// Whether they are.
    #[must_use]
    pub fn has_answers(&self, family: Family) -> bool {
        self.host.answers.get(&family) == Some(&Extent::Whole)
    }

    /// Takes no more memory than it needs, after many steps of these stages: where entries come one by one and in order, half of each node of
    /// their map stays empty.
    pub fn pack(&mut self, stages: &RangeInclusive<Stage>) {
        if stages.contains(&Stage::Program) {
            pack(&mut self.services);
        }
        if stages.contains(&Stage::Prepare) {
            pack(&mut self.host.source_nat);
        }
        if stages.contains(&Stage::Bind) {
            pack(&mut self.host.bound);
            pack(&mut self.advertised);
        }
    }

    /// Takes note of a step that was carried out.
    pub fn note(&mut self, step: &Step) {
        match *step {
            Step::Advert(AdvertStep::Advertise(vip)) => drop(self.advertised.insert(vip)),
            Step::Advert(AdvertStep::Withdraw(vip)) => drop(self.advertised.remove(&vip)),
            Step::Host(HostStep::Bind(vip)) => drop(self.host.bound.insert(vip)),
            Step::Host(HostStep::Unbind(vip)) => drop(self.host.bound.remove(&vip)),
            Step::Host(HostStep::EnableSourceNat(vip, choice)) => drop(self.host.source_nat.insert(vip, choice)),
            Step::Host(HostStep::DisableSourceNat(vip)) => drop(self.host.source_nat.remove(&vip)),
            Step::Host(HostStep::CatchAnswers(vip)) => drop(self.host.answers.insert(vip.family(), Extent::Whole)),
            Step::Host(HostStep::ReleaseAnswers(vip)) => drop(self.host.answers.remove(&vip.family())),
            Step::Host(HostStep::Mark(rule)) => drop(self.host.marks.entry(rule.vip).or_default().insert(rule)),
            Step::Host(HostStep::Unmark(rule)) => {
                let left = self.host.marks.remove(&rule.vip).map(|mut rules| {
                    rules.remove(&rule);
                    rules
                });
                self.host.marks.extend(left.filter(|rules| !rules.is_empty()).map(|rules| (rule.vip, rules)));
            }
            Step::Dataplane(step) => note_dataplane(&mut self.services, step),
        }
    }
}

fn pack<T: IntoIterator + FromIterator<T::Item> + Default>(entries: &mut T) {
    *entries = std::mem::take(entries).into_iter().collect();
}

fn note_dataplane(services: &mut Services, step: DataplaneStep) {
    match step {
        DataplaneStep::AddService(service, settings) => {
            services.insert(service.key(), ServiceView { settings: Some(settings), ..ServiceView::default() });
        }
        DataplaneStep::RemoveService(service) => drop(services.remove(&service.key())),
        DataplaneStep::SetService(service, settings) => {
            services.entry(service.key()).or_default().settings = Some(settings);
        }
        DataplaneStep::AddBackend(service, target, settings) | DataplaneStep::SetBackend(service, target, settings) => {
            services.entry(service.key()).or_default().backends.insert(target, Some(settings));
        }
        DataplaneStep::RemoveBackend(service, target) => {
            services.entry(service.key()).or_default().backends.remove(target);
        }
    }
}

/// What the data plane is to hold of a service.
struct Wanted {
    settings: ServiceSettings,
    backends: Vec<(Target, BackendSettings)>,
}

struct Steps {
    /// Steps at others are left out.
    stages: RangeInclusive<Stage>,
    /// How many VIPs are planned for: most stages have a step of each, if they have any.
    vips: usize,
    now: Time,
    /// The families whose answers somebody needs, of those in which there is something that may go.
    kept: BTreeSet<Family>,
    plan: Plan,
}

impl Steps {
    fn push(&mut self, step: Step) {
        self.push_at(step.stage(), step);
    }

    fn push_at(&mut self, stage: Stage, step: Step) {
        if self.stages.contains(&stage) {
            self.plan.entry(stage).or_insert_with(|| Vec::with_capacity(self.vips)).push(step);
        }
    }

    fn of_vip(&mut self, state: &State, observed: &Observed, vip: Vip) {
        let mut held = false;
        let (mut wanted, mut told) = (false, false);
        let mut answered = false;
        let mut translated = SourceNat::Never;
        let mut marked = BTreeSet::new();
        for load_balancer in state.on(vip) {
            held = true;
            self.of_services(load_balancer, vip, observed);
            if load_balancer.phase == Phase::Active {
                wanted = true;
                marked.extend(load_balancer.mark_rules(vip));
                told |= load_balancer.is_to_be_told(vip);
                answered |= observed.needs_answers(load_balancer);
                translated = translated.max(source_nat_for(load_balancer, vip));
            }
        }
        let host = &observed.host;
        let is_translated = translated != SourceNat::Never && !host.is_relaying;
        let is_so = host.source_nat.get(&vip) == Some(&translated);
        let (family, has_answers) = (vip.family(), observed.has_answers(vip.family()));
        let is_last = held && host.answers.contains_key(&family) && !self.kept.contains(&family);
        let steps = [
            (!told && observed.advertised.contains(&vip), Step::Advert(AdvertStep::Withdraw(vip))),
            (held && !wanted && host.bound.contains(&vip), Step::Host(HostStep::Unbind(vip))),
            (answered && !has_answers, Step::Host(HostStep::CatchAnswers(vip))),
            (wanted && !host.bound.contains(&vip), Step::Host(HostStep::Bind(vip))),
            (told && !observed.advertised.contains(&vip), Step::Advert(AdvertStep::Advertise(vip))),
            (!is_translated && host.source_nat.contains_key(&vip), Step::Host(HostStep::DisableSourceNat(vip))),
            (is_last, Step::Host(HostStep::ReleaseAnswers(vip))),
        ];
        steps.into_iter().filter(|(needed, _)| *needed).for_each(|(_, step)| self.push(step));
        if is_translated && !is_so {
            let stage = if host.bound.contains(&vip) { Stage::EnableSourceNat } else { Stage::Prepare };
            self.push_at(stage, Step::Host(HostStep::EnableSourceNat(vip, translated)));
        }
        self.of_marks(&marked, host.marks.get(&vip).unwrap_or(&BTreeSet::new()));
    }

    fn of_marks(&mut self, wanted: &BTreeSet<MarkRule>, observed: &BTreeSet<MarkRule>) {
        observed.difference(wanted).for_each(|rule| self.push(Step::Host(HostStep::Unmark(*rule))));
        wanted.difference(observed).for_each(|rule| self.push(Step::Host(HostStep::Mark(*rule))));
    }

    fn of_services(&mut self, load_balancer: &LoadBalancer, vip: Vip, observed: &Observed) {
        let is_active = load_balancer.phase == Phase::Active;
        let service = load_balancer.virtual_service(vip);
        let found = observed.services.get(&service.key());
        let settings = observed.asked_of(load_balancer, vip);
        let is_as_planned =
            |found: &ServiceView| found.settings == Some(settings) && found.backends.are_of(load_balancer, vip);
        if !is_active || !found.is_some_and(is_as_planned) {
            let backends = || load_balancer.programmed(vip, self.now).backends;
            let wanted = is_active.then(|| Wanted { settings, backends: backends() });
            self.of_service(service, wanted, found);
        }
        for CheckService { service, backend } in load_balancer.check_services(vip) {
            let backend = backend.filter(|_| is_active);
            let wanted = backend.map(|backend| Wanted { settings: CheckService::settings(), backends: vec![backend] });
            self.of_service(service, wanted, observed.services.get(&service.key()));
        }
    }

    fn of_service(&mut self, service: VirtualService, wanted: Option<Wanted>, observed: Option<&ServiceView>) {
        match (wanted, observed) {
            (None, None) => {}
            (None, Some(_)) => self.push(Step::Dataplane(DataplaneStep::RemoveService(service))),
            (Some(Wanted { settings, backends }), None) => {
                self.push(Step::Dataplane(DataplaneStep::AddService(service, settings)));
                self.of_backends(service, &backends, &Listed::new());
            }
            (Some(Wanted { settings, backends }), Some(observed)) => {
                if observed.settings != Some(settings) {
                    self.push(Step::Dataplane(DataplaneStep::SetService(service, settings)));
                }
                self.of_backends(service, &backends, &observed.backends.listed());
            }
        }
    }

    fn of_backends(&mut self, service: VirtualService, programmed: &[(Target, BackendSettings)], observed: &Listed) {
        for &(target, settings) in programmed {
            match observed.get(&target) {
                None => self.push(Step::Dataplane(DataplaneStep::AddBackend(service, target, settings))),
                Some(found) if *found == Some(settings) => {}
                Some(_) => self.push(Step::Dataplane(DataplaneStep::SetBackend(service, target, settings))),
            }
        }
        if observed.is_empty() {
            return;
        }
        let wanted: BTreeSet<Target> = programmed.iter().map(|(target, _)| *target).collect();
        for target in observed.keys().filter(|target| !wanted.contains(target)) {
            self.push(Step::Dataplane(DataplaneStep::RemoveBackend(service, *target)));
        }
    }
}

/// The families in which answers are needed, of those in which something is there to bring them.
fn kept_answers(state: &State, observed: &Observed) -> BTreeSet<Family> {
    let is_needed = |family: &Family| {
        let is_of = |each: &LoadBalancer| each.vips.into_iter().any(|vip| vip.family() == *family);
        state.load_balancers().any(|each| observed.needs_answers(each) && is_of(each))
    };
    observed.host.answers.keys().copied().filter(is_needed).collect()
}

/// Which of the load-balancer's connections to that VIP need it.
fn source_nat_for(load_balancer: &LoadBalancer, vip: Vip) -> SourceNat {
    if needs_source_nat(load_balancer, vip) { load_balancer.source_nat } else { SourceNat::Never }
}

/// Also while the only backend that would is down: it may come back at any time.
fn needs_source_nat(load_balancer: &LoadBalancer, vip: Vip) -> bool {
    let backends =
        load_balancer.backends().iter().filter(|backend| backend.serves(vip)).map(|backend| backend.settings());
    let fallback = load_balancer.fallback().filter(|fallback| fallback.serves(vip));
    backends.chain(fallback.map(|fallback| fallback.settings)).any(|settings| settings.forwarding.translates())
}

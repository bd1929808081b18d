// SPDX-License-Identifier: Apache-2.0
//! Brings the kernel and the network to the desired state, stage by stage. What failed is tried again in the background. Once a
//! step of the host or the network failed, the VIP's later steps are skipped; services and backends stand for themselves: a VIP is
//! bound and advertised if one of its services is there to stay, whatever became of the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
    time::Instant,
};

use tracing::debug;

use super::{Controller, Drivers, World, background::Retry, log::Repairs};
use crate::{
    command::Failure,
    errors::{Chain, Shared},
    feasible::Feasible,
    model::{LoadBalancer, Phase, ServiceKey, Time, Vip, VirtualService},
    observed::ServiceView,
    plan::{Scope, Stage, passes::MANY, plan_stages},
    ports::{Advertiser, Cause, Dataplane, Host, Unserved, Verdict},
    state::{Change, State},
    step::{AdvertStep, DataplaneStep, HostStep, Step},
};

/// What is not as desired, by VIP, in the order in which it failed. No list is empty.
pub(super) type Failures = BTreeMap<Vip, Vec<Failed>>;

/// Why a VIP is not as desired.
#[derive(Debug)]
pub(super) enum Failed {
    /// A step of it failed.
    Step { step: Step, may_pass: bool, cause: Cause },
    /// A step of it was not tried: the data plane can never do that.
    Untried { step: DataplaneStep, why: Unserved },
    /// The kernel is clean, but the record could not be erased.
    Erase(Cause),
    /// The kernel could not be read.
    Observe(Cause),
}

impl Failed {
    pub(super) fn into_failure(self, undone: bool) -> Failure {
        match self {
            Self::Step { step, may_pass, cause } => Failure::Step { step, may_pass, undone, cause },
            Self::Untried { step, why } => {
                Failure::Step { step: Step::Dataplane(step), may_pass: false, undone, cause: why.into() }
            }
            Self::Erase(cause) => Failure::Store(cause),
            Self::Observe(cause) => Failure::Ask { doing: "read the state of the kernel".to_owned(), cause },
        }
    }

    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Step { may_pass, .. } => *may_pass,
            Self::Untried { .. } => false,
            Self::Erase(_) | Self::Observe(_) => true,
        }
    }

    /// Whether trying again could make a difference.
    pub(super) fn was_tried(&self) -> bool {
        !matches!(self, Self::Untried { .. })
    }

    /// Whether the step cannot but fail after this: its service is not there.
    pub(super) fn fails(&self, step: &Step) -> bool {
        let (Self::Step { step: Step::Dataplane(first), .. } | Self::Untried { step: first, .. }) = self else {
            return false;
        };
        match (first, step) {
            (
                DataplaneStep::AddService(added, _),
                Step::Dataplane(DataplaneStep::AddBackend(service, ..) | DataplaneStep::SetBackend(service, ..)),
            ) => added == service,
            (DataplaneStep::AddService(added, _), Step::Host(HostStep::Mark(rule))) => {
                *added == VirtualService::Mark(rule.vip, rule.mark)
            }
            _ => false,
        }
    }

    /// Whether the change is not carried out for this reason. Nor are others, as long as it is not about a service or a backend.
    pub(super) fn holds_up(&self, change: &Change, now: Time) -> bool {
        match self {
            Self::Step { step: Step::Dataplane(step), .. } | Self::Untried { step, .. } => {
                change.concerns_kernel() && change.touches(step, now)
            }
            Self::Step { .. } | Self::Erase(_) | Self::Observe(_) => change.concerns_kernel(),
        }
    }

    /// Whether something of the service may still be there for this reason.
    pub(super) fn keeps(&self, service: VirtualService) -> bool {
        match self {
            Self::Step { step: Step::Dataplane(step), .. } => step.service() == service,
            Self::Untried { .. } => false,
            Self::Step { .. } | Self::Erase(_) | Self::Observe(_) => true,
        }
    }

    /// One line with all causes.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Step { step, cause, .. } => format!("could not {step}: {}", Chain(&**cause)),
            Self::Untried { step, why } => format!("could not {step}: {why}"),
            Self::Erase(cause) => format!("could not erase the record: {}", Chain(&**cause)),
            Self::Observe(cause) => format!("could not read the state of the kernel: {}", Chain(&**cause)),
        }
    }
}

/// How closely the data plane is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// All of it is read.
    Whole,
    /// What is seen to have changed is read.
    Glance,
}

/// What steps have come to so far.
pub(super) struct Course<'a> {
    /// What requests have changed in the state.
    asked: &'a [Change],
    /// What was planned for.
    pub(super) time: Time,
    failed: Failures,
    /// A step of the host or the network failed.
    held_up: BTreeSet<Vip>,
    /// Told of each step, where nobody asked for it.
    pub(super) repairs: Option<Repairs>,
}

impl<'a> Course<'a> {
    pub(super) fn new(asked: &'a [Change], time: Time) -> Self {
        Self { asked, time, failed: Failures::new(), held_up: BTreeSet::new(), repairs: None }
    }

    /// Whether it is of no use to take the step after what has failed.
    fn rules_out(&self, step: &Step) -> bool {
        let failed = self.failed.get(&step.vip()).into_iter().flatten();
        self.held_up.contains(&step.vip()) || failed.filter(|each| !each.was_tried()).any(|each| each.fails(step))
    }

    fn note(&mut self, step: Step, may_pass: bool, cause: Cause) {
        if !matches!(step, Step::Dataplane(_)) {
            self.held_up.insert(step.vip());
        }
        let failed = self.failed.entry(step.vip()).or_default();
        // What is refused for good is not made to pass by its backends.
        let may_pass = may_pass && !failed.iter().any(|other| !other.may_pass() && other.fails(&step));
        failed.push(Failed::Step { step, may_pass, cause });
    }
}

impl<W: World> Controller<W> {
    /// Takes steps that have been found for the time of the course.
    pub(super) async fn follow(&mut self, feasible: Feasible, course: &mut Course<'_>) {
        let Feasible { plan, untried } = feasible;
        for (step, why) in untried {
            course.failed.entry(step.service().vip()).or_default().push(Failed::Untried { step, why });
        }
        for mut steps in plan.into_values() {
            steps.retain(|step| !course.rules_out(step) && (!step.tells() || self.serves(step.vip(), course)));
            if let Some(repairs) = &mut course.repairs {
                repairs.log(&steps);
            }
            for part in steps.chunks(MANY) {
                let verdicts = self.drivers.apply(part).await;
                for (step, verdict) in part.iter().copied().zip(verdicts) {
                    let (may_pass, cause) = match verdict {
                        Verdict::Applied => {
                            debug!(%step, "done");
                            self.observed.note(&step);
                            continue;
                        }
                        Verdict::Retry(cause) => (true, cause),
                        Verdict::Refused(cause) => (false, cause),
                    };
                    debug!(%step, may_pass, error = %Chain(&*cause), "failed");
                    course.note(step, may_pass, cause);
                }
            }
        }
    }

    /// Says how everything in the scope is doing, now that it has been brought as far as it goes, and when it is looked at again.
    pub(super) fn take_stock(&mut self, scope: &Scope, course: Course<'_>, now: Instant) -> Failures {
        let Course { failed, time, .. } = course;
        self.note_retries(scope, &failed, now);
        self.note_raises(scope, time, now);
        self.report(scope, &failed, time);
        self.watch_through(scope);
        failed
    }

    /// The steps from what was last observed to what is to be at that time.
    pub(super) fn feasible(&self, stages: RangeInclusive<Stage>, scope: &Scope, time: Time) -> Feasible {
        let plan = plan_stages(stages, &self.state, &self.observed, scope, time);
        Feasible::of(plan, |step| self.drivers.dataplane.unserved(step))
    }

    /// The same for what nobody asked for: what fails is logged, and what was to go and is gone is forgotten.
    pub(super) async fn converge_unasked(&mut self, scope: &Scope, now: Instant) {
        let mut failed = self.converge(scope, &[], now).await;
        self.finish_deletions(scope, &mut failed, now).await;
        self.log_failures(scope, &failed);
    }

    /// Whether any of the VIP's services is there to stay. That of a creation that failed, on whichever of its VIPs, is not.
    fn serves(&self, vip: Vip, course: &Course<'_>) -> bool {
        let goes = |service: &LoadBalancer| {
            let creates = |change: &Change| change.created().is_some_and(|created| created.id == service.id);
            let mut failed = service.vips.into_iter().filter_map(|vip| course.failed.get(&vip)).flatten();
            failed.any(|why| course.asked.iter().any(|change| creates(change) && why.holds_up(change, course.time)))
        };
        self.state.on(vip).any(|each| {
            let is_there = self.observed.services.contains_key(&each.virtual_service(vip).key());
            each.phase == Phase::Active && is_there && !goes(each)
        })
    }

    /// The same after a fresh look at the kernel.
    pub(super) async fn observe_and_converge(&mut self, scope: &Scope, asked: &[Change], now: Instant) -> Failures {
        match self.observe(Look::Glance, now).await {
            Ok(()) => self.converge(scope, asked, now).await,
            Err(cause) => {
                let cause = Shared::from(cause);
                let vips: BTreeSet<Vip> = match scope {
                    Scope::All => self.state.vips().collect(),
                    Scope::Vips(vips) => vips.clone(),
                };
                let failed = vips.into_iter().map(|vip| (vip, vec![Failed::Observe(cause.clone().into())])).collect();
                self.note_retries(scope, &failed, now);
                failed
            }
        }
    }

    /// What belongs to these VIPs, as a whole: with the other VIPs of their load-balancers.
    pub(super) fn scope_of(&self, vips: impl IntoIterator<Item = Vip>) -> Scope {
        Scope::Vips(self.state.together(vips))
    }

    /// The load-balancers in a scope, once each.
    pub(super) fn in_scope(&self, scope: &Scope) -> Vec<&Arc<LoadBalancer>> {
        scope.load_balancers(&self.state)
    }

    /// Lists no more what the kernel has as it is to be.
    pub(super) fn settle(&mut self, scope: &Scope) {
        for load_balancer in scope.load_balancers(&self.state) {
            for service in load_balancer.virtual_services() {
                if let Some(found) = self.observed.services.get_mut(&service.key()) {
                    found.backends.settle(load_balancer, service.vip());
                }
            }
        }
    }

    /// Reads the kernel anew. After an error what was last observed counts, and what was seen of the data plane until then.
    pub(super) async fn observe(&mut self, look: Look, now: Instant) -> Result<(), Cause> {
        let began = self.board.journal().now();
        let host = self.drivers.host.observe().await?;
        let (state, services) = (&self.state, &mut self.observed.services);
        let mut there = Vec::with_capacity(services.len());
        let mut known = |key, service: Option<ServiceView>| {
            there.push(key);
            if let Some(service) = service {
                services.insert(key, settled(state, key, service));
            }
        };
        match look {
            Look::Whole => {
                self.drivers.dataplane.observe_each(|key, service| known(key, Some(service))).await?;
                self.look = self.board.journal().now().duration_since(began).unwrap_or_default();
            }
            Look::Glance => self.drivers.dataplane.observe_changes(known).await?,
        }
        there.sort_unstable();
        services.retain(|key, _| there.binary_search(key).is_ok());
        self.observed.host = host;
        self.avoid.refresh(&self.state, &self.observed, now);
        Ok(())
    }

    /// Weights that are being raised are changed again.
    fn note_raises(&mut self, scope: &Scope, time: Time, now: Instant) {
        let raises = |(vip, load_balancer): (Vip, &Arc<LoadBalancer>)| {
            let has_come_back = load_balancer.backends().iter().any(|backend| backend.condition().back.is_some());
            let change = has_come_back.then(|| load_balancer.programmed(vip, time).changes)??;
            Some((vip, self.instant_of(change, now)))
        };
        let on = |vip: Vip| self.state.on(vip).map(move |load_balancer| (vip, load_balancer));
        let next: Vec<(Vip, Instant)> = match scope {
            Scope::All => self.state.vips().flat_map(on).filter_map(raises).collect(),
            Scope::Vips(vips) => vips.iter().copied().flat_map(on).filter_map(raises).collect(),
        };
        match scope {
            Scope::All => self.raises.clear(),
            Scope::Vips(vips) => self.raises.retain(|vip, _| !vips.contains(vip)),
        }
        for (vip, at) in next {
            self.raises.entry(vip).and_modify(|other| *other = at.min(*other)).or_insert(at);
        }
    }

    /// What was not tried is no reason to try again.
    fn note_retries(&mut self, scope: &Scope, failed: &Failures, now: Instant) {
        let again: BTreeMap<Vip, bool> = failed
            .iter()
            .filter(|(_, failed)| failed.iter().any(Failed::was_tried))
            .map(|(vip, failed)| (*vip, failed.iter().any(Failed::may_pass)))
            .collect();
        match scope {
            Scope::All => self.retries.retain(|vip, _| again.contains_key(vip)),
            Scope::Vips(vips) => self.retries.retain(|vip, _| !vips.contains(vip) || again.contains_key(vip)),
        }
        for (vip, may_pass) in again {
            self.retry_later(vip, may_pass, now);
        }
    }

    pub(super) fn retry_later(&mut self, vip: Vip, may_pass: bool, now: Instant) {
        let attempt = self.retries.get(&vip).map_or(0, |retry| retry.attempt);
        self.retries.insert(vip, Retry::after(attempt, may_pass, now));
    }
}

/// Lists none of its backends if they are as they are to be.
fn settled(state: &State, key: ServiceKey, mut service: ServiceView) -> ServiceView {
    if let Some((load_balancer, vip)) = state.behind(key) {
        service.backends.settle(load_balancer, vip);
    }
    service
}

impl<W: World> Drivers<W> {
    /// Hands each step to its driver; the verdicts are in the order of the steps, which belong to one stage and so to one driver.
    async fn apply(&mut self, steps: &[Step]) -> Vec<Verdict> {
        let advert = of_driver(steps, |step| if let Step::Advert(step) = *step { Some(step) } else { None });
        let host = of_driver(steps, |step| if let Step::Host(step) = *step { Some(step) } else { None });
        let dataplane = of_driver(steps, |step| if let Step::Dataplane(step) = *step { Some(step) } else { None });
        self.apply_each(advert, host, dataplane).await
    }

    async fn apply_each(
        &mut self,
        advert: Vec<AdvertStep>,
        host: Vec<HostStep>,
        dataplane: Vec<DataplaneStep>,
    ) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        if !advert.is_empty() {
            verdicts.append(&mut complete(self.advertiser.apply(&advert).await, advert.len()));
        }
        if !host.is_empty() {
            verdicts.append(&mut complete(self.host.apply(&host).await, host.len()));
        }
        if !dataplane.is_empty() {
            verdicts.append(&mut complete(self.dataplane.apply(&dataplane).await, dataplane.len()));
        }
        verdicts
    }
}

/// One driver's steps. There is room for all at once: they are either all its own or none is.
fn of_driver<T>(steps: &[Step], own: impl Fn(&Step) -> Option<T>) -> Vec<T> {
    let room = steps.first().and_then(&own).map_or(0, |_| steps.len());
    let mut found = Vec::with_capacity(room);
    found.extend(steps.iter().filter_map(own));
    found
}

/// A step without a verdict may or may not have been taken.
fn complete(mut verdicts: Vec<Verdict>, steps: usize) -> Vec<Verdict> {
    verdicts.resize_with(steps, || Verdict::Retry("the driver gave no verdict".into()));
    verdicts
}

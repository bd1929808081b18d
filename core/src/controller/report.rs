// SPDX-License-Identifier: Apache-2.0
//! Says how load-balancers are doing: what was last observed beside what is desired, with the reasons for the difference.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use super::{
    Controller, World,
    converge::{Failed, Failures},
};
use crate::{
    model::{BackendSettings, LoadBalancer, MarkRule, Phase, ServiceSettings, Target, Time, Vip, VirtualService},
    observed::{Listed, ServiceView},
    plan::Scope,
    ports::Advertiser,
    status::{Finding, Report, VipReport},
    step::{DataplaneStep, HostStep, Step},
};

impl<W: World> Controller<W> {
    /// Posts how everything in the scope is doing, now that it has been brought as far as it goes to what was planned for that time.
    pub(super) fn report(&self, scope: &Scope, failed: &Failures, time: Time) {
        let now = self.board.journal().now();
        for load_balancer in self.in_scope(scope) {
            // That it goes is no failure; it is gone in a moment.
            if load_balancer.phase != Phase::Deleting || is_kept(load_balancer, failed) {
                self.board.report_at(now, load_balancer.id, self.report_on(load_balancer, failed, time));
            }
        }
    }

    fn report_on(&self, load_balancer: &LoadBalancer, failed: &Failures, time: Time) -> Report {
        let mut backends: Vec<_> = load_balancer.backends().iter().map(|backend| (backend.id, Ok(()))).collect();
        let on = |vip| {
            let failed = failed.get(&vip).map(Vec::as_slice).unwrap_or_default();
            let compared = self.compare(load_balancer, vip, time);
            for (backend, (_, found)) in load_balancer.backends().iter().zip(&mut backends) {
                if found.is_ok() && backend.serves(vip) {
                    *found = compared.backend(backend.target, failed);
                }
            }
            let programmed = self.programmed(load_balancer, &compared, failed);
            VipReport { vip, advertised: self.advertised(load_balancer, vip, &programmed, failed), programmed }
        };
        Report { vips: load_balancer.vips.into_iter().map(on).collect(), backends }
    }

    fn compare(&self, load_balancer: &LoadBalancer, vip: Vip, time: Time) -> Compared<'_> {
        let service = load_balancer.virtual_service(vip);
        let found = self.observed.services.get(&service.key());
        let settings = found.and_then(|found| found.settings);
        let is_up = |found: &&ServiceView| found.backends.are_of(load_balancer, vip) && !load_balancer.has_failures();
        let backends = if found.filter(is_up).is_some() {
            Compare::Alike
        } else {
            let listed = found.map(|found| found.backends.listed()).unwrap_or_default();
            Compare::Each { listed, planned: load_balancer.programmed(vip, time).backends.into_iter().collect() }
        };
        Compared { service, settings, backends }
    }

    fn programmed(&self, load_balancer: &LoadBalancer, compared: &Compared<'_>, failed: &[Failed]) -> Finding {
        let service = compared.service;
        let vip = service.vip();
        let asked = Some(self.observed.asked_of(load_balancer, vip));
        let fallback = load_balancer.fallback().filter(|fallback| fallback.serves(vip));
        let lacking = fallback.map(|fallback| fallback.target).filter(|it| !compared.is_as_planned(*it));
        if load_balancer.phase == Phase::Deleting {
            Err(why(failed, |step| is_of_removal(step, service), "it is being deleted"))
        } else if self.observed.needs_answers(load_balancer) && !self.observed.has_answers(vip.family()) {
            let is_about_it = |step: &Step| matches!(step, Step::Host(HostStep::CatchAnswers(_)));
            Err(why(failed, is_about_it, "answers to its clients do not come back to this host"))
        } else if compared.settings != asked {
            Err(why(failed, |step| is_of_service(step, service), "the kernel has no such service"))
        } else if !load_balancer.mark_rules(vip).all(|rule| self.has_mark(&rule)) {
            Err(why(failed, |step| matches!(step, Step::Host(HostStep::Mark(_))), "its ports are not marked"))
        } else if !self.observed.host.bound.contains(&vip) {
            Err(why(failed, |step| !matches!(step, Step::Dataplane(_)), "its VIP is not bound"))
        } else if let Some(fallback) = lacking {
            Err(why(failed, |step| is_of_target(step, service, fallback), "the kernel does not have the fallback"))
        } else {
            Ok(())
        }
    }

    fn has_mark(&self, rule: &MarkRule) -> bool {
        self.observed.host.marks.get(&rule.vip).is_some_and(|rules| rules.contains(rule))
    }

    fn advertised(&self, load_balancer: &LoadBalancer, vip: Vip, programmed: &Finding, failed: &[Failed]) -> Finding {
        if !self.drivers.advertiser.announces() {
            return Err("this server announces no VIPs".into());
        }
        if self.observed.advertised.contains(&vip) {
            return Ok(());
        }
        if load_balancer.phase == Phase::Deleting {
            return Err("it is being deleted".into());
        }
        if !self.state.on(vip).any(|each| each.is_to_be_told(vip)) {
            return Err("no backend takes connections".into());
        }
        programmed.clone().map_err(|_| Arc::from("it is not programmed"))?;
        Err(why(failed, |step| !matches!(step, Step::Dataplane(_)), "it waits for another load-balancer on its VIP"))
    }
}

/// What the kernel has of a load-balancer on one of its VIPs, beside what it is to have.
struct Compared<'a> {
    service: VirtualService,
    /// `None` also without a service.
    settings: Option<ServiceSettings>,
    backends: Compare<'a>,
}

/// Of backends.
enum Compare<'a> {
    /// All are up, and there.
    Alike,
    Each {
        listed: Cow<'a, Listed>,
        planned: BTreeMap<Target, BackendSettings>,
    },
}

impl Compared<'_> {
    fn is_as_planned(&self, target: Target) -> bool {
        match &self.backends {
            Compare::Alike => true,
            Compare::Each { listed, planned } => {
                listed.get(&target).copied() == planned.get(&target).copied().map(Some)
            }
        }
    }

    fn backend(&self, target: Target, failed: &[Failed]) -> Finding {
        if !self.is_as_planned(target) {
            return Err(why(failed, |step| is_of_target(step, self.service, target), "the kernel does not have it"));
        }
        match &self.backends {
            Compare::Each { planned, .. } if !planned.contains_key(&target) => {
                Err("it failed its checks, and was removed".into())
            }
            Compare::Alike | Compare::Each { .. } => Ok(()),
        }
    }
}

/// Whether something of it may still be there for one of these reasons.
pub(super) fn is_kept(load_balancer: &LoadBalancer, failed: &Failures) -> bool {
    load_balancer
        .all_services()
        .any(|service| failed.get(&service.vip()).into_iter().flatten().any(|why| why.keeps(service)))
}

fn is_of_service(step: &Step, service: VirtualService) -> bool {
    match step {
        Step::Dataplane(step @ (DataplaneStep::AddService(..) | DataplaneStep::SetService(..))) => {
            step.service() == service
        }
        Step::Dataplane(_) | Step::Advert(_) | Step::Host(_) => false,
    }
}

fn is_of_target(step: &Step, service: VirtualService, target: Target) -> bool {
    match step {
        Step::Dataplane(step) => step.service() == service && step.target() == Some(target),
        Step::Advert(_) | Step::Host(_) => false,
    }
}

fn is_of_removal(step: &Step, service: VirtualService) -> bool {
    match step {
        Step::Dataplane(step) => step.service() == service,
        Step::Advert(_) | Step::Host(_) => true,
    }
}

/// The first failure that is about it, else what is known without one.
fn why(failed: &[Failed], is_about_it: impl Fn(&Step) -> bool, otherwise: &str) -> Arc<str> {
    let culprit = failed.iter().find(|failed| match failed {
        Failed::Step { step, .. } => is_about_it(step),
        Failed::Untried { step, .. } => is_about_it(&Step::Dataplane(*step)),
        Failed::Erase(_) | Failed::Observe(_) => true,
    });
    culprit.map_or_else(|| otherwise.into(), |failed| failed.describe().into())
}

// SPDX-License-Identifier: Apache-2.0
//! Says how load-balancers are doing: what was last observed beside what is desired, with the reasons for the difference.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Controller, World,
    converge::{Failed, Failures},
};
use crate::{
    model::{LoadBalancer, MarkRule, Phase, Target, Time, VirtualService},
    plan::Scope,
    status::{Finding, Report},
    step::{DataplaneStep, HostStep, Step},
};

impl<W: World> Controller<W> {
    /// Posts how everything in the scope is doing, now that it has been brought as far as it goes to what was planned for that time.
    pub(super) fn report(&self, scope: &Scope, failed: &Failures, time: Time) {
        let post = |load_balancer: &Arc<LoadBalancer>| {
            let vip = load_balancer.endpoint.vip;
            let failed = failed.get(&vip).map(Vec::as_slice).unwrap_or_default();
            let stays = || failed.iter().any(|why| why.keeps(load_balancer.virtual_service(vip)));
            // That it goes is no failure; it is gone in a moment.
            if load_balancer.phase == Phase::Deleting && !stays() {
                return;
            }
            self.board.report(load_balancer.id, self.report_on(load_balancer, failed, time));
        };
        match scope {
            Scope::All => self.state.load_balancers().for_each(post),
            Scope::Vips(vips) => vips.iter().flat_map(|vip| self.state.on(*vip)).for_each(post),
        }
    }

    fn report_on(&self, load_balancer: &LoadBalancer, failed: &[Failed], time: Time) -> Report {
        let vip = load_balancer.endpoint.vip;
        let service = load_balancer.virtual_service(vip);
        let view = self.observed.services.get(&service.key());
        let as_asked = view.is_some_and(|view| view.settings == Some(load_balancer.service));
        let none = BTreeMap::new();
        let observed = view.map_or(&none, |view| &view.backends);
        let programmed_backends: BTreeMap<_, _> = load_balancer.programmed(time).backends.into_iter().collect();
        let is_as_planned =
            |target: Target| observed.get(&target).copied() == programmed_backends.get(&target).copied().map(Some);
        let lacking = load_balancer.fallback.as_ref().map(|fallback| fallback.target).filter(|it| !is_as_planned(*it));
        let programmed = if load_balancer.phase == Phase::Deleting {
            Err(why(failed, |step| is_of_removal(step, service), "it is being deleted"))
        } else if !as_asked {
            Err(why(failed, |step| is_of_service(step, service), "the kernel has no such service"))
        } else if !load_balancer.mark_rules(vip).all(|rule| self.has_mark(&rule)) {
            Err(why(failed, |step| matches!(step, Step::Host(HostStep::Mark(_))), "its ports are not marked"))
        } else if !self.observed.host.bound.contains(&vip) {
            Err(why(failed, |step| !matches!(step, Step::Dataplane(_)), "its VIP is not bound"))
        } else if let Some(fallback) = lacking {
            Err(why(failed, |step| is_of_target(step, service, fallback), "the kernel does not have the fallback"))
        } else {
            Ok(())
        };
        let backends = load_balancer.backends().iter().map(|backend| {
            let found = match programmed_backends.get(&backend.target) {
                _ if !is_as_planned(backend.target) => {
                    Err(why(failed, |step| is_of_target(step, service, backend.target), "the kernel does not have it"))
                }
                Some(_) => Ok(()),
                None => Err("it failed its checks, and was removed".into()),
            };
            (backend.id, found)
        });
        Report {
            backends: backends.collect(),
            advertised: self.advertised(load_balancer, &programmed, failed),
            programmed,
        }
    }

    fn has_mark(&self, rule: &MarkRule) -> bool {
        self.observed.host.marks.get(&rule.vip).is_some_and(|rules| rules.contains(rule))
    }

    fn advertised(&self, load_balancer: &LoadBalancer, programmed: &Finding, failed: &[Failed]) -> Finding {
        let vip = load_balancer.endpoint.vip;
        if self.observed.advertised.contains(&vip) {
            return Ok(());
        }
        if load_balancer.phase == Phase::Deleting {
            return Err("it is being deleted".into());
        }
        if !self.state.on(vip).any(|each| each.is_to_be_told()) {
            return Err("no backend takes connections".into());
        }
        programmed.clone().map_err(|_| Arc::from("it is not programmed"))?;
        Err(why(failed, |step| !matches!(step, Step::Dataplane(_)), "it waits for another load-balancer on its VIP"))
    }
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
        Failed::Erase(_) | Failed::Observe(_) => true,
    });
    culprit.map_or_else(|| otherwise.into(), |failed| failed.describe().into())
}

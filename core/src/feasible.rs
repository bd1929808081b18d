// SPDX-License-Identifier: Apache-2.0
//! What of a plan the data plane can carry out. What it never can is not tried, nor what is of no use without it. Pure.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::{
    model::{ServiceKey, VirtualService},
    plan::Plan,
    ports::Unserved,
    step::{DataplaneStep, HostStep, Step},
};

/// A plan, in two.
#[derive(Debug, Default)]
pub struct Feasible {
    /// What can be carried out, in the order of the whole.
    pub plan: Plan,
    /// What cannot, with why. Backends of a service that cannot be there have the service's reason; its marks are not mentioned.
    pub untried: Vec<(DataplaneStep, Unserved)>,
}

impl Feasible {
    /// Of the plan, by what the data plane says of its steps.
    pub fn of(plan: Plan, unserved: impl Fn(&DataplaneStep) -> Option<Unserved>) -> Self {
        let missing: BTreeMap<ServiceKey, Unserved> =
            plan.values().flatten().filter_map(|step| missing(step, &unserved)).collect();
        let (mut plan, mut untried) = (plan, Vec::new());
        for steps in plan.values_mut() {
            steps.retain(|step| {
                let without = service_needed(step).and_then(|service| missing.get(&service.key()).cloned());
                match step {
                    Step::Dataplane(of_dataplane) => match without.or_else(|| unserved(of_dataplane)) {
                        Some(why) => {
                            untried.push((*of_dataplane, why));
                            false
                        }
                        None => true,
                    },
                    Step::Host(_) | Step::Advert(_) => without.is_none(),
                }
            });
        }
        plan.retain(|_, steps| !steps.is_empty());
        Self { plan, untried }
    }
}

/// The service that is not there and cannot be.
fn missing(step: &Step, unserved: impl Fn(&DataplaneStep) -> Option<Unserved>) -> Option<(ServiceKey, Unserved)> {
    match step {
        Step::Dataplane(step @ DataplaneStep::AddService(service, _)) => Some((service.key(), unserved(step)?)),
        Step::Dataplane(_) | Step::Host(_) | Step::Advert(_) => None,
    }
}

/// The service without which the step is of no use.
fn service_needed(step: &Step) -> Option<VirtualService> {
    match *step {
        Step::Dataplane(DataplaneStep::AddBackend(service, ..) | DataplaneStep::SetBackend(service, ..)) => {
            Some(service)
        }
        Step::Host(HostStep::Mark(rule)) => Some(VirtualService::Mark(rule.vip, rule.mark)),
        Step::Dataplane(
            DataplaneStep::AddService(..)
            | DataplaneStep::SetService(..)
            | DataplaneStep::RemoveService(_)
            | DataplaneStep::RemoveBackend(..),
        )
        | Step::Host(
            HostStep::Bind(_)
            | HostStep::Unbind(_)
            | HostStep::EnableSourceNat(..)
            | HostStep::DisableSourceNat(_)
            | HostStep::CatchAnswers(_)
            | HostStep::ReleaseAnswers(_)
            | HostStep::Unmark(_),
        )
        | Step::Advert(_) => None,
    }
}

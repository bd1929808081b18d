// SPDX-License-Identifier: Apache-2.0
//! The laws of what is tried, over arbitrary plans and arbitrary data planes.

use proptest::prelude::*;

use super::*;
use crate::model::{BackendSettings, Endpoint, Mark, MarkRule, Port, Protocol, ServiceSettings, Target, Vip};

fn vip() -> Vip {
    "192.168.0.85".parse().unwrap()
}

fn services() -> impl Strategy<Value = VirtualService> {
    let endpoint = |port: i64| Endpoint::tcp(vip(), Port::try_from(port).unwrap()).into();
    let marked = |nth| VirtualService::Mark(vip(), Mark::all().nth(nth).unwrap());
    prop_oneof![(1_i64..4).prop_map(endpoint), (0_usize..2).prop_map(marked)]
}

fn steps() -> impl Strategy<Value = Step> {
    (services(), 0_u8..8, 1_u8..3).prop_map(|(service, kind, last)| {
        let target = Target { ip: std::net::Ipv4Addr::new(10, 0, 0, last).try_into().unwrap(), port: None };
        let step = match (kind, service) {
            (0 | 1, _) => DataplaneStep::AddService(service, ServiceSettings::default()),
            (2, _) => DataplaneStep::SetService(service, ServiceSettings::default()),
            (3, _) => DataplaneStep::RemoveService(service),
            (4, _) => DataplaneStep::SetBackend(service, target, BackendSettings::default()),
            (5, _) => DataplaneStep::RemoveBackend(service, target),
            (6, VirtualService::Mark(vip, mark)) => {
                let rule = MarkRule { vip, protocol: Protocol::Tcp, ports: Port::HIGHEST.into(), mark };
                return Step::Host(HostStep::Mark(rule));
            }
            (7, _) => return Step::Host(HostStep::Bind(vip())),
            _ => DataplaneStep::AddBackend(service, target, BackendSettings::default()),
        };
        Step::Dataplane(step)
    })
}

fn plans() -> impl Strategy<Value = Plan> {
    prop::collection::vec(steps(), 0..12).prop_map(|steps| {
        let mut plan = Plan::new();
        for step in steps {
            let of_stage: &mut Vec<Step> = plan.entry(step.stage()).or_default();
            if !of_stage.contains(&step) {
                of_stage.push(step);
            }
        }
        plan
    })
}

fn all(plan: &Plan) -> Vec<Step> {
    plan.values().flatten().copied().collect()
}

proptest! {
    #[test]
    fn what_can_be_done_is_tried_and_nothing_else((plan, cannot) in plans().prop_flat_map(|plan| {
        let steps = all(&plan);
        let many = steps.len();
        (Just(plan), prop::sample::subsequence(steps, 0..=many))
    })) {
        let says = |step: &DataplaneStep| {
            cannot.contains(&Step::Dataplane(*step)).then(|| Unserved(step.to_string()))
        };
        let Feasible { plan: possible, untried } = Feasible::of(plan.clone(), says);
        let is_missing = |service: VirtualService, steps: &[Step]| steps.iter().any(|step| matches!(
            step, Step::Dataplane(DataplaneStep::AddService(added, _)) if *added == service
        ));
        let (tried, skipped): (Vec<Step>, Vec<Step>) = (all(&possible), untried.iter().map(|(step, _)| Step::Dataplane(*step)).collect());

        let is_idle = |step: &Step| matches!(step, Step::Host(HostStep::Mark(_)))
            && service_needed(step).is_some_and(|service| is_missing(service, &skipped));
        let rest = all(&plan).into_iter().filter(|step| !skipped.contains(step) && !is_idle(step));
        let rest: Vec<Step> = rest.collect();
        prop_assert_eq!(&tried, &rest, "each is in one of both, in the same order");
        prop_assert!(possible.values().all(|steps| !steps.is_empty()));
        for step in &tried {
            prop_assert!(!matches!(step, Step::Dataplane(step) if says(step).is_some()), "{}", step);
            prop_assert!(service_needed(step).is_none_or(|service| !is_missing(service, &skipped)), "{}", step);
        }
        for (step, why) in &untried {
            let itself = says(step).is_some();
            let service = service_needed(&Step::Dataplane(*step)).filter(|service| is_missing(*service, &skipped));
            prop_assert!(itself || service.is_some(), "{}", step);
            let of_service = service.map(|service| DataplaneStep::AddService(service, ServiceSettings::default()).to_string());
            prop_assert!(of_service.is_none_or(|of_service| why.0 == of_service), "{}: {}", step, why);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The laws of the plan, over arbitrary desired states and arbitrary kernels.

use std::{net::Ipv4Addr, sync::Arc};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::model::{
    Advertise, Backend, BackendId, Encapsulation, Endpoint, Forwarding, LoadBalancerId, Mark, Marked, Name, Port,
    Ports, Protocol, Scheduler, ServiceKey, ServiceSettings, Thresholds, Weight,
};

fn vip(last: u8) -> Vip {
    Vip::try_from(Ipv4Addr::new(192, 168, 0, last)).unwrap()
}

fn vips() -> impl Strategy<Value = Vip> {
    (1_u8..6).prop_map(vip)
}

fn endpoints() -> impl Strategy<Value = Endpoint> {
    let protocol = prop::sample::select(Protocol::ALL.to_vec());
    (vips(), 1_i64..4, protocol).prop_map(|(vip, port, protocol)| Endpoint {
        vip,
        port: Port::try_from(port).unwrap(),
        protocol,
    })
}

fn targets() -> impl Strategy<Value = Target> {
    (1_u8..5).prop_map(|last| Target {
        ip: Ipv4Addr::new(10, 0, 0, last).try_into().unwrap(),
        port: Some(Port::try_from(80).unwrap()),
    })
}

fn settings() -> impl Strategy<Value = BackendSettings> {
    let forwarding = prop::sample::select(vec![
        Forwarding::Masquerade,
        Forwarding::Local,
        Forwarding::DirectRoute,
        Forwarding::Tunnel(Encapsulation::Ipip),
        Forwarding::Tunnel(Encapsulation::Gue(Port::HIGHEST)),
    ]);
    (forwarding, 0_u16..3, 0_u32..2).prop_map(|(forwarding, weight, upper)| BackendSettings {
        forwarding,
        weight: Weight::from(weight),
        thresholds: Thresholds::new(upper, 0).unwrap(),
    })
}

fn services() -> impl Strategy<Value = ServiceSettings> {
    let scheduler = prop::sample::select(vec![Scheduler::Rr, Scheduler::Mh]);
    let settings = |(scheduler, one_packet)| ServiceSettings { scheduler, one_packet, ..ServiceSettings::default() };
    (scheduler, any::<bool>()).prop_map(settings)
}

/// The port, and another one far from all that others have.
fn marked(port: Port, serial: u64) -> Box<Marked> {
    let other = Port::try_from(1000 + i64::try_from(serial).unwrap()).unwrap();
    let mark = Mark::all().nth(serial.try_into().unwrap()).unwrap();
    Box::new(Marked { ports: Ports::new([port.into(), other.into()]).unwrap(), mark })
}

/// What slb may have marked before.
fn marks() -> impl Strategy<Value = BTreeMap<Vip, BTreeSet<MarkRule>>> {
    let rule = (endpoints(), 0_u64..4).prop_map(|(Endpoint { vip, port, protocol }, serial)| {
        let Marked { mark, .. } = *marked(port, serial);
        MarkRule { vip, protocol, ports: port.into(), mark }
    });
    prop::collection::vec(rule, 0..6).prop_map(|rules| {
        let mut by_vip: BTreeMap<Vip, BTreeSet<MarkRule>> = BTreeMap::new();
        for rule in rules {
            by_vip.entry(rule.vip).or_default().insert(rule);
        }
        by_vip
    })
}

fn source_nats() -> impl Strategy<Value = SourceNat> {
    prop::sample::select(SourceNat::ALL.to_vec())
}

fn states() -> impl Strategy<Value = State> {
    let backends = prop::collection::btree_map(targets(), settings(), 0..4);
    prop::collection::btree_map(
        endpoints(),
        (any::<bool>(), (any::<bool>(), source_nats(), any::<bool>()), services(), backends),
        0..8,
    )
    .prop_map(|all| {
        let load_balancers = all.into_iter().zip(1_u64..).map(
            |((endpoint, (active, (always, source_nat, several), service, backends)), serial)| LoadBalancer {
                id: LoadBalancerId(Uuid::from_u128(serial.into())),
                serial,
                name: Name::try_from(String::new()).unwrap(),
                vips: endpoint.vip.into(),
                port: endpoint.port,
                protocol: endpoint.protocol,
                marked: several.then(|| marked(endpoint.port, serial)),
                backends: Some(
                    backends
                        .into_iter()
                        .zip(0_u128..)
                        .map(|((target, settings), id)| Backend::new(BackendId(Uuid::from_u128(id)), target, settings))
                        .collect(),
                ),
                phase: if active { Phase::Active } else { Phase::Deleting },
                advertise: if always { Advertise::Always } else { Advertise::WithBackends },
                source_nat,
                service,
                check: None,
                extras: None,
                origin: crate::model::Origin::default(),
            },
        );
        State::restore(load_balancers.map(Arc::new).collect(), 0).unwrap()
    })
}

fn kernels() -> impl Strategy<Value = Observed> {
    let set = || prop::collection::btree_set(vips(), 0..6);
    let backends = prop::collection::btree_map(targets(), prop::option::of(settings()), 0..4);
    let service = (prop::option::of(services()), backends)
        .prop_map(|(settings, backends)| ServiceView { settings, backends: backends.into() });
    let marked = (any::<bool>(), 0_usize..4).prop_map(|(six, nth)| {
        let family = if six { Family::Ipv6 } else { Family::Ipv4 };
        ServiceKey::Mark(family, Mark::all().nth(nth).unwrap())
    });
    let keys = prop_oneof![3 => endpoints().prop_map(ServiceKey::from), 1 => marked];
    let services = prop::collection::btree_map(keys, service, 0..8);
    let choices = prop::sample::select(SourceNat::ALL[..2].to_vec());
    let source_nat = prop::collection::btree_map(vips(), choices, 0..6);
    let extents = prop::sample::select(vec![Extent::Part, Extent::Whole]);
    let families = prop::sample::select(vec![Family::Ipv4, Family::Ipv6]);
    let answers = prop::collection::btree_map(families, extents, 0..3);
    (set(), (source_nat, marks()), answers, set(), services).prop_map(
        |(bound, (source_nat, marks), answers, advertised, services)| {
            let host = HostView { bound, source_nat, answers, marks, ..HostView::default() };
            Observed { host, services, advertised }
        },
    )
}

fn relaying(kernel: Observed) -> Observed {
    Observed { host: HostView { is_relaying: true, ..kernel.host }, ..kernel }
}

/// The families in which some backend answers to clients' own addresses.
fn answered(state: &State) -> BTreeSet<Family> {
    let active = state.load_balancers().filter(|each| each.phase == Phase::Active);
    let shown = active.filter(|each| each.source_nat == SourceNat::Never);
    shown.flat_map(|each| each.vips).map(|vip| vip.family()).collect()
}

fn carried_out(plan: &Plan, mut kernel: Observed) -> Observed {
    plan.values().flatten().for_each(|step| kernel.note(step));
    kernel
}

proptest! {
    /// Carrying out the plan leaves nothing to do.
    #[test]
    fn converges_in_one_pass(state in states(), kernel in kernels()) {
        let first = plan(&state, &kernel, &Scope::All, Time::FIRST);
        let kernel = carried_out(&first, kernel);
        prop_assert_eq!(plan(&state, &kernel, &Scope::All, Time::FIRST), Plan::new());
    }

    /// No step names a service or an address that slb does not answer for; what is foreign stays as it was.
    #[test]
    fn foreign_things_are_untouched(state in states(), kernel in kernels()) {
        let after = carried_out(&plan(&state, &kernel, &Scope::All, Time::FIRST), kernel.clone());
        let own: BTreeSet<ServiceKey> =
            state.load_balancers().flat_map(|each| each.virtual_services()).map(|service| service.key()).collect();
        for (key, service) in kernel.services.iter().filter(|(key, _)| !own.contains(key)) {
            prop_assert_eq!(after.services.get(key), Some(service));
        }
        for vip in kernel.host.bound.iter().filter(|vip| !state.holds(**vip)) {
            prop_assert!(after.host.bound.contains(vip));
        }
    }

    /// The load-balancer on a VIP that has most connections translated decides for all of them.
    #[test]
    fn translated_as_the_one_that_translates_most_wants(state in states(), kernel in kernels()) {
        let kernel = carried_out(&plan(&state, &kernel, &Scope::All, Time::FIRST), kernel);
        for number in 1..6 {
            let on_it = state.on(vip(number)).filter(|each| each.phase == Phase::Active);
            let masqueraded = |each: &LoadBalancer| each.backends().iter().any(|backend| backend.settings().forwarding == Forwarding::Masquerade);
            let wanted = on_it.filter(|each| masqueraded(each)).map(|each| each.source_nat).max().unwrap_or(SourceNat::Never);
            let found = kernel.host.source_nat.get(&vip(number)).copied().unwrap_or(SourceNat::Never);
            prop_assert_eq!(found, wanted);
        }
    }

    /// Where connections end on the host, the data plane is asked whose address backends are to see, and there is no rule.
    #[test]
    fn who_relays_is_asked_whose_address_to_show(state in states(), kernel in kernels()) {
        let kernel = relaying(kernel);
        let kernel = carried_out(&plan(&state, &kernel, &Scope::All, Time::FIRST), kernel);
        prop_assert!(kernel.host.source_nat.is_empty());
        for load_balancer in state.load_balancers().filter(|each| each.phase == Phase::Active) {
            for service in load_balancer.virtual_services() {
                let settings = kernel.services[&service.key()].settings.unwrap();
                prop_assert_eq!(settings.source_nat, Some(load_balancer.source_nat));
            }
        }
        prop_assert_eq!(plan(&state, &kernel, &Scope::All, Time::FIRST), Plan::new());
    }

    /// Answers to clients' own addresses are brought back as long as somebody relays and somebody needs it, whatever was there.
    #[test]
    fn answers_come_back_where_somebody_needs_them(state in states(), kernel in kernels(), relays in any::<bool>()) {
        let kernel = if relays { relaying(kernel) } else { kernel };
        let after = carried_out(&plan(&state, &kernel, &Scope::All, Time::FIRST), kernel);
        let needed = if relays { answered(&state) } else { BTreeSet::new() };
        for family in needed.iter().copied().chain(state.vips().map(|vip| vip.family())) {
            let expected = needed.contains(&family).then_some(Extent::Whole);
            prop_assert_eq!(after.host.answers.get(&family).copied(), expected);
        }
    }

    /// Nobody is shown clients whose answers go astray, at no moment of the way there and back.
    #[test]
    fn answers_come_back_before_the_first_and_until_the_last(state in states()) {
        let mut kernel = relaying(Observed::default());
        let mut going = state.clone();
        let ids: Vec<LoadBalancerId> = state.load_balancers().map(|each| each.id).collect();
        ids.iter().for_each(|id| drop(going.mark_deleting(*id).unwrap()));
        for state in [state, going] {
            for step in plan(&state, &kernel, &Scope::All, Time::FIRST).values().flatten() {
                kernel.note(step);
                let mut services = kernel.services.iter();
                let is_shown = |service: &ServiceView| service.settings.unwrap().source_nat == Some(SourceNat::Never);
                prop_assert!(services.all(|(_, service)| !is_shown(service) || kernel.has_answers(Family::Ipv4)));
            }
        }
        prop_assert_eq!(kernel, relaying(Observed::default()));
    }

    /// A VIP that is advertised is bound, and its services are programmed, at every moment of the plan.
    #[test]
    fn never_advertised_without_a_service(state in states()) {
        let mut kernel = Observed::default();
        for step in plan(&state, &kernel, &Scope::All, Time::FIRST).values().flatten() {
            kernel.note(step);
            for vip in &kernel.advertised {
                prop_assert!(kernel.host.bound.contains(vip));
            }
            for vip in &kernel.host.bound {
                let mut active = state.on(*vip).filter(|each| each.phase == Phase::Active);
                prop_assert!(active.all(|each| kernel.services.contains_key(&each.virtual_service(*vip).key())));
            }
        }
    }

    /// Who reaches a VIP never reaches a new backend of it without source NAT.
    #[test]
    fn translated_before_clients_get_there(state in states(), kernel in kernels()) {
        let expected = carried_out(&plan(&state, &kernel, &Scope::All, Time::FIRST), kernel.clone()).host.source_nat;
        let mut kernel = kernel;
        for step in plan(&state, &kernel, &Scope::All, Time::FIRST).values().flatten() {
            kernel.note(step);
            let vip = step.vip();
            let adds = matches!(step, Step::Dataplane(DataplaneStep::AddService(..) | DataplaneStep::AddBackend(..)));
            if (adds && kernel.host.bound.contains(&vip)) || *step == Step::Host(HostStep::Bind(vip)) {
                prop_assert!(expected.get(&vip).is_none_or(|choice| kernel.host.source_nat.get(&vip) == Some(choice)), "{step}");
            }
        }
    }

    /// The network is told of a VIP if one of its load-balancers wants that, and is told nothing while it has no place to go.
    #[test]
    fn advertised_if_one_of_its_load_balancers_wants_that(state in states(), kernel in kernels()) {
        let first = plan(&state, &kernel, &Scope::All, Time::FIRST);
        let wants = |each: &std::sync::Arc<LoadBalancer>| {
            let has_place = each.backends().iter().any(|backend| backend.settings().weight.get() > 0);
            each.phase == Phase::Active && (each.advertise == Advertise::Always || has_place)
        };
        let expected: BTreeSet<Vip> = state.load_balancers().filter(|each| wants(each)).flat_map(|each| each.vips).collect();
        prop_assert_eq!(carried_out(&first, kernel).advertised, expected);
        let withdrawn = first.keys().position(|stage| *stage == Stage::Withdraw);
        prop_assert!(withdrawn.is_none_or(|position| position == 0), "the place goes first");
    }

    /// Taking away goes the other way round: never a bound VIP without its services.
    #[test]
    fn withdrawn_before_anything_else_goes(state in states()) {
        let mut kernel = carried_out(&plan(&state, &Observed::default(), &Scope::All, Time::FIRST), Observed::default());
        let mut going = state.clone();
        let ids: Vec<LoadBalancerId> = state.load_balancers().map(|each| each.id).collect();
        ids.iter().for_each(|id| drop(going.mark_deleting(*id).unwrap()));
        for step in plan(&going, &kernel, &Scope::All, Time::FIRST).values().flatten() {
            kernel.note(step);
            prop_assert!(kernel.advertised.is_subset(&kernel.host.bound));
            for vip in &kernel.host.bound {
                let mut active = state.on(*vip).filter(|each| each.phase == Phase::Active);
                prop_assert!(active.all(|each| kernel.services.contains_key(&each.virtual_service(*vip).key())));
            }
        }
        prop_assert_eq!(kernel, Observed::default());
    }

    /// What is held by its load-balancer is planned for as if it were listed, whatever changes of either.
    #[test]
    fn what_is_not_listed_is_there_all_the_same(before in states(), after in states(), kernel in kernels()) {
        let listed = carried_out(&plan(&before, &kernel, &Scope::All, Time::FIRST), kernel);
        let mut settled = listed.clone();
        for (key, service) in &mut settled.services {
            let Some((load_balancer, vip)) = before.behind(*key) else { continue };
            service.backends.settle(load_balancer, vip);
            prop_assert_eq!(service.backends.are_of(load_balancer, vip), load_balancer.phase == Phase::Active);
        }
        prop_assert_eq!(&settled, &listed);
        prop_assert_eq!(plan(&before, &settled, &Scope::All, Time::FIRST), Plan::new());
        let steps = plan(&after, &settled, &Scope::All, Time::FIRST);
        prop_assert_eq!(&steps, &plan(&after, &listed, &Scope::All, Time::FIRST));
        prop_assert_eq!(carried_out(&steps, settled), carried_out(&steps, listed));
    }

    /// Planning for VIPs one by one gives the same steps as planning for all at once.
    #[test]
    fn vips_are_independent(state in states(), kernel in kernels()) {
        let mut parts = Plan::new();
        for last in 1..6 {
            for (stage, mut steps) in plan(&state, &kernel, &Scope::Vips([vip(last)].into()), Time::FIRST) {
                parts.entry(stage).or_default().append(&mut steps);
            }
        }
        prop_assert_eq!(parts, plan(&state, &kernel, &Scope::All, Time::FIRST));
    }
}

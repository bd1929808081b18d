// SPDX-License-Identifier: Apache-2.0
//! What the controller acknowledges holds, wherever it is killed and whatever fails.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    through::{asking_for_vip, direct},
    *,
};
use crate::{
    command::WantedVips,
    model::{Encapsulation, Families, Forwarding},
};

/// What a client may do.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Create(u128, Advertise, bool),
    Delete(u128),
    Add(u128, u8),
    Weigh(u128, u8, u16),
    Remove(u128, u8),
    Replace(u128, Vec<u8>),
    Move(u128, i64),
    Drain(u128, Option<u8>),
    Undrain(u128, Option<u8>),
}

impl Act {
    pub(super) fn command(&self) -> Command {
        match *self {
            Self::Create(number, advertise, is_dual) => {
                let Command::Create(new) = create(number, None) else { panic!("no creation") };
                let families = is_dual.then_some(Families::Dual);
                let listen = if number % 2 == 0 { Listen::Ports(ports(80)) } else { new.listen };
                let vips = WantedVips::new(families, &[]).unwrap();
                Command::Create(NewLoadBalancer { advertise, listen, vips, ..new })
            }
            Self::Move(number, first) => {
                let change = LoadBalancerChange { ports: Some(ports(first)), ..LoadBalancerChange::default() };
                Command::Update(lb(number), change)
            }
            Self::Delete(number) => Command::Delete(lb(number)),
            Self::Add(number, which) => Command::AddBackends(lb(number), vec![member(which)]),
            Self::Weigh(number, which, weight) => {
                let weight = Some(Weight::from(weight));
                let change = BackendChange { weight, ..Default::default() };
                Command::UpdateBackend(lb(number), backend(which).id, change)
            }
            Self::Drain(number, which) => {
                Command::Drain(lb(number), which.map(|which| backend(which).id), DrainWish::default())
            }
            Self::Undrain(number, which) => Command::Undrain(lb(number), which.map(|which| backend(which).id)),
            Self::Remove(number, which) => Command::RemoveBackend(lb(number), backend(which).id),
            Self::Replace(number, ref all) => {
                Command::ReplaceBackends(lb(number), all.iter().copied().map(member).collect())
            }
        }
    }
}

/// Three of IPv4, one of IPv6, a tunnel, which serves both, and two that are asked for the VIP.
fn member(which: u8) -> Backend {
    match which {
        4 => Backend { target: Target { ip: "fd00:1::4".parse().unwrap(), port: Some(port(80)) }, ..backend(4) },
        5 => {
            let target = Target { port: Some(port(6443)), ..backend(5).target };
            let forwarding = Forwarding::Tunnel(Encapsulation::Ipip);
            Backend::new(backend(5).id, target, BackendSettings { forwarding, ..Default::default() })
        }
        6 | 7 => direct(which).with_check(Some(asking_for_vip())),
        _ => backend(which),
    }
}

/// Two ranges, of which the second is two ports long.
fn ports(first: i64) -> Ports {
    let range = PortRange::new(port(first + 2), port(first + 3)).unwrap();
    Ports::new([port(first).into(), range]).unwrap()
}

pub(super) fn act() -> impl Strategy<Value = Act> {
    let number = 1_u128..5;
    let advertise = prop_oneof![Just(Advertise::Always), Just(Advertise::WithBackends)];
    let create = (number.clone(), advertise, any::<bool>());
    prop_oneof![
        3 => create.prop_map(|(number, advertise, is_dual)| Act::Create(number, advertise, is_dual)),
        2 => number.clone().prop_map(Act::Delete),
        3 => (number.clone(), 1_u8..8).prop_map(|(number, which)| Act::Add(number, which)),
        1 => (number.clone(), 1_u8..8, 0_u16..3).prop_map(|(number, which, weight)| Act::Weigh(number, which, weight)),
        1 => (number.clone(), 1_u8..8).prop_map(|(number, which)| Act::Remove(number, which)),
        1 => (number.clone(), prop::option::of(1_u8..8)).prop_map(|(number, which)| Act::Drain(number, which)),
        1 => (number.clone(), prop::option::of(1_u8..8)).prop_map(|(number, which)| Act::Undrain(number, which)),
        1 => (number.clone(), 80_i64..84).prop_map(|(number, first)| Act::Move(number, first)),
        2 => (number, prop::collection::btree_set(1_u8..8, 0..4))
            .prop_map(|(number, all)| Act::Replace(number, all.into_iter().collect())),
    ]
}

/// Creations use an id once: the API makes a fresh one each time.
pub(super) fn once_each(acts: Vec<Vec<Act>>) -> Vec<Vec<Act>> {
    let mut seen = BTreeSet::new();
    let fresh = |act: &Act, seen: &mut BTreeSet<u128>| match act {
        Act::Create(number, ..) => seen.insert(*number),
        Act::Delete(_)
        | Act::Add(..)
        | Act::Weigh(..)
        | Act::Remove(..)
        | Act::Replace(..)
        | Act::Move(..)
        | Act::Drain(..)
        | Act::Undrain(..) => true,
    };
    acts.into_iter().map(|batch| batch.into_iter().filter(|act| fresh(act, &mut seen)).collect()).collect()
}

/// What a creation asks for: a last byte of its VIP, another one of IPv6 or not, a port, or several from there on, and backends.
pub(super) type Wanted = (Option<u8>, bool, (i64, bool), BTreeSet<u8>);

pub(super) fn wanted() -> impl Strategy<Value = Wanted> {
    let listen = (80_i64..82, any::<bool>());
    (prop::option::of(85_u8..88), any::<bool>(), listen, prop::collection::btree_set(1_u8..5, 0..3))
}

pub(super) fn create_as(number: u128, (last, is_dual, (at, alone), backends): &Wanted) -> Command {
    let name = Name::try_from(format!("lb {number}")).unwrap();
    let backends = Some(backends.iter().copied().map(member).collect());
    let named: Vec<Vip> = last.iter().copied().map(vip).collect();
    Command::Create(NewLoadBalancer {
        id: lb(number),
        name,
        listen: if *alone { port(*at).into() } else { Listen::Ports(ports(*at)) },
        protocol: Protocol::Tcp,
        vips: WantedVips::new(is_dual.then_some(Families::Dual), &named).unwrap(),
        backends,
        advertise: Advertise::default(),
        source_nat: crate::model::SourceNat::default(),
        service: ServiceSettings::default(),
        check: None,
        fallback: None,
    })
}

fn any_vip() -> impl Strategy<Value = Vip> {
    (85_u8..88, any::<bool>()).prop_map(|(last, is_ipv6)| if is_ipv6 { ipv6(last) } else { vip(last) })
}

/// A step that comes before a VIP is bound, or binds it.
pub(super) fn building() -> impl Strategy<Value = Step> {
    let of_either = |last, is_ipv6| if is_ipv6 { ipv6(last) } else { vip(last) };
    let endpoint = (85_u8..91, any::<bool>(), 80_i64..82)
        .prop_map(move |(last, is_ipv6, at)| Endpoint::tcp(of_either(last, is_ipv6), port(at)));
    let mark = Mark::all().next().unwrap();
    (endpoint, 0_u8..9).prop_map(move |(endpoint @ Endpoint { vip, protocol, .. }, which)| match which {
        7 => Step::Host(HostStep::Mark(MarkRule { vip, protocol, ports: endpoint.port.into(), mark })),
        8 => Step::Dataplane(DataplaneStep::AddService(VirtualService::Mark(vip, mark), ServiceSettings::default())),
        0 => Step::Host(HostStep::Bind(endpoint.vip)),
        1 => Step::Host(HostStep::EnableSourceNat(endpoint.vip, SourceNat::Always)),
        2 => Step::Dataplane(DataplaneStep::AddService(endpoint.into(), ServiceSettings::default())),
        _ => {
            let backend = member(which - 2);
            Step::Dataplane(DataplaneStep::AddBackend(endpoint.into(), backend.target, backend.settings()))
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A crash at any point: nothing acknowledged is lost, nothing leaks, and what was in doubt is whole or not at all.
    #[test]
    fn killed_anywhere(acts in prop::collection::vec(prop::collection::vec(act(), 1..4), 1..5), pool_takes in 0_usize..3) {
        let acts = once_each(acts);
        for fuse in 0.. {
            let sim = Sim::default();
            let mut acknowledged = BTreeMap::new();
            let mut doubtful = BTreeSet::new();
            sim.with(|remains| (remains.fuse, remains.pool_takes) = (Some(fuse), pool_takes));
            let mut crashed = true;
            if let Some(mut server) = Server::start(&sim) {
                crashed = false;
                for batch in &acts {
                    let (ended, answers) = server.ask_all(batch.iter().map(Act::command).collect());
                    crashed = ended.is_none();
                    for (act, answer) in batch.iter().zip(answers) {
                        let id = act.command().load_balancer();
                        match answer {
                            Some(Ok(_)) if !crashed => drop(acknowledged.insert(id, server.board.get(id))),
                            Some(Err(_)) => {}
                            Some(Ok(_)) | None => drop(doubtful.insert(id)),
                        }
                    }
                    if crashed {
                        break;
                    }
                    server.check();
                }
            }
            sim.with(|remains| remains.fuse = None);
            let server = Server::start(&sim).unwrap();
            server.check();
            for (id, expected) in acknowledged.iter().filter(|(id, _)| !doubtful.contains(id)) {
                prop_assert_eq!(&server.board.get(*id), expected);
            }
            if !crashed {
                break;
            }
        }
    }

    /// Whatever fails, each request is answered, and once the failures pass the kernel is as the board says.
    #[test]
    fn broken_anywhere(
        acts in prop::collection::vec(prop::collection::vec(act(), 1..4), 1..6),
        broken in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..4),
    ) {
        let acts = once_each(acts);
        let healthy = Sim::default();
        let mut server = Server::start(&healthy).unwrap();
        for batch in &acts {
            server.ask_all(batch.iter().map(Act::command).collect());
        }
        let steps = healthy.with(|remains| remains.log.clone());
        prop_assume!(!steps.is_empty());

        let sim = Sim::default();
        sim.with(|remains| remains.broken = broken.iter().map(|(which, may)| (*which.get(&steps), *may)).collect());
        let mut server = Server::start(&sim).unwrap();
        for batch in &acts {
            let (ended, answers) = server.ask_all(batch.iter().map(Act::command).collect());
            prop_assert!(ended.is_some());
            prop_assert!(answers.iter().all(Option::is_some));
        }
        sim.with(|remains| remains.broken.clear());
        server.pass(INTERVAL);
        server.check();
        let state = &server.controller.state;
        prop_assert!(plan(state, &server.controller.observed, &Scope::All, Time::FIRST).is_empty());
    }

    /// However long the network and the pool take, whoever has an address by then, and whatever fails and goes meanwhile: each is answered,
    /// and the pool holds what is shown.
    #[test]
    fn addresses_are_neither_lost_nor_given_twice(
        rounds in prop::collection::vec(prop::collection::vec((wanted(), prop::option::of(1_u128..8)), 1..5), 1..4),
        (takes, pool_takes) in (prop::collection::btree_map(any_vip(), 0_usize..4, 0..5), 0_usize..3),
        in_use in prop::collection::btree_set(any_vip(), 0..3),
        broken in prop::collection::vec((building(), any::<bool>()), 0..4),
    ) {
        let sim = Sim::default();
        sim.with(|remains| {
            (remains.broken, remains.probe_takes, remains.pool_takes) = (broken, takes, pool_takes);
            remains.neighbours.extend(in_use.into_iter().map(|vip| (vip, "02:00:00:00:00:99".to_owned())));
        });
        let mut server = Server::start(&sim).unwrap();
        let mut numbers = 1..;
        for round in &rounds {
            let commands = round.iter().zip(numbers.by_ref()).flat_map(|((wanted, gone), number)| {
                [Some(create_as(number, wanted)), gone.map(|gone| Command::Delete(lb(gone)))].into_iter().flatten()
            });
            let (ended, answers) = server.ask_all(commands.collect());
            prop_assert!(ended.is_some());
            for answer in &answers {
                prop_assert!(!matches!(answer, None | Some(Err(Failure::Foreign(_)))), "{:?}", answer);
            }
            server.check();
        }
    }

    /// The network hears nothing of what is undone: as long as nobody deletes, no VIP is taken back. One of two may be bound by the time that
    /// the other one cannot be; it has not been told of then.
    #[test]
    fn a_creation_that_fails_is_never_told(
        rounds in prop::collection::vec(prop::collection::vec(wanted(), 1..4), 1..5),
        broken in prop::collection::vec((building(), any::<bool>()), 0..6),
    ) {
        let sim = Sim::default();
        sim.with(|remains| remains.broken = broken);
        let mut server = Server::start(&sim).unwrap();
        let mut numbers = 1..;
        for round in &rounds {
            let creations = round.iter().zip(numbers.by_ref()).map(|(wanted, number)| create_as(number, wanted));
            let (ended, _) = server.ask_all(creations.collect());
            prop_assert!(ended.is_some());
            server.check();
        }
        let some_cannot_be_bound = sim.with(|remains| remains.broken.iter().any(|(step, _)| matches!(step, Step::Host(HostStep::Bind(_)))));
        let taken_back = |step: &&Step| match step {
            Step::Host(HostStep::Unbind(_)) => !some_cannot_be_bound,
            Step::Advert(AdvertStep::Withdraw(_)) => true,
            Step::Host(_) | Step::Advert(_) | Step::Dataplane(_) => false,
        };
        prop_assert_eq!(sim.with(|remains| remains.log.iter().find(taken_back).copied()), None);
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The laws of the desired state.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    command::{PartialTarget, ServiceChange, Unfit, WantedVips},
    model::{
        Advertise, BackendSettings, Encapsulation, Fallback, Forwarding, ForwardingKind, Name, Persistence,
        PersistenceTimeout, Ports, ProxyProtocol, Scheduler, SchedulerFlags, ServiceSettings, Target, Weight,
    },
};

fn vip(last: u8) -> Vip {
    Vip::try_from(Ipv4Addr::new(10, 0, 0, last)).unwrap()
}

fn port(number: i64) -> Port {
    Port::try_from(number).unwrap()
}

fn backend(which: u8, last: u8) -> Backend {
    let target = Target { ip: Ipv4Addr::new(10, 0, 0, last).try_into().unwrap(), port: Some(port(80)) };
    Backend::new(BackendId(Uuid::from_u128(which.into())), target, BackendSettings::default())
}

#[derive(Clone, Debug)]
enum Act {
    Create(u8, NewLoadBalancer),
    Apply(Command),
    Erase(LoadBalancerId),
}

/// Ports that get into each other's way.
fn ranges() -> impl Strategy<Value = Ports> {
    let range =
        (1_i64..12, 0_i64..3).prop_map(|(first, more)| PortRange::new(port(first), port(first + more)).unwrap());
    prop::collection::vec(range, 1..3).prop_map(|ranges| Ports::new(ranges).unwrap())
}

fn listens() -> impl Strategy<Value = Listen> {
    prop_oneof![(1_i64..12).prop_map(|number| port(number).into()), ranges().prop_map(Listen::Ports)]
}

fn acts() -> impl Strategy<Value = Act> {
    let id = || (0_u128..4).prop_map(|id| LoadBalancerId(Uuid::from_u128(id)));
    let backends = (0_u8..4, 1_u8..5).prop_map(|(which, last)| backend(which, last));
    let backend_id = || (0_u128..4).prop_map(|id| BackendId(Uuid::from_u128(id)));
    let fresh = any::<u128>().prop_map(|id| LoadBalancerId(Uuid::from_u128(id)));
    let new = (fresh, listens(), prop::collection::vec((0_u8..3, 1_u8..5), 0..3)).prop_map(|(id, listen, backends)| {
        let backends = backends.into_iter().map(|(which, last)| backend(which, last)).collect();
        let name = Name::try_from("x".to_owned()).unwrap();
        NewLoadBalancer {
            id,
            name,
            listen,
            protocol: Protocol::Tcp,
            vips: WantedVips::default(),
            advertise: Advertise::Always,
            source_nat: crate::model::SourceNat::default(),
            service: ServiceSettings::default(),
            check: None,
            fallback: None,
            backends: Some(backends),
        }
    });
    let new = new.boxed();
    let weigh =
        (id(), backend_id(), any::<u16>(), prop::option::of(79_i64..82)).prop_map(|(id, which, weight, number)| {
            let target = PartialTarget { ip: None, port: number.map(port) };
            let change = BackendChange { weight: Some(Weight::from(weight)), target, ..BackendChange::default() };
            Command::UpdateBackend(id, which, change)
        });
    let replaced = prop::collection::vec((0_u8..4, 1_u8..5), 0..4);
    let replaced = replaced.prop_map(|all| all.into_iter().map(|(which, last)| backend(which, last)).collect());
    prop_oneof![
        2 => (id(), replaced).prop_map(|(id, backends)| Act::Apply(Command::ReplaceBackends(id, backends))),
        3 => (1_u8..4, new.clone()).prop_map(|(last, new)| Act::Create(last, new)),
        2 => (1_u8..4, 0_u128..4, new).prop_map(|(last, id, new)| {
            Act::Create(last, NewLoadBalancer { id: LoadBalancerId(Uuid::from_u128(id)), ..new })
        }),
        2 => id().prop_map(|id| Act::Apply(Command::Delete(id))),
        3 => (id(), backends).prop_map(|(id, backend)| Act::Apply(Command::AddBackends(id, vec![backend]))),
        1 => (id(), backend_id()).prop_map(|(id, which)| Act::Apply(Command::RemoveBackend(id, which))),
        1 => weigh.prop_map(Act::Apply),
        2 => (id(), ranges()).prop_map(|(id, ports)| {
            Act::Apply(Command::Update(id, LoadBalancerChange { ports: Some(ports), ..LoadBalancerChange::default() }))
        }),
        1 => id().prop_map(Act::Erase),
    ]
}

/// The backends are those that were asked for, in that order; what was there before keeps its id.
fn check_replaced(wanted: &[Backend], change: &Change) {
    let [before, after] = [&change.before, &change.after].map(|side| side.as_ref().unwrap().backends());
    let asked = |backend: &Backend| (backend.target, backend.settings());
    assert!(after.iter().map(asked).eq(wanted.iter().map(asked)));
    for backend in after {
        let known = before.iter().find(|each| each.target == backend.target);
        assert!(known.is_none_or(|known| known.id == backend.id));
    }
}

proptest! {
    /// No port of a VIP and no mark has two load-balancers. A refused command leaves the state equal; a change that is undone leaves it equal but for the count of creations; what was
    /// written down is what is restored.
    #[test]
    fn refused_undone_and_restored(acts in prop::collection::vec(acts(), 1..24)) {
        let mut state = State::default();
        for act in acts {
            let before = state.clone();
            let change = match act {
                Act::Create(last, new) if state.get(new.id).is_none() => state.create(new, vip(last).into(), &BTreeSet::new()),
                Act::Create(..) => continue,
                Act::Apply(command) => {
                    let change = state.apply(&command, Time::FIRST);
                    if let (Command::ReplaceBackends(_, wanted), Ok(change)) = (&command, &change) {
                        check_replaced(wanted, change);
                    }
                    change
                }
                Act::Erase(id) => Ok(state.erase(id)),
            };
            let Ok(change) = change else {
                prop_assert_eq!(&state, &before);
                continue;
            };
            let mut undone = state.clone();
            undone.put(&change.inverse());
            prop_assert_eq!(undone.by_id, before.by_id);
            prop_assert_eq!(undone.by_ports, before.by_ports);
            let marks = || state.load_balancers().flat_map(|each| each.marks());
            prop_assert_eq!(marks().collect::<BTreeSet<Mark>>().len(), marks().count());
            let mut ports = BTreeSet::new();
            for load_balancer in state.load_balancers() {
                for vip in load_balancer.vips {
                    prop_assert_eq!(state.on(vip).filter(|each| each.id == load_balancer.id).count(), 1);
                    let mut all = load_balancer.ranges().into_iter().flat_map(|range| range.first().get()..=range.last().get());
                    prop_assert!(all.all(|port| ports.insert((vip, port))));
                }
                let mut targets: Vec<Target> = load_balancer.backends().iter().map(|each| each.target).collect();
                targets.sort_unstable();
                targets.dedup();
                prop_assert_eq!(targets.len(), load_balancer.backends().len());
            }
        }
        let records = state.load_balancers().cloned().collect();
        prop_assert_eq!(State::restore(records, state.last_serial()).unwrap(), state);
    }
}

#[test]
fn records_that_contradict_each_other_are_refused() {
    let record = |(id, number): (u128, i64)| LoadBalancer {
        id: LoadBalancerId(Uuid::from_u128(id)),
        serial: 1,
        name: Name::try_from(String::new()).unwrap(),
        vips: vip(1).into(),
        port: port(number),
        protocol: Protocol::Tcp,
        marked: None,
        backends: None,
        phase: Phase::Active,
        advertise: Advertise::Always,
        source_nat: crate::model::SourceNat::default(),
        service: ServiceSettings::default(),
        check: None,
        extras: None,
        origin: crate::model::Origin::default(),
    };
    let restore = |records: [_; 2]| State::restore(records.map(record).map(Arc::new).into(), 0);
    assert!(restore([(1, 80), (2, 81)]).is_ok());
    assert!(restore([(1, 80), (2, 80)]).is_err());
    assert!(restore([(1, 80), (1, 81)]).is_err());
}

/// One on port 80, for who minds nothing else.
pub fn new(protocol: Protocol, service: ServiceSettings, backends: Vec<Backend>) -> NewLoadBalancer {
    NewLoadBalancer {
        id: LoadBalancerId(Uuid::from_u128(1)),
        name: Name::try_from(String::new()).unwrap(),
        listen: port(80).into(),
        protocol,
        vips: WantedVips::default(),
        advertise: Advertise::Always,
        source_nat: crate::model::SourceNat::default(),
        service,
        check: None,
        fallback: None,
        backends: Some(backends),
    }
}

fn culprit(result: Result<Change, Rejected>) -> &'static str {
    match result {
        Err(Rejected::Discord(discord)) => discord.field,
        Err(Rejected::Unfit { why, .. }) => why.field(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn settings_that_do_not_go_together_are_refused_and_named() {
    let flags = SchedulerFlags { port: true, fallback: false };
    let rr = ServiceSettings::default();
    let sh = ServiceSettings { scheduler: Scheduler::Sh, flags, ..rr };
    let narrow = |bits| Persistence { timeout: crate::model::PersistenceTimeout::default(), granularity: Some(bits) };
    let persistent = |bits| ServiceSettings { persistence: Some(narrow(bits)), ..rr };
    let one_packet = ServiceSettings { one_packet: true, ..rr };
    let proxied = ServiceSettings { proxy_protocol: Some(ProxyProtocol::V2), ..rr };
    for (protocol, service, expected) in [
        (Protocol::Tcp, ServiceSettings { flags, ..rr }, Some("schedulerFlags")),
        (Protocol::Tcp, sh, None),
        (Protocol::Tcp, one_packet, Some("onePacket")),
        (Protocol::Sctp, one_packet, Some("onePacket")),
        (Protocol::Udp, one_packet, None),
        (Protocol::Tcp, proxied, None),
        (Protocol::Udp, proxied, Some("proxyProtocol")),
        (Protocol::Sctp, proxied, Some("proxyProtocol")),
        (Protocol::Tcp, persistent(0), Some("persistence")),
        (Protocol::Tcp, persistent(24), None),
        (Protocol::Tcp, persistent(33), Some("persistence")),
    ] {
        let created = State::default().create(new(protocol, service, Vec::new()), vip(1).into(), &BTreeSet::new());
        assert_eq!(created.is_err().then(|| culprit(created)), expected, "{protocol} {service}");
    }
    let mut state = State::default();
    state.create(new(Protocol::Tcp, sh, Vec::new()), vip(1).into(), &BTreeSet::new()).unwrap();
    let id = LoadBalancerId(Uuid::from_u128(1));
    let to_rr = ServiceChange { scheduler: Some(Scheduler::Rr), ..ServiceChange::default() };
    let change = LoadBalancerChange { service: to_rr.clone(), ..LoadBalancerChange::default() };
    assert_eq!(culprit(state.update(id, &change)), "schedulerFlags");
    let without = ServiceChange { flags: Some(SchedulerFlags::default()), ..to_rr };
    state.update(id, &LoadBalancerChange { service: without, ..LoadBalancerChange::default() }).unwrap();
}

#[test]
fn what_keeps_its_port_is_one_server_on_a_host() {
    let by = |forwarding, number| Backend {
        target: Target { port: Some(port(number)), ..backend(1, 9).target },
        forwarding,
        ..backend(1, 9)
    };
    let create = |backends| {
        State::default().create(
            new(Protocol::Tcp, ServiceSettings::default(), backends),
            vip(1).into(),
            &BTreeSet::new(),
        )
    };
    let tunnel = Forwarding::Tunnel(Encapsulation::Ipip);
    for forwarding in [Forwarding::Local, Forwarding::DirectRoute, tunnel] {
        create(vec![by(forwarding, 81)]).unwrap();
        create(vec![by(forwarding, 80), by(Forwarding::Masquerade, 81)]).unwrap();
        assert_eq!(culprit(create(vec![by(forwarding, 81), by(Forwarding::DirectRoute, 82)])), "type", "{forwarding}");
    }
    let mut state = State::default();
    let masqueraded = by(Forwarding::Masquerade, 81);
    let backends = vec![masqueraded.clone(), Backend { id: BackendId(Uuid::from_u128(2)), ..by(tunnel, 82) }];
    state.create(new(Protocol::Tcp, ServiceSettings::default(), backends), vip(1).into(), &BTreeSet::new()).unwrap();
    let id = LoadBalancerId(Uuid::from_u128(1));
    let fallback = |forwarding| Fallback { target: by(forwarding, 83).target, settings: by(forwarding, 83).settings() };
    let falls_back = |to| LoadBalancerChange { fallback: Some(Some(fallback(to))), ..LoadBalancerChange::default() };
    assert_eq!(culprit(state.update(id, &falls_back(Forwarding::Local))), "type");
    state.update(id, &falls_back(Forwarding::Masquerade)).unwrap();
    let to = |kind| BackendChange { kind: Some(kind), ..BackendChange::default() };
    assert_eq!(culprit(state.update_backend(id, masqueraded.id, &to(ForwardingKind::DirectRoute))), "type");
    let gre = BackendChange { encapsulation: Some(Encapsulation::Gre), ..BackendChange::default() };
    assert_eq!(culprit(state.update_backend(id, masqueraded.id, &gre)), "tunnel");
    let lower = BackendChange { lower_threshold: Some(1), ..BackendChange::default() };
    assert_eq!(culprit(state.update_backend(id, masqueraded.id, &lower)), "lowerThreshold");
}

/// Behind several ports a backend may leave connections theirs; what is not translated, and who is remembered, has to.
#[test]
fn behind_several_ports_a_backend_needs_none() {
    let by = |forwarding, number: Option<i64>| Backend {
        target: Target { port: number.map(port), ..backend(1, 9).target },
        forwarding,
        ..backend(1, 9)
    };
    let create = |listen: Listen, persistence, backend| {
        let service = ServiceSettings { persistence, ..ServiceSettings::default() };
        let new = NewLoadBalancer { listen, ..new(Protocol::Tcp, service, vec![backend]) };
        State::default().create(new, vip(1).into(), &BTreeSet::new())
    };
    let several = || Listen::Ports(Ports::new([port(80).into(), port(443).into()]).unwrap());
    let remembered = Some(Persistence { timeout: PersistenceTimeout::default(), granularity: None });
    let (nat, direct) = (Forwarding::Masquerade, Forwarding::DirectRoute);
    assert_eq!(culprit(create(port(80).into(), None, by(nat, None))), "port");
    assert_eq!(culprit(create(several(), None, by(direct, Some(80)))), "port");
    assert_eq!(culprit(create(several(), remembered, by(nat, Some(80)))), "persistence");
    for (persistence, backend) in
        [(None, by(nat, None)), (None, by(nat, Some(81))), (remembered, by(nat, None)), (remembered, by(direct, None))]
    {
        create(several(), persistence, backend).unwrap();
    }
}

/// One VIP serves a port of TCP and the same port of UDP, as DNS does.
#[test]
fn protocols_share_a_vip_and_a_port() {
    let mut state = State::default();
    for (number, protocol) in Protocol::ALL.into_iter().enumerate() {
        let id = LoadBalancerId(Uuid::from_u128(number as u128));
        state
            .create(
                NewLoadBalancer { id, ..new(protocol, ServiceSettings::default(), Vec::new()) },
                vip(1).into(),
                &BTreeSet::new(),
            )
            .unwrap();
    }
    assert_eq!(state.on(vip(1)).count(), 3);
}

#[test]
fn a_backend_of_the_other_family_is_refused() {
    let mut state = State::default();
    let of = |ip: &str| {
        let target = Target { ip: ip.parse().unwrap(), port: Some(port(80)) };
        Backend::new(BackendId(Uuid::from_u128(1)), target, BackendSettings::default())
    };
    let new = |ip: &str| new(Protocol::Tcp, ServiceSettings::default(), vec![of(ip)]);
    for (vip, ip) in [("10.0.0.1", "fd00::2"), ("fd00::1", "10.0.0.2")] {
        let refused = state.create(new(ip), vip.parse::<Vip>().unwrap().into(), &BTreeSet::new()).unwrap_err();
        assert!(matches!(refused, Rejected::Unfit { why: Unfit::OtherFamily { .. }, .. }), "{refused}");
    }
    let created = state
        .create(new("fd00::2"), "fd00::1".parse::<Vip>().unwrap().into(), &BTreeSet::new())
        .unwrap()
        .after
        .unwrap();
    assert_eq!(
        (created.endpoints().next().unwrap().to_string(), of("fd00::2").target.to_string()),
        ("[fd00::1]:80".into(), "[fd00::2]:80".into())
    );
}

/// mini-balancer's example: all of it on 127.0.0.1.
#[test]
fn on_a_loopback_address_another_port_is_another_server() {
    let with = |vip: &str, number| {
        let target = Target { ip: vip.parse().unwrap(), port: Some(port(number)) };
        let backend = Backend::new(BackendId(Uuid::from_u128(1)), target, BackendSettings::default());
        let new = new(Protocol::Tcp, ServiceSettings::default(), vec![backend]);
        State::default().create(new, vip.parse::<Vip>().unwrap().into(), &BTreeSet::new()).map(drop)
    };
    for vip in ["127.0.0.1", "::1"] {
        assert_eq!(with(vip, 8080), Ok(()));
        assert!(matches!(with(vip, 80), Err(Rejected::BackendIsVip(_))));
    }
    assert!(matches!(with("192.0.2.1", 8080), Err(Rejected::BackendIsVip(_))));
}

/// Whichever comes first.
#[test]
fn on_loopback_addresses_no_load_balancer_is_behind_another() {
    let with = |number: i64, backend: Option<i64>| {
        let target = |number| Target { ip: "127.0.0.61".parse().unwrap(), port: Some(port(number)) };
        let backend =
            backend.map(|it| Backend::new(BackendId(Uuid::from_u128(1)), target(it), BackendSettings::default()));
        let new = new(Protocol::Tcp, ServiceSettings::default(), backend.into_iter().collect());
        NewLoadBalancer {
            id: LoadBalancerId(Uuid::from_u128(number.unsigned_abs().into())),
            listen: Listen::Port(port(number)),
            ..new
        }
    };
    let vip = || "127.0.0.61".parse::<Vip>().unwrap().into();
    for (first, second) in [(None, Some(8301)), (Some(8302), None), (Some(8302), Some(8301))] {
        let mut state = State::default();
        state.create(with(8301, first), vip(), &BTreeSet::new()).unwrap();
        let before = state.clone();
        let refused = state.create(with(8302, second), vip(), &BTreeSet::new()).unwrap_err();
        assert!(matches!(refused, Rejected::BackendIsVip(_)), "{refused}");
        assert_eq!(state, before);
        state.create(with(8303, Some(8304)), vip(), &BTreeSet::new()).unwrap();
    }
}

proptest! {
    /// As if each were compared with all others.
    #[test]
    fn on_loopback_addresses_it_is_seen_who_is_behind_whom(
        all in prop::collection::vec((1_u8..3, listens(), 1_u8..3, prop::option::of(1_i64..12), any::<bool>()), 1..6),
    ) {
        let loopback = |last: u8| Ipv4Addr::new(127, 0, 0, last);
        let mut state = State::default();
        for ((own, listen, other, port, goes), id) in all.into_iter().zip(0..) {
            let target = Target { ip: loopback(other).try_into().unwrap(), port: port.map(self::port) };
            let backends = vec![Backend::new(BackendId(Uuid::nil()), target, BackendSettings::default())];
            let id = LoadBalancerId(Uuid::from_u128(id));
            let new = NewLoadBalancer { id, listen, ..new(Protocol::Tcp, ServiceSettings::default(), backends) };
            let before = state.clone();
            let vip = Vip::try_from(loopback(own)).unwrap();
            if let Ok(Change { after: Some(made), .. }) = state.create(new, vip.into(), &BTreeSet::new()) {
                let leads = |from: &LoadBalancer, to: &LoadBalancer| from.backends().iter().any(|Backend { target, .. }| {
                    let has = |port: Port| to.ranges().into_iter().any(|range| range.common(port.into()).is_some());
                    to.vips.first().address() == target.ip.address() && target.port.is_none_or(has)
                });
                for before in before.load_balancers() {
                    prop_assert!(!leads(before, &made) && !leads(&made, before));
                }
                if goes {
                    state.put(&Change { before: Some(made), after: None });
                    prop_assert_eq!(&state.loops, &before.loops);
                }
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Whatever may be written.

use std::{net::IpAddr, sync::Arc, time::Duration};

use proptest::prelude::*;
use slb_core::{
    command::Tally,
    idempotency::{Digest, Kept, Key, Keyed, Made},
    model::{
        Advertise, Backend, BackendId, BackendSettings, Condition, Drain, Encapsulation, Fallback, Forwarding,
        LoadBalancer, LoadBalancerId, Mark, Marked, Name, Origin, Persistence, PersistenceTimeout, Phase, Port, Ports,
        Protocol, ProxyProtocol, Scheduler, SchedulerFlags, ServiceSettings, SourceNat, Target, Then, Thresholds, Time,
        Vip, Vips, Weight,
        check::{Address, Check, HealthCheck, Question, Reaction, Timing},
    },
    peer::{Peer, PeerAddress},
    ports::{SettingChange, Write},
    uplink::Uplink,
};
use uuid::Uuid;

fn port(number: u16) -> Port {
    Port::try_from(i64::from(number)).unwrap()
}

fn vip(number: u8) -> Vip {
    let address = if number.is_multiple_of(2) { format!("10.0.0.{number}") } else { format!("fd00::{number}") };
    address.parse().unwrap()
}

/// One, or one of each family.
fn vips(number: u8) -> Vips {
    let other = if number.is_multiple_of(2) { vip(number | 1) } else { vip(number & !1) };
    if number.is_multiple_of(3) { Vips::both(vip(number), other).unwrap() } else { vip(number).into() }
}

fn health_check(number: u8) -> Arc<HealthCheck> {
    let timing = Timing::every(Duration::from_secs(u64::from(number) + 1)).unwrap();
    let address = if number.is_multiple_of(4) { Address::Vip } else { Address::Backend };
    let check = Check { question: Question::Tcp, timing, address, port: None, source: None };
    Arc::new(HealthCheck { check: Arc::new(check), reaction: Reaction::default() })
}

fn drain(number: u8) -> Option<Drain> {
    let time = |millis: u8| Time::from_millis(millis.into());
    number.is_multiple_of(4).then(|| Drain {
        since: time(number),
        deadline: number.is_multiple_of(8).then(|| time(9)),
        then: if number.is_multiple_of(12) { Then::Delete } else { Then::Stay },
        done: number.is_multiple_of(16).then(|| time(7)),
    })
}

pub fn load_balancer(id: u8, serial: u64, backends: Option<u8>, deleting: bool) -> LoadBalancer {
    let several = id.is_multiple_of(5);
    let backend = |number: u8| {
        let target = Target {
            ip: vip(number.wrapping_add(100)).address().try_into().unwrap(),
            port: (!several).then(|| port(80)),
        };
        let settings = BackendSettings {
            forwarding: [
                Forwarding::Masquerade,
                Forwarding::Local,
                Forwarding::DirectRoute,
                Forwarding::Tunnel(Encapsulation::Ipip),
                Forwarding::Tunnel(Encapsulation::Gre),
                Forwarding::Tunnel(Encapsulation::Gue(port(6080))),
            ][(usize::from(number) + usize::from(id)) % 6],
            weight: Weight::from(u16::from(number)),
            thresholds: Thresholds::new(u32::from(number) * 2, number.into()).unwrap(),
        };
        let condition = Condition {
            down: number.is_multiple_of(2).then(|| Time::from_millis(id.into())),
            back: number.is_multiple_of(3).then(|| Time::from_millis(number.into())),
            drain: drain(number),
        };
        let new = Backend::new(BackendId(Uuid::from_u128(number.into())), target, settings);
        new.with_check(number.is_multiple_of(2).then(|| health_check(number))).with_condition(condition)
    };
    LoadBalancer {
        id: LoadBalancerId(Uuid::from_u128(id.into())),
        serial,
        name: Name::try_from(format!("lb \"{id}\" ⚖")).unwrap(),
        vips: vips(id),
        port: port(u16::from(id) + 1),
        protocol: Protocol::ALL[usize::from(id) % Protocol::ALL.len()],
        marked: several.then(|| {
            let ports = Ports::new([port(u16::from(id) + 1).into(), port(443).into()]).unwrap();
            Box::new(Marked { ports, mark: Mark::all().nth(id.into()).unwrap() })
        }),
        backends: backends.map(|count| (0..count).map(backend).collect()),
        phase: if deleting { Phase::Deleting } else { Phase::Active },
        advertise: if id.is_multiple_of(2) { Advertise::Always } else { Advertise::WithBackends },
        source_nat: SourceNat::ALL[usize::from(id % 3)],
        service: ServiceSettings {
            scheduler: Scheduler::ALL[usize::from(id) % Scheduler::ALL.len()],
            flags: SchedulerFlags { port: id.is_multiple_of(2), fallback: id.is_multiple_of(3) },
            persistence: (!id.is_multiple_of(2)).then(|| Persistence {
                timeout: PersistenceTimeout::default(),
                granularity: id.is_multiple_of(3).then_some(id),
            }),
            one_packet: id.is_multiple_of(3),
            proxy_protocol: id.is_multiple_of(5).then_some(ProxyProtocol::V1),
            source_nat: None,
        },
        check: id.is_multiple_of(2).then(|| health_check(id)),
        origin: if id.is_multiple_of(7) { Origin::File } else { Origin::Api },
        extras: None,
    }
    .with_fallback(id.is_multiple_of(3).then(|| {
        let target = Target { ip: vip(id).address().try_into().unwrap(), port: Some(port(81)) };
        Fallback { target, settings: BackendSettings::default() }
    }))
    .with_drain(drain(id))
    .with_check_marks(
        Mark::all()
            .take(id.into())
            .zip(0_u128..)
            .map(|(mark, number)| (BackendId(Uuid::from_u128(number)), mark))
            .collect(),
    )
}

fn peer_address() -> impl Strategy<Value = PeerAddress> {
    let addresses = ["10.0.0.254", "fd00::fe", "10.0.0.253"];
    prop::sample::select(addresses.to_vec()).prop_map(|text| text.parse::<IpAddr>().unwrap().try_into().unwrap())
}

pub fn writes() -> impl Strategy<Value = Write> {
    let name = || prop::sample::select(vec!["net.a", "net.b"]).prop_map(str::to_owned);
    prop_oneof![
        4 => (0_u8..6, 0_u64..50, prop::option::of(0_u8..4), any::<bool>())
            .prop_map(|(id, serial, backends, deleting)| Write::Put(Arc::new(load_balancer(id, serial, backends, deleting)))),
        2 => (0_u128..6).prop_map(|id| Write::Erase(LoadBalancerId(Uuid::from_u128(id)))),
        2 => (0_u8..6, any::<u64>()).prop_map(|(number, serial)| Write::Released { vip: vip(number), serial }),
        1 => (0_u8..6).prop_map(|number| Write::Reused(vip(number))),
        1 => (name(), ".{0,5}", ".{0,5}").prop_map(|(name, from, to)| Write::Original(SettingChange { name, from, to })),
        1 => name().prop_map(Write::Restored),
        1 => "[a-z0-9.]{1,15}".prop_map(Write::Adapter),
        1 => Just(Write::NoAdapter),
        1 => any::<u128>().prop_map(|bits| Write::Identity(Uuid::from_u128(bits))),
        1 => (any::<u128>(), 1_u32.., any::<u32>(), prop::collection::vec(peer(), 0..3)).prop_map(|(device, asn, address, peers)| {
            Write::Uplink(Uplink { device: Uuid::from_u128(device), asn: asn.try_into().unwrap(), address: address.into(), peers })
        }),
        2 => peer().prop_map(Write::Peer),
        1 => peer_address().prop_map(Write::NoPeer),
        2 => kept().prop_map(|kept| Write::Keep(Arc::new(kept))),
        1 => key().prop_map(Write::Forget),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(|text| Key::try_from(text).unwrap())
}

pub fn kept() -> impl Strategy<Value = Kept> {
    let all = prop::collection::vec((0_u8..6, 0_u64..50, 1_u8..4), 1..4);
    (key(), any::<[u8; 32]>(), 1_u64.., all, 0_u8..5, peer()).prop_map(|(key, request, at, all, which, peer)| {
        let each = |(id, serial, backends)| Arc::new(load_balancer(id, serial, Some(backends), false));
        let all: Vec<Arc<LoadBalancer>> = all.into_iter().map(each).collect();
        let (first, one) = (Arc::clone(&all[0]), Arc::new(load_balancer(1, 1, Some(1), false)));
        let tally = Tally { created: all.len(), changed: 1, removed: 70_000 };
        let made = [
            Made::LoadBalancer(Arc::clone(&first)),
            Made::Backend(one),
            Made::Backends(first),
            Made::Declared(tally, all),
            Made::Peer(peer),
        ];
        let made = made[usize::from(which)].clone();
        Kept { keyed: Keyed { key, request: Digest(request) }, at: Time::from_millis(at), made }
    })
}

pub fn peer() -> impl Strategy<Value = Peer> {
    (peer_address(), 1_u32.., prop::option::of("[ -~]{1,80}")).prop_map(|(address, asn, password)| {
        let password = password.map(|text| text.try_into().unwrap());
        Peer { password, ..Peer::new(address, asn.try_into().unwrap()) }
    })
}

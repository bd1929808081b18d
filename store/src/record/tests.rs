// SPDX-License-Identifier: Apache-2.0
//! Records that are on disks out there, and what is no record.

use proptest::prelude::*;

use std::time::Duration;

use slb_core::model::{
    BackendSettings, Condition, Drain, Encapsulation, Forwarding, Mark, Persistence, PersistenceTimeout, Protocol,
    Scheduler, SchedulerFlags, ServiceSettings, SourceNat, Then, Thresholds, Time, Weight,
    check::{Address, Check, Question, Reaction, Timing},
};

use super::*;

const ID: LoadBalancerId = LoadBalancerId(Uuid::from_u128(1));

/// On disks out there: a change that breaks one of these needs a new version, and a decoder for the old one.
const WRITTEN: [&[u8]; 10] = [
    include_bytes!("../../tests/records/v1-one-backend.bin"),
    include_bytes!("../../tests/records/v1-two-backends.bin"),
    include_bytes!("../../tests/records/v1-never-a-backend.bin"),
    include_bytes!("../../tests/records/v1-no-backend-left-deleting.bin"),
    include_bytes!("../../tests/records/v2-advertised-with-backends.bin"),
    include_bytes!("../../tests/records/v3-full.bin"),
    include_bytes!("../../tests/records/v4-full.bin"),
    include_bytes!("../../tests/records/v5-asked-for-vips.bin"),
    include_bytes!("../../tests/records/v6-of-the-file.bin"),
    include_bytes!("../../tests/records/v7-with-the-proxy-protocol.bin"),
];

#[test]
fn the_records_out_there_are_read() {
    let [one, two, never, none, told, full, fourth, asked, declared, proxied] = WRITTEN.map(|bytes| {
        let load_balancer = decode(ID, bytes).unwrap();
        let written = encode(&load_balancer).unwrap();
        assert_eq!(decode(ID, &written).unwrap(), load_balancer);
        assert_eq!(written == bytes, bytes[0] == VERSION, "the latest version is written");
        load_balancer
    });
    assert_eq!([one.advertise, told.advertise], [Advertise::Always, Advertise::WithBackends]);
    assert_eq!(LoadBalancer { advertise: Advertise::Always, ..told }, one);
    assert_eq!((one.id, one.serial, one.name.as_str()), (ID, 7, "test loadbalancer"));
    let at: Vec<String> = one.endpoints().map(|endpoint| endpoint.to_string()).collect();
    assert_eq!((at, one.phase), (vec!["192.168.0.85:6443".to_owned()], Phase::Active));
    let [backend] = one.backends() else { panic!("{one:?}") };
    assert_eq!(backend.id.to_string(), "779344ce-72ca-4aec-a1c0-d9c5c4d72419");
    assert_eq!((backend.target.to_string().as_str(), backend.settings()), ("10.80.96.25:6443", Default::default()));
    assert_eq!((two.serial, two.name.as_str()), (u64::MAX, "\"quoted\" ⚖"));
    let last = two.backends().last().unwrap().settings();
    let local = BackendSettings { forwarding: Forwarding::Local, weight: Weight::from(65535), ..Default::default() };
    assert_eq!(last, local);
    assert_eq!((never.backends.is_none(), none.backends.is_some()), (true, true));
    assert_eq!(none.phase, Phase::Deleting);
    assert_eq!([full, fourth, asked], [self::full(), self::fourth(), self::asked()]);
    assert_eq!(declared, LoadBalancer { origin: Origin::File, ..self::asked() });
    assert_eq!(proxied, self::proxied());
}

/// It was taken there once, and meant nothing.
#[test]
fn a_panic_threshold_of_a_backend_is_forgotten() {
    let mut written = full();
    let reaction = Reaction { panic_threshold: 50.try_into().unwrap(), ..Reaction::default() };
    let mut backends = written.backends().to_vec();
    let check = Arc::clone(&backends[0].check().unwrap().check);
    backends[0] = backends[0].clone().with_check(Some(Arc::new(HealthCheck { check, reaction })));
    written.backends = Some(backends.into());
    assert_eq!(decode(ID, &encode(&written).unwrap()).unwrap(), full());
}

/// Everything that the third version added.
fn full() -> LoadBalancer {
    let time = |millis| Time::from_millis(millis);
    let port = |number: i64| Port::try_from(number).unwrap();
    let target = |last: &str, number| Target { ip: last.parse().unwrap(), port: Some(port(number)) };
    let timing = Timing::every(Duration::from_secs(2)).unwrap();
    let check =
        Check { question: Question::Tcp, timing, address: Address::default(), port: Some(port(8080)), source: None };
    let check = Arc::new(HealthCheck { check: Arc::new(check), reaction: Reaction::default() });
    let drain = Drain { since: time(7), deadline: Some(time(8)), then: Then::Delete, done: None };
    let settings = BackendSettings {
        forwarding: Forwarding::Tunnel(Encapsulation::Gue(port(6080))),
        weight: Weight::from(3),
        thresholds: Thresholds::new(100, 50).unwrap(),
    };
    let backend = Backend::new(BackendId(Uuid::from_u128(9)), target("fd00::11", 53), settings)
        .with_check(Some(Arc::clone(&check)))
        .with_condition(Condition { down: Some(time(5)), back: Some(time(6)), drain: Some(drain) });
    LoadBalancer {
        id: ID,
        serial: 7,
        name: Name::try_from("dns".to_owned()).unwrap(),
        vips: vip("fd00::85").into(),
        port: port(53),
        protocol: Protocol::Udp,
        marked: None,
        backends: Some([backend].into()),
        phase: Phase::Active,
        advertise: Advertise::WithBackends,
        service: ServiceSettings {
            scheduler: Scheduler::Sh,
            flags: SchedulerFlags { port: true, fallback: false },
            persistence: Some(Persistence { timeout: PersistenceTimeout::default(), granularity: Some(64) }),
            one_packet: true,
            proxy_protocol: None,
            source_nat: None,
        },
        source_nat: SourceNat::SameNetwork,
        check: Some(check),
        origin: slb_core::model::Origin::default(),
        extras: None,
    }
    .with_fallback(Some(Fallback { target: target("fd00::99", 53), settings: BackendSettings::default() }))
    .with_drain(Some(drain))
}

fn vip(text: &str) -> Vip {
    text.parse().unwrap()
}

/// And the fourth: two VIPs, several ports, and a backend without one.
fn fourth() -> LoadBalancer {
    let ports = Ports::new(["53", "853", "8000-8100"].map(|range| range.parse().unwrap())).unwrap();
    let [backend] = full().backends().to_vec().try_into().unwrap();
    let backend = Backend { target: Target { port: None, ..backend.target }, ..backend };
    let marked = Some(Box::new(Marked { ports, mark: Mark::try_from(0x51b0_0003).unwrap() }));
    let vips = Vips::both(vip("192.168.0.85"), vip("fd00::85")).unwrap();
    LoadBalancer { vips, marked, backends: Some([backend].into()), ..full() }
}

/// And the fifth.
fn asked() -> LoadBalancer {
    let fourth = fourth();
    let asking = |check: &Arc<HealthCheck>| {
        let HealthCheck { check, reaction } = &**check;
        let check = Check { address: Address::Vip, ..Check::clone(check) };
        Arc::new(HealthCheck { check: Arc::new(check), reaction: *reaction })
    };
    let backends = fourth.backends().iter().map(|each| each.clone().with_check(each.check().map(asking)));
    let marks = [(BackendId(Uuid::from_u128(9)), Mark::try_from(0x51b0_0102).unwrap())];
    let (check, backends) = (fourth.check.as_ref().map(asking), Some(backends.collect()));
    LoadBalancer { check, backends, ..fourth }.with_check_marks(marks.into_iter().collect())
}

/// And the seventh.
fn proxied() -> LoadBalancer {
    let asked = asked();
    let service = ServiceSettings { one_packet: false, proxy_protocol: Some(ProxyProtocol::V2), ..asked.service };
    LoadBalancer { protocol: Protocol::Tcp, service, origin: Origin::File, ..asked }
}

/// The first record with some of its bytes replaced.
fn refused(from: &[u8], to: &[u8]) -> Unreadable {
    let at = WRITTEN[0].windows(from.len()).position(|bytes| bytes == from).unwrap();
    let mut bytes = WRITTEN[0].to_vec();
    bytes.splice(at..at + from.len(), to.iter().copied());
    decode(ID, &bytes).unwrap_err()
}

/// 6443, and 0 in as many bytes.
const PORT: [u8; 2] = [0xab, 0x32];
const NO_PORT: [u8; 2] = [0x80, 0];

#[test]
fn a_later_version_is_named() {
    let error = refused(&[1, 7], &[8, 7]);
    assert_eq!(error.to_string(), "it was written by a later version of slb (record version 8, this one knows 7)");
}

#[test]
fn what_is_not_understood_is_refused() {
    let whole = WRITTEN[0];
    let backend = [[10, 80, 96, 25].as_slice(), &PORT].concat();
    for (from, to) in [
        (whole, [].as_slice()),
        (whole, &whole[..whole.len() - 1]),
        (b"test", b"tes\xff"),
        (&[backend.as_slice(), &[0, 1]].concat(), &[backend.as_slice(), &[2, 1]].concat()),
        (&[backend.as_slice(), &[0, 1]].concat(), &[backend.as_slice(), &[0, 0x80, 0x80, 4]].concat()),
    ] {
        let error = refused(from, to);
        assert!(matches!(error, Unreadable::Malformed(_)), "{to:?}: {error:?}");
    }
    assert!(matches!(refused(whole, &[whole, &[0, 0]].concat()), Unreadable::Longer(2)));
}

#[test]
fn what_cannot_be_is_refused() {
    for (from, to) in [
        ([[192, 168, 0, 85].as_slice(), &PORT].concat(), [[192, 168, 0, 85].as_slice(), &NO_PORT].concat()),
        ([[10, 80, 96, 25].as_slice(), &PORT].concat(), [[10, 80, 96, 25].as_slice(), &NO_PORT].concat()),
        (vec![192, 168, 0, 85], vec![224, 0, 0, 1]),
        (vec![10, 80, 96, 25], vec![0, 0, 0, 0]),
        (b"test".to_vec(), b"tes\x07".to_vec()),
    ] {
        let error = refused(&from, &to);
        assert!(matches!(error, Unreadable::Invalid(_)), "{to:?}: {error:?}");
    }
}

#[test]
fn addresses_of_both_families_are_kept() {
    let mut load_balancer = decode(ID, WRITTEN[0]).unwrap();
    load_balancer.vips = vip("fd00::85").into();
    let target = |ip: &str| Target { ip: ip.parse().unwrap(), port: Some(load_balancer.port) };
    let [ipv4] = load_balancer.backends() else { panic!("{load_balancer:?}") };
    let ipv6 = Backend { target: target("fd00::25"), ..ipv4.clone() };
    load_balancer.backends = Some([ipv4.clone(), ipv6].into());
    assert_eq!(decode(ID, &encode(&load_balancer).unwrap()).unwrap(), load_balancer);
}

proptest! {
    /// Whatever is on the disk, reading it does not panic, and what is read is written as something that reads the same.
    #[test]
    fn any_bytes_are_read_or_refused(
        which in 0..WRITTEN.len(),
        at: prop::sample::Index,
        removed in 0_usize..4,
        added in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut bytes = WRITTEN[which].to_vec();
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + removed);
        bytes.splice(at..end, added);
        if let Ok(load_balancer) = decode(ID, &bytes) {
            prop_assert_eq!(decode(ID, &encode(&load_balancer).unwrap()).unwrap(), load_balancer);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The data plane on a real kernel: what was asked for is what is observed, whatever was there before.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc};

use slb_core::{
    model::{
        BackendSettings, Encapsulation, Endpoint, Forwarding, Mark, Persistence, PersistenceTimeout, Port, Protocol,
        Scheduler, SchedulerFlags, ServiceKey, ServiceSettings, Target, Thresholds, VirtualService, Weight,
    },
    observed::{ServiceView, Services},
    ports::{Dataplane, Lacking, Verdict},
    statistics::{Connections, Statistics},
    step::DataplaneStep::{self, AddBackend, AddService, RemoveBackend, RemoveService, SetBackend, SetService},
};
use slb_dataplane::{Ipvs, Meter};
use slb_lab::Node;

const VIP: &str = "192.168.0.85";
const RR: ServiceSettings = ServiceSettings {
    scheduler: Scheduler::Rr,
    flags: SchedulerFlags { port: false, fallback: false },
    persistence: None,
    one_packet: false,
    proxy_protocol: None,
    source_nat: None,
};

/// Runs on a host, on a thread and runtime of its own.
fn on(node: &Node, work: impl AsyncFnOnce(&mut Ipvs) + Send) {
    node.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { work(&mut Ipvs::open().await.unwrap()).await });
    });
}

fn port(number: i64) -> Port {
    Port::try_from(number).unwrap()
}

fn endpoint(number: i64) -> Endpoint {
    Endpoint::tcp(VIP.parse().unwrap(), port(number))
}

fn service(number: i64) -> VirtualService {
    endpoint(number).into()
}

fn target(last: u8) -> Target {
    Target { ip: format!("10.80.96.{last}").parse().unwrap(), port: Some(port(8080)) }
}

fn settings(forwarding: Forwarding, weight: u16) -> BackendSettings {
    BackendSettings { forwarding, weight: Weight::from(weight), thresholds: Thresholds::default() }
}

async fn applied(ipvs: &mut Ipvs, steps: &[DataplaneStep]) {
    let verdicts = ipvs.apply(steps).await;
    assert_eq!(verdicts.len(), steps.len());
    for (step, verdict) in steps.iter().zip(verdicts) {
        assert!(matches!(verdict, Verdict::Applied), "{step:?}: {verdict:?}");
    }
}

/// Every setting that can be asked for, on one service.
fn backends() -> Vec<(Target, BackendSettings)> {
    vec![
        (target(1), settings(Forwarding::Masquerade, 1)),
        (target(2), settings(Forwarding::Masquerade, 0)),
        (target(3), settings(Forwarding::Local, u16::MAX)),
        (target(4), settings(Forwarding::DirectRoute, 1)),
        (target(5), settings(Forwarding::Tunnel(Encapsulation::Ipip), 1)),
        (target(6), settings(Forwarding::Tunnel(Encapsulation::Gre), 1)),
        (target(7), settings(Forwarding::Tunnel(Encapsulation::Gue(port(6080))), 1)),
        (target(8), BackendSettings { thresholds: Thresholds::new(100, 50).unwrap(), ..BackendSettings::default() }),
    ]
}

fn desired() -> Services {
    let backends = backends().into_iter().map(|(target, settings)| (target, Some(settings))).collect();
    Services::from([
        (endpoint(80).into(), ServiceView { settings: Some(RR), backends }),
        (endpoint(443).into(), ServiceView { settings: Some(RR), ..ServiceView::default() }),
    ])
}

fn steps() -> Vec<DataplaneStep> {
    let backends = backends().into_iter().map(|(target, settings)| AddBackend(service(80), target, settings));
    [AddService(service(80), RR), AddService(service(443), RR)].into_iter().chain(backends).collect()
}

fn what_was_asked_for_is_observed() {
    let node = Node::new("lb");
    on(&node, async |ipvs| {
        applied(ipvs, &steps()).await;
        assert_eq!(ipvs.observe().await.unwrap(), desired());
        assert!(ipvs.exists(service(443)).await.unwrap());
        assert!(!ipvs.exists(service(444)).await.unwrap());
        let all = [RemoveBackend(service(80), target(1)), RemoveService(service(80)), RemoveService(service(443))];
        applied(ipvs, &all).await;
        applied(ipvs, &all).await;
        assert_eq!(ipvs.observe().await.unwrap(), Services::new());
    });
}

/// What a glance says: which services are there, and what of those that are not as they were.
async fn glance(ipvs: &mut Ipvs) -> BTreeMap<ServiceKey, Option<ServiceView>> {
    let mut found = BTreeMap::new();
    ipvs.observe_changes(|key, service| drop(found.insert(key, service))).await.unwrap();
    found
}

/// The first one reads everything, and so does one that finds too much.
fn a_glance_sees_which_services_have_changed() {
    let node = Node::new("lb");
    on(&node, async |ipvs| {
        let many: Vec<_> = (1..=12)
            .flat_map(|at| {
                [AddService(service(at), RR), AddBackend(service(at), target(1), settings(Forwarding::Masquerade, 1))]
            })
            .collect();
        applied(ipvs, &many).await;
        let whole = ipvs.observe().await.unwrap();
        let key = |number| ServiceKey::from(endpoint(number));
        assert_eq!(glance(ipvs).await, (1..=12).map(|number| (key(number), None)).collect());
        node.sh(&format!("ipvsadm -e -t {VIP}:1 -r {} -m -w 5", target(1)));
        node.sh(&format!("ipvsadm -e -t {VIP}:2 -r {} -m -w 1 -x 9", target(1)));
        node.sh(&format!("ipvsadm -D -t {VIP}:12"));
        node.sh(&format!("ipvsadm -A -t {VIP}:13 -s rr"));
        let seen = glance(ipvs).await;
        let now = ipvs.observe().await.unwrap();
        let changed = |number: &i64| [1, 2, 13].contains(number);
        let expected =
            (1..=11).chain([13]).map(|number| (key(number), changed(&number).then(|| now[&key(number)].clone())));
        assert_eq!(seen, expected.collect());
        assert_ne!(now[&key(2)], whole[&key(2)], "limits");
        // What slb asks for itself is read again, also where it looks the same.
        applied(ipvs, &[SetBackend(service(2), target(1), settings(Forwarding::Masquerade, 1))]).await;
        assert_eq!(glance(ipvs).await[&key(2)].as_ref(), Some(&whole[&key(2)]));
        assert!(glance(ipvs).await.values().all(Option::is_none));
        node.sh("ipvsadm -C");
        assert_eq!(glance(ipvs).await, BTreeMap::new());
        applied(ipvs, &many).await;
        assert!(glance(ipvs).await.values().all(Option::is_some));
    });
}

/// Whoever knows of one looks another way, with which limits are not to be seen.
fn a_glance_sees_services_of_ipv6() {
    let node = Node::new("lb");
    on(&node, async |ipvs| {
        let at_ipv6 = Endpoint::tcp("fd00::85".parse().unwrap(), port(80));
        let ipv6 = ServiceKey::from(at_ipv6);
        let ipv4: Vec<_> = (1..=8).map(|number| AddService(service(number), RR)).collect();
        let add = format!("ipvsadm -A -t [fd00::85]:80 -s rr; ipvsadm -a -t {VIP}:1 -r {} -m", target(1));
        applied(ipvs, &ipv4).await;
        node.sh(&add);
        assert!(ipvs.observe().await.unwrap().contains_key(&ipv6));
        // What was seen was seen the other way.
        assert!(glance(ipvs).await.values().all(Option::is_some));
        assert!(glance(ipvs).await.values().all(Option::is_none));
        node.sh("ipvsadm -a -t [fd00::85]:80 -r [fd00::1]:80 -m");
        node.sh(&format!("ipvsadm -e -t {VIP}:1 -r {} -m -w 1 -x 9", target(1)));
        let seen = glance(ipvs).await;
        let backends = |key: &ServiceKey| seen[key].as_ref().map(|service| service.backends.listed().len());
        assert_eq!((backends(&ipv6), backends(&endpoint(1).into())), (Some(1), None));
        // Without it the first way is taken again.
        node.sh("ipvsadm -D -t [fd00::85]:80");
        assert_eq!(ipvs.observe().await.unwrap().len(), 8);
        assert!(glance(ipvs).await.values().all(Option::is_some));
        node.sh(&format!("ipvsadm -e -t {VIP}:1 -r {} -m -w 1 -x 8", target(1)));
        assert!(glance(ipvs).await[&endpoint(1).into()].is_some());
        // One that slb makes counts at once.
        applied(ipvs, &[AddService(at_ipv6.into(), RR)]).await;
        assert!(glance(ipvs).await.contains_key(&ipv6));
    });
}

/// More destinations than were counted, one of IPv6 behind a service of IPv4, and what packets of tunnels are wrapped in, which is not told the quick way.
fn what_is_not_told_the_quick_way_is_asked_for() {
    let node = Node::new("lb");
    on(&node, async |ipvs| {
        let other = Target { ip: "fd00::1".parse().unwrap(), port: Some(port(80)) };
        let tunnel = settings(Forwarding::Tunnel(Encapsulation::Ipip), 1);
        let of_one = [AddService(service(80), RR), AddBackend(service(80), target(1), BackendSettings::default())];
        applied(ipvs, &of_one).await;
        applied(ipvs, &[AddBackend(service(80), other, tunnel)]).await;
        let seen = ipvs.observe().await.unwrap();
        let backends = [(other, Some(tunnel)), (target(1), Some(BackendSettings::default()))];
        assert_eq!(seen[&endpoint(80).into()].backends, backends.into());
        node.sh("ipvsadm -e -t 192.168.0.85:80 -r [fd00::1]:80 -i -w 7");
        let seen = glance(ipvs).await;
        let backends = seen[&endpoint(80).into()].as_ref().unwrap().backends.listed().into_owned();
        assert_eq!(backends[&other].map(|settings| settings.weight), Some(Weight::from(7)));
        applied(ipvs, &[SetBackend(service(80), other, tunnel), RemoveBackend(service(80), target(1))]).await;
        let seen = glance(ipvs).await;
        assert_eq!(seen[&endpoint(80).into()].as_ref().unwrap().backends, [(other, Some(tunnel))].into());
    });
}

fn what_is_there_in_another_shape_is_seen_and_put_right() {
    let node = Node::new("lb");
    node.sh(&format!("ipvsadm -A -t {VIP}:80 -s wlc -p 60 -b flag-3"));
    node.sh(&format!("ipvsadm -a -t {VIP}:80 -r 10.80.96.1:8080 -m -w 9 -x 100"));
    node.sh(&format!("ipvsadm -a -t {VIP}:80 -r 10.80.96.2:80 -i --tun-type gre --tun-csum"));
    on(&node, async |ipvs| {
        let observed = ipvs.observe().await.unwrap();
        let view = &observed[&endpoint(80).into()];
        assert_eq!(view.settings, None);
        let other = Target { port: Some(port(80)), ..target(2) };
        let found = BackendSettings {
            weight: Weight::from(9),
            thresholds: Thresholds::new(100, 0).unwrap(),
            ..BackendSettings::default()
        };
        assert_eq!(
            view.backends,
            [(target(1), Some(found)), (other, None)].into(),
            "settings that are never asked for"
        );

        applied(ipvs, &steps()).await;
        applied(ipvs, &[RemoveBackend(service(80), other)]).await;
        assert_eq!(ipvs.observe().await.unwrap(), desired());
        let change = settings(Forwarding::Masquerade, 7);
        applied(ipvs, &[SetService(service(8080), RR)]).await;
        applied(ipvs, &[SetBackend(service(8080), target(1), change)]).await;
        assert_eq!(ipvs.observe().await.unwrap()[&endpoint(8080).into()].backends, [(target(1), Some(change))].into());
    });
}

/// Those that this kernel has; what it lacks is said to be lacking, and changes nothing.
fn schedulers_are_set_and_observed() {
    let node = Node::new("lb");
    on(&node, async |ipvs| {
        applied(ipvs, &[AddService(service(80), RR)]).await;
        let mut last = RR;
        let mut lacking = Vec::new();
        for scheduler in Scheduler::ALL {
            let settings = ServiceSettings { scheduler, ..RR };
            let verdicts = ipvs.apply(&[SetService(service(80), settings)]).await;
            if let [Verdict::Applied] = verdicts[..] {
                last = settings;
            } else {
                let is_lacking = matches!(&verdicts[..], [Verdict::Refused(cause)] if cause.is::<Lacking>());
                assert!(is_lacking, "{scheduler}: {verdicts:?}");
                lacking.push(scheduler);
            }
            assert_eq!(ipvs.observe().await.unwrap()[&endpoint(80).into()].settings, Some(last), "{scheduler}");
            assert!(node.sh("ipvsadm -Sn").contains(&format!("-s {}", last.scheduler)), "{scheduler}");
        }
        // Linux 5.13 has it, Debian's builds of it have not.
        assert!(lacking.iter().all(|scheduler| *scheduler == Scheduler::Twos), "{lacking:?}");
    });
}

/// What can be asked for of a service, for each protocol.
fn settings_of_services_are_set_and_observed() {
    let node = Node::new("lb");
    let persistent = |granularity| Persistence { timeout: PersistenceTimeout::default(), granularity };
    let all = [
        RR,
        ServiceSettings { persistence: Some(persistent(None)), ..RR },
        ServiceSettings { persistence: Some(persistent(Some(20))), ..RR },
        ServiceSettings { scheduler: Scheduler::Sh, flags: SchedulerFlags { port: true, fallback: false }, ..RR },
        ServiceSettings { scheduler: Scheduler::Mh, flags: SchedulerFlags { port: true, fallback: true }, ..RR },
        ServiceSettings { one_packet: true, ..RR },
    ];
    on(&node, async |ipvs| {
        for protocol in Protocol::ALL {
            let at: VirtualService = Endpoint { protocol, ..endpoint(80) }.into();
            for settings in all {
                applied(ipvs, &[SetService(at, settings)]).await;
                assert_eq!(ipvs.observe().await.unwrap()[&at.key()].settings, Some(settings), "{at}");
            }
        }
    });
}

/// One mark is two services: that of packets of IPv4, and that of IPv6.
fn services_by_mark_are_told_apart_by_family() {
    let node = Node::new("lb");
    let mark = Mark::all().last().unwrap();
    let [ipv4, ipv6] = [VIP, "fd00::85"].map(|vip| VirtualService::Mark(vip.parse().unwrap(), mark));
    on(&node, async |ipvs| {
        let keeps_ports = Target { port: None, ..target(1) };
        let backends = [keeps_ports, target(1)].map(|target| (target, BackendSettings::default()));
        applied(ipvs, &[AddService(ipv4, RR)]).await;
        applied(ipvs, &backends.map(|(target, settings)| AddBackend(ipv4, target, settings))).await;
        let observed = ipvs.observe().await.unwrap();
        assert_eq!(observed[&ipv4.key()].backends, backends.map(|(target, settings)| (target, Some(settings))).into());
        assert_eq!(ipvs.keys().await.unwrap(), [ipv4.key()].into());
        assert!(ipvs.exists(ipv4).await.unwrap());
        assert!(!ipvs.exists(ipv6).await.unwrap());
        applied(ipvs, &[AddService(ipv6, RR), RemoveService(ipv4)]).await;
        let expected = ServiceView { settings: Some(RR), ..ServiceView::default() };
        assert_eq!(ipvs.observe().await.unwrap(), Services::from([(ipv6.key(), expected)]));
    });
}

fn services_of_other_kinds_are_not_seen() {
    let node = Node::new("lb");
    node.sh("ipvsadm -A -f 7 -s rr");
    on(&node, async |ipvs| assert_eq!(ipvs.observe().await.unwrap(), Services::new()));
}

fn a_backend_of_a_service_that_is_gone_may_come_later() {
    let node = Node::new("lb");
    on(&node, async |ipvs| {
        let add = AddBackend(service(80), target(1), BackendSettings::default());
        let verdicts = ipvs.apply(&[add, AddService(service(443), RR)]).await;
        assert!(matches!(verdicts[..], [Verdict::Retry(_), Verdict::Applied]), "{verdicts:?}");
    });
}

fn whoever_asks_at_a_time_shares_one_look_at_the_counters() {
    let node = Node::new("lb");
    on(&node, async |ipvs| {
        applied(ipvs, &steps()).await;
        let meter = Meter::default();
        // Nobody waits for it any more once it has begun.
        drop(meter.read());
        let (one, other) = futures_util::join!(meter.read(), meter.read());
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(Arc::ptr_eq(&one, &other));
        let counted: Vec<ServiceKey> = one.services.keys().copied().collect();
        assert_eq!(counted, desired().into_keys().collect::<Vec<_>>());
        assert!(one.services[&endpoint(80).into()].backends.contains_key(&target(3)));
    });
}

fn connections_are_those_of_each_backend() {
    let node = Node::new("lb");
    on(&node, async |ipvs| {
        applied(ipvs, &steps()).await;
        let none: BTreeMap<_, _> = backends().into_iter().map(|(target, _)| (target, Connections::default())).collect();
        assert_eq!(ipvs.connections(service(80)).await.unwrap(), none);
        assert_eq!(ipvs.connections(service(9)).await.unwrap(), BTreeMap::new());
    });
}

fn without_the_privilege_it_is_refused_for_good() {
    let node = Node::new("lb");
    on(&node, async |ipvs| {
        applied(ipvs, &[AddService(service(80), RR)]).await;
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN).unwrap();
        let verdicts = ipvs.apply(&[AddService(service(80), RR), RemoveService(service(80))]).await;
        assert!(matches!(verdicts[..], [Verdict::Refused(_), Verdict::Refused(_)]), "{verdicts:?}");
    });
}

slb_lab::main! {
    fast: [
        what_was_asked_for_is_observed,
        a_glance_sees_which_services_have_changed,
        a_glance_sees_services_of_ipv6,
        what_is_not_told_the_quick_way_is_asked_for,
        what_is_there_in_another_shape_is_seen_and_put_right,
        schedulers_are_set_and_observed,
            settings_of_services_are_set_and_observed,
        services_by_mark_are_told_apart_by_family,
        services_of_other_kinds_are_not_seen,
        a_backend_of_a_service_that_is_gone_may_come_later,
        whoever_asks_at_a_time_shares_one_look_at_the_counters,
        connections_are_those_of_each_backend,
        without_the_privilege_it_is_refused_for_good,
    ],
}

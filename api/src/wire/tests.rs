// SPDX-License-Identifier: Apache-2.0
//! What is shown can be read back, and reading stands anything.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use proptest::{collection::vec, option, prelude::*};
use serde_json::json;
use slb_core::model::{
    BackendId, BackendIp, BackendSettings, Encapsulation, Family, Forwarding, Mark, Marked, Persistence, ProxyProtocol,
    Scheduler, SchedulerFlags, Target, Thresholds,
};
use slb_core::ports::Wanted;

use super::*;
use crate::{extract::parse, problem::Kind, reply::to_json};

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (1_u8..=223, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| Ipv4Addr::new(a, b, c, d).into()),
        (0x2000_u16..0xfe00, any::<[u16; 4]>())
            .prop_map(|(a, [b, c, d, e])| Ipv6Addr::new(a, b, c, d, 0, 0, 0, e).into()),
    ]
}

fn any_port() -> impl Strategy<Value = Port> {
    (1_i64..=65535).prop_map(|port| Port::try_from(port).unwrap())
}

fn any_vip() -> impl Strategy<Value = Vip> {
    address().prop_map(|address| Vip::try_from(address).unwrap())
}

fn any_vips() -> impl Strategy<Value = Vips> {
    (any_vip(), any_vip()).prop_map(|(one, other)| Vips::both(one, other).unwrap_or(one.into()))
}

fn any_name() -> impl Strategy<Value = Name> {
    r"[^\pC]{0,40}|[<>&\\/]{0,9}".prop_map(|name| Name::try_from(name).unwrap())
}

fn any_uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn backend() -> impl Strategy<Value = Backend> {
    let forwarding = prop_oneof![
        Just(Forwarding::Masquerade),
        Just(Forwarding::Local),
        Just(Forwarding::DirectRoute),
        Just(Forwarding::Tunnel(Encapsulation::Ipip)),
        Just(Forwarding::Tunnel(Encapsulation::Gre)),
        any_port().prop_map(|port| Forwarding::Tunnel(Encapsulation::Gue(port))),
    ];
    let thresholds =
        (0..1000_u32, 0..1000_u32).prop_map(|(one, other)| Thresholds::new(one.max(other), one.min(other)).unwrap());
    (any_uuid(), address(), option::of(any_port()), forwarding, any::<u16>(), thresholds).prop_map(
        |(id, ip, port, forwarding, weight, thresholds)| {
            let target = Target { ip: BackendIp::try_from(ip).unwrap(), port };
            Backend::new(BackendId(id), target, BackendSettings { forwarding, weight: weight.into(), thresholds })
        },
    )
}

fn service_settings() -> impl Strategy<Value = ServiceSettings> {
    let timeout = (1..86_400_u64).prop_map(|seconds| Duration::from_secs(seconds).try_into().unwrap());
    let persistence =
        (timeout, option::of(any::<u8>())).prop_map(|(timeout, granularity)| Persistence { timeout, granularity });
    let flags = any::<(bool, bool)>().prop_map(|(port, fallback)| SchedulerFlags { port, fallback });
    let scheduler = prop::sample::select(Scheduler::ALL.to_vec());
    let proxy_protocol = option::of(prop::sample::select(ProxyProtocol::ALL.to_vec()));
    (scheduler, flags, option::of(persistence), any::<bool>(), proxy_protocol).prop_map(
        |(scheduler, flags, persistence, one_packet, proxy_protocol)| ServiceSettings {
            scheduler,
            flags,
            persistence,
            one_packet,
            proxy_protocol,
            source_nat: None,
        },
    )
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop::sample::select(Protocol::ALL.to_vec())
}

fn advertise() -> impl Strategy<Value = Advertise> {
    prop_oneof![Just(Advertise::Always), Just(Advertise::WithBackends)]
}

fn source_nat() -> impl Strategy<Value = SourceNat> {
    proptest::sample::select(SourceNat::ALL.to_vec())
}

fn several() -> impl Strategy<Value = Ports> {
    let range =
        (any_port(), any_port()).prop_map(|(one, other)| PortRange::new(one.min(other), one.max(other)).unwrap());
    vec(range, 1..4).prop_map(|ranges| Ports::new(ranges).unwrap())
}

fn load_balancer() -> impl Strategy<Value = LoadBalancer> {
    let phase = prop_oneof![Just(Phase::Active), Just(Phase::Deleting)];
    let place = (any_vips(), any_port(), protocol(), option::of(several()));
    let place = place.prop_map(|(vips, port, protocol, several)| {
        let port = several.as_ref().map_or(port, Ports::lowest);
        let mark = Mark::all().next().unwrap();
        (vips, port, protocol, several.map(|ports| Box::new(Marked { ports, mark })))
    });
    let choices = (advertise(), source_nat());
    (any_uuid(), any_name(), place, option::of(vec(backend(), 0..4)), phase, choices, service_settings()).prop_map(
        |(id, name, (vips, port, protocol, marked), backends, phase, (advertise, source_nat), service)| LoadBalancer {
            id: LoadBalancerId(id),
            serial: 1,
            name,
            vips,
            port,
            marked,
            protocol,
            backends: backends.map(Arc::from),
            phase,
            advertise,
            source_nat,
            service,
            check: None,
            extras: None,
            origin: slb_core::model::Origin::default(),
        },
    )
}

proptest! {
    #[test]
    fn a_load_balancer_that_is_shown_can_be_sent_back(is in load_balancer()) {
        let Whole(edit): Whole<LoadBalancerEdit> = parse(&to_json(&LoadBalancerView::from(&is))).unwrap();
        let backends = edit.backends.unwrap();
        prop_assert_eq!(edit.uuid, Some(is.id.0));
        prop_assert_eq!(edit.name.as_ref(), Some(&is.name));
        prop_assert_eq!((edit.eip, edit.eips), (Some(is.vips.first()), Some(is.vips)));
        prop_assert_eq!(edit.port, is.marked.is_none().then_some(is.port));
        prop_assert_eq!(edit.ports, is.marked.as_ref().map(|marked| marked.ports.clone()));
        prop_assert_eq!((edit.status, edit.advertise, edit.protocol), (Some(is.phase), Some(is.advertise), Some(is.protocol)));
        prop_assert_eq!(edit.source_nat, Some(is.source_nat));
        prop_assert_eq!(edit.service.of(ServiceSettings::default()), is.service);
        prop_assert_eq!(backends.len(), is.backends().len());
        for (edit, backend) in backends.iter().zip(is.backends()) {
            prop_assert!(edit.repeats(backend) && edit.uuid.is_some() && edit.change.weight.is_some());
        }
    }

    #[test]
    fn a_backend_that_is_shown_can_be_sent_back(is in backend(), other in backend()) {
        let Whole(edit): Whole<BackendEdit> = parse(&to_json(&BackendView::from(&is))).unwrap();
        prop_assert!(edit.repeats(&is));
        prop_assert_eq!(edit.repeats(&other), is == other);
    }

    #[test]
    fn a_wish_is_read_as_it_was_written(name in any_name(), ports in several(), vips in option::of(any_vips()), (advertise, source_nat) in (advertise(), source_nat()), protocol in protocol(), service in service_settings(), backends in vec(backend(), 0..4)) {
        let marked = Marked { ports: ports.clone(), mark: Mark::all().next().unwrap() };
        let is = LoadBalancer {
            id: LoadBalancerId(Uuid::nil()), serial: 1, name, vips: vips.unwrap_or(Vip::from_str("192.0.2.1").unwrap().into()), port: ports.lowest(), protocol, marked: Some(Box::new(marked)),
            backends: None, phase: Phase::Active, advertise, source_nat, service, check: None, extras: None,
            origin: slb_core::model::Origin::default(),
        };
        let mut body = serde_json::to_value(LoadBalancerView::from(&is)).unwrap();
        let list: Vec<_> = backends.iter().map(|backend| {
            let mut shown = serde_json::to_value(BackendView::from(backend)).unwrap();
            shown.as_object_mut().unwrap().remove("uuid");
            shown
        }).collect();
        let fields = body.as_object_mut().unwrap();
        fields.retain(|name, _| !["uuid", "status", "origin"].contains(&name.as_str()));
        fields.insert("backends".to_owned(), list.into());
        if vips.is_none() {
            fields.retain(|name, _| !["eip", "eips"].contains(&name.as_str()));
        }
        let read: LoadBalancerWish = parse(body.to_string().as_bytes()).unwrap();
        let wanted: Vec<Vip> = vips.into_iter().flatten().collect();
        prop_assert_eq!((read.name, read.listen, read.vips), (is.name, Listen::Ports(ports), WantedVips::new(None, &wanted).unwrap()));
        prop_assert_eq!((read.advertise, read.protocol, read.service), (advertise, protocol, service));
        prop_assert_eq!(read.source_nat, source_nat);
        let wanted: Vec<_> = read.backends.iter().map(|wish| Backend { id: BackendId(Uuid::nil()), ..wish.with_new_id().unwrap() }).collect();
        let asked: Vec<_> = backends.into_iter().map(|backend| Backend { id: BackendId(Uuid::nil()), ..backend }).collect();
        prop_assert_eq!(wanted, asked);
    }

    #[test]
    fn a_family_is_wanted_or_repeats_the_address(eip in option::of(any_vip()), is_ipv6: bool) {
        let (family, word) = if is_ipv6 { (Family::Ipv6, "ipv6") } else { (Family::Ipv4, "ipv4") };
        let read = parse::<LoadBalancerWish>(json!({"port": 80, "eip": eip, "family": word}).to_string().as_bytes());
        match eip {
            Some(vip) if vip.family() != family => prop_assert_eq!(read.unwrap_err().kind(), Kind::Invalid),
            Some(vip) => prop_assert_eq!(read.unwrap().vips, Wanted::Vip(vip).into()),
            None => prop_assert_eq!(read.unwrap().vips, Wanted::Of(family).into()),
        }
    }

    #[test]
    fn what_is_asked_of_vips_has_to_go_together(four in any_vip(), six in any_vip()) {
        prop_assume!(four.family() == Family::Ipv4 && six.family() == Family::Ipv6);
        let pointers = |body: serde_json::Value| {
            let problem = parse::<LoadBalancerWish>(body.to_string().as_bytes()).unwrap_err();
            problem.detail().split(':').next().unwrap().to_owned()
        };
        for (body, at) in [
            (json!({"port": 80, "eip": four, "eips": [six]}), "#/eip"),
            (json!({"port": 80, "eips": []}), "#/eips"),
            (json!({"port": 80, "eips": [four, four]}), "#/eips"),
            (json!({"port": 80, "eips": [four, six], "family": "ipv4"}), "#/eips"),
            (json!({"port": 80, "eips": [four, six, four]}), "#/eips"),
            (json!({"port": 80, "eip": six, "family": "ipv4"}), "#/family"),
            (json!({"port": 80, "family": "both"}), "#/family"),
        ] {
            prop_assert_eq!(pointers(body), at);
        }
        let read = parse::<LoadBalancerWish>(json!({"port": 80, "eip": six, "family": "dual"}).to_string().as_bytes());
        let wanted: Vec<_> = read.unwrap().vips.each().collect();
        prop_assert_eq!(wanted, [Wanted::Of(Family::Ipv4), Wanted::Vip(six)]);
    }

    /// Near JSON, so that it gets past the first character.
    #[test]
    fn any_text_is_read_or_refused(text in r#"[\[\]{}:,"0-9eE.+a-d\\ -]{0,60}|\{("(port|name|eip|backends|Port|x)":(-?[0-9]{1,9}|"[0-9.:]{0,9}"|null|\[(\{\},?){0,3}\]),?){0,5}\}"#) {
        if let Err(problem) = parse::<LoadBalancerWish>(text.as_bytes()) {
            prop_assert!(matches!(problem.kind(), Kind::NotJson | Kind::Invalid));
            prop_assert!(!problem.detail().is_empty());
        }
    }
}

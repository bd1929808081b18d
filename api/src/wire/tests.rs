// SPDX-License-Identifier: Apache-2.0
//! What is shown can be read back, and reading stands anything.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use proptest::{collection::vec, option, prelude::*};
use serde_json::json;
use slb_core::model::{Endpoint, Family};

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

fn any_name() -> impl Strategy<Value = Name> {
    r"[^\pC]{0,40}|[<>&\\/]{0,9}".prop_map(|name| Name::try_from(name).unwrap())
}

fn any_uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn wish() -> impl Strategy<Value = BackendWish> {
    let forwarding = prop_oneof![Just(Forwarding::Masquerade), Just(Forwarding::Local)];
    (address(), any_port(), forwarding, any::<u16>()).prop_map(|(ip, port, forwarding, weight)| BackendWish {
        target: Target { ip: BackendIp::try_from(ip).unwrap(), port },
        settings: BackendSettings { forwarding, weight: weight.into() },
    })
}

fn backend() -> impl Strategy<Value = Backend> {
    (any_uuid(), wish()).prop_map(|(id, BackendWish { target, settings })| Backend {
        id: BackendId(id),
        target,
        settings,
    })
}

fn scheduler() -> impl Strategy<Value = Scheduler> {
    prop::sample::select(Scheduler::ALL.to_vec())
}

fn advertise() -> impl Strategy<Value = Advertise> {
    prop_oneof![Just(Advertise::Always), Just(Advertise::WithBackends)]
}

fn load_balancer() -> impl Strategy<Value = LoadBalancer> {
    let phase = prop_oneof![Just(Phase::Active), Just(Phase::Deleting)];
    (any_uuid(), any_name(), any_vip(), any_port(), option::of(vec(backend(), 0..4)), phase, advertise(), scheduler())
        .prop_map(|(id, name, vip, port, backends, phase, advertise, scheduler)| LoadBalancer {
            id: LoadBalancerId(id),
            serial: 1,
            name,
            endpoint: Endpoint { vip, port },
            backends: backends.map(Arc::from),
            phase,
            advertise,
            service: slb_core::model::ServiceSettings { scheduler },
        })
}

proptest! {
    #[test]
    fn a_load_balancer_that_is_shown_can_be_sent_back(is in load_balancer()) {
        let Whole(edit): Whole<LoadBalancerEdit> = parse(&to_json(&LoadBalancerView::from(&is))).unwrap();
        let backends = edit.backends.unwrap();
        prop_assert_eq!(edit.uuid, Some(is.id.0));
        prop_assert_eq!(edit.name.as_ref(), Some(&is.name));
        prop_assert_eq!((edit.eip, edit.port), (Some(is.endpoint.vip), Some(is.endpoint.port)));
        prop_assert_eq!((edit.status, edit.advertise, edit.scheduler), (Some(is.phase), Some(is.advertise), Some(is.service.scheduler)));
        prop_assert_eq!(backends.len(), is.backends().len());
        for (edit, backend) in backends.iter().zip(is.backends()) {
            prop_assert!(edit.repeats(backend) && edit.uuid.is_some() && edit.weight.is_some());
        }
    }

    #[test]
    fn a_backend_that_is_shown_can_be_sent_back(is in backend(), other in backend()) {
        let Whole(edit): Whole<BackendEdit> = parse(&to_json(&BackendView::from(&is))).unwrap();
        prop_assert!(edit.repeats(&is));
        prop_assert_eq!(edit.repeats(&other), is == other);
    }

    #[test]
    fn a_wish_is_read_as_it_was_written(name in any_name(), port in any_port(), eip in option::of(any_vip()), advertise in advertise(), scheduler in scheduler(), backends in vec(wish(), 0..4)) {
        let list: Vec<_> = backends.iter().map(|backend| json!({
            "ip": backend.target.ip, "port": backend.target.port,
            "type": backend.settings.forwarding, "weight": f64::from(backend.settings.weight.get()),
        })).collect();
        let body = json!({"name": name.as_str(), "port": port, "eip": eip, "advertise": advertise, "scheduler": scheduler, "backends": list}).to_string();
        let read: LoadBalancerWish = parse(body.as_bytes()).unwrap();
        prop_assert_eq!(read, LoadBalancerWish { name, port, vip: eip.into(), advertise, scheduler, backends });
    }

    #[test]
    fn a_family_is_wanted_or_repeats_the_address(eip in option::of(any_vip()), is_ipv6: bool) {
        let (family, word) = if is_ipv6 { (Family::Ipv6, "ipv6") } else { (Family::Ipv4, "ipv4") };
        let read = parse::<LoadBalancerWish>(json!({"port": 80, "eip": eip, "family": word}).to_string().as_bytes());
        match eip {
            Some(vip) if vip.family() != family => prop_assert_eq!(read.unwrap_err().kind(), Kind::Invalid),
            Some(vip) => prop_assert_eq!(read.unwrap().vip, Wanted::Vip(vip)),
            None => prop_assert_eq!(read.unwrap().vip, Wanted::Of(family)),
        }
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

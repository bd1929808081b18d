// SPDX-License-Identifier: Apache-2.0
//! Records of load-balancers as earlier versions of slb wrote them, and what they are today. Nothing here changes any more.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{
    AdvertiseV2, BackendV3, LoadBalancerV3, PhaseV1, SourceNatV3,
    condition::ConditionV3,
    settings::{BackendSettingsV3, ForwardingV3, ProtocolV3, ServiceV3},
};

#[derive(Serialize, Deserialize)]
pub(super) struct LoadBalancerV1 {
    serial: u64,
    name: String,
    vip: [u8; 4],
    port: u16,
    backends: Option<Vec<BackendV1>>,
    phase: PhaseV1,
}

/// Follows the fields of the first version.
#[derive(Serialize, Deserialize)]
pub(super) struct MoreV2 {
    advertise: AdvertiseV2,
    /// By name.
    scheduler: String,
}

#[derive(Serialize, Deserialize)]
struct BackendV1 {
    id: [u8; 16],
    ip: [u8; 4],
    port: u16,
    forwarding: ForwardingV1,
    weight: u16,
}

/// Written by number, in this order.
#[derive(Serialize, Deserialize)]
enum ForwardingV1 {
    Masquerade,
    Local,
}

impl From<ForwardingV1> for ForwardingV3 {
    fn from(forwarding: ForwardingV1) -> Self {
        match forwarding {
            ForwardingV1::Masquerade => Self::Masquerade,
            ForwardingV1::Local => Self::Local,
        }
    }
}

impl From<LoadBalancerV1> for LoadBalancerV3 {
    fn from(record: LoadBalancerV1) -> Self {
        (record, MoreV2 { advertise: AdvertiseV2::Always, scheduler: "rr".to_owned() }).into()
    }
}

impl From<(LoadBalancerV1, MoreV2)> for LoadBalancerV3 {
    fn from((record, more): (LoadBalancerV1, MoreV2)) -> Self {
        let LoadBalancerV1 { serial, name, vip, port, backends, phase } = record;
        let MoreV2 { advertise, scheduler } = more;
        Self {
            serial,
            name,
            vip: Ipv4Addr::from(vip).into(),
            port,
            backends: backends.map(|backends| backends.into_iter().map(BackendV3::from).collect()),
            phase,
            advertise,
            protocol: ProtocolV3::Tcp,
            service: ServiceV3::plain(scheduler),
            check: None,
            fallback: None,
            drain: None,
            source_nat: SourceNatV3::Always,
        }
    }
}

impl From<BackendV1> for BackendV3 {
    fn from(BackendV1 { id, ip, port, forwarding, weight }: BackendV1) -> Self {
        Self {
            id,
            ip: Ipv4Addr::from(ip).into(),
            port,
            settings: BackendSettingsV3::plain(forwarding.into(), weight),
            check: None,
            condition: ConditionV3::default(),
        }
    }
}

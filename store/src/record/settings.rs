// SPDX-License-Identifier: Apache-2.0
//! What is written of the settings of services and backends.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use slb_core::model::{
    BackendSettings, Encapsulation, Forwarding, Invalid, Persistence, Port, Protocol, SchedulerFlags, ServiceSettings,
    Thresholds, Weight,
};

#[derive(Serialize, Deserialize)]
pub(super) struct ServiceV3 {
    /// By name.
    pub(super) scheduler: String,
    flags: (bool, bool),
    persistence: Option<PersistenceV3>,
    one_packet: bool,
}

#[derive(Serialize, Deserialize)]
struct PersistenceV3 {
    seconds: u32,
    granularity: Option<u8>,
}

impl ServiceV3 {
    /// With that scheduler and nothing else.
    pub(super) fn plain(scheduler: String) -> Self {
        Self { scheduler, flags: (false, false), persistence: None, one_packet: false }
    }
}

impl From<ServiceSettings> for ServiceV3 {
    /// Without the PROXY protocol and source NAT, which are written apart.
    fn from(
        ServiceSettings { scheduler, flags, persistence, one_packet, proxy_protocol: _, source_nat: _ }: ServiceSettings,
    ) -> Self {
        Self {
            scheduler: scheduler.name().to_owned(),
            flags: (flags.port, flags.fallback),
            persistence: persistence
                .map(|Persistence { timeout, granularity }| PersistenceV3 { seconds: timeout.seconds(), granularity }),
            one_packet,
        }
    }
}

impl TryFrom<ServiceV3> for ServiceSettings {
    type Error = Invalid;

    fn try_from(
        ServiceV3 { scheduler, flags: (port, fallback), persistence, one_packet }: ServiceV3,
    ) -> Result<Self, Invalid> {
        let persistence = match persistence {
            None => None,
            Some(PersistenceV3 { seconds, granularity }) => {
                Some(Persistence { timeout: Duration::from_secs(seconds.into()).try_into()?, granularity })
            }
        };
        let flags = SchedulerFlags { port, fallback };
        Ok(Self {
            scheduler: scheduler.parse()?,
            flags,
            persistence,
            one_packet,
            proxy_protocol: None,
            source_nat: None,
        })
    }
}

/// Written by number, in this order.
#[derive(Serialize, Deserialize)]
pub(super) enum ProtocolV3 {
    Tcp,
    Udp,
    Sctp,
}

impl From<Protocol> for ProtocolV3 {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
            Protocol::Sctp => Self::Sctp,
        }
    }
}

impl From<ProtocolV3> for Protocol {
    fn from(protocol: ProtocolV3) -> Self {
        match protocol {
            ProtocolV3::Tcp => Self::Tcp,
            ProtocolV3::Udp => Self::Udp,
            ProtocolV3::Sctp => Self::Sctp,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct BackendSettingsV3 {
    forwarding: ForwardingV3,
    weight: u16,
    /// Upper, lower.
    thresholds: (u32, u32),
}

/// Written by number, in this order.
#[derive(Serialize, Deserialize)]
pub(super) enum ForwardingV3 {
    Masquerade,
    Local,
    DirectRoute,
    TunnelIpip,
    TunnelGre,
    TunnelGue(u16),
}

impl BackendSettingsV3 {
    /// Without thresholds.
    pub(super) fn plain(forwarding: ForwardingV3, weight: u16) -> Self {
        Self { forwarding, weight, thresholds: (0, 0) }
    }
}

impl From<BackendSettings> for BackendSettingsV3 {
    fn from(BackendSettings { forwarding, weight, thresholds }: BackendSettings) -> Self {
        Self {
            forwarding: match forwarding {
                Forwarding::Masquerade => ForwardingV3::Masquerade,
                Forwarding::Local => ForwardingV3::Local,
                Forwarding::DirectRoute => ForwardingV3::DirectRoute,
                Forwarding::Tunnel(Encapsulation::Ipip) => ForwardingV3::TunnelIpip,
                Forwarding::Tunnel(Encapsulation::Gre) => ForwardingV3::TunnelGre,
                Forwarding::Tunnel(Encapsulation::Gue(port)) => ForwardingV3::TunnelGue(port.get()),
            },
            weight: weight.get(),
            thresholds: (thresholds.upper(), thresholds.lower()),
        }
    }
}

impl TryFrom<BackendSettingsV3> for BackendSettings {
    type Error = Invalid;

    fn try_from(record: BackendSettingsV3) -> Result<Self, Invalid> {
        let BackendSettingsV3 { forwarding, weight, thresholds: (upper, lower) } = record;
        let forwarding = match forwarding {
            ForwardingV3::Masquerade => Forwarding::Masquerade,
            ForwardingV3::Local => Forwarding::Local,
            ForwardingV3::DirectRoute => Forwarding::DirectRoute,
            ForwardingV3::TunnelIpip => Forwarding::Tunnel(Encapsulation::Ipip),
            ForwardingV3::TunnelGre => Forwarding::Tunnel(Encapsulation::Gre),
            ForwardingV3::TunnelGue(port) => Forwarding::Tunnel(Encapsulation::Gue(Port::try_from(i64::from(port))?)),
        };
        Ok(Self { forwarding, weight: Weight::from(weight), thresholds: Thresholds::new(upper, lower)? })
    }
}

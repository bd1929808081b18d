// SPDX-License-Identifier: Apache-2.0
//! What is written of a load-balancer: JSON with a version, so that a record can be read by people and by later versions of slb.
//!
//! The types are the record's own, made of nothing of the core's, so that the words of the core and of the API can change without
//! what is on disks out there. Reading goes through the core's constructors: what could not be created cannot be read either.

#[cfg(test)]
mod tests;

use std::{net::Ipv4Addr, sync::Arc};

use serde::{Deserialize, Serialize};
use slb_core::model::{
    Backend, BackendId, BackendIp, BackendSettings, Endpoint, Forwarding, Invalid, LoadBalancer, LoadBalancerId, Name,
    Phase, Port, Target, Vip, Weight,
};
use uuid::Uuid;

/// The version that is written, and the latest that is understood.
const VERSION: &str = "1";

/// Why a record makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A later version of slb wrote it.
    #[error("it was written by a later version of slb (record version {found:?}, this one knows {VERSION:?})")]
    Later {
        /// The version of the record.
        found: String,
    },
    /// It is no JSON, or not of the shape of its version.
    #[error("it is not a record")]
    Malformed(#[from] serde_json::Error),
    /// It holds a value that cannot be.
    #[error("a value in it cannot be")]
    Invalid(#[from] Invalid),
}

#[derive(Deserialize)]
struct Version {
    v: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadBalancerV1 {
    v: String,
    serial: u64,
    name: String,
    vip: Ipv4Addr,
    port: u16,
    backends: Option<Vec<BackendV1>>,
    phase: PhaseV1,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackendV1 {
    id: Uuid,
    ip: Ipv4Addr,
    port: u16,
    #[serde(rename = "type")]
    forwarding: ForwardingV1,
    weight: u16,
}

#[derive(Serialize, Deserialize)]
enum ForwardingV1 {
    #[serde(rename = "MASQ")]
    Masquerade,
    #[serde(rename = "LOCAL")]
    Local,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PhaseV1 {
    Active,
    Deleting,
}

/// The record of a load-balancer. Its id is the key, not part of it.
///
/// # Errors
/// None that can be met: the types have no maps, whose keys might be no strings.
pub fn encode(load_balancer: &LoadBalancer) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&LoadBalancerV1 {
        v: VERSION.to_owned(),
        serial: load_balancer.serial,
        name: load_balancer.name.as_str().to_owned(),
        vip: load_balancer.endpoint.vip.address(),
        port: load_balancer.endpoint.port.get(),
        backends: load_balancer.backends.as_ref().map(|backends| backends.iter().map(BackendV1::from).collect()),
        phase: match load_balancer.phase {
            Phase::Active => PhaseV1::Active,
            Phase::Deleting => PhaseV1::Deleting,
        },
    })
}

/// The load-balancer of a record.
///
/// # Errors
/// It is no record, of a later version, or holds a value that cannot be.
pub fn decode(id: LoadBalancerId, bytes: &[u8]) -> Result<LoadBalancer, Unreadable> {
    let LoadBalancerV1 { serial, name, vip, port, backends, phase, .. } = parse(bytes)?;
    let backends =
        backends.map(|backends| backends.into_iter().map(Backend::try_from).collect::<Result<Arc<[_]>, _>>());
    Ok(LoadBalancer {
        id,
        serial,
        name: Name::try_from(name)?,
        endpoint: Endpoint { vip: Vip::try_from(vip)?, port: Port::try_from(i64::from(port))? },
        backends: backends.transpose()?,
        phase: match phase {
            PhaseV1::Active => Phase::Active,
            PhaseV1::Deleting => Phase::Deleting,
        },
    })
}

/// Most records are of this version: the version alone is looked for only in those that are not.
fn parse(bytes: &[u8]) -> Result<LoadBalancerV1, Unreadable> {
    let parsed: serde_json::Result<LoadBalancerV1> = serde_json::from_slice(bytes);
    let found = match &parsed {
        Ok(record) => record.v.clone(),
        Err(_) => serde_json::from_slice::<Version>(bytes)?.v,
    };
    if found == VERSION { Ok(parsed?) } else { Err(Unreadable::Later { found }) }
}

impl From<&Backend> for BackendV1 {
    fn from(backend: &Backend) -> Self {
        let Backend { id, target: Target { ip, port }, settings: BackendSettings { forwarding, weight } } = *backend;
        Self {
            id: id.0,
            ip: ip.address(),
            port: port.get(),
            forwarding: match forwarding {
                Forwarding::Masquerade => ForwardingV1::Masquerade,
                Forwarding::Local => ForwardingV1::Local,
            },
            weight: weight.get(),
        }
    }
}

impl TryFrom<BackendV1> for Backend {
    type Error = Invalid;

    fn try_from(BackendV1 { id, ip, port, forwarding, weight }: BackendV1) -> Result<Self, Invalid> {
        let forwarding = match forwarding {
            ForwardingV1::Masquerade => Forwarding::Masquerade,
            ForwardingV1::Local => Forwarding::Local,
        };
        Ok(Self {
            id: BackendId(id),
            target: Target { ip: BackendIp::try_from(ip)?, port: Port::try_from(i64::from(port))? },
            settings: BackendSettings { forwarding, weight: Weight::from(weight) },
        })
    }
}

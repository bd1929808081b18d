// SPDX-License-Identifier: Apache-2.0
//! What is written of a load-balancer, and of a [`peer`]: a version, then its fields in the order of the types here, as postcard lays
//! them out (its specification 1.0: integers as varints, texts and lists behind their length). About 25 bytes a backend: what a start reads and a
//! memory card writes is little.
//!
//! The types are the record's own, made of nothing of the core's, so that the words of the core and of the API can change without
//! what is on disks out there. Reading goes through the core's constructors: what could not be created cannot be read either.

mod check;
pub mod peer;
#[cfg(test)]
mod tests;
pub mod uplink;

use std::{net::Ipv4Addr, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use slb_core::model::{
    Advertise, Backend, BackendId, BackendIp, BackendSettings, Endpoint, Forwarding, Invalid, LoadBalancer,
    LoadBalancerId, Name, Phase, Port, Scheduler, ServiceSettings, Target, Vip, Weight,
};
use uuid::Uuid;

/// The version that is written, and the latest that is understood.
const VERSION: u8 = 2;

/// Why a record makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A later version of slb wrote it.
    #[error("it was written by a later version of slb (record version {found}, this one knows {known})")]
    Later {
        /// The version of the record.
        found: u8,
        /// The latest version of its kind that is understood.
        known: u8,
    },
    /// It is not of the shape of its version.
    #[error("it is not a record")]
    Malformed(#[from] postcard::Error),
    /// Something follows its end.
    #[error("it is not a record: {0} bytes follow its end")]
    Longer(usize),
    /// It holds a value that cannot be.
    #[error("a value in it cannot be")]
    Invalid(#[from] Invalid),
}

#[derive(Serialize, Deserialize)]
struct LoadBalancerV1 {
    serial: u64,
    name: String,
    vip: [u8; 4],
    port: u16,
    backends: Option<Vec<BackendV1>>,
    phase: PhaseV1,
}

/// Follows the fields of the first version.
#[derive(Default, Serialize, Deserialize)]
struct MoreV2 {
    advertise: AdvertiseV2,
    /// By name.
    scheduler: String,
}

/// Written by number, in this order.
#[derive(Default, Serialize, Deserialize)]
enum AdvertiseV2 {
    #[default]
    Always,
    WithBackends,
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

/// Written by number, in this order.
#[derive(Serialize, Deserialize)]
enum PhaseV1 {
    Active,
    Deleting,
}

/// The record of a load-balancer. Its id is the key, not part of it.
///
/// # Errors
/// None that can be met: every length is known before it is written.
pub fn encode(load_balancer: &LoadBalancer) -> Result<Vec<u8>, postcard::Error> {
    let record = LoadBalancerV1 {
        serial: load_balancer.serial,
        name: load_balancer.name.as_str().to_owned(),
        vip: load_balancer.endpoint.vip.address().octets(),
        port: load_balancer.endpoint.port.get(),
        backends: load_balancer.backends.as_ref().map(|backends| backends.iter().map(BackendV1::from).collect()),
        phase: match load_balancer.phase {
            Phase::Active => PhaseV1::Active,
            Phase::Deleting => PhaseV1::Deleting,
        },
    };
    let more = MoreV2 {
        advertise: match load_balancer.advertise {
            Advertise::Always => AdvertiseV2::Always,
            Advertise::WithBackends => AdvertiseV2::WithBackends,
        },
        scheduler: load_balancer.service.scheduler.name().to_owned(),
    };
    postcard::to_extend(&(record, more), vec![VERSION])
}

/// The load-balancer of a record.
///
/// # Errors
/// It is no record, of a later version, or holds a value that cannot be.
pub fn decode(id: LoadBalancerId, bytes: &[u8]) -> Result<LoadBalancer, Unreadable> {
    let (LoadBalancerV1 { serial, name, vip, port, backends, phase }, more) = match version(bytes)? {
        (1, fields) => {
            (whole(fields)?, MoreV2 { scheduler: Scheduler::default().name().to_owned(), ..MoreV2::default() })
        }
        (VERSION, fields) => whole(fields)?,
        (found, _) => return Err(Unreadable::Later { found, known: VERSION }),
    };
    let backends =
        backends.map(|backends| backends.into_iter().map(Backend::try_from).collect::<Result<Arc<[_]>, _>>());
    Ok(LoadBalancer {
        id,
        serial,
        name: Name::try_from(name)?,
        endpoint: Endpoint { vip: Vip::try_from(Ipv4Addr::from(vip))?, port: Port::try_from(i64::from(port))? },
        backends: backends.transpose()?,
        phase: match phase {
            PhaseV1::Active => Phase::Active,
            PhaseV1::Deleting => Phase::Deleting,
        },
        advertise: match more.advertise {
            AdvertiseV2::Always => Advertise::Always,
            AdvertiseV2::WithBackends => Advertise::WithBackends,
        },
        service: ServiceSettings { scheduler: more.scheduler.parse()? },
    })
}

/// The version of a record, and what follows it.
fn version(bytes: &[u8]) -> Result<(u8, &[u8]), Unreadable> {
    Ok(postcard::take_from_bytes(bytes)?)
}

/// The fields, and nothing after them.
fn whole<T: DeserializeOwned>(fields: &[u8]) -> Result<T, Unreadable> {
    match postcard::take_from_bytes(fields)? {
        (record, []) => Ok(record),
        (_, rest) => Err(Unreadable::Longer(rest.len())),
    }
}

impl From<&Backend> for BackendV1 {
    fn from(backend: &Backend) -> Self {
        let Backend { id, target: Target { ip, port }, settings: BackendSettings { forwarding, weight } } = *backend;
        Self {
            id: id.0.into_bytes(),
            ip: ip.address().octets(),
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
            id: BackendId(Uuid::from_bytes(id)),
            target: Target { ip: BackendIp::try_from(Ipv4Addr::from(ip))?, port: Port::try_from(i64::from(port))? },
            settings: BackendSettings { forwarding, weight: Weight::from(weight) },
        })
    }
}

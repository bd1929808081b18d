// SPDX-License-Identifier: Apache-2.0
//! What is written of a load-balancer, of a [`peer`], and of a request that is [`kept`]: a version, then its fields in the order of the types here, as postcard lays
//! them out (its specification 1.0: integers as varints, texts and lists behind their length). About 25 bytes a backend: what a start reads and a
//! memory card writes is little.
//!
//! The types are the record's own, made of nothing of the core's, so that the words of the core and of the API can change without
//! what is on disks out there. Reading goes through the core's constructors: what could not be created cannot be read either.

mod check;
mod condition;
mod earlier;
pub mod kept;
pub mod peer;
mod settings;
#[cfg(test)]
mod tests;
pub mod uplink;
mod vip_checks;

use std::{net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use slb_core::model::{
    Advertise, Backend, BackendId, BackendIp, Drain, Fallback, Invalid, LoadBalancer, LoadBalancerId, Mark, Marked,
    Name, Origin, Phase, Port, PortRange, Ports, ProxyProtocol, ServiceSettings, SourceNat, Target, Vip, Vips,
    check::{HealthCheck, PanicThreshold, Reaction},
};
use uuid::Uuid;

use self::{
    check::CheckV3,
    condition::{ConditionV3, DrainV3},
    earlier::{LoadBalancerV1, MoreV2},
    settings::{BackendSettingsV3, ProtocolV3, ServiceV3},
    vip_checks::VipChecksV5,
};

/// The version that is written, and the latest that is understood.
const VERSION: u8 = 7;

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
struct LoadBalancerV3 {
    serial: u64,
    name: String,
    /// The number of its family, 0 for IPv4 and 1 for IPv6, and its 4 or 16 bytes.
    vip: IpAddr,
    port: u16,
    backends: Option<Vec<BackendV3>>,
    phase: PhaseV1,
    advertise: AdvertiseV2,
    protocol: ProtocolV3,
    service: ServiceV3,
    check: Option<CheckV3>,
    fallback: Option<FallbackV3>,
    drain: Option<DrainV3>,
    source_nat: SourceNatV3,
}

/// Follows the fields of the third version.
#[derive(Default, Serialize, Deserialize)]
struct MoreV4 {
    marked: Option<MarkedV4>,
    /// The VIP of IPv6 beside one of IPv4.
    second_vip: Option<IpAddr>,
}

/// Several ports, instead of the one of the first version; and backends without a port, which is written as 0.
#[derive(Serialize, Deserialize)]
struct MarkedV4 {
    mark: u32,
    /// From the first to the last of each range.
    ports: Vec<(u16, u16)>,
}

#[derive(Serialize, Deserialize)]
struct FallbackV3 {
    ip: IpAddr,
    port: u16,
    settings: BackendSettingsV3,
}

/// Follows all that the fifth version had. Written by number, in this order.
#[derive(Default, Serialize, Deserialize)]
enum OriginV6 {
    #[default]
    Api,
    File,
}

/// Follows all that the sixth version had. Written by number, in this order.
#[derive(Default, Serialize, Deserialize)]
enum ProxyProtocolV7 {
    #[default]
    None,
    V1,
    V2,
}

/// Written by number, in this order.
#[derive(Serialize, Deserialize)]
enum SourceNatV3 {
    Always,
    SameNetwork,
    Never,
}

/// Written by number, in this order.
#[derive(Serialize, Deserialize)]
enum AdvertiseV2 {
    Always,
    WithBackends,
}

#[derive(Serialize, Deserialize)]
struct BackendV3 {
    id: [u8; 16],
    ip: IpAddr,
    port: u16,
    settings: BackendSettingsV3,
    /// Apart, for it is large and few have one: memory that the reading of a whole store would touch.
    check: Option<Box<CheckV3>>,
    condition: ConditionV3,
}

/// Written by number, in this order.
#[derive(Serialize, Deserialize)]
enum PhaseV1 {
    Active,
    Deleting,
}

/// What a record of any version holds.
struct Fields {
    record: LoadBalancerV3,
    more: MoreV4,
    vip_checks: VipChecksV5,
    origin: OriginV6,
    proxy_protocol: ProxyProtocolV7,
}

impl Fields {
    /// Of a record that has no more.
    fn of(record: LoadBalancerV3) -> Self {
        Self {
            record,
            more: MoreV4::default(),
            vip_checks: VipChecksV5::default(),
            origin: OriginV6::default(),
            proxy_protocol: ProxyProtocolV7::default(),
        }
    }
}

/// The record of a load-balancer. Its id is the key, not part of it.
///
/// # Errors
/// None that can be met: every length is known before it is written.
pub fn encode(load_balancer: &LoadBalancer) -> Result<Vec<u8>, postcard::Error> {
    let record = LoadBalancerV3 {
        serial: load_balancer.serial,
        name: load_balancer.name.as_str().to_owned(),
        vip: load_balancer.vips.first().address(),
        port: load_balancer.port.get(),
        backends: load_balancer.backends.as_ref().map(|backends| backends.iter().map(BackendV3::from).collect()),
        phase: match load_balancer.phase {
            Phase::Active => PhaseV1::Active,
            Phase::Deleting => PhaseV1::Deleting,
        },
        advertise: match load_balancer.advertise {
            Advertise::Always => AdvertiseV2::Always,
            Advertise::WithBackends => AdvertiseV2::WithBackends,
        },
        protocol: load_balancer.protocol.into(),
        service: load_balancer.service.into(),
        check: load_balancer.check.as_deref().map(CheckV3::from),
        fallback: load_balancer.fallback().map(|Fallback { target, settings }| FallbackV3 {
            ip: target.ip.address(),
            port: target.port.map_or(0, Port::get),
            settings: (*settings).into(),
        }),
        drain: load_balancer.drain().map(DrainV3::from),
        source_nat: match load_balancer.source_nat {
            SourceNat::Always => SourceNatV3::Always,
            SourceNat::SameNetwork => SourceNatV3::SameNetwork,
            SourceNat::Never => SourceNatV3::Never,
        },
    };
    let more = MoreV4 {
        marked: load_balancer.marked.as_deref().map(MarkedV4::from),
        second_vip: load_balancer.vips.second().map(Vip::address),
    };
    let origin = match load_balancer.origin {
        Origin::Api => OriginV6::Api,
        Origin::File => OriginV6::File,
    };
    let proxy_protocol = match load_balancer.service.proxy_protocol {
        None => ProxyProtocolV7::None,
        Some(ProxyProtocol::V1) => ProxyProtocolV7::V1,
        Some(ProxyProtocol::V2) => ProxyProtocolV7::V2,
    };
    postcard::to_extend(&(record, more, VipChecksV5::from(load_balancer), origin, proxy_protocol), vec![VERSION])
}

/// The load-balancer of a record.
///
/// # Errors
/// It is no record, of a later version, or holds a value that cannot be.
pub fn decode(id: LoadBalancerId, bytes: &[u8]) -> Result<LoadBalancer, Unreadable> {
    let Fields { record, more: MoreV4 { marked, second_vip }, vip_checks, origin, proxy_protocol } =
        match version(bytes)? {
            (1, fields) => Fields::of(whole::<LoadBalancerV1>(fields)?.into()),
            (2, fields) => Fields::of(whole::<(LoadBalancerV1, MoreV2)>(fields)?.into()),
            (3, fields) => Fields::of(whole(fields)?),
            (4, fields) => {
                let (record, more) = whole(fields)?;
                Fields { more, ..Fields::of(record) }
            }
            (5, fields) => {
                let (record, more, vip_checks) = whole(fields)?;
                Fields { more, vip_checks, ..Fields::of(record) }
            }
            (6, fields) => {
                let (record, more, vip_checks, origin) = whole(fields)?;
                Fields { more, vip_checks, origin, ..Fields::of(record) }
            }
            (VERSION, fields) => {
                let (record, more, vip_checks, origin, proxy_protocol) = whole(fields)?;
                Fields { record, more, vip_checks, origin, proxy_protocol }
            }
            (found, _) => return Err(Unreadable::Later { found, known: VERSION }),
        };
    let LoadBalancerV3 {
        serial,
        name,
        vip,
        port,
        backends,
        phase,
        advertise,
        protocol,
        service,
        check,
        fallback,
        drain,
        source_nat,
    } = record;
    let marked = marked.map(Marked::try_from).transpose()?;
    let port = marked.as_ref().map_or_else(|| Port::try_from(i64::from(port)), |marked| Ok(marked.ports.lowest()))?;
    let load_balancer = LoadBalancer {
        id,
        serial,
        name: Name::try_from(name)?,
        vips: vips(vip, second_vip)?,
        port,
        marked: marked.map(Box::new),
        protocol: protocol.into(),
        backends: backends.map(read_backends).transpose()?,
        phase: match phase {
            PhaseV1::Active => Phase::Active,
            PhaseV1::Deleting => Phase::Deleting,
        },
        advertise: match advertise {
            AdvertiseV2::Always => Advertise::Always,
            AdvertiseV2::WithBackends => Advertise::WithBackends,
        },
        service: ServiceSettings {
            proxy_protocol: match proxy_protocol {
                ProxyProtocolV7::None => None,
                ProxyProtocolV7::V1 => Some(ProxyProtocol::V1),
                ProxyProtocolV7::V2 => Some(ProxyProtocol::V2),
            },
            ..service.try_into()?
        },
        check: check.map(read_check).transpose()?,
        source_nat: match source_nat {
            SourceNatV3::Always => SourceNat::Always,
            SourceNatV3::SameNetwork => SourceNat::SameNetwork,
            SourceNatV3::Never => SourceNat::Never,
        },
        origin: match origin {
            OriginV6::Api => Origin::Api,
            OriginV6::File => Origin::File,
        },
        extras: None,
    }
    .with_fallback(fallback.map(Fallback::try_from).transpose()?)
    .with_drain(drain.map(Drain::from));
    let mut targets = load_balancer.backends().iter().map(|backend| backend.target);
    let keeps_port = |target: Target| target.port.is_none();
    if load_balancer.marked.is_none()
        && (targets.any(keeps_port) || load_balancer.fallback().is_some_and(|it| keeps_port(it.target)))
    {
        return Err(Invalid("a backend of a single port has none".to_owned()).into());
    }
    Ok(vip_checks.put_in(load_balancer)?)
}

impl From<&Marked> for MarkedV4 {
    fn from(Marked { ports, mark }: &Marked) -> Self {
        let ports = ports.ranges().iter().map(|range| (range.first().get(), range.last().get()));
        Self { mark: mark.get(), ports: ports.collect() }
    }
}

impl TryFrom<MarkedV4> for Marked {
    type Error = Invalid;

    fn try_from(MarkedV4 { mark, ports }: MarkedV4) -> Result<Self, Invalid> {
        let port = |number: u16| Port::try_from(i64::from(number));
        let ranges = ports.into_iter().map(|(first, last)| PortRange::new(port(first)?, port(last)?));
        Ok(Self { ports: Ports::new(ranges.collect::<Result<Vec<_>, _>>()?)?, mark: Mark::try_from(mark)? })
    }
}

impl TryFrom<FallbackV3> for Fallback {
    type Error = Invalid;

    fn try_from(FallbackV3 { ip, port, settings }: FallbackV3) -> Result<Self, Invalid> {
        Ok(Self { target: target(ip, port)?, settings: settings.try_into()? })
    }
}

/// Collected, they would take over the memory of the records, cut to a multiple of their own size, which the records of the next
/// load-balancer do not fit in: a hole for each.
fn read_backends(records: Vec<BackendV3>) -> Result<Arc<[Backend]>, Invalid> {
    let mut backends = Vec::with_capacity(records.len());
    for record in records {
        backends.push(record.try_into()?);
    }
    Ok(backends.into())
}

fn vips(first: IpAddr, second: Option<IpAddr>) -> Result<Vips, Invalid> {
    let first = Vip::try_from(first)?;
    second.map_or(Ok(first.into()), |second| Vips::both(first, Vip::try_from(second)?))
}

fn target(ip: IpAddr, port: u16) -> Result<Target, Invalid> {
    let port = Some(port).filter(|port| *port != 0).map(|port| Port::try_from(i64::from(port)));
    Ok(Target { ip: BackendIp::try_from(ip)?, port: port.transpose()? })
}

fn read_check(record: CheckV3) -> Result<Arc<HealthCheck>, Invalid> {
    HealthCheck::try_from(record).map(Arc::new)
}

/// A panic threshold could once be said there, and meant nothing.
fn read_backend_check(record: CheckV3) -> Result<Arc<HealthCheck>, Invalid> {
    let HealthCheck { check, reaction } = HealthCheck::try_from(record)?;
    let reaction = Reaction { panic_threshold: PanicThreshold::default(), ..reaction };
    Ok(Arc::new(HealthCheck { check, reaction }))
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

impl From<&Backend> for BackendV3 {
    fn from(backend: &Backend) -> Self {
        let Backend { id, target: Target { ip, port }, .. } = backend;
        Self {
            id: id.0.into_bytes(),
            ip: ip.address(),
            port: port.map_or(0, Port::get),
            settings: backend.settings().into(),
            check: backend.check().map(|check| Box::new(CheckV3::from(&**check))),
            condition: (*backend.condition()).into(),
        }
    }
}

impl TryFrom<BackendV3> for Backend {
    type Error = Invalid;

    fn try_from(record: BackendV3) -> Result<Self, Invalid> {
        let BackendV3 { id, ip, port, settings, check, condition } = record;
        let backend = Self::new(BackendId(Uuid::from_bytes(id)), target(ip, port)?, settings.try_into()?);
        let check = check.map(|check| read_backend_check(*check)).transpose()?;
        Ok(backend.with_check(check).with_condition(condition.into()))
    }
}

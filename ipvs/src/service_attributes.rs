// SPDX-License-Identifier: Apache-2.0
//! `IPVS_SVC_ATTR_…`: a service as it stands in a message, whole or in part.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DecodeError, parse_u16, parse_u16_be, parse_u32};

use crate::{
    Family, Name, Netmask, Other, Service, ServiceId, Stats,
    attribute::{self, Attributes, Sink},
    stats::{Narrow, Wide},
    uapi::*,
};

/// Every attribute of a service, each of which may be missing. Numbers are kept as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAttributes {
    /// `IPVS_SVC_ATTR_AF`
    pub family: Option<u16>,
    /// `IPVS_SVC_ATTR_PROTOCOL`
    pub protocol: Option<u16>,
    /// `IPVS_SVC_ATTR_ADDR`: `union nf_inet_addr`, an IPv4 address in its first four bytes.
    pub address: Option<[u8; 16]>,
    /// `IPVS_SVC_ATTR_PORT`
    pub port: Option<u16>,
    /// `IPVS_SVC_ATTR_FWMARK`
    pub fwmark: Option<u32>,
    /// `IPVS_SVC_ATTR_SCHED_NAME`
    pub scheduler: Option<Name>,
    /// `IPVS_SVC_ATTR_PE_NAME`
    pub engine: Option<Name>,
    /// `IPVS_SVC_ATTR_FLAGS`: `struct ip_vs_flags`, flags and the mask of those that are meant.
    pub flags: Option<(u32, u32)>,
    /// `IPVS_SVC_ATTR_TIMEOUT`, seconds
    pub timeout: Option<u32>,
    /// `IPVS_SVC_ATTR_NETMASK`: an IPv4 mask in network order, or an IPv6 prefix length as a number.
    pub netmask: Option<[u8; 4]>,
    /// `IPVS_SVC_ATTR_STATS`
    pub stats: Option<Stats>,
    /// `IPVS_SVC_ATTR_STATS64`
    pub stats64: Option<Stats>,
    /// What else there is.
    pub other: Vec<Other>,
}

impl ServiceAttributes {
    /// What identifies the service.
    pub(crate) fn id(&self) -> Result<ServiceId, DecodeError> {
        let family = match self.family {
            Some(AF_INET) => Family::Inet,
            Some(AF_INET6) => Family::Inet6,
            other => return Err(format!("a service of address family {other:?}").into()),
        };
        if let Some(mark) = self.fwmark {
            return Ok(ServiceId::Fwmark { mark, family });
        }
        Ok(ServiceId::Address {
            protocol: self.protocol.ok_or("a service without a protocol")?.into(),
            address: address_of(family, self.address.ok_or("a service without an address")?),
            port: self.port.ok_or("a service without a port")?,
        })
    }

    pub(crate) fn read(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut read = ServiceAttributes::default();
        let mut other = Vec::new();
        attribute::read(payload, &mut other, |kind, value| {
            match kind {
                IPVS_SVC_ATTR_AF => read.family = Some(parse_u16(value)?),
                IPVS_SVC_ATTR_PROTOCOL => read.protocol = Some(parse_u16(value)?),
                IPVS_SVC_ATTR_ADDR => read.address = Some(parse_address(value)?),
                IPVS_SVC_ATTR_PORT => read.port = Some(parse_u16_be(value)?),
                IPVS_SVC_ATTR_FWMARK => read.fwmark = Some(parse_u32(value)?),
                IPVS_SVC_ATTR_SCHED_NAME => read.scheduler = Some(Name::from_kernel(value)),
                IPVS_SVC_ATTR_PE_NAME => read.engine = Some(Name::from_kernel(value)),
                IPVS_SVC_ATTR_FLAGS => read.flags = Some(parse_flags(value)?),
                IPVS_SVC_ATTR_TIMEOUT => read.timeout = Some(parse_u32(value)?),
                IPVS_SVC_ATTR_NETMASK => read.netmask = Some(parse_u32(value)?.to_ne_bytes()),
                IPVS_SVC_ATTR_STATS => read.stats = Some(Stats::read_narrow(value)?),
                IPVS_SVC_ATTR_STATS64 => read.stats64 = Some(Stats::read_wide(value)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(ServiceAttributes { other, ..read })
    }
}

impl Attributes for ServiceAttributes {
    /// In the order of `ip_vs_genl_fill_service`.
    fn write(&self, sink: &mut impl Sink) {
        self.family.inspect(|value| sink.put_u16(IPVS_SVC_ATTR_AF, *value));
        self.fwmark.inspect(|value| sink.put_u32(IPVS_SVC_ATTR_FWMARK, *value));
        self.protocol.inspect(|value| sink.put_u16(IPVS_SVC_ATTR_PROTOCOL, *value));
        self.address.inspect(|value| sink.put(IPVS_SVC_ATTR_ADDR, value));
        self.port.inspect(|value| sink.put(IPVS_SVC_ATTR_PORT, &value.to_be_bytes()));
        if let Some(name) = &self.scheduler {
            sink.put_text(IPVS_SVC_ATTR_SCHED_NAME, name.as_str());
        }
        if let Some(name) = &self.engine {
            sink.put_text(IPVS_SVC_ATTR_PE_NAME, name.as_str());
        }
        if let Some((flags, mask)) = self.flags {
            let value = [flags.to_ne_bytes(), mask.to_ne_bytes()].concat();
            sink.put(IPVS_SVC_ATTR_FLAGS, &value);
        }
        self.timeout.inspect(|value| sink.put_u32(IPVS_SVC_ATTR_TIMEOUT, *value));
        self.netmask.inspect(|value| sink.put(IPVS_SVC_ATTR_NETMASK, value));
        self.stats.inspect(|value| sink.nest(IPVS_SVC_ATTR_STATS, &Narrow(value)));
        self.stats64.inspect(|value| sink.nest(IPVS_SVC_ATTR_STATS64, &Wide(value)));
        sink.put_others(&self.other);
    }
}

impl From<&ServiceId> for ServiceAttributes {
    fn from(id: &ServiceId) -> Self {
        let family = Some(match id.family() {
            Family::Inet => AF_INET,
            Family::Inet6 => AF_INET6,
        });
        match *id {
            ServiceId::Address { protocol, address, port } => ServiceAttributes {
                family,
                protocol: Some(protocol.into()),
                address: Some(bytes_of(address)),
                port: Some(port),
                ..ServiceAttributes::default()
            },
            ServiceId::Fwmark { mark, .. } => {
                ServiceAttributes { family, fwmark: Some(mark), ..ServiceAttributes::default() }
            }
        }
    }
}

impl From<&Service> for ServiceAttributes {
    fn from(service: &Service) -> Self {
        let family = service.id.family();
        let persistent = service.persistence.map_or(0, |_| IP_VS_SVC_F_PERSISTENT);
        let netmask = service.persistence.map_or(Netmask::single(family), |kept| kept.netmask);
        ServiceAttributes {
            scheduler: Some(service.scheduler.clone()),
            engine: service.engine.clone(),
            // All flags are meant; the kernel sets HASHED by itself.
            flags: Some((service.flags.bits() | persistent, u32::MAX)),
            timeout: Some(service.persistence.map_or(0, |kept| kept.timeout)),
            // A mask of the other family would be taken for something else. Left out, the kernel answers EINVAL.
            netmask: match (family, netmask) {
                (Family::Inet, Netmask::V4(mask)) => Some(mask.octets()),
                (Family::Inet6, Netmask::V6(prefix)) => Some(u32::from(prefix).to_ne_bytes()),
                (Family::Inet, Netmask::V6(_)) | (Family::Inet6, Netmask::V4(_)) => None,
            },
            ..ServiceAttributes::from(&service.id)
        }
    }
}

/// `struct ip_vs_flags`
fn parse_flags(value: &[u8]) -> Result<(u32, u32), DecodeError> {
    let (flags, mask) = value.split_at_checked(4).ok_or("IPVS_SVC_ATTR_FLAGS is too short")?;
    Ok((parse_u32(flags)?, parse_u32(mask)?))
}

/// `union nf_inet_addr`; shorter values are filled up with zeros, as the kernel does.
pub(crate) fn parse_address(value: &[u8]) -> Result<[u8; 16], DecodeError> {
    let mut bytes = [0; 16];
    let room = bytes.get_mut(..value.len()).ok_or("an address of more than 16 bytes")?;
    room.copy_from_slice(value);
    Ok(bytes)
}

pub(crate) fn address_of(family: Family, bytes: [u8; 16]) -> IpAddr {
    match family {
        Family::Inet => {
            let [a, b, c, d, ..] = bytes;
            Ipv4Addr::new(a, b, c, d).into()
        }
        Family::Inet6 => Ipv6Addr::from(bytes).into(),
    }
}

pub(crate) fn bytes_of(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

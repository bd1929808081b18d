// SPDX-License-Identifier: Apache-2.0
//! `IPVS_DEST_ATTR_…`: a destination as it stands in a message, whole or in part.

use netlink_packet_core::{DecodeError, parse_u8, parse_u16, parse_u16_be, parse_u32};

use crate::{
    Destination, DestinationId, Family, Forward, Other, Stats, Tunnel,
    attribute::{self, Attributes, Sink},
    service_attributes::{bytes_of, parse_address},
    stats::{Narrow, Wide},
    uapi::*,
};

/// Every attribute of a destination, each of which may be missing. Numbers are kept as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationAttributes {
    /// `IPVS_DEST_ATTR_ADDR`: `union nf_inet_addr`, an IPv4 address in its first four bytes.
    pub address: Option<[u8; 16]>,
    /// `IPVS_DEST_ATTR_PORT`
    pub port: Option<u16>,
    /// `IPVS_DEST_ATTR_FWD_METHOD`
    pub forward_method: Option<u32>,
    /// `IPVS_DEST_ATTR_WEIGHT`
    pub weight: Option<u32>,
    /// `IPVS_DEST_ATTR_TUN_TYPE`
    pub tunnel_type: Option<u8>,
    /// `IPVS_DEST_ATTR_TUN_PORT`
    pub tunnel_port: Option<u16>,
    /// `IPVS_DEST_ATTR_TUN_FLAGS`
    pub tunnel_flags: Option<u16>,
    /// `IPVS_DEST_ATTR_U_THRESH`
    pub upper_threshold: Option<u32>,
    /// `IPVS_DEST_ATTR_L_THRESH`
    pub lower_threshold: Option<u32>,
    /// `IPVS_DEST_ATTR_ACTIVE_CONNS`
    pub active_connections: Option<u32>,
    /// `IPVS_DEST_ATTR_INACT_CONNS`
    pub inactive_connections: Option<u32>,
    /// `IPVS_DEST_ATTR_PERSIST_CONNS`
    pub persistent_connections: Option<u32>,
    /// `IPVS_DEST_ATTR_ADDR_FAMILY`
    pub family: Option<u16>,
    /// `IPVS_DEST_ATTR_STATS`
    pub stats: Option<Stats>,
    /// `IPVS_DEST_ATTR_STATS64`
    pub stats64: Option<Stats>,
    /// What else there is.
    pub other: Vec<Other>,
}

impl DestinationAttributes {
    /// The forwarding method with its tunnel.
    pub(crate) fn forward(&self) -> Result<Forward, DecodeError> {
        Ok(match self.forward_method.ok_or("a destination without a forwarding method")? {
            IP_VS_CONN_F_MASQ => Forward::Masquerade,
            IP_VS_CONN_F_LOCALNODE => Forward::Local,
            // Kernels before 5.2 know IPIP only and do not say so.
            IP_VS_CONN_F_TUNNEL => Forward::Tunnel(Tunnel {
                kind: self.tunnel_type.unwrap_or(IP_VS_CONN_F_TUNNEL_TYPE_IPIP).into(),
                port: self.tunnel_port.unwrap_or_default(),
                flags: self.tunnel_flags.unwrap_or_default(),
            }),
            IP_VS_CONN_F_DROUTE => Forward::DirectRoute,
            IP_VS_CONN_F_BYPASS => Forward::Bypass,
            other => Forward::Other(other),
        })
    }

    pub(crate) fn read(payload: &[u8]) -> Result<Self, DecodeError> {
        Self::read_with(payload, |read, kind, value| {
            match kind {
                IPVS_DEST_ATTR_STATS => read.stats = Some(Stats::read_narrow(value)?),
                IPVS_DEST_ATTR_STATS64 => read.stats64 = Some(Stats::read_wide(value)?),
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    /// The same without counters, and without what else there is.
    pub(crate) fn read_asked(payload: &[u8]) -> Result<Self, DecodeError> {
        Self::read_with(payload, |_, _, _| Ok(true))
    }

    /// `more` takes what it knows of all that cannot be asked for, and returns `false` for the rest.
    fn read_with(
        payload: &[u8],
        more: impl Fn(&mut Self, u16, &[u8]) -> Result<bool, DecodeError>,
    ) -> Result<Self, DecodeError> {
        let mut read = DestinationAttributes::default();
        let mut other = Vec::new();
        attribute::read(payload, &mut other, |kind, value| {
            match kind {
                IPVS_DEST_ATTR_ADDR => read.address = Some(parse_address(value)?),
                IPVS_DEST_ATTR_PORT => read.port = Some(parse_u16_be(value)?),
                IPVS_DEST_ATTR_FWD_METHOD => read.forward_method = Some(parse_u32(value)?),
                IPVS_DEST_ATTR_WEIGHT => read.weight = Some(parse_u32(value)?),
                IPVS_DEST_ATTR_TUN_TYPE => read.tunnel_type = Some(parse_u8(value)?),
                IPVS_DEST_ATTR_TUN_PORT => read.tunnel_port = Some(parse_u16_be(value)?),
                IPVS_DEST_ATTR_TUN_FLAGS => read.tunnel_flags = Some(parse_u16(value)?),
                IPVS_DEST_ATTR_U_THRESH => read.upper_threshold = Some(parse_u32(value)?),
                IPVS_DEST_ATTR_L_THRESH => read.lower_threshold = Some(parse_u32(value)?),
                IPVS_DEST_ATTR_ACTIVE_CONNS => read.active_connections = Some(parse_u32(value)?),
                IPVS_DEST_ATTR_INACT_CONNS => read.inactive_connections = Some(parse_u32(value)?),
                IPVS_DEST_ATTR_PERSIST_CONNS => read.persistent_connections = Some(parse_u32(value)?),
                IPVS_DEST_ATTR_ADDR_FAMILY => read.family = Some(parse_u16(value)?),
                _ => return more(&mut read, kind, value),
            }
            Ok(true)
        })?;
        Ok(DestinationAttributes { other, ..read })
    }
}

impl Attributes for DestinationAttributes {
    /// In the order of `ip_vs_genl_fill_dest`.
    fn write(&self, sink: &mut impl Sink) {
        self.address.inspect(|value| sink.put(IPVS_DEST_ATTR_ADDR, value));
        self.port.inspect(|value| sink.put(IPVS_DEST_ATTR_PORT, &value.to_be_bytes()));
        self.forward_method.inspect(|value| sink.put_u32(IPVS_DEST_ATTR_FWD_METHOD, *value));
        self.weight.inspect(|value| sink.put_u32(IPVS_DEST_ATTR_WEIGHT, *value));
        self.tunnel_type.inspect(|value| sink.put_u8(IPVS_DEST_ATTR_TUN_TYPE, *value));
        self.tunnel_port.inspect(|value| sink.put(IPVS_DEST_ATTR_TUN_PORT, &value.to_be_bytes()));
        self.tunnel_flags.inspect(|value| sink.put_u16(IPVS_DEST_ATTR_TUN_FLAGS, *value));
        self.upper_threshold.inspect(|value| sink.put_u32(IPVS_DEST_ATTR_U_THRESH, *value));
        self.lower_threshold.inspect(|value| sink.put_u32(IPVS_DEST_ATTR_L_THRESH, *value));
        self.active_connections.inspect(|value| sink.put_u32(IPVS_DEST_ATTR_ACTIVE_CONNS, *value));
        self.inactive_connections.inspect(|value| sink.put_u32(IPVS_DEST_ATTR_INACT_CONNS, *value));
        self.persistent_connections.inspect(|value| sink.put_u32(IPVS_DEST_ATTR_PERSIST_CONNS, *value));
        self.family.inspect(|value| sink.put_u16(IPVS_DEST_ATTR_ADDR_FAMILY, *value));
        self.stats.inspect(|value| sink.nest(IPVS_DEST_ATTR_STATS, &Narrow(value)));
        self.stats64.inspect(|value| sink.nest(IPVS_DEST_ATTR_STATS64, &Wide(value)));
        sink.put_others(&self.other);
    }
}

impl From<&DestinationId> for DestinationAttributes {
    fn from(id: &DestinationId) -> Self {
        DestinationAttributes {
            address: Some(bytes_of(id.address)),
            port: Some(id.port),
            family: Some(match Family::of(id.address) {
                Family::Inet => AF_INET,
                Family::Inet6 => AF_INET6,
            }),
            ..DestinationAttributes::default()
        }
    }
}

impl From<&Destination> for DestinationAttributes {
    fn from(destination: &Destination) -> Self {
        let (method, tunnel) = match destination.forward {
            Forward::Masquerade => (IP_VS_CONN_F_MASQ, None),
            Forward::Local => (IP_VS_CONN_F_LOCALNODE, None),
            Forward::Tunnel(tunnel) => (IP_VS_CONN_F_TUNNEL, Some(tunnel)),
            Forward::DirectRoute => (IP_VS_CONN_F_DROUTE, None),
            Forward::Bypass => (IP_VS_CONN_F_BYPASS, None),
            Forward::Other(other) => (other, None),
        };
        DestinationAttributes {
            forward_method: Some(method),
            weight: Some(destination.weight),
            tunnel_type: tunnel.map(|tunnel| tunnel.kind.into()),
            tunnel_port: tunnel.map(|tunnel| tunnel.port),
            tunnel_flags: tunnel.map(|tunnel| tunnel.flags),
            upper_threshold: Some(destination.upper_threshold),
            lower_threshold: Some(destination.lower_threshold),
            ..DestinationAttributes::from(&destination.id)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The synchronisation daemon, which tells other hosts of connections (`IPVS_DAEMON_ATTR_…`).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netlink_packet_core::{DecodeError, parse_ipv6, parse_u8, parse_u16, parse_u32};

use crate::{
    Name, Other,
    attribute::{self, Attributes, Sink},
    uapi::*,
};

/// Which end a daemon is (`IPVS_DAEMON_ATTR_STATE`). A host may run one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DaemonRole {
    /// `IP_VS_STATE_MASTER`: sends its connections.
    Master,
    /// `IP_VS_STATE_BACKUP`: takes over connections of others.
    Backup,
    /// A state that this crate does not know, `IP_VS_STATE_NONE` included.
    Other(u32),
}

impl From<u32> for DaemonRole {
    fn from(state: u32) -> Self {
        match state {
            IP_VS_STATE_MASTER => DaemonRole::Master,
            IP_VS_STATE_BACKUP => DaemonRole::Backup,
            other => DaemonRole::Other(other),
        }
    }
}

impl From<DaemonRole> for u32 {
    fn from(role: DaemonRole) -> Self {
        match role {
            DaemonRole::Master => IP_VS_STATE_MASTER,
            DaemonRole::Backup => IP_VS_STATE_BACKUP,
            DaemonRole::Other(other) => other,
        }
    }
}

impl fmt::Display for DaemonRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DaemonRole::Master => f.write_str("master"),
            DaemonRole::Backup => f.write_str("backup"),
            DaemonRole::Other(other) => write!(f, "state-{other}"),
        }
    }
}

/// One synchronisation daemon. Asked for, `None` leaves the choice to the kernel; read back, all is there that the
/// kernel knows (kernels before 4.3 know role, interface and id).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Daemon {
    /// Sender or receiver.
    pub role: DaemonRole,
    /// Interface that the multicasts go through.
    pub interface: Name,
    /// Daemons of one id talk to each other, 0 to 255; a backup of id 0 listens to all.
    pub sync_id: u32,
    /// Longest UDP payload in bytes; the kernel takes the interface's MTU without this, and no less than 1,024.
    pub max_length: Option<u16>,
    /// Multicast group, 224.0.0.81 without this.
    pub group: Option<IpAddr>,
    /// First UDP port, 8848 without this.
    pub port: Option<u16>,
    /// Time to live of the multicasts, 1 without this.
    pub ttl: Option<u8>,
}

impl Daemon {
    /// A daemon that leaves to the kernel what it can.
    pub fn new(role: DaemonRole, interface: Name, sync_id: u32) -> Self {
        Daemon { role, interface, sync_id, max_length: None, group: None, port: None, ttl: None }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} --mcast-interface {} --syncid {}", self.role, self.interface, self.sync_id)?;
        self.max_length.map_or(Ok(()), |value| write!(f, " --sync-maxlen {value}"))?;
        self.group.map_or(Ok(()), |value| write!(f, " --mcast-group {value}"))?;
        self.port.map_or(Ok(()), |value| write!(f, " --mcast-port {value}"))?;
        self.ttl.map_or(Ok(()), |value| write!(f, " --mcast-ttl {value}"))
    }
}

/// Every attribute of a daemon, each of which may be missing. Numbers are kept as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonAttributes {
    /// `IPVS_DAEMON_ATTR_STATE`
    pub state: Option<u32>,
    /// `IPVS_DAEMON_ATTR_MCAST_IFN`
    pub interface: Option<Name>,
    /// `IPVS_DAEMON_ATTR_SYNC_ID`
    pub sync_id: Option<u32>,
    /// `IPVS_DAEMON_ATTR_SYNC_MAXLEN`
    pub max_length: Option<u16>,
    /// `IPVS_DAEMON_ATTR_MCAST_PORT`
    pub port: Option<u16>,
    /// `IPVS_DAEMON_ATTR_MCAST_TTL`
    pub ttl: Option<u8>,
    /// `IPVS_DAEMON_ATTR_MCAST_GROUP`
    pub group: Option<Ipv4Addr>,
    /// `IPVS_DAEMON_ATTR_MCAST_GROUP6`
    pub group6: Option<Ipv6Addr>,
    /// What else there is.
    pub other: Vec<Other>,
}

impl DaemonAttributes {
    pub(crate) fn read(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut read = DaemonAttributes::default();
        let mut other = Vec::new();
        attribute::read(payload, &mut other, |kind, value| {
            match kind {
                IPVS_DAEMON_ATTR_STATE => read.state = Some(parse_u32(value)?),
                IPVS_DAEMON_ATTR_MCAST_IFN => read.interface = Some(Name::from_kernel(value)),
                IPVS_DAEMON_ATTR_SYNC_ID => read.sync_id = Some(parse_u32(value)?),
                IPVS_DAEMON_ATTR_SYNC_MAXLEN => read.max_length = Some(parse_u16(value)?),
                IPVS_DAEMON_ATTR_MCAST_PORT => read.port = Some(parse_u16(value)?),
                IPVS_DAEMON_ATTR_MCAST_TTL => read.ttl = Some(parse_u8(value)?),
                IPVS_DAEMON_ATTR_MCAST_GROUP => {
                    let octets: [u8; 4] = parse_u32(value)?.to_ne_bytes();
                    read.group = Some(octets.into());
                }
                IPVS_DAEMON_ATTR_MCAST_GROUP6 => read.group6 = Some(parse_ipv6(value)?.into()),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(DaemonAttributes { other, ..read })
    }
}

impl Attributes for DaemonAttributes {
    /// In the order of `ip_vs_genl_fill_daemon`.
    fn write(&self, sink: &mut impl Sink) {
        self.state.inspect(|value| sink.put_u32(IPVS_DAEMON_ATTR_STATE, *value));
        if let Some(name) = &self.interface {
            sink.put_text(IPVS_DAEMON_ATTR_MCAST_IFN, name.as_str());
        }
        self.sync_id.inspect(|value| sink.put_u32(IPVS_DAEMON_ATTR_SYNC_ID, *value));
        self.max_length.inspect(|value| sink.put_u16(IPVS_DAEMON_ATTR_SYNC_MAXLEN, *value));
        self.port.inspect(|value| sink.put_u16(IPVS_DAEMON_ATTR_MCAST_PORT, *value));
        self.ttl.inspect(|value| sink.put_u8(IPVS_DAEMON_ATTR_MCAST_TTL, *value));
        self.group.inspect(|value| sink.put(IPVS_DAEMON_ATTR_MCAST_GROUP, &value.octets()));
        self.group6.inspect(|value| sink.put(IPVS_DAEMON_ATTR_MCAST_GROUP6, &value.octets()));
        sink.put_others(&self.other);
    }
}

impl From<&Daemon> for DaemonAttributes {
    fn from(daemon: &Daemon) -> Self {
        let (group, group6) = match daemon.group {
            Some(IpAddr::V4(address)) => (Some(address), None),
            Some(IpAddr::V6(address)) => (None, Some(address)),
            None => (None, None),
        };
        DaemonAttributes {
            state: Some(daemon.role.into()),
            interface: Some(daemon.interface.clone()),
            sync_id: Some(daemon.sync_id),
            max_length: daemon.max_length,
            port: daemon.port,
            ttl: daemon.ttl,
            group,
            group6,
            other: Vec::new(),
        }
    }
}

impl TryFrom<DaemonAttributes> for Daemon {
    type Error = DecodeError;

    fn try_from(attributes: DaemonAttributes) -> Result<Self, DecodeError> {
        let group = attributes.group.map(IpAddr::from);
        Ok(Daemon {
            role: attributes.state.ok_or("a daemon without a state")?.into(),
            interface: attributes.interface.ok_or("a daemon without an interface")?,
            sync_id: attributes.sync_id.ok_or("a daemon without an id")?,
            max_length: attributes.max_length,
            group: group.or(attributes.group6.map(IpAddr::from)),
            port: attributes.port,
            ttl: attributes.ttl,
        })
    }
}

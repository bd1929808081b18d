// SPDX-License-Identifier: Apache-2.0
//! A destination (real server) of a service: what is asked for, what is observed.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_core::DecodeError;

use crate::{
    Family, Other, Stats, destination_attributes::DestinationAttributes, service_attributes::address_of, uapi::*,
};

/// How packets reach a destination (`IPVS_DEST_ATTR_FWD_METHOD`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Forward {
    /// The destination address is rewritten (NAT); replies must come back through this host.
    Masquerade,
    /// The packet is handed to this host. ipvsadm cannot ask for it and prints `-g`; `-l` here.
    Local,
    /// The packet is wrapped; the destination holds the service's address. The only way to another address family.
    Tunnel(Tunnel),
    /// The packet goes out unchanged on the link; the destination holds the service's address.
    DirectRoute,
    /// The packet goes its usual way, past the caches that the service stands for. ipvsadm does not know it; `-b` here.
    Bypass,
    /// A method that this crate does not know.
    Other(u32),
}

/// What packets to a destination are wrapped in. Types other than IPIP since 5.2 (GUE) and 5.3 (GRE).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tunnel {
    /// Kind of the tunnel.
    pub kind: TunnelKind,
    /// UDP port of a GUE tunnel, not 0; 0 for the others.
    pub port: u16,
    /// `IP_VS_TUNNEL_ENCAP_FLAG_…`: [`Tunnel::CHECKSUM`], [`Tunnel::REMOTE_CHECKSUM`] or 0.
    pub flags: u16,
}

impl Tunnel {
    /// IP in IP, the default.
    pub const IPIP: Self = Tunnel { kind: TunnelKind::Ipip, port: 0, flags: 0 };
    /// Generic routing encapsulation without checksums.
    pub const GRE: Self = Tunnel { kind: TunnelKind::Gre, port: 0, flags: 0 };
    /// Flag: with checksums.
    pub const CHECKSUM: u16 = IP_VS_TUNNEL_ENCAP_FLAG_CSUM;
    /// Flag: with remote checksums (GUE only).
    pub const REMOTE_CHECKSUM: u16 = IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM;

    /// Generic UDP encapsulation without checksums.
    pub fn gue(port: u16) -> Self {
        Tunnel { kind: TunnelKind::Gue, port, flags: 0 }
    }
}

/// Kind of a tunnel (`IPVS_DEST_ATTR_TUN_TYPE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TunnelKind {
    /// `IP_VS_CONN_F_TUNNEL_TYPE_IPIP`
    Ipip,
    /// `IP_VS_CONN_F_TUNNEL_TYPE_GUE`
    Gue,
    /// `IP_VS_CONN_F_TUNNEL_TYPE_GRE`
    Gre,
    /// A type that this crate does not know.
    Other(u8),
}

impl From<u8> for TunnelKind {
    fn from(number: u8) -> Self {
        match number {
            IP_VS_CONN_F_TUNNEL_TYPE_IPIP => TunnelKind::Ipip,
            IP_VS_CONN_F_TUNNEL_TYPE_GUE => TunnelKind::Gue,
            IP_VS_CONN_F_TUNNEL_TYPE_GRE => TunnelKind::Gre,
            other => TunnelKind::Other(other),
        }
    }
}

impl From<TunnelKind> for u8 {
    fn from(kind: TunnelKind) -> Self {
        match kind {
            TunnelKind::Ipip => IP_VS_CONN_F_TUNNEL_TYPE_IPIP,
            TunnelKind::Gue => IP_VS_CONN_F_TUNNEL_TYPE_GUE,
            TunnelKind::Gre => IP_VS_CONN_F_TUNNEL_TYPE_GRE,
            TunnelKind::Other(other) => other,
        }
    }
}

/// What tells the destinations of one service apart. Its Display is ipvsadm's: `-r 10.0.0.7:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationId {
    /// Address of the real server.
    pub address: IpAddr,
    /// Port of the real server; 0 for firewall marks and for services on all ports.
    pub port: u16,
}

impl fmt::Display for DestinationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-r {}", SocketAddr::new(self.address, self.port))
    }
}

/// A destination as it is asked for. Its Display is what ipvsadm would be told after the service.
///
/// ```
/// use ipvs::{Destination, Forward};
///
/// let destination = Destination::new([10, 0, 0, 7].into(), 8080, Forward::Masquerade);
/// assert_eq!(destination.to_string(), "-r 10.0.0.7:8080 -m -w 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// What tells it from other destinations of the service.
    pub id: DestinationId,
    /// How packets get there.
    pub forward: Forward,
    /// Share of the connections, 0 to `i32::MAX`; 0 takes no new ones.
    pub weight: u32,
    /// Connections from which on it takes no new ones, 0 to `i32::MAX` (some kernels refuse more); 0 for no limit.
    pub upper_threshold: u32,
    /// Connections below which it takes new ones again, at most the upper threshold; 0 for three quarters of it.
    pub lower_threshold: u32,
}

impl Destination {
    /// A destination of weight 1 without thresholds.
    pub fn new(address: IpAddr, port: u16, forward: Forward) -> Self {
        Destination { id: DestinationId { address, port }, forward, weight: 1, upper_threshold: 0, lower_threshold: 0 }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        match self.forward {
            Forward::Masquerade => f.write_str(" -m")?,
            Forward::Local => f.write_str(" -l")?,
            Forward::Tunnel(_) => f.write_str(" -i")?,
            Forward::DirectRoute => f.write_str(" -g")?,
            Forward::Bypass => f.write_str(" -b")?,
            Forward::Other(number) => write!(f, " --forward-{number}")?,
        }
        write!(f, " -w {}", self.weight)?;
        for (option, threshold) in [("-x", self.upper_threshold), ("-y", self.lower_threshold)] {
            if threshold != 0 {
                write!(f, " {option} {threshold}")?;
            }
        }
        match self.forward {
            Forward::Tunnel(tunnel) => write!(f, " {tunnel}"),
            Forward::Masquerade | Forward::Local | Forward::DirectRoute | Forward::Bypass | Forward::Other(_) => Ok(()),
        }
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TunnelKind::Ipip => return f.write_str("--tun-type ipip"),
            TunnelKind::Gue => write!(f, "--tun-type gue --tun-port {}", self.port)?,
            TunnelKind::Gre => f.write_str("--tun-type gre")?,
            TunnelKind::Other(number) => write!(f, "--tun-type {number} --tun-port {}", self.port)?,
        }
        f.write_str(match self.flags {
            0 => " --tun-nocsum",
            Tunnel::CHECKSUM => " --tun-csum",
            _ => " --tun-remcsum",
        })
    }
}

/// A destination as the kernel reports it.
///
/// The law between the two: what was set is read back, `observed.as_requested() == &asked`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObservedDestination {
    destination: Destination,
    /// Established connections.
    pub active_connections: u32,
    /// Other connections.
    pub inactive_connections: u32,
    /// Clients remembered by persistence.
    pub persistent_connections: u32,
    /// Counters; the 64-bit ones if the kernel has them.
    pub stats: Stats,
    /// Attributes that this crate does not know.
    pub other: Vec<Other>,
}

impl ObservedDestination {
    /// Forgets what nobody can ask for.
    pub fn as_requested(&self) -> &Destination {
        &self.destination
    }

    /// What tells it from other destinations of the service.
    pub fn id(&self) -> &DestinationId {
        &self.destination.id
    }

    /// Address family of the destination, which may differ from the service's if it is reached by a tunnel.
    pub fn family(&self) -> Family {
        Family::of(self.destination.id.address)
    }

    /// What a message says of a destination. `service` is the family of the service: kernels before 3.18 do not send the
    /// destination's own.
    ///
    /// # Errors
    /// The address, the port or the forwarding method is missing, or the family is neither IPv4 nor IPv6.
    pub fn from_attributes(attributes: DestinationAttributes, service: Family) -> Result<Self, DecodeError> {
        let family = match attributes.family {
            Some(AF_INET) => Family::Inet,
            Some(AF_INET6) => Family::Inet6,
            Some(0) | None => service,
            Some(other) => return Err(format!("a destination of address family {other}").into()),
        };
        let address = attributes.address.ok_or("a destination without an address")?;
        Ok(ObservedDestination {
            destination: Destination {
                id: DestinationId {
                    address: address_of(family, address),
                    port: attributes.port.ok_or("a destination without a port")?,
                },
                forward: attributes.forward()?,
                weight: attributes.weight.unwrap_or_default(),
                upper_threshold: attributes.upper_threshold.unwrap_or_default(),
                lower_threshold: attributes.lower_threshold.unwrap_or_default(),
            },
            active_connections: attributes.active_connections.unwrap_or_default(),
            inactive_connections: attributes.inactive_connections.unwrap_or_default(),
            persistent_connections: attributes.persistent_connections.unwrap_or_default(),
            stats: attributes.stats64.or(attributes.stats).unwrap_or_default(),
            other: attributes.other,
        })
    }
}

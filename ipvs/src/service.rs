// SPDX-License-Identifier: Apache-2.0
//! A virtual service: what identifies it, what is asked for, what is observed.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use netlink_packet_core::DecodeError;

use crate::{Name, Other, Stats, service_attributes::ServiceAttributes, uapi::*};

/// Address family (`IPVS_SVC_ATTR_AF`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// `AF_INET`
    Inet,
    /// `AF_INET6`
    Inet6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::Inet } else { Family::Inet6 }
    }
}

/// Transport protocol (`IPVS_SVC_ATTR_PROTOCOL`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Protocol {
    /// `IPPROTO_TCP`
    Tcp,
    /// `IPPROTO_UDP`
    Udp,
    /// `IPPROTO_SCTP`
    Sctp,
    /// A number that this crate does not know.
    Other(u16),
}

impl From<u16> for Protocol {
    fn from(number: u16) -> Self {
        match number {
            IPPROTO_TCP => Protocol::Tcp,
            IPPROTO_UDP => Protocol::Udp,
            IPPROTO_SCTP => Protocol::Sctp,
            other => Protocol::Other(other),
        }
    }
}

impl From<Protocol> for u16 {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => IPPROTO_TCP,
            Protocol::Udp => IPPROTO_UDP,
            Protocol::Sctp => IPPROTO_SCTP,
            Protocol::Other(other) => other,
        }
    }
}

/// What tells services apart. Its Display is ipvsadm's: `-t 10.0.0.1:80`, `-f 5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceId {
    /// Packets to an address and port.
    Address {
        /// Transport protocol.
        protocol: Protocol,
        /// Address that clients connect to.
        address: IpAddr,
        /// Port that clients connect to; 0 takes all ports, for persistent services only.
        port: u16,
    },
    /// Packets that the firewall has marked.
    Fwmark {
        /// The mark, not 0.
        mark: u32,
        /// IPv4 and IPv6 packets of one mark are different services.
        family: Family,
    },
}

impl ServiceId {
    /// A TCP service.
    pub fn tcp(address: IpAddr, port: u16) -> Self {
        ServiceId::Address { protocol: Protocol::Tcp, address, port }
    }

    /// A UDP service.
    pub fn udp(address: IpAddr, port: u16) -> Self {
        ServiceId::Address { protocol: Protocol::Udp, address, port }
    }

    /// An SCTP service.
    pub fn sctp(address: IpAddr, port: u16) -> Self {
        ServiceId::Address { protocol: Protocol::Sctp, address, port }
    }

    /// The address family of the packets.
    pub fn family(&self) -> Family {
        match self {
            ServiceId::Address { address, .. } => Family::of(*address),
            ServiceId::Fwmark { family, .. } => *family,
        }
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ServiceId::Address { protocol, address, port } => {
                match protocol {
                    Protocol::Tcp => f.write_str("-t")?,
                    Protocol::Udp => f.write_str("-u")?,
                    Protocol::Sctp => f.write_str("--sctp-service")?,
                    Protocol::Other(number) => write!(f, "--protocol-{number}")?,
                }
                write!(f, " {}", SocketAddr::new(address, port))
            }
            ServiceId::Fwmark { mark, family: Family::Inet } => write!(f, "-f {mark}"),
            ServiceId::Fwmark { mark, family: Family::Inet6 } => write!(f, "-f {mark} -6"),
        }
    }
}

/// Which clients count as one (`IPVS_SVC_ATTR_NETMASK`).
///
/// It must be of the service's family; the kernel refuses the other with EINVAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Netmask {
    /// IPv4: a mask; 255.255.255.255 for each client alone.
    V4(Ipv4Addr),
    /// IPv6: a prefix length of 1 to 128; 128 for each client alone.
    V6(u8),
}

impl Netmask {
    /// Each client alone, the kernel's and ipvsadm's default.
    pub fn single(family: Family) -> Self {
        match family {
            Family::Inet => Netmask::V4(Ipv4Addr::BROADCAST),
            Family::Inet6 => Netmask::V6(128),
        }
    }
}

/// Connections of one client go to one destination (`IP_VS_SVC_F_PERSISTENT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Persistence {
    /// How long after its last connection a client is remembered, in seconds (`IPVS_SVC_ATTR_TIMEOUT`).
    pub timeout: u32,
    /// Which clients count as one.
    pub netmask: Netmask,
}

/// Flags of a service (`IP_VS_SVC_F_…`), without those that have a field of their own (persistent) or that only the
/// kernel sets (hashed).
///
/// ```
/// use ipvs::ServiceFlags;
///
/// let flags = ServiceFlags::ONE_PACKET | ServiceFlags::SH_PORT;
/// assert!(flags.contains(ServiceFlags::ONE_PACKET));
/// assert!(!flags.contains(ServiceFlags::SH_FALLBACK));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceFlags(u32);

impl ServiceFlags {
    /// Each UDP packet is scheduled for itself.
    pub const ONE_PACKET: Self = ServiceFlags(IP_VS_SVC_F_ONEPACKET);
    /// Flag 1 of the scheduler.
    pub const SCHED1: Self = ServiceFlags(IP_VS_SVC_F_SCHED1);
    /// Flag 2 of the scheduler.
    pub const SCHED2: Self = ServiceFlags(IP_VS_SVC_F_SCHED2);
    /// Flag 3 of the scheduler.
    pub const SCHED3: Self = ServiceFlags(IP_VS_SVC_F_SCHED3);
    /// `sh` and `mh`: take another destination if the chosen one is not available.
    pub const SH_FALLBACK: Self = ServiceFlags(IP_VS_SVC_F_SCHED_SH_FALLBACK);
    /// `sh` and `mh`: the source port takes part in the hash.
    pub const SH_PORT: Self = ServiceFlags(IP_VS_SVC_F_SCHED_SH_PORT);

    /// Flags from their bits; persistent and hashed are left out.
    pub fn from_bits(bits: u32) -> Self {
        ServiceFlags(bits & !(IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_HASHED))
    }

    /// The bits.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for ServiceFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        ServiceFlags(self.0 | other.0)
    }
}

/// A service as it is asked for. Its Display is what ipvsadm would be told after `-A`.
///
/// ```
/// use ipvs::{Service, ServiceId, scheduler};
///
/// let service = Service::new(ServiceId::tcp([10, 0, 0, 1].into(), 80), scheduler::RR);
/// assert_eq!(service.to_string(), "-t 10.0.0.1:80 -s rr");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Service {
    /// What tells it from other services.
    pub id: ServiceId,
    /// Who chooses the destination of a connection.
    pub scheduler: Name,
    /// One-packet scheduling and the scheduler's own flags.
    pub flags: ServiceFlags,
    /// Whether a client's connections stay together.
    pub persistence: Option<Persistence>,
    /// Persistence engine, for example `sip`; for persistent services only (`IPVS_SVC_ATTR_PE_NAME`).
    pub engine: Option<Name>,
}

impl Service {
    /// A service without flags and persistence.
    pub fn new(id: ServiceId, scheduler: Name) -> Self {
        Service { id, scheduler, flags: ServiceFlags::default(), persistence: None, engine: None }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -s {}", self.id, self.scheduler)?;
        if let Some(Persistence { timeout, netmask }) = self.persistence {
            write!(f, " -p {timeout}")?;
            match netmask {
                single if single == Netmask::single(self.id.family()) => {}
                Netmask::V4(mask) => write!(f, " -M {mask}")?,
                Netmask::V6(prefix) => write!(f, " -M {prefix}")?,
            }
        }
        if self.flags.contains(ServiceFlags::ONE_PACKET) {
            f.write_str(" -o")?;
        }
        let names = match self.scheduler.as_str() {
            "sh" => ["sh-fallback", "sh-port", "flag-3"],
            "mh" => ["mh-fallback", "mh-port", "flag-3"],
            _ => ["flag-1", "flag-2", "flag-3"],
        };
        let flags = [ServiceFlags::SCHED1, ServiceFlags::SCHED2, ServiceFlags::SCHED3];
        let set = flags.iter().zip(names).filter(|(flag, _)| self.flags.contains(**flag));
        for (n, (_, name)) in set.enumerate() {
            write!(f, "{}{name}", if n == 0 { " -b " } else { "," })?;
        }
        match &self.engine {
            Some(engine) => write!(f, " --pe {engine}"),
            None => Ok(()),
        }
    }
}

/// A service as the kernel reports it.
///
/// The law between the two: what was set is read back, `observed.as_requested() == &asked`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObservedService {
    service: Service,
    /// `IP_VS_SVC_F_HASHED`: the service is in the kernel's table, as all that can be read are.
    pub hashed: bool,
    /// Counters; the 64-bit ones if the kernel has them.
    pub stats: Stats,
    /// Attributes that this crate does not know.
    pub other: Vec<Other>,
}

impl ObservedService {
    /// Forgets what nobody can ask for.
    pub fn as_requested(&self) -> &Service {
        &self.service
    }

    /// What tells it from other services.
    pub fn id(&self) -> &ServiceId {
        &self.service.id
    }
}

impl TryFrom<ServiceAttributes> for ObservedService {
    type Error = DecodeError;

    fn try_from(attributes: ServiceAttributes) -> Result<Self, DecodeError> {
        let id = attributes.id()?;
        let flags = attributes.flags.map_or(0, |(flags, _mask)| flags);
        let netmask = attributes.netmask.unwrap_or_default();
        let persistence = (flags & IP_VS_SVC_F_PERSISTENT != 0).then(|| Persistence {
            timeout: attributes.timeout.unwrap_or_default(),
            netmask: match id.family() {
                Family::Inet => Netmask::V4(Ipv4Addr::from(netmask)),
                Family::Inet6 => Netmask::V6(u8::try_from(u32::from_ne_bytes(netmask)).unwrap_or(u8::MAX)),
            },
        });
        Ok(ObservedService {
            service: Service {
                id,
                scheduler: attributes.scheduler.ok_or("a service without a scheduler")?,
                flags: ServiceFlags::from_bits(flags),
                persistence,
                engine: attributes.engine,
            },
            hashed: flags & IP_VS_SVC_F_HASHED != 0,
            stats: attributes.stats64.or(attributes.stats).unwrap_or_default(),
            other: attributes.other,
        })
    }
}

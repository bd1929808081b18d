// SPDX-License-Identifier: Apache-2.0
//! How a service balances, beside where it is and its backends. All of it can be changed while it serves.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Family, Invalid, Protocol, ProxyProtocol, Scheduler, SourceNat};

/// What a data plane is asked for of a service. The default is the original's: round-robin and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceSettings {
    /// Which backend a new connection goes to.
    pub scheduler: Scheduler,
    /// How `sh` and `mh` choose.
    pub flags: SchedulerFlags,
    /// Whether all connections of a client go to one backend.
    pub persistence: Option<Persistence>,
    /// Whether each UDP packet is scheduled for itself, as those of DNS may be (`IP_VS_SVC_F_ONEPACKET`).
    pub one_packet: bool,
    /// Whether backends are told who their clients are, and how. Connections have to end on this host for that: IPVS passes packets on.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whose address backends see, asked of a data plane that decides it since connections end there. `None` with IPVS, where the host has
    /// rules for that, and in a load-balancer, which says it beside.
    pub source_nat: Option<SourceNat>,
}

/// Flags of the schedulers `sh` and `mh`; `schedulerFlags` in the API, by the names here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SchedulerFlags {
    /// The client's port takes part in the choice (`IP_VS_SVC_F_SCHED_SH_PORT`, `_MH_PORT`).
    pub port: bool,
    /// Another backend is chosen while the first choice takes no connections (`…_SH_FALLBACK`, `…_MH_FALLBACK`).
    pub fallback: bool,
}

impl SchedulerFlags {
    /// The names of those that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [(self.port, "port"), (self.fallback, "fallback")].into_iter().filter(|(set, _)| *set).map(|(_, name)| name)
    }

    /// The same with one more, by its name.
    ///
    /// # Errors
    /// There is no such flag.
    pub fn with(self, name: &str) -> Result<Self, Invalid> {
        match name {
            "port" => Ok(Self { port: true, ..self }),
            "fallback" => Ok(Self { fallback: true, ..self }),
            _ => Err(Invalid(format!("{name:?} is no flag of a scheduler; there are \"port\" and \"fallback\""))),
        }
    }
}

/// A client stays with the backend of its first connection (`IP_VS_SVC_F_PERSISTENT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Persistence {
    /// For how long after its last connection.
    pub timeout: PersistenceTimeout,
    /// Clients whose addresses are alike in so many leading bits count as one, 1 to 128; `None`, or all bits of an address: each for itself.
    pub granularity: Option<u8>,
}

/// How long a client is remembered after its last connection: whole seconds, from one to 31 days (ipvsadm's limit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersistenceTimeout(u32);

const LONGEST_PERSISTENCE: u64 = 31 * 24 * 60 * 60;

impl PersistenceTimeout {
    /// In seconds.
    #[must_use]
    pub fn seconds(self) -> u32 {
        self.0
    }
}

/// Five minutes, as ipvsadm has it.
impl Default for PersistenceTimeout {
    fn default() -> Self {
        Self(300)
    }
}

impl TryFrom<Duration> for PersistenceTimeout {
    type Error = Invalid;

    fn try_from(time: Duration) -> Result<Self, Invalid> {
        match u32::try_from(time.as_secs()) {
            Ok(seconds) if seconds > 0 && time.subsec_nanos() == 0 && time.as_secs() <= LONGEST_PERSISTENCE => {
                Ok(Self(seconds))
            }
            _ => Err(Invalid("a client is remembered for whole seconds, from 1s to 31days".to_owned())),
        }
    }
}

/// Settings that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Discord {
    /// The name of the culprit in the API.
    pub field: &'static str,
    /// In words for who asked.
    pub why: String,
}

impl ServiceSettings {
    /// Whether they go together, and with where the service is.
    ///
    /// # Errors
    /// The kernel refuses them, or takes them and does nothing.
    pub fn check(&self, protocol: Protocol, families: impl IntoIterator<Item = Family>) -> Result<(), Discord> {
        let discord = |field, why| Err(Discord { field, why });
        if self.flags != SchedulerFlags::default() && !matches!(self.scheduler, Scheduler::Sh | Scheduler::Mh) {
            let why = format!("schedulerFlags are for sh and mh; the scheduler is {}: send [] with it", self.scheduler);
            return discord("schedulerFlags", why);
        }
        if self.one_packet && protocol != Protocol::Udp {
            return discord("onePacket", format!("onePacket is for udp; the protocol is {protocol}"));
        }
        if self.proxy_protocol.is_some() && protocol != Protocol::Tcp {
            return discord("proxyProtocol", format!("proxyProtocol is for tcp; the protocol is {protocol}"));
        }
        let longest = families.into_iter().map(Family::bits).max().unwrap_or_default();
        match self.persistence.and_then(|persistence| persistence.granularity) {
            Some(bits) if bits == 0 || bits > longest => discord(
                "persistence",
                format!("granularity is a number of leading bits, 1 to {longest}; {bits} is not"),
            ),
            _ => Ok(()),
        }
    }

    /// The same for the clients of one family: each counts for itself where its address has no more bits than are to be alike.
    #[must_use]
    pub fn of_family(self, family: Family) -> Self {
        let narrow = |persistence: Persistence| Persistence {
            granularity: persistence.granularity.filter(|bits| *bits < family.bits()),
            ..persistence
        };
        Self { persistence: self.persistence.map(narrow), ..self }
    }
}

impl fmt::Display for ServiceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.scheduler.fmt(f)?;
        self.flags.names().try_for_each(|name| write!(f, " {name}"))?;
        if let Some(Persistence { timeout, granularity }) = self.persistence {
            write!(f, ", persistent for {} s", timeout.seconds())?;
            granularity.map_or(Ok(()), |bits| write!(f, " by /{bits}"))?;
        }
        if self.one_packet {
            f.write_str(", one packet at a time")?;
        }
        self.proxy_protocol.map_or(Ok(()), |version| write!(f, ", PROXY protocol {version}"))?;
        match self.source_nat {
            None | Some(SourceNat::Always) => Ok(()),
            Some(choice) => write!(f, ", source NAT {choice}"),
        }
    }
}

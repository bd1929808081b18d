// SPDX-License-Identifier: Apache-2.0
//! The ports: what the core asks of the world. Each folder beside `core` implements one of these traits and knows none of
//! the others.
//!
//! A driver answers each step with a [`Verdict`], in the order of the steps. It never logs what it returns.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    future::Future,
    net::IpAddr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    idempotency::{Kept, Key},
    model::{Family, LoadBalancer, LoadBalancerId, ServiceKey, Target, Vip, VirtualService},
    observed::{HostView, ServiceView, Services},
    peer::{Peer, PeerAddress},
    statistics::Connections,
    step::{AdvertStep, DataplaneStep, HostStep},
    uplink::Uplink,
};

/// An error of a driver. Its `source` chain leads to the kernel's own error.
pub type Cause = Box<dyn Error + Send + Sync>;

/// What became of a step.
#[derive(Debug)]
pub enum Verdict {
    /// The kernel or the network is as the step says, whether it was before or not.
    Applied,
    /// It failed for a reason that may pass: no memory, a lost answer, an adapter that is away. Taken again later, it may succeed.
    Retry(Cause),
    /// It failed and will fail again unless something else changes: no privilege, invalid, not supported.
    Refused(Cause),
}

/// The kernel lacks what is asked for: it needs a module, or is too old. Drivers give it as the cause of [`Verdict::Refused`].
#[derive(Debug, thiserror::Error)]
#[error("the kernel has no {0}")]
pub struct Lacking(pub String);

/// The data plane that slb runs with cannot do what is asked for, by its nature: see [`Dataplane::unserved`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unserved(pub String);

/// This host, as it is, does not let the data plane do what is asked for: it has no such address, or gives no privilege. Drivers give it as
/// the cause of [`Verdict::Refused`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

/// One record to write or erase; a commit takes many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Write the load-balancer over whatever was there under its id.
    Put(Arc<LoadBalancer>),
    /// Erase the load-balancer's record.
    Erase(LoadBalancerId),
    /// Note that the address was released as number `serial` of all releases.
    Released {
        /// The address.
        vip: Vip,
        /// Counts releases: the lowest has been free for longest.
        serial: u64,
    },
    /// Forget when the address was released: it is handed out again.
    Reused(Vip),
    /// Note what a setting of the kernel was before slb changed it.
    Original(SettingChange),
    /// Forget it: the setting has been restored.
    Restored(SettingName),
    /// Note the adapter that VIPs are bound to from now on.
    Adapter(String),
    /// Forget it: everything that was slb's has been taken off this host.
    NoAdapter,
    /// Note what this state is called among others, once.
    Identity(Uuid),
    /// Note what the provider says of this machine.
    Uplink(Uplink),
    /// Note the peer, over whatever was there under its address.
    Peer(Peer),
    /// Forget the peer.
    NoPeer(PeerAddress),
    /// Note what was granted under a key, over whatever was there under it.
    Keep(Arc<Kept>),
    /// Forget the key.
    Forget(Key),
}

/// Everything that the store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// In no particular order.
    pub load_balancers: Vec<Arc<LoadBalancer>>,
    /// Addresses that were released and not handed out since, with the number of their release.
    pub released: BTreeMap<Vip, u64>,
    /// Settings of the kernel that slb changed, with what they were.
    pub originals: BTreeMap<SettingName, SettingChange>,
    /// The adapter that VIPs were bound to by the last server that changed this host; `None` before the first, and after a cleanup.
    pub adapter: Option<String>,
    /// What this state is called among others: the mark of what it owns elsewhere. `None` before the first start.
    pub identity: Option<Uuid>,
    /// What the provider of addresses last said of this machine, if there is one.
    pub uplink: Option<Uplink>,
    /// The peers that were added while a server ran, by address.
    pub peers: BTreeMap<PeerAddress, Peer>,
    /// What was granted under keys, in no particular order.
    pub kept: Vec<Arc<Kept>>,
    /// The highest `serial` of a load-balancer ever committed, 0 if there was none.
    pub last_serial: u64,
}

/// Names a setting of the kernel: a sysctl in dotted form, `net.ipv4.ip_forward`.
pub type SettingName = String;

/// A setting of the kernel that slb changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingChange {
    /// Which.
    pub name: SettingName,
    /// What it is, or was before slb changed it.
    pub from: String,
    /// What slb sets it to.
    pub to: String,
}

/// Keeps the desired state. Exactly one process has it open.
pub trait Store: Send {
    /// Reads everything.
    fn load(&mut self) -> impl Future<Output = Result<Snapshot, Cause>> + Send;

    /// Writes all or nothing, durably: once this answers `Ok`, a power cut loses none of it. After `Err` nothing was written;
    /// if a disk is so broken that this cannot be known, every later commit is refused until the store is loaded anew.
    fn commit(&mut self, writes: Vec<Write>) -> impl Future<Output = Result<(), Cause>> + Send;
}

/// Hands out addresses, never the same twice at a time.
pub trait Pool: Send {
    /// At start: these addresses are held, and these were released before, the longest ago first. Addresses outside the pool
    /// are fine in either: the operator may have changed the range.
    fn restore(&mut self, held: BTreeSet<Vip>, released: Vec<Vip>);

    /// Takes an address that is free. `avoid` maps addresses that must not be handed out now to the
    /// reason, in words that follow "ADDRESS is …".
    ///
    /// The future stands on its own, so that a slow provider holds up nobody. Dropping it before its end gives back what it has taken
    /// by then.
    fn acquire(
        &mut self,
        wanted: Wanted,
        avoid: &BTreeMap<IpAddr, String>,
    ) -> impl Future<Output = Result<Vip, PoolError>> + Send + 'static;

    /// A copy, to see what would be handed out: what it gives and takes back counts for nothing. `None` if only a provider knows.
    fn trial(&self) -> Option<Self>
    where
        Self: Sized;

    /// Gives an address back, once nothing of it is left in the kernel or the store. What a provider has to be told, it is told in the
    /// background.
    fn release(&mut self, vip: Vip);
}

/// Which address is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Any one; of IPv4 if the pool has such.
    #[default]
    Any,
    /// Any one of the family.
    Of(Family),
    /// This one and no other.
    Vip(Vip),
}

impl From<Option<Vip>> for Wanted {
    fn from(vip: Option<Vip>) -> Self {
        vip.map_or(Self::Any, Self::Vip)
    }
}

impl Wanted {
    /// The one that it has to be.
    #[must_use]
    pub fn vip(self) -> Option<Vip> {
        match self {
            Self::Any | Self::Of(_) => None,
            Self::Vip(vip) => Some(vip),
        }
    }
}

/// Why the pool has no address.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The wanted address is not one of the pool's.
    #[error("{wanted} is not in the range {pool}")]
    Outside {
        /// The address.
        wanted: Vip,
        /// The pool, as the operator wrote it.
        pool: String,
    },
    /// The pool has none of the wanted family.
    #[error("there is no {family} address in the range {pool}")]
    OtherFamily {
        /// The family.
        family: Family,
        /// The pool, as the operator wrote it.
        pool: String,
    },
    /// The wanted address may not be handed out.
    #[error("{wanted} cannot be used: it is {why}")]
    Unavailable {
        /// The address.
        wanted: Vip,
        /// In words that follow "it is …".
        why: String,
    },
    /// No address is left.
    #[error("no {family} address is left in the range {pool}: {held} in use, {avoided} set aside")]
    Exhausted {
        /// Of which none is left.
        family: Family,
        /// The pool, as the operator wrote it.
        pool: String,
        /// How many of it are held.
        held: u64,
        /// How many more were to be avoided.
        avoided: u64,
    },
    /// The provider of addresses failed.
    #[error("the provider of addresses failed")]
    Provider(#[source] Cause),
}

/// Settings of the kernel that a driver looks after, by name.
pub trait Settings: Send {
    /// Those that are not as slb needs them. Reads only.
    fn drifted_settings(&mut self) -> impl Future<Output = Result<Vec<SettingChange>, Cause>> + Send;

    /// Gives a setting a value. One that is not this driver's is passed over.
    fn set(&mut self, name: &str, value: &str) -> impl Future<Output = Result<(), Cause>> + Send;

    /// Reads a setting, trimmed; nothing, `""`, if it is not this driver's.
    fn get(&mut self, name: &str) -> impl Future<Output = Result<String, Cause>> + Send;
}

/// Addresses, source NAT and settings of the host.
pub trait Host: Settings {
    /// From now on answers from VIPs come in: backends are asked for them. It may take other settings.
    fn expect_answers_from_vips(&mut self);

    /// Whether VIPs are bound at all. If not, they are taken to be there, and steps about them are carried out as if.
    fn binds(&self) -> bool {
        true
    }

    /// Reads everything anew.
    fn observe(&mut self) -> impl Future<Output = Result<HostView, Cause>> + Send;

    /// Carries out the steps, packed; one verdict a step. A failed step does not hold up the others.
    fn apply(&mut self, steps: &[HostStep]) -> impl Future<Output = Vec<Verdict>> + Send;
}

/// What happened on the host; the controller hears of it from a monitor that reports to the main loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// An address appeared, on any adapter.
    AddressAdded(IpAddr),
    /// An address went, from any adapter.
    AddressRemoved(IpAddr),
    /// The adapter came up, changed its hardware address, or its bond or bridge moved: neighbours have to be told again.
    LinkUp,
    /// The adapter went down or away.
    LinkDown,
    /// Events were lost: everything has to be read anew.
    Overrun,
}

/// What balances connections, with its settings.
pub trait Dataplane: Settings {
    /// Reads everything anew.
    fn observe(&mut self) -> impl Future<Output = Result<Services, Cause>> + Send;

    /// The same, handed over service by service: what is known already need not be held. What is handed over is so, also if there
    /// is an error later.
    fn observe_each(
        &mut self,
        mut each: impl FnMut(ServiceKey, ServiceView) + Send,
    ) -> impl Future<Output = Result<(), Cause>> + Send {
        async move {
            self.observe().await?.into_iter().for_each(|(key, service)| each(key, service));
            Ok(())
        }
    }

    /// The same at a glance: `None` of a service that looks as it did the last time, when it was read or nothing was asked for of it
    /// since. What cannot be seen quickly is not seen.
    fn observe_changes(
        &mut self,
        mut each: impl FnMut(ServiceKey, Option<ServiceView>) + Send,
    ) -> impl Future<Output = Result<(), Cause>> + Send {
        self.observe_each(move |key, service| each(key, Some(service)))
    }

    /// Whether there is that service now, whoever put it there.
    fn exists(&mut self, service: VirtualService) -> impl Future<Output = Result<bool, Cause>> + Send;

    /// What tells all services from each other that there are now, whoever put them there.
    fn keys(&mut self) -> impl Future<Output = Result<BTreeSet<ServiceKey>, Cause>> + Send;

    /// The connections that each backend of the service has now. None of any, and no error, where there is no service.
    fn connections(
        &mut self,
        service: VirtualService,
    ) -> impl Future<Output = Result<BTreeMap<Target, Connections>, Cause>> + Send;

    /// Why it can never carry out the step, whatever becomes of this host, if it cannot. It is not asked to.
    fn unserved(&self, step: &DataplaneStep) -> Option<Unserved>;

    /// Carries out the steps in order, packed; one verdict a step. A failed step does not hold up the others.
    fn apply(&mut self, steps: &[DataplaneStep]) -> impl Future<Output = Vec<Verdict>> + Send;
}

/// How the network learns where a VIP lives.
pub trait Advertiser: Send {
    /// Whether anybody is told at all. If not, steps are carried out as well, and the API says that the network knows nothing of VIPs.
    fn announces(&self) -> bool {
        true
    }

    /// Asks the network whether some host uses the address, before it is handed out. The future stands on its own, so that many
    /// run side by side.
    fn probe(&self, vip: Vip) -> impl Future<Output = Result<Probe, Cause>> + Send + 'static;

    /// Carries out the steps; one verdict a step. Announcing goes on in the background until the VIP is withdrawn.
    fn apply(&mut self, steps: &[AdvertStep]) -> impl Future<Output = Vec<Verdict>> + Send;
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nobody answered.
    Free,
    /// Some host has it.
    InUse {
        /// Who, for the operator: a hardware address.
        holder: String,
    },
}

// SPDX-License-Identifier: Apache-2.0
//! What may be asked of the controller, what it answers, and why it may not do it.

mod declared;
mod mailbox;
mod service;
mod terms;
mod wanted;

use std::{sync::Arc, time::Duration};

use crate::{
    model::{
        Advertise, Backend, BackendId, BackendSettings, Discord, Encapsulation, Endpoint, Fallback, Family,
        ForwardingKind, Invalid, Listen, LoadBalancer, LoadBalancerId, Name, Port, Ports, Protocol, ServiceSettings,
        SourceNat, Target, Then, Thresholds, Vip, Vips, Weight, check::HealthCheck,
    },
    peer::{Peer, PeerAddress},
    ports::{Cause, PoolError},
    rehearsal::Rehearsed,
    step::Step,
};

pub use self::{
    declared::{Declaration, Extent, Tally},
    mailbox::{Mailbox, Request, mailbox},
    service::ServiceChange,
    terms::Terms,
    wanted::WantedVips,
};

/// A wish. Ids are made by whoever asks, so that the core needs no randomness.
#[derive(Clone, Debug)]
pub enum Command {
    /// Take a VIP, or one of each family, and balance connections to it.
    Create(NewLoadBalancer),
    /// Change what a load-balancer is called, how it balances, what its backends are asked, or when the network is told of it.
    Update(LoadBalancerId, LoadBalancerChange),
    /// Stop balancing, give what it has of VIPs back.
    Delete(LoadBalancerId),
    /// Send connections to more backends, at least one: to all of them or to none.
    AddBackends(LoadBalancerId, Vec<Backend>),
    /// Send connections to these backends and no others. One at an address and port that is there already keeps its id.
    ReplaceBackends(LoadBalancerId, Vec<Backend>),
    /// Change a backend's settings.
    UpdateBackend(LoadBalancerId, BackendId, BackendChange),
    /// Send no more connections to a backend.
    RemoveBackend(LoadBalancerId, BackendId),
    /// Send no new connections to a backend, or to any, and let those that there are finish.
    Drain(LoadBalancerId, Option<BackendId>, DrainWish),
    /// Send connections there again.
    Undrain(LoadBalancerId, Option<BackendId>),
}

impl Command {
    /// The load-balancer that it is about.
    #[must_use]
    pub fn load_balancer(&self) -> LoadBalancerId {
        match self {
            Self::Create(new) => new.id,
            Self::Update(id, _)
            | Self::Delete(id)
            | Self::AddBackends(id, _)
            | Self::ReplaceBackends(id, _)
            | Self::UpdateBackend(id, ..)
            | Self::RemoveBackend(id, _)
            | Self::Drain(id, ..)
            | Self::Undrain(id, _) => *id,
        }
    }
}

/// How to drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainWish {
    /// How long at most; without, until the last connection is gone.
    pub deadline: Option<Duration>,
    /// What comes then.
    pub then: Then,
}

/// A wish about a BGP peer.
#[derive(Clone, Debug)]
pub enum PeerCommand {
    /// Tell this router of all VIPs, from now on.
    Add(Peer),
    /// Tell it nothing any more.
    Remove(PeerAddress),
}

/// What may be asked for.
#[derive(Clone, Debug)]
pub enum Wish {
    /// About a load-balancer.
    LoadBalancer(Command),
    /// About a peer.
    Peer(PeerCommand),
    /// About many load-balancers.
    Declare(Declaration),
}

impl From<Command> for Wish {
    fn from(command: Command) -> Self {
        Self::LoadBalancer(command)
    }
}

impl From<Declaration> for Wish {
    fn from(declaration: Declaration) -> Self {
        Self::Declare(declaration)
    }
}

impl From<PeerCommand> for Wish {
    fn from(command: PeerCommand) -> Self {
        Self::Peer(command)
    }
}

/// A load-balancer to be.
#[derive(Clone, Debug)]
pub struct NewLoadBalancer {
    /// Its name in the API from now on.
    pub id: LoadBalancerId,
    /// The operator's label.
    pub name: Name,
    /// The ports clients connect to.
    pub listen: Listen,
    /// The protocol that they are of.
    pub protocol: Protocol,
    /// The VIPs asked for.
    pub vips: WantedVips,
    /// When the network is told of it.
    pub advertise: Advertise,
    /// Which connections get this host's own source address.
    pub source_nat: SourceNat,
    /// How it balances.
    pub service: ServiceSettings,
    /// What its backends are asked.
    pub check: Option<Arc<HealthCheck>>,
    /// Where connections go while no backend takes any.
    pub fallback: Option<Fallback>,
    /// Backends it starts with; `None` is not the same as an empty list, see [`LoadBalancer::backends`].
    pub backends: Option<Vec<Backend>>,
}

impl NewLoadBalancer {
    /// Where it would be on that VIP. Of several ports, the lowest.
    #[must_use]
    pub fn endpoint(&self, vip: Vip) -> Endpoint {
        Endpoint { vip, port: self.listen.lowest(), protocol: self.protocol }
    }
}

/// A change to a load-balancer. What is `None` stays. Where it is cannot differ from what is, and may be repeated, so that what
/// GET returned can be sent back edited.
#[derive(Clone, Debug, Default)]
pub struct LoadBalancerChange {
    /// The new label.
    pub name: Option<Name>,
    /// When the network is told of it.
    pub advertise: Option<Advertise>,
    /// Which connections get this host's own source address.
    pub source_nat: Option<SourceNat>,
    /// How it balances.
    pub service: ServiceChange,
    /// What its backends are asked.
    pub check: Option<Option<Arc<HealthCheck>>>,
    /// Where connections go while no backend takes any.
    pub fallback: Option<Option<Fallback>>,
    /// Must be the first of them.
    pub vip: Option<Vip>,
    /// Must be what they are.
    pub vips: Option<Vips>,
    /// Must be what it is.
    pub port: Option<Port>,
    /// Its ports, if it was made for several.
    pub ports: Option<Ports>,
    /// Must be what it is.
    pub protocol: Option<Protocol>,
}

/// A change to a backend. What is `None` stays; where it listens cannot differ from what is.
#[derive(Clone, Debug, Default)]
pub struct BackendChange {
    /// The new weight.
    pub weight: Option<Weight>,
    /// Must be what it is.
    pub target: PartialTarget,
    /// How packets get there.
    pub kind: Option<ForwardingKind>,
    /// What they are wrapped in.
    pub encapsulation: Option<Encapsulation>,
    /// From how many connections on it gets no new ones.
    pub upper_threshold: Option<u32>,
    /// Below how many it gets new ones again.
    pub lower_threshold: Option<u32>,
    /// What it is asked.
    pub check: Option<Option<Arc<HealthCheck>>>,
}

impl BackendChange {
    /// The settings after it. A backend that was a tunnel and stays one keeps what it is wrapped in.
    ///
    /// # Errors
    /// They do not go together.
    pub fn of(&self, before: BackendSettings) -> Result<BackendSettings, Discord> {
        let kind = self.kind.unwrap_or(before.forwarding.kind());
        let kept = before.forwarding.encapsulation().filter(|_| kind == ForwardingKind::Tunnel);
        let forwarding = kind
            .with(self.encapsulation.or(kept))
            .map_err(|Invalid(why)| Discord { field: "tunnel", why: format!("tunnel {why}") })?;
        let thresholds = Thresholds::new(
            self.upper_threshold.unwrap_or(before.thresholds.upper()),
            self.lower_threshold.unwrap_or(before.thresholds.lower()),
        );
        let thresholds = thresholds.map_err(|Invalid(why)| Discord { field: "lowerThreshold", why })?;
        Ok(BackendSettings { forwarding, weight: self.weight.unwrap_or(before.weight), thresholds })
    }
}

/// As much of a [`Target`] as was given.
#[derive(Clone, Copy, Debug, Default)]
pub struct PartialTarget {
    /// The address.
    pub ip: Option<crate::model::BackendIp>,
    /// The port.
    pub port: Option<Port>,
}

/// What became of a wish that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The load-balancer as it is now.
    LoadBalancer(Arc<LoadBalancer>),
    /// The backend as it is now.
    Backend(Backend),
    /// The backends that were added, as they are now.
    Backends(Vec<Backend>),
    /// The peer is told of VIPs. Its password is not said.
    Peer(Peer),
    /// All is as it was declared; the load-balancers as they are now, in the order of the declaration.
    Declared(Tally, Vec<Arc<LoadBalancer>>),
    /// It is gone.
    Gone,
    /// Nothing was done; this would be.
    Rehearsed(Rehearsed),
}

/// A wish that contradicts the desired state. Nothing has been changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No such load-balancer.
    #[error("there is no load-balancer {0}")]
    UnknownLoadBalancer(LoadBalancerId),
    /// The load-balancer has no such backend.
    #[error("load-balancer {load_balancer} has no backend {backend}")]
    UnknownBackend {
        /// The load-balancer.
        load_balancer: LoadBalancerId,
        /// The backend asked for.
        backend: BackendId,
    },
    /// The address and port belong to another load-balancer.
    #[error("{endpoint} is taken by load-balancer {by}")]
    EndpointTaken {
        /// The address and port.
        endpoint: Endpoint,
        /// Who has it.
        by: LoadBalancerId,
    },
    /// Every mark that slb may use has a service.
    #[error("there is no mark left for several ports, or for another backend that is asked for a VIP")]
    NoMark,
    /// The load-balancer has a backend with that address and port.
    #[error("{target} is there already, as backend {by}")]
    BackendExists {
        /// The address and port.
        target: Target,
        /// The backend that has it.
        by: BackendId,
    },
    /// The fallback serves while the backends do not.
    #[error("{0} cannot be both a backend and the fallback")]
    BackendIsFallback(Target),
    /// A load-balancer cannot be its own backend, nor, on a loopback address, that of another.
    #[error("{0} is the address of a load-balancer; a backend is another server")]
    BackendIsVip(Target),
    /// The backend could never get connections of its own from this load-balancer, on this host.
    #[error("{target} {why}")]
    Unfit {
        /// The backend's address and port.
        target: Target,
        /// In words that follow it.
        why: Unfit,
    },
    /// Somebody has changed it meanwhile.
    #[error("it is not as expected: its tag is another one; read it again")]
    NotAsExpected,
    /// Somebody has called another request so.
    #[error("the Idempotency-Key was given with another method, path or body before; take a new one for each request")]
    KeyOfAnother,
    /// The request is being carried out.
    #[error("the request with this Idempotency-Key is still being carried out; ask again when it is done")]
    KeyInUse,
    /// The settings do not go together.
    #[error(transparent)]
    Discord(#[from] Discord),
    /// The file would undo it.
    #[error("load-balancer {0} is of the configuration file; change it there")]
    OfFile(LoadBalancerId),
    /// The load-balancer is being removed.
    #[error("load-balancer {0} is being deleted")]
    Deleting(LoadBalancerId),
    /// VIPs are announced otherwise.
    #[error("there are no peers: this server announces VIPs by ARP, not by BGP (--bgp)")]
    NoRouting,
    /// Routes are announced by another program.
    #[error("the peers are those of {0}: add and remove them there")]
    PeersElsewhere(String),
    /// There is a peer with that address.
    #[error("{0} is a peer already; remove it first to give it other settings")]
    PeerExists(PeerAddress),
    /// There is no such peer.
    #[error("there is no peer {0}")]
    UnknownPeer(PeerAddress),
    /// It would be back with the next start.
    #[error("peer {0} is given by the option --bgpPeer, or by Equinix Metal; remove it there and restart")]
    PeerIsAnOption(PeerAddress),
    /// That cannot be changed in place.
    #[error("{field} is {is} and cannot be changed in place; delete it and create a new one")]
    Immutable {
        /// The name of the field in the API.
        field: &'static str,
        /// What it is.
        is: String,
    },
}

/// Why a backend could never get connections as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The kernel takes unicast addresses only (`ip_vs_new_dest`).
    #[error("is the broadcast address of a network of this host; a backend is a single server")]
    IsBroadcast,
    /// Only NAT changes ports (`ip_vs_null_xmit`, `ip_vs_dr_xmit`, `ip_vs_tunnel_xmit`): one server would have two shares.
    #[error(
        "is {kind} and on the same host as {other}: what is not translated keeps its port, so both would be the same server"
    )]
    SameServer {
        /// How packets get there.
        kind: ForwardingKind,
        /// The one that is on the host, and is not translated either.
        other: Target,
    },
    /// What connections go to has to be said somewhere.
    #[error("has no port; only behind several ports of one VIP connections keep theirs")]
    NoPort,
    /// Only NAT changes ports, as above.
    #[error("is {kind}, and what is not translated keeps its port: leave the backend's out")]
    OnePort {
        /// How packets get there.
        kind: ForwardingKind,
    },
    /// Only tunnels lead from one family to the other (`ip_vs_genl_set_cmd`); a load-balancer with VIPs of both has no other.
    #[error("is {kind} and no {vip} address as the VIP is: only TUN leads from one family to the other")]
    OtherFamily {
        /// How packets get there.
        kind: ForwardingKind,
        /// The VIP's family.
        vip: Family,
    },
}

impl Unfit {
    /// The name of the culprit among a backend's fields in the API.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::IsBroadcast | Self::OtherFamily { .. } => "ip",
            Self::SameServer { .. } => "type",
            Self::NoPort | Self::OnePort { .. } => "port",
        }
    }
}

/// Why a wish was not granted.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It contradicts the desired state.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// There is no address for it.
    #[error(transparent)]
    Pool(PoolError),
    /// The address asked for answers: some other host has it.
    #[error("{vip} is in use on the network by {holder}")]
    AddressInUse {
        /// The address.
        vip: Vip,
        /// Its holder's hardware address.
        holder: String,
    },
    /// The data plane has a service there that slb did not make.
    #[error("{0} is a service of another program; slb does not touch it")]
    Foreign(Endpoint),
    /// The data plane, the host or the network could not be asked.
    #[error("could not {doing}")]
    Ask {
        /// In words that follow "could not".
        doing: String,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// The change could not be made durable; nothing was done.
    #[error("could not write to the store")]
    Store(#[source] Cause),
    /// A step failed.
    #[error("could not {step}{}", if *.undone { "" } else { "; the kernel is put right in the background" })]
    Step {
        /// Which.
        step: Step,
        /// Whether it may succeed later.
        may_pass: bool,
        /// Whether everything is as it was before the request.
        undone: bool,
        /// The kernel's own error.
        #[source]
        cause: Cause,
    },
    /// What was declared cannot be; nothing of it was done.
    #[error("{why}")]
    Declared {
        /// Which of the load-balancers is to blame, counted from 0, if one is.
        index: Option<usize>,
        /// Why.
        why: Box<Failure>,
    },
    /// It cannot be said what would be done.
    #[error("the address is known only once its provider has reserved it, and so is the plan")]
    Unforeseen,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

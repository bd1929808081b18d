// SPDX-License-Identifier: Apache-2.0
//! A change of the kernel or the network as a value: planned, printed, logged and only then carried out.
//!
//! Each driver gets the steps of its own kind. Steps are idempotent: taking one that has been taken before is
//! [`Verdict::Applied`](crate::ports::Verdict::Applied).

use std::fmt;

use crate::model::{BackendSettings, Endpoint, ServiceSettings, SourceNat, Target, Vip};

/// One change, with the driver it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// For the advertiser.
    Advert(AdvertStep),
    /// For the host.
    Host(HostStep),
    /// For the data plane.
    Dataplane(DataplaneStep),
}

/// What the network is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdvertStep {
    /// Tell the network that the VIP lives here. Taken again, it is told again.
    Advertise(Vip),
    /// Stop telling it, before anything else is taken away.
    Withdraw(Vip),
}

/// What the host around the data plane is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostStep {
    /// Put the VIP on the adapter, as a /32 or /128.
    Bind(Vip),
    /// Take it off.
    Unbind(Vip),
    /// Give these of the load-balanced connections to this VIP the load-balancer's own source address, so that answers return through it,
    /// and no others.
    EnableSourceNat(Vip, SourceNat),
    /// Stop that.
    DisableSourceNat(Vip),
}

/// What the data plane is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataplaneStep {
    /// Balance connections to the endpoint, with no backend yet.
    AddService(Endpoint, ServiceSettings),
    /// Change the settings of a service that is there; its backends stay.
    SetService(Endpoint, ServiceSettings),
    /// Stop balancing the endpoint; its backends go with it.
    RemoveService(Endpoint),
    /// Send connections to this backend too.
    AddBackend(Endpoint, Target, BackendSettings),
    /// Change the settings of a backend that is there.
    SetBackend(Endpoint, Target, BackendSettings),
    /// Send no more connections there.
    RemoveBackend(Endpoint, Target),
}

impl Step {
    /// The VIP that the step is about. A step of one VIP never depends on the steps of another.
    #[must_use]
    pub fn vip(&self) -> Vip {
        match *self {
            Self::Advert(step) => step.vip(),
            Self::Host(
                HostStep::Bind(vip)
                | HostStep::Unbind(vip)
                | HostStep::EnableSourceNat(vip, _)
                | HostStep::DisableSourceNat(vip),
            ) => vip,
            Self::Dataplane(step) => step.endpoint().vip,
        }
    }
}

impl Step {
    /// Whether the network learns of the VIP by it: the kernel answers ARP for what is bound.
    #[must_use]
    pub fn tells(&self) -> bool {
        matches!(self, Self::Host(HostStep::Bind(_)) | Self::Advert(AdvertStep::Advertise(_)))
    }
}

impl AdvertStep {
    /// The VIP that the step is about.
    #[must_use]
    pub fn vip(&self) -> Vip {
        match *self {
            Self::Advertise(vip) | Self::Withdraw(vip) => vip,
        }
    }
}

impl DataplaneStep {
    /// The service that the step is about.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        match *self {
            Self::AddService(endpoint, _)
            | Self::SetService(endpoint, _)
            | Self::RemoveService(endpoint)
            | Self::AddBackend(endpoint, ..)
            | Self::SetBackend(endpoint, ..)
            | Self::RemoveBackend(endpoint, _) => endpoint,
        }
    }

    /// The backend that the step is about, if it is about one.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        match *self {
            Self::AddService(..) | Self::SetService(..) | Self::RemoveService(_) => None,
            Self::AddBackend(_, target, _) | Self::SetBackend(_, target, _) | Self::RemoveBackend(_, target) => {
                Some(target)
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Advert(step) => step.fmt(f),
            Self::Host(step) => step.fmt(f),
            Self::Dataplane(step) => step.fmt(f),
        }
    }
}

impl fmt::Display for AdvertStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Advertise(vip) => write!(f, "advertise {vip}"),
            Self::Withdraw(vip) => write!(f, "withdraw {vip}"),
        }
    }
}

impl fmt::Display for HostStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(vip) => write!(f, "bind {vip}"),
            Self::Unbind(vip) => write!(f, "unbind {vip}"),
            Self::EnableSourceNat(vip, choice) => write!(f, "enable source NAT for {vip} ({choice})"),
            Self::DisableSourceNat(vip) => write!(f, "disable source NAT for {vip}"),
        }
    }
}

impl fmt::Display for DataplaneStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService(endpoint, settings) => write!(f, "add service {endpoint} ({settings})"),
            Self::SetService(endpoint, settings) => write!(f, "set service {endpoint} ({settings})"),
            Self::RemoveService(endpoint) => write!(f, "remove service {endpoint}"),
            Self::AddBackend(endpoint, target, settings) => {
                write!(f, "add backend {target} ({settings}) to {endpoint}")
            }
            Self::SetBackend(endpoint, target, settings) => {
                write!(f, "set backend {target} ({settings}) of {endpoint}")
            }
            Self::RemoveBackend(endpoint, target) => write!(f, "remove backend {target} from {endpoint}"),
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! A change of the kernel or the network as a value: planned, printed, logged and only then carried out.
//!
//! Each driver gets the steps of its own kind. Steps are idempotent: taking one that has been taken before is
//! [`Verdict::Applied`](crate::ports::Verdict::Applied).

use std::fmt;

use crate::model::{BackendSettings, MarkRule, ServiceSettings, SourceNat, Target, Vip, VirtualService};

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
    /// Bring what backends answer to clients' own addresses back to this host, for connections of this VIP, and of all others of its family.
    CatchAnswers(Vip),
    /// Stop that, since no other VIP of its family needs it.
    ReleaseAnswers(Vip),
    /// Have the firewall mark these packets.
    Mark(MarkRule),
    /// Stop that.
    Unmark(MarkRule),
}

/// What the data plane is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataplaneStep {
    /// Balance connections, with no backend yet.
    AddService(VirtualService, ServiceSettings),
    /// Change the settings of a service that is there; its backends stay.
    SetService(VirtualService, ServiceSettings),
    /// Stop balancing them; its backends go with it.
    RemoveService(VirtualService),
    /// Send connections to this backend too.
    AddBackend(VirtualService, Target, BackendSettings),
    /// Change the settings of a backend that is there.
    SetBackend(VirtualService, Target, BackendSettings),
    /// Send no more connections there.
    RemoveBackend(VirtualService, Target),
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
                | HostStep::DisableSourceNat(vip)
                | HostStep::CatchAnswers(vip)
                | HostStep::ReleaseAnswers(vip),
            ) => vip,
            Self::Host(HostStep::Mark(rule) | HostStep::Unmark(rule)) => rule.vip,
            Self::Dataplane(step) => step.service().vip(),
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
    pub fn service(&self) -> VirtualService {
        match *self {
            Self::AddService(service, _)
            | Self::SetService(service, _)
            | Self::RemoveService(service)
            | Self::AddBackend(service, ..)
            | Self::SetBackend(service, ..)
            | Self::RemoveBackend(service, _) => service,
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
            Self::CatchAnswers(vip) => write!(f, "bring answers to clients of {vip} back to this host"),
            Self::ReleaseAnswers(vip) => write!(f, "let answers to clients of {vip} go their own way"),
            Self::Mark(rule) => write!(f, "mark {rule}"),
            Self::Unmark(rule) => write!(f, "stop marking {rule}"),
        }
    }
}

impl fmt::Display for DataplaneStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService(service, settings) => write!(f, "add service {service} ({settings})"),
            Self::SetService(service, settings) => write!(f, "set service {service} ({settings})"),
            Self::RemoveService(service) => write!(f, "remove service {service}"),
            Self::AddBackend(service, target, settings) => {
                write!(f, "add backend {target} ({settings}) to {service}")
            }
            Self::SetBackend(service, target, settings) => {
                write!(f, "set backend {target} ({settings}) of {service}")
            }
            Self::RemoveBackend(service, target) => write!(f, "remove backend {target} from {service}"),
        }
    }
}

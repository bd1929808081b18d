// SPDX-License-Identifier: Apache-2.0
//! What the kernel reports, reduced to what the plan compares. Asked-for and observed are different types on purpose:
//! the kernel can hold settings that slb never asks for; those are `None` here and never equal anything desired.

mod backends;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

pub use self::backends::{Backends, Listed};
use crate::model::{Family, MarkRule, ServiceKey, ServiceSettings, SourceNat, Vip};

/// How much there is of what brings answers to clients' own addresses back to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Something is missing: they do not come.
    Part,
    /// All of it.
    Whole,
}

/// What a host reports of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostView {
    /// Every address on the adapter that is bound the way slb binds VIPs (/32, /128), whoever put it there.
    pub bound: BTreeSet<Vip>,
    /// Every other address that must not be handed out, with the reason in words that follow "ADDRESS is …": this
    /// host's own addresses on any adapter, and its gateways.
    pub taken: BTreeMap<IpAddr, String>,
    /// Every address that means all hosts of a network of this host, on any adapter. No server has one.
    pub broadcasts: BTreeSet<IpAddr>,
    /// Whether connections end on it, in user space: it is for the data plane then whose address backends see, and for no rule.
    pub is_relaying: bool,
    /// The VIPs for which slb's source NAT is in place, and for which connections it is.
    pub source_nat: BTreeMap<Vip, SourceNat>,
    /// The families in which something is there that brings answers to clients' own addresses back to this host.
    pub answers: BTreeMap<Family, Extent>,
    /// What slb has the firewall mark, by VIP. No set is empty.
    pub marks: BTreeMap<Vip, BTreeSet<MarkRule>>,
}

/// What a data plane reports: every service that slb could have asked for, whoever put it there.
pub type Services = BTreeMap<ServiceKey, ServiceView>;

/// A service as the data plane reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// The service's own settings; `None` for what slb never asks for.
    pub settings: Option<ServiceSettings>,
    /// Its backends.
    pub backends: Backends,
}

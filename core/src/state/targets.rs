// SPDX-License-Identifier: Apache-2.0
//! Whether backends and the fallback go with where a load-balancer is, and with each other.

use std::{collections::BTreeMap, net::IpAddr};

use super::families;
use crate::{
    command::{Rejected, Unfit},
    model::{Backend, BackendSettings, Discord, Fallback, ForwardingKind, LoadBalancer, Port, Target, Vip},
};

/// Whether one of its VIPs is that address. On a loopback address everything is on this host, and another server has another port.
fn is_vip(of: &LoadBalancer, target: Target) -> bool {
    let is_own = |port: Port| of.ranges().into_iter().any(|range| range.common(port.into()).is_some());
    let is_other = |address: IpAddr| address.is_loopback() && target.port.is_some_and(|port| !is_own(port));
    of.vips.into_iter().map(Vip::address).any(|vip| vip == target.ip.address() && !is_other(vip))
}

/// Whether its backends and its fallback could be those of a load-balancer there.
pub(super) fn check_targets(of: &LoadBalancer) -> Result<(), Rejected> {
    let (mut targets, mut hosts) = (BTreeMap::new(), BTreeMap::new());
    of.backends().iter().try_for_each(|backend| {
        let (&Backend { id, target, .. }, settings) = (backend, backend.settings());
        if is_vip(of, target) {
            return Err(Rejected::BackendIsVip(target));
        }
        if let Some(by) = targets.insert(target, id) {
            return Err(Rejected::BackendExists { target, by });
        }
        check_reach(of, target, settings)?;
        let other = (!settings.forwarding.translates()).then(|| hosts.insert(target.ip, target)).flatten();
        check_server(target, settings, other)
    })?;
    check_fallback(of)?;
    Ok(check_persistence(of)?)
}

/// The fallback is a backend like others, but none of them.
pub(super) fn check_fallback(of: &LoadBalancer) -> Result<(), Rejected> {
    let Some(Fallback { target, settings }) = of.fallback().copied() else { return Ok(()) };
    if is_vip(of, target) {
        return Err(Rejected::BackendIsVip(target));
    }
    if of.backends().iter().any(|backend| backend.target == target) {
        return Err(Rejected::BackendIsFallback(target));
    }
    check_reach(of, target, settings)?;
    let is_same = |each: &&Backend| each.target.ip == target.ip && !each.settings().forwarding.translates();
    let other = (!settings.forwarding.translates()).then(|| of.backends().iter().find(is_same)).flatten();
    check_server(target, settings, other.map(|other| other.target))
}

/// `other` is on the same host, and what is sent there keeps its port as well.
fn check_server(target: Target, settings: BackendSettings, other: Option<Target>) -> Result<(), Rejected> {
    match other {
        Some(other) => {
            let kind = settings.forwarding.kind();
            Err(Rejected::Unfit { target, why: Unfit::SameServer { kind, other } })
        }
        None => Ok(()),
    }
}

/// The kernel gives a client that stays with a backend the port that it came to, whatever the backend's is (`ip_vs_sched_persist`).
pub(super) fn check_persistence(of: &LoadBalancer) -> Result<(), Discord> {
    let mut targets = of.backends().iter().map(|backend| backend.target).chain(of.fallback().map(|it| it.target));
    match targets.find(|target| target.port.is_some()) {
        Some(target) if of.marked.is_some() && of.service.persistence.is_some() => Err(Discord {
            field: "persistence",
            why: format!("clients that stay with a backend keep their ports, too: leave out that of {target}"),
        }),
        _ => Ok(()),
    }
}

/// Whether packets can reach it from one of the VIPs by the way that it asks for.
fn check_reach(of: &LoadBalancer, target: Target, settings: BackendSettings) -> Result<(), Rejected> {
    let kind = settings.forwarding.kind();
    let unfit = |why| Err(Rejected::Unfit { target, why });
    match (target.port, &of.marked) {
        (None, None) => return unfit(Unfit::NoPort),
        (Some(_), Some(_)) if !settings.forwarding.translates() => return unfit(Unfit::OnePort { kind }),
        _ => {}
    }
    if kind != ForwardingKind::Tunnel && families(of.vips).all(|family| family != target.ip.family()) {
        return unfit(Unfit::OtherFamily { kind, vip: of.vips.first().family() });
    }
    Ok(())
}

// SPDX-License-Identifier: Apache-2.0
//! Whether backends and the fallback go with where a load-balancer is, and with each other.

use std::collections::BTreeMap;

use super::families;
use crate::{
    command::{Rejected, Unfit},
    model::{Backend, BackendId, BackendSettings, Discord, Fallback, ForwardingKind, LoadBalancer, Target},
};

/// Whether one of its VIPs is that address.
fn is_vip(of: &LoadBalancer, target: Target) -> bool {
    of.vips.into_iter().any(|vip| vip.address() == target.ip.address())
}

/// Whether its backends and its fallback could be those of a load-balancer there.
pub(super) fn check_targets(of: &LoadBalancer) -> Result<(), Rejected> {
    let mut targets = BTreeMap::new();
    let mut backends = of.backends().iter();
    backends.try_for_each(|backend| check_backend(of, backend, targets.insert(backend.target, backend.id)))?;
    check_fallback(of)?;
    Ok(check_persistence(of)?)
}

/// `holder` is the backend that has the target already.
fn check_backend(of: &LoadBalancer, backend: &Backend, holder: Option<BackendId>) -> Result<(), Rejected> {
    let target = backend.target;
    if is_vip(of, target) {
        return Err(Rejected::BackendIsVip(target));
    }
    if let Some(by) = holder {
        return Err(Rejected::BackendExists { target, by });
    }
    check_reach(of, target, backend.settings)
}

/// The fallback is a backend like others, but none of them.
pub(super) fn check_fallback(of: &LoadBalancer) -> Result<(), Rejected> {
    let Some(Fallback { target, settings }) = of.fallback.as_deref().copied() else { return Ok(()) };
    if is_vip(of, target) {
        return Err(Rejected::BackendIsVip(target));
    }
    match of.backends().iter().find(|backend| backend.target == target) {
        Some(_) => Err(Rejected::BackendIsFallback(target)),
        None => check_reach(of, target, settings),
    }
}

/// The kernel gives a client that stays with a backend the port that it came to, whatever the backend's is (`ip_vs_sched_persist`).
pub(super) fn check_persistence(of: &LoadBalancer) -> Result<(), Discord> {
    let mut targets = of.backends().iter().map(|backend| backend.target).chain(of.fallback.iter().map(|it| it.target));
    match targets.find(|target| target.port.is_some()) {
        Some(target) if of.marked.is_some() && of.service.persistence.is_some() => Err(Discord {
            field: "persistence",
            why: format!("clients that stay with a backend keep their ports, too: leave out that of {target}"),
        }),
        _ => Ok(()),
    }
}

/// Whether packets can reach it from one of the VIPs by the way that it asks for.
pub(super) fn check_reach(of: &LoadBalancer, target: Target, settings: BackendSettings) -> Result<(), Rejected> {
    let LoadBalancer { vips, port, .. } = *of;
    let kind = settings.forwarding.kind();
    let keeps_port = kind != ForwardingKind::Masquerade;
    let unfit = |why| Err(Rejected::Unfit { target, why });
    match (target.port, &of.marked) {
        (None, None) => return unfit(Unfit::NoPort),
        (Some(other), None) if keeps_port && other != port => return unfit(Unfit::OtherPort { kind, port }),
        (Some(_), Some(_)) if keeps_port => return unfit(Unfit::OnePort { kind }),
        _ => {}
    }
    if kind != ForwardingKind::Tunnel && families(vips).all(|family| family != target.ip.family()) {
        return unfit(Unfit::OtherFamily { kind, vip: vips.first().family() });
    }
    Ok(())
}

// SPDX-License-Identifier: Apache-2.0
//! What only a kernel can do. Each reason says what to do instead.

use std::io::{self, ErrorKind};

use slb_core::{
    model::{BackendSettings, Endpoint, Forwarding, Protocol, ServiceSettings, SourceNat, Target, VirtualService},
    ports::{Denied, Unserved},
    step::DataplaneStep,
};

use crate::{balance::Method, source};

/// Nothing, if the step can be taken as far as this data plane goes.
///
/// # Errors
/// It cannot.
pub fn of(step: &DataplaneStep) -> Result<(), Unserved> {
    match step {
        DataplaneStep::AddService(at, settings) | DataplaneStep::SetService(at, settings) => {
            endpoint(*at)?;
            method(settings)?;
            source(settings)
        }
        DataplaneStep::AddBackend(_, _, settings) | DataplaneStep::SetBackend(_, _, settings) => forwarding(settings),
        DataplaneStep::RemoveService(_) | DataplaneStep::RemoveBackend(..) => Ok(()),
    }
}

/// Where clients connect to.
///
/// # Errors
/// It is several ports, or of a protocol that is not relayed.
pub fn endpoint(service: VirtualService) -> Result<Endpoint, Unserved> {
    match service {
        VirtualService::Endpoint(endpoint) if endpoint.protocol == Protocol::Sctp => Err(Unserved(format!(
            "the user-space data plane has no {}: it needs IPVS (--dataplane ipvs)",
            endpoint.protocol
        ))),
        VirtualService::Endpoint(endpoint) => Ok(endpoint),
        VirtualService::Mark(..) => Err(Unserved(
            "the user-space data plane has one port for each load-balancer: make several, or use IPVS (--dataplane ipvs)"
                .to_owned(),
        )),
    }
}

/// The scheduler.
///
/// # Errors
/// It is the kernel's alone.
pub fn method(settings: &ServiceSettings) -> Result<Method, Unserved> {
    Method::of(settings.scheduler).ok_or_else(|| {
        Unserved(format!(
            "the user-space data plane has no scheduler {}: it has rr, wrr, lc, wlc, sh and mh; the others need IPVS (--dataplane ipvs)",
            settings.scheduler
        ))
    })
}

/// Whose address backends see: this host's, or all clients' own.
///
/// # Errors
/// It depends on where clients are.
pub fn source(settings: &ServiceSettings) -> Result<(), Unserved> {
    match settings.source_nat {
        None | Some(SourceNat::Always | SourceNat::Never) => Ok(()),
        Some(choice @ SourceNat::SameNetwork) => Err(Unserved(format!(
            "the user-space data plane shows backends this host's address, or with source NAT never all clients' own: {choice} needs IPVS \
             (--dataplane ipvs); \"proxyProtocol\" tells backends who their clients are"
        ))),
    }
}

/// Whether what the backend answers to clients' own addresses can be brought back to this host, if it is to.
///
/// # Errors
/// The backend is this host: its answers do not come in from anywhere.
pub fn way_back(settings: &ServiceSettings, target: Target) -> Result<(), Denied> {
    if settings.source_nat == Some(SourceNat::Never) && source::is_own(target.ip.address()) {
        return Err(Denied(format!(
            "the backend {target} is this host itself, and what it answers to clients' own addresses goes past the user-space data plane: source NAT \
             never needs backends on other hosts, or IPVS (--dataplane ipvs); \"proxyProtocol\" tells backends who their clients are"
        )));
    }
    Ok(())
}

/// Whether connections can be relayed to a backend of that kind.
///
/// # Errors
/// Packets would have to go there as they are.
pub fn forwarding(settings: &BackendSettings) -> Result<(), Unserved> {
    match settings.forwarding {
        Forwarding::Masquerade => Ok(()),
        Forwarding::Local | Forwarding::DirectRoute | Forwarding::Tunnel(_) => Err(Unserved(format!(
            "the user-space data plane relays connections, and does not pass on packets: the type {} needs IPVS (--dataplane ipvs); use MASQ",
            settings.forwarding.kind()
        ))),
    }
}

/// Why an endpoint cannot be listened on, if this host, as it is, does not let it.
pub fn listening(endpoint: Endpoint, error: &io::Error) -> Option<Denied> {
    let kind = error.kind();
    let why = if kind == ErrorKind::AddrNotAvailable {
        let vip = endpoint.vip;
        format!(
            "{vip} is no address of this host, and without privileges slb binds none: give it to an adapter, or run slb as root"
        )
    } else if kind == ErrorKind::PermissionDenied {
        let port = endpoint.port;
        format!(
            "this process may not listen on port {port}: run slb with CAP_NET_BIND_SERVICE, set net.ipv4.ip_unprivileged_port_start, or choose a port from 1024 on"
        )
    } else {
        return None;
    };
    Some(Denied(why))
}

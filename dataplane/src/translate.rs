// SPDX-License-Identifier: Apache-2.0
//! Steps to IPVS requests, and IPVS objects to observations. Pure.

use std::net::IpAddr;

use ipvs::{
    Destination, DestinationId, Forward, ObservedDestination, ObservedService, Protocol, Refusal, Request, Service,
    ServiceId, scheduler,
};
use slb_core::{
    model::{BackendSettings, Endpoint, Forwarding, Port, Scheduler, ServiceSettings, Target, Vip, Weight},
    step::DataplaneStep,
};

/// The request that carries out a step.
pub fn request(step: &DataplaneStep) -> Request {
    match *step {
        DataplaneStep::AddService(endpoint, settings) => Request::NewService(service(endpoint, settings)),
        DataplaneStep::SetService(endpoint, settings) => Request::SetService(service(endpoint, settings)),
        DataplaneStep::RemoveService(endpoint) => Request::DelService(service_id(endpoint)),
        DataplaneStep::AddBackend(endpoint, target, settings) => {
            Request::NewDestination(service_id(endpoint), destination(target, settings))
        }
        DataplaneStep::SetBackend(endpoint, target, settings) => {
            Request::SetDestination(service_id(endpoint), destination(target, settings))
        }
        DataplaneStep::RemoveBackend(endpoint, target) => {
            Request::DelDestination(service_id(endpoint), destination_id(target))
        }
    }
}

/// What to make of a refusal.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// The kernel is as the step says all the same.
    Done,
    /// The object is there already, or is not there yet: this request makes it what the step says.
    Instead(Box<Request>),
    /// The kernel lacks this.
    Lacking(String),
    /// The step failed.
    Failed,
}

/// Reads the refusal of a step's request.
pub fn reading(step: &DataplaneStep, refusal: &Refusal) -> Reading {
    match *step {
        DataplaneStep::AddService(_, settings) | DataplaneStep::SetService(_, settings)
            if refusal.errno() == libc::ENOENT =>
        {
            Reading::Lacking(format!("scheduler {0} (module ip_vs_{0})", settings.scheduler))
        }
        DataplaneStep::AddService(endpoint, settings) if refusal.already_exists() => {
            Reading::Instead(Box::new(Request::SetService(service(endpoint, settings))))
        }
        DataplaneStep::SetService(endpoint, settings) if refusal.no_such_service() => {
            Reading::Instead(Box::new(Request::NewService(service(endpoint, settings))))
        }
        DataplaneStep::AddBackend(endpoint, target, settings) if refusal.already_exists() => {
            Reading::Instead(Box::new(Request::SetDestination(service_id(endpoint), destination(target, settings))))
        }
        DataplaneStep::SetBackend(endpoint, target, settings) if refusal.not_found() && !refusal.no_such_service() => {
            Reading::Instead(Box::new(Request::NewDestination(service_id(endpoint), destination(target, settings))))
        }
        DataplaneStep::RemoveService(_) | DataplaneStep::RemoveBackend(..) if refusal.not_found() => Reading::Done,
        DataplaneStep::AddService(..)
        | DataplaneStep::SetService(..)
        | DataplaneStep::RemoveService(_)
        | DataplaneStep::AddBackend(..)
        | DataplaneStep::SetBackend(..)
        | DataplaneStep::RemoveBackend(..) => Reading::Failed,
    }
}

/// Out of memory, interrupted, busy, or a service that somebody removed meanwhile: that passes.
pub fn may_pass(refusal: &Refusal) -> bool {
    matches!(refusal.errno(), libc::ENOMEM | libc::ENOBUFS | libc::EAGAIN | libc::EINTR | libc::EBUSY | libc::ESRCH)
}

/// The service that slb asks for: nothing else set.
pub fn service(endpoint: Endpoint, settings: ServiceSettings) -> Service {
    Service::new(service_id(endpoint), scheduler(settings.scheduler))
}

fn scheduler(of: Scheduler) -> ipvs::Name {
    match of {
        Scheduler::Rr => scheduler::RR,
        Scheduler::Wrr => scheduler::WRR,
        Scheduler::Lc => scheduler::LC,
        Scheduler::Wlc => scheduler::WLC,
        Scheduler::Sh => scheduler::SH,
        Scheduler::Mh => scheduler::MH,
        Scheduler::Dh => scheduler::DH,
        Scheduler::Sed => scheduler::SED,
        Scheduler::Nq => scheduler::NQ,
        Scheduler::Fo => scheduler::FO,
        Scheduler::Ovf => scheduler::OVF,
        Scheduler::Lblc => scheduler::LBLC,
        Scheduler::Lblcr => scheduler::LBLCR,
        Scheduler::Twos => scheduler::TWOS,
    }
}

/// The service's key.
pub fn service_id(endpoint: Endpoint) -> ServiceId {
    ServiceId::tcp(endpoint.vip.into(), endpoint.port.get())
}

/// Where the service listens, if slb could have made it: TCP on an IPv4 address.
pub fn endpoint(id: &ServiceId) -> Option<Endpoint> {
    match *id {
        ServiceId::Address { protocol: Protocol::Tcp, address: IpAddr::V4(address), port } => {
            Some(Endpoint { vip: Vip::try_from(address).ok()?, port: Port::try_from(i64::from(port)).ok()? })
        }
        ServiceId::Address { .. } | ServiceId::Fwmark { .. } => None,
    }
}

/// The service's own settings; `None` for what slb never asks for.
pub fn service_settings(endpoint: Endpoint, observed: &ObservedService) -> Option<ServiceSettings> {
    let all = Scheduler::ALL.into_iter().map(|scheduler| ServiceSettings { scheduler });
    all.into_iter().find(|settings| service(endpoint, *settings) == *observed.as_requested())
}

/// The backend as the plan compares it. `None` as a whole if slb cannot name it.
pub fn backend(observed: &ObservedDestination) -> Option<(Target, Option<BackendSettings>)> {
    let (asked, target) = (observed.as_requested(), target(observed)?);
    Some((target, settings(asked).filter(|settings| destination(target, *settings) == *asked)))
}

/// Where the backend listens. `None` if slb cannot name it: of another family, on port 0.
pub fn target(observed: &ObservedDestination) -> Option<Target> {
    let DestinationId { address: IpAddr::V4(address), port } = *observed.id() else { return None };
    Some(Target { ip: address.try_into().ok()?, port: Port::try_from(i64::from(port)).ok()? })
}

fn settings(asked: &Destination) -> Option<BackendSettings> {
    let known = [(Forward::Masquerade, Forwarding::Masquerade), (Forward::Local, Forwarding::Local)];
    let (_, forwarding) = known.into_iter().find(|(forward, _)| *forward == asked.forward)?;
    Some(BackendSettings { forwarding, weight: Weight::from(u16::try_from(asked.weight).ok()?) })
}

fn destination(target: Target, settings: BackendSettings) -> Destination {
    let forward = match settings.forwarding {
        Forwarding::Masquerade => Forward::Masquerade,
        Forwarding::Local => Forward::Local,
    };
    let DestinationId { address, port } = destination_id(target);
    Destination { weight: settings.weight.get().into(), ..Destination::new(address, port, forward) }
}

fn destination_id(target: Target) -> DestinationId {
    DestinationId { address: target.ip.address().into(), port: target.port.get() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint_of(port: i64) -> Endpoint {
        Endpoint { vip: "192.168.0.85".parse().unwrap(), port: Port::try_from(port).unwrap() }
    }

    #[test]
    fn steps_are_what_ipvsadm_would_be_told() {
        let at = endpoint_of(6443);
        let target = Target { ip: "10.80.96.25".parse().unwrap(), port: at.port };
        let hashed = ServiceSettings { scheduler: Scheduler::Mh };
        let local = BackendSettings { forwarding: Forwarding::Local, weight: Weight::from(7) };
        for (step, expected) in [
            (DataplaneStep::AddService(at, ServiceSettings::default()), "-A -t 192.168.0.85:6443 -s rr"),
            (DataplaneStep::SetService(at, hashed), "-E -t 192.168.0.85:6443 -s mh"),
            (DataplaneStep::RemoveService(at), "-D -t 192.168.0.85:6443"),
            (
                DataplaneStep::AddBackend(at, target, BackendSettings::default()),
                "-a -t 192.168.0.85:6443 -r 10.80.96.25:6443 -m -w 1",
            ),
            (DataplaneStep::SetBackend(at, target, local), "-e -t 192.168.0.85:6443 -r 10.80.96.25:6443 -l -w 7"),
            (DataplaneStep::RemoveBackend(at, target), "-d -t 192.168.0.85:6443 -r 10.80.96.25:6443"),
        ] {
            assert_eq!(request(&step).to_string(), expected);
        }
    }

    #[test]
    fn schedulers_are_named_as_the_kernel_names_them() {
        for each in Scheduler::ALL {
            let asked = service(endpoint_of(80), ServiceSettings { scheduler: each });
            assert_eq!(asked.scheduler.to_string(), each.name());
        }
    }

    #[test]
    fn only_tcp_on_ipv4_could_be_ours() {
        let address = IpAddr::from([192, 168, 0, 85]);
        assert_eq!(endpoint(&ServiceId::tcp(address, 6443)), Some(endpoint_of(6443)));
        assert_eq!(endpoint(&ServiceId::udp(address, 6443)), None);
        assert_eq!(endpoint(&ServiceId::tcp(address, 0)), None);
        assert_eq!(endpoint(&ServiceId::tcp("fd00::1".parse().unwrap(), 6443)), None);
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Steps to IPVS requests, and IPVS objects to observations. Pure.

use std::{net::Ipv4Addr, time::Duration};

use ipvs::{
    Destination, DestinationId, Family, Forward, Netmask, ObservedService, Refusal, Request, Service, ServiceFlags,
    ServiceId, Tunnel, TunnelKind, scheduler,
};
use slb_core::{
    model::{
        self, BackendSettings, Encapsulation, Endpoint, Forwarding, Mark, Persistence, Port, Protocol, Scheduler,
        SchedulerFlags, ServiceKey, ServiceSettings, Target, Thresholds, Vip, VirtualService, Weight,
    },
    step::DataplaneStep,
};

/// The request that carries out a step.
pub fn request(step: &DataplaneStep) -> Request {
    match *step {
        DataplaneStep::AddService(at, settings) => Request::NewService(service(service_id(at), settings)),
        DataplaneStep::SetService(at, settings) => Request::SetService(service(service_id(at), settings)),
        DataplaneStep::RemoveService(at) => Request::DelService(service_id(at)),
        DataplaneStep::AddBackend(at, target, settings) => {
            Request::NewDestination(service_id(at), destination(target, settings))
        }
        DataplaneStep::SetBackend(at, target, settings) => {
            Request::SetDestination(service_id(at), destination(target, settings))
        }
        DataplaneStep::RemoveBackend(at, target) => Request::DelDestination(service_id(at), destination_id(target)),
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
        DataplaneStep::AddService(at, settings) if refusal.already_exists() => {
            Reading::Instead(Box::new(Request::SetService(service(service_id(at), settings))))
        }
        DataplaneStep::SetService(at, settings) if refusal.no_such_service() => {
            Reading::Instead(Box::new(Request::NewService(service(service_id(at), settings))))
        }
        DataplaneStep::AddBackend(at, target, settings) if refusal.already_exists() => {
            Reading::Instead(Box::new(Request::SetDestination(service_id(at), destination(target, settings))))
        }
        DataplaneStep::SetBackend(at, target, settings) if refusal.not_found() && !refusal.no_such_service() => {
            Reading::Instead(Box::new(Request::NewDestination(service_id(at), destination(target, settings))))
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
pub fn service(id: ServiceId, settings: ServiceSettings) -> Service {
    // What is to speak the PROXY protocol is `unserved`; source NAT is the host's.
    let ServiceSettings { scheduler: name, flags, persistence, one_packet, proxy_protocol: _, source_nat: _ } =
        settings;
    let flag = |set, flag| if set { flag } else { ServiceFlags::default() };
    Service {
        flags: flag(one_packet, ServiceFlags::ONE_PACKET)
            | flag(flags.port, ServiceFlags::SH_PORT)
            | flag(flags.fallback, ServiceFlags::SH_FALLBACK),
        persistence: persistence.map(|Persistence { timeout, granularity }| ipvs::Persistence {
            timeout: timeout.seconds(),
            netmask: netmask(id.family(), granularity),
        }),
        ..Service::new(id, scheduler(name))
    }
}

fn netmask(family: Family, granularity: Option<u8>) -> Netmask {
    match (family, granularity) {
        (_, None) => Netmask::single(family),
        (Family::Inet, Some(bits)) => {
            Netmask::V4(u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0).into())
        }
        (Family::Inet6, Some(bits)) => Netmask::V6(bits),
    }
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

/// How the kernel calls the service.
pub fn service_id(service: VirtualService) -> ServiceId {
    id(service.key())
}

/// How the kernel is told which service.
pub fn id(key: ServiceKey) -> ServiceId {
    match key {
        ServiceKey::Endpoint(Endpoint { vip, port, protocol }) => {
            let protocol = match protocol {
                Protocol::Tcp => ipvs::Protocol::Tcp,
                Protocol::Udp => ipvs::Protocol::Udp,
                Protocol::Sctp => ipvs::Protocol::Sctp,
            };
            ServiceId::Address { protocol, address: vip.into(), port: port.get() }
        }
        ServiceKey::Mark(family, mark) => {
            let family = match family {
                model::Family::Ipv4 => Family::Inet,
                model::Family::Ipv6 => Family::Inet6,
            };
            ServiceId::Fwmark { mark: mark.get(), family }
        }
    }
}

/// What tells the service from others, if slb could have made it.
pub fn key(id: &ServiceId) -> Option<ServiceKey> {
    let (protocol, address, port) = match *id {
        ServiceId::Address { protocol, address, port } => (protocol, address, port),
        ServiceId::Fwmark { mark, family } => {
            let family = match family {
                Family::Inet => model::Family::Ipv4,
                Family::Inet6 => model::Family::Ipv6,
            };
            return Some(ServiceKey::Mark(family, Mark::try_from(mark).ok()?));
        }
    };
    let protocol = match protocol {
        ipvs::Protocol::Tcp => Protocol::Tcp,
        ipvs::Protocol::Udp => Protocol::Udp,
        ipvs::Protocol::Sctp => Protocol::Sctp,
        ipvs::Protocol::Other(_) | _ => return None,
    };
    let vip = Vip::try_from(address).ok()?;
    Some(Endpoint { vip, port: Port::try_from(i64::from(port)).ok()?, protocol }.into())
}

/// The service's own settings; `None` for what slb never asks for.
pub fn service_settings(observed: &ObservedService) -> Option<ServiceSettings> {
    let asked = observed.as_requested();
    let persistence = match asked.persistence {
        None => None,
        Some(ipvs::Persistence { timeout, netmask }) => Some(Persistence {
            timeout: Duration::from_secs(timeout.into()).try_into().ok()?,
            granularity: granularity(netmask),
        }),
    };
    let settings = ServiceSettings {
        scheduler: asked.scheduler.as_str().parse().ok()?,
        flags: SchedulerFlags {
            port: asked.flags.contains(ServiceFlags::SH_PORT),
            fallback: asked.flags.contains(ServiceFlags::SH_FALLBACK),
        },
        persistence,
        one_packet: asked.flags.contains(ServiceFlags::ONE_PACKET),
        proxy_protocol: None,
        source_nat: None,
    };
    (service(asked.id, settings) == *asked).then_some(settings)
}

/// `None` for each client alone.
fn granularity(netmask: Netmask) -> Option<u8> {
    match netmask {
        Netmask::V4(Ipv4Addr::BROADCAST) | Netmask::V6(128) => None,
        Netmask::V4(mask) => u8::try_from(u32::from(mask).leading_ones()).ok(),
        Netmask::V6(bits) => Some(bits),
    }
}

/// The backend as the plan compares it. `None` as a whole if slb cannot name it.
pub fn backend(asked: &Destination) -> Option<(Target, Option<BackendSettings>)> {
    let target = target(&asked.id)?;
    Some((target, settings(asked).filter(|settings| destination(target, *settings) == *asked)))
}

/// Where the backend listens: port 0 leaves connections theirs. `None` if slb cannot name it.
pub fn target(id: &DestinationId) -> Option<Target> {
    let DestinationId { address, port } = *id;
    Some(Target { ip: address.try_into().ok()?, port: Port::try_from(i64::from(port)).ok() })
}

fn settings(asked: &Destination) -> Option<BackendSettings> {
    let forwarding = match asked.forward {
        Forward::Masquerade => Forwarding::Masquerade,
        Forward::Local => Forwarding::Local,
        Forward::DirectRoute => Forwarding::DirectRoute,
        Forward::Tunnel(tunnel) => Forwarding::Tunnel(match tunnel.kind {
            TunnelKind::Ipip => Encapsulation::Ipip,
            TunnelKind::Gre => Encapsulation::Gre,
            TunnelKind::Gue => Encapsulation::Gue(Port::try_from(i64::from(tunnel.port)).ok()?),
            TunnelKind::Other(_) | _ => return None,
        }),
        Forward::Bypass | Forward::Other(_) | _ => return None,
    };
    Some(BackendSettings {
        forwarding,
        weight: Weight::from(u16::try_from(asked.weight).ok()?),
        thresholds: Thresholds::new(asked.upper_threshold, asked.lower_threshold).ok()?,
    })
}

fn destination(target: Target, settings: BackendSettings) -> Destination {
    let forward = match settings.forwarding {
        Forwarding::Masquerade => Forward::Masquerade,
        Forwarding::Local => Forward::Local,
        Forwarding::DirectRoute => Forward::DirectRoute,
        Forwarding::Tunnel(Encapsulation::Ipip) => Forward::Tunnel(Tunnel::IPIP),
        Forwarding::Tunnel(Encapsulation::Gre) => Forward::Tunnel(Tunnel::GRE),
        Forwarding::Tunnel(Encapsulation::Gue(port)) => Forward::Tunnel(Tunnel::gue(port.get())),
    };
    Destination {
        id: destination_id(target),
        forward,
        weight: settings.weight.get().into(),
        upper_threshold: settings.thresholds.upper(),
        lower_threshold: settings.thresholds.lower(),
    }
}

fn destination_id(target: Target) -> DestinationId {
    DestinationId { address: target.ip.address(), port: target.port.map_or(0, Port::get) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint_of(port: i64) -> Endpoint {
        Endpoint::tcp("192.168.0.85".parse().unwrap(), Port::try_from(port).unwrap())
    }

    #[test]
    fn steps_are_what_ipvsadm_would_be_told() {
        let endpoint = endpoint_of(6443);
        let at = endpoint.into();
        let target = Target { ip: "10.80.96.25".parse().unwrap(), port: Some(endpoint.port) };
        let marked = |vip: &str| VirtualService::Mark(vip.parse().unwrap(), Mark::try_from(0x51b0_0001).unwrap());
        let hashed = ServiceSettings { scheduler: Scheduler::Mh, ..ServiceSettings::default() };
        let by = |forwarding| BackendSettings { forwarding, ..BackendSettings::default() };
        let limited = BackendSettings {
            weight: Weight::from(7),
            thresholds: Thresholds::new(9, 3).unwrap(),
            ..by(Forwarding::Local)
        };
        let add = |forwarding| DataplaneStep::AddBackend(at, target, by(forwarding));
        for (step, expected) in [
            (DataplaneStep::AddService(at, ServiceSettings::default()), "-A -t 192.168.0.85:6443 -s rr"),
            (DataplaneStep::SetService(at, hashed), "-E -t 192.168.0.85:6443 -s mh"),
            (DataplaneStep::RemoveService(at), "-D -t 192.168.0.85:6443"),
            (add(Forwarding::Masquerade), "-a -t 192.168.0.85:6443 -r 10.80.96.25:6443 -m -w 1"),
            (add(Forwarding::DirectRoute), "-a -t 192.168.0.85:6443 -r 10.80.96.25:6443 -g -w 1"),
            (
                add(Forwarding::Tunnel(Encapsulation::Ipip)),
                "-a -t 192.168.0.85:6443 -r 10.80.96.25:6443 -i -w 1 --tun-type ipip",
            ),
            (
                add(Forwarding::Tunnel(Encapsulation::Gre)),
                "-a -t 192.168.0.85:6443 -r 10.80.96.25:6443 -i -w 1 --tun-type gre --tun-nocsum",
            ),
            (
                add(Forwarding::Tunnel(Encapsulation::Gue(endpoint.port))),
                "-a -t 192.168.0.85:6443 -r 10.80.96.25:6443 -i -w 1 --tun-type gue --tun-port 6443 --tun-nocsum",
            ),
            (
                DataplaneStep::SetBackend(at, target, limited),
                "-e -t 192.168.0.85:6443 -r 10.80.96.25:6443 -l -w 7 -x 9 -y 3",
            ),
            (DataplaneStep::RemoveBackend(at, target), "-d -t 192.168.0.85:6443 -r 10.80.96.25:6443"),
            (
                DataplaneStep::RemoveBackend(marked("192.168.0.85"), Target { port: None, ..target }),
                "-d -f 1370488833 -r 10.80.96.25:0",
            ),
            (DataplaneStep::RemoveService(marked("192.168.0.85")), "-D -f 1370488833"),
            (DataplaneStep::RemoveService(marked("fd00::85")), "-D -f 1370488833 -6"),
        ] {
            assert_eq!(request(&step).to_string(), expected);
        }
    }

    #[test]
    fn settings_of_a_service_are_what_ipvsadm_would_be_told() {
        let persistent = |granularity| {
            let timeout = Duration::from_secs(300).try_into().unwrap();
            ServiceSettings { persistence: Some(Persistence { timeout, granularity }), ..ServiceSettings::default() }
        };
        let one_packet = ServiceSettings { one_packet: true, ..ServiceSettings::default() };
        let flags = SchedulerFlags { port: true, fallback: true };
        let hashed = ServiceSettings { scheduler: Scheduler::Sh, flags, ..ServiceSettings::default() };
        let tcp = endpoint_of(80);
        let of = |protocol| Endpoint { protocol, ..tcp };
        for (at, settings, expected) in [
            (tcp, persistent(None), "-t 192.168.0.85:80 -s rr -p 300"),
            (tcp, persistent(Some(24)), "-t 192.168.0.85:80 -s rr -p 300 -M 255.255.255.0"),
            (tcp, persistent(Some(1)), "-t 192.168.0.85:80 -s rr -p 300 -M 128.0.0.0"),
            (tcp, hashed, "-t 192.168.0.85:80 -s sh -b sh-fallback,sh-port"),
            (of(Protocol::Udp), one_packet, "-u 192.168.0.85:80 -s rr -o"),
            (of(Protocol::Sctp), ServiceSettings::default(), "--sctp-service 192.168.0.85:80 -s rr"),
        ] {
            assert_eq!(service(service_id(at.into()), settings).to_string(), expected);
        }
    }

    #[test]
    fn schedulers_are_named_as_the_kernel_names_them() {
        for each in Scheduler::ALL {
            let id = service_id(endpoint_of(80).into());
            let asked = service(id, ServiceSettings { scheduler: each, ..ServiceSettings::default() });
            assert_eq!(asked.scheduler.to_string(), each.name());
        }
    }

    #[test]
    fn what_slb_never_asks_for_is_not_ours() {
        let address = endpoint_of(6443).vip.address();
        assert_eq!(key(&ServiceId::tcp(address, 0)), None);
        assert_eq!(key(&ServiceId::Fwmark { mark: 1, family: Family::Inet }), None);
    }

    #[test]
    fn services_are_known_again() {
        for vip in ["192.168.0.85", "fd00::85"] {
            let vip = vip.parse().unwrap();
            let endpoints = Protocol::ALL.map(|protocol| Endpoint { vip, protocol, ..endpoint_of(6443) }.into());
            let marked = Mark::all().last().map(|mark| VirtualService::Mark(vip, mark));
            for service in endpoints.into_iter().chain(marked) {
                assert_eq!(key(&service_id(service)), Some(service.key()));
            }
        }
    }
}

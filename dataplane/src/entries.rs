// SPDX-License-Identifier: Apache-2.0
//! Services and their destinations as the kernel tells them by getsockopt(2): several times as quick as a dump, with neither IPv6 nor what packets of
//! tunnels are wrapped in (`do_ip_vs_get_ctl` in net/netfilter/ipvs/ip_vs_ctl.c). The layout is that of linux/ip_vs.h for 64 bits, and for 32
//! where a `__u64` lies as it does there.

#[cfg(test)]
mod tests;

use std::{
    hash::{DefaultHasher, Hasher},
    io,
    net::Ipv4Addr,
};

use ipvs::{Destination, DestinationId, Family, Forward, Protocol, ServiceId};
use slb_core::{model::ServiceKey, observed::Listed};
use slb_ffi::ipvs::{Question, ask};
use socket2::{Domain, Socket, Type};
use tokio::task::yield_now;

use crate::translate;

/// `struct ip_vs_getinfo`, and where it counts services of IPv4.
const INFO: usize = 12;
const INFO_SERVICES: usize = 8;
/// `struct ip_vs_get_services` without its table, and `struct ip_vs_service_entry`.
const SERVICES_HEAD: usize = 8;
const SERVICE: usize = 104;
/// Of a service's: all up to its counters, and how many destinations it has.
const SERVICE_ASKED: usize = 48;
const SERVICE_DESTINATIONS: usize = 44;
/// `struct ip_vs_get_dests` without its table, and `struct ip_vs_dest_entry`.
const DESTINATIONS_HEAD: usize = 24;
const DESTINATION: usize = 96;
/// What tells a service from others, in an entry and in the question for its destinations.
const ID: usize = 16;
/// Of a destination's: all up to its connections.
const DESTINATION_ASKED: usize = 24;
/// Services and destinations that are read before others get their turn.
const TURN: usize = 1_024;
/// Room for services and destinations that have come since they were counted.
const MORE_SERVICES: usize = 64;
const MORE_DESTINATIONS: usize = 4;
/// `IP_VS_CONN_F_FWD_MASK` and `IP_VS_CONN_F_…`.
const FORWARD_MASK: u32 = 7;
const LOCAL: u32 = 1;
const TUNNEL: u32 = 2;
const DIRECT_ROUTE: u32 = 3;
const BYPASS: u32 = 4;

/// The services of IPv4 as they were; their destinations are read one service after the other.
#[derive(Debug)]
pub struct Entries {
    socket: Socket,
    services: Vec<u8>,
    /// How many have been read, and how much since others had their turn.
    read: usize,
    turn: usize,
    room: Vec<u8>,
}

/// A service with its destinations.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What tells it from others, if slb could have made it.
    pub key: Option<ServiceKey>,
    /// A number that differs where anything of it does that was asked for, but for what packets of tunnels are wrapped in. `None`: not all of its
    /// destinations are here, since some are not of IPv4, or have come or gone since services were read.
    pub look: Option<u64>,
    destinations: &'a [u8],
}

impl Entries {
    /// Reads the services of the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel's; that they become more all the time.
    pub fn read() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        let mut info = [0; INFO];
        ask(&socket, Question::Info, &mut info)?;
        let room = size(number(&info, INFO_SERVICES)) + MORE_SERVICES;
        let mut services = vec![0; SERVICES_HEAD + room * SERVICE];
        ask(&socket, Question::Services, &mut services)?;
        services.drain(..SERVICES_HEAD);
        let is_there = |service: &[u8]| service.iter().any(|byte| *byte != 0);
        let found = services.chunks_exact(SERVICE).take_while(|service| is_there(service)).count();
        if found == room {
            return Err(io::Error::other("services come quicker than they are counted"));
        }
        services.truncate(found * SERVICE);
        Ok(Self { socket, services, read: 0, turn: 0, room: Vec::new() })
    }

    /// How many services there are.
    pub fn len(&self) -> usize {
        self.services.len() / SERVICE
    }

    /// The next service that is still there; `None` after the last.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn next(&mut self) -> io::Result<Option<Entry<'_>>> {
        loop {
            if self.turn > TURN {
                self.turn = 0;
                yield_now().await;
            }
            let from = self.read * SERVICE;
            let Some(service) = self.services.get(from..from + SERVICE_ASKED) else { return Ok(None) };
            self.read += 1;
            let counted = size(number(service, SERVICE_DESTINATIONS));
            self.turn += 1 + counted;
            self.room.clear();
            self.room.extend_from_slice(&service[..ID]);
            self.room.resize(DESTINATIONS_HEAD + (counted + MORE_DESTINATIONS) * DESTINATION, 0);
            match ask(&self.socket, Question::Destinations, &mut self.room) {
                Ok(()) => return Ok(Some(Entry::of(service, counted, &self.room[DESTINATIONS_HEAD..]))),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<'a> Entry<'a> {
    fn of(service: &[u8], counted: usize, room: &'a [u8]) -> Self {
        // None has the address 0.0.0.0.
        let found = room.chunks_exact(DESTINATION).take_while(|each| number(each, 0) != 0).count();
        let destinations = &room[..found * DESTINATION];
        let mut look = DefaultHasher::new();
        look.write(&service[..SERVICE_ASKED]);
        destinations.chunks_exact(DESTINATION).for_each(|each| look.write(&each[..DESTINATION_ASKED]));
        let look = (found == counted).then(|| look.finish());
        Self { key: id(service).and_then(|id| translate::key(&id)), look, destinations }
    }

    /// Its backends as the plan compares them. `None`: they cannot be told by this, since not all are here, or some are tunnels.
    pub fn backends(&self) -> Option<Listed> {
        self.look?;
        let mut backends = Listed::new();
        for each in self.destinations.chunks_exact(DESTINATION) {
            backends.extend(translate::backend(&destination(each)?));
        }
        Some(backends)
    }
}

/// `None` for what no service is of.
fn id(service: &[u8]) -> Option<ServiceId> {
    let mark = number(service, 12);
    if mark != 0 {
        return Some(ServiceId::Fwmark { mark, family: Family::Inet });
    }
    let protocol = match u16::from_ne_bytes([service[0], service[1]]) {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        132 => Protocol::Sctp,
        _ => return None,
    };
    Some(ServiceId::Address { protocol, address: address(service, 4).into(), port: port(service, 8) })
}

/// `None` for a tunnel.
fn destination(bytes: &[u8]) -> Option<Destination> {
    let forward = match number(bytes, 8) & FORWARD_MASK {
        0 => Forward::Masquerade,
        LOCAL => Forward::Local,
        TUNNEL => return None,
        DIRECT_ROUTE => Forward::DirectRoute,
        BYPASS => Forward::Bypass,
        other => Forward::Other(other),
    };
    Some(Destination {
        id: DestinationId { address: address(bytes, 0).into(), port: port(bytes, 4) },
        forward,
        weight: number(bytes, 12),
        upper_threshold: number(bytes, 16),
        lower_threshold: number(bytes, 20),
    })
}

fn address(bytes: &[u8], at: usize) -> Ipv4Addr {
    number(bytes, at).to_ne_bytes().into()
}

fn port(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

// SPDX-License-Identifier: Apache-2.0
//! What may be asked of the kernel in a batch: every command that changes something, as a value.

use std::fmt;

use crate::{
    Daemon, DaemonRole, Destination, DestinationId, Service, ServiceId, Timeouts,
    daemon::DaemonAttributes,
    message::{Command, Content, Message},
};

/// A change. Its Display is one line in ipvsadm's syntax, for logs and dry runs.
///
/// ```
/// use ipvs::{Destination, Forward, Request, Service, ServiceId, scheduler};
///
/// let id = ServiceId::tcp([10, 0, 0, 1].into(), 80);
/// let new = Request::NewService(Service::new(id, scheduler::RR));
/// assert_eq!(new.to_string(), "-A -t 10.0.0.1:80 -s rr");
///
/// let destination = Destination::new([10, 0, 0, 7].into(), 8080, Forward::Masquerade);
/// let new = Request::NewDestination(id, destination);
/// assert_eq!(new.to_string(), "-a -t 10.0.0.1:80 -r 10.0.0.7:8080 -m -w 1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Add a service.
    NewService(Service),
    /// Change all of a service but what identifies it; its destinations stay.
    SetService(Service),
    /// Remove a service and its destinations.
    DelService(ServiceId),
    /// Add a destination to a service.
    NewDestination(ServiceId, Destination),
    /// Change all of a destination but what identifies it.
    SetDestination(ServiceId, Destination),
    /// Remove a destination of a service.
    DelDestination(ServiceId, DestinationId),
    /// Remove all services and destinations.
    Flush,
    /// Zero the counters of a service and its destinations.
    Zero(ServiceId),
    /// Zero all counters.
    ZeroAll,
    /// Set the time-outs of connections.
    SetTimeouts(Timeouts),
    /// Start a synchronisation daemon.
    NewDaemon(Daemon),
    /// Stop the synchronisation daemon of a role.
    DelDaemon(DaemonRole),
}

impl Request {
    /// The command that carries it.
    pub fn command(&self) -> Command {
        match self {
            Request::NewService(_) => Command::NewService,
            Request::SetService(_) => Command::SetService,
            Request::DelService(_) => Command::DelService,
            Request::NewDestination(..) => Command::NewDest,
            Request::SetDestination(..) => Command::SetDest,
            Request::DelDestination(..) => Command::DelDest,
            Request::Flush => Command::Flush,
            Request::Zero(_) | Request::ZeroAll => Command::Zero,
            Request::SetTimeouts(_) => Command::SetConfig,
            Request::NewDaemon(_) => Command::NewDaemon,
            Request::DelDaemon(_) => Command::DelDaemon,
        }
    }
}

impl From<&Request> for Message {
    fn from(request: &Request) -> Self {
        let none = Content::default();
        let content = match request {
            Request::NewService(service) | Request::SetService(service) => {
                Content { service: Some(service.into()), ..none }
            }
            Request::DelService(id) | Request::Zero(id) => Content { service: Some(id.into()), ..none },
            Request::NewDestination(id, destination) | Request::SetDestination(id, destination) => {
                Content { service: Some(id.into()), destination: Some(destination.into()), ..none }
            }
            Request::DelDestination(id, destination) => {
                Content { service: Some(id.into()), destination: Some(destination.into()), ..none }
            }
            Request::Flush | Request::ZeroAll => none,
            Request::SetTimeouts(timeouts) => Content {
                timeout_tcp: Some(timeouts.tcp),
                timeout_tcp_fin: Some(timeouts.tcp_fin),
                timeout_udp: Some(timeouts.udp),
                ..none
            },
            Request::NewDaemon(daemon) => Content { daemon: Some(daemon.into()), ..none },
            Request::DelDaemon(role) => {
                let state = Some(u32::from(*role));
                Content { daemon: Some(DaemonAttributes { state, ..Default::default() }), ..none }
            }
        };
        Message::new(request.command(), content)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::NewService(service) => write!(f, "-A {service}"),
            Request::SetService(service) => write!(f, "-E {service}"),
            Request::DelService(id) => write!(f, "-D {id}"),
            Request::NewDestination(id, destination) => write!(f, "-a {id} {destination}"),
            Request::SetDestination(id, destination) => write!(f, "-e {id} {destination}"),
            Request::DelDestination(id, destination) => write!(f, "-d {id} {destination}"),
            Request::Flush => f.write_str("-C"),
            Request::Zero(id) => write!(f, "-Z {id}"),
            Request::ZeroAll => f.write_str("-Z"),
            Request::SetTimeouts(timeouts) => write!(f, "--set {timeouts}"),
            Request::NewDaemon(daemon) => write!(f, "--start-daemon {daemon}"),
            Request::DelDaemon(role) => write!(f, "--stop-daemon {role}"),
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What can go wrong: the kernel refuses one request ([`Refusal`]), or talking to it fails ([`Error`]).

use std::fmt;

use netlink::KernelError;

use crate::{Command, Request};

/// The kernel's refusal of one request. Its Display says what the number means to IPVS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    command: Command,
    error: KernelError,
}

impl Refusal {
    pub(crate) fn new(command: Command, error: KernelError) -> Self {
        Refusal { command, error }
    }

    /// The error number, positive, as in errno(3).
    pub fn errno(&self) -> i32 {
        self.error.errno()
    }

    /// EEXIST: the service, destination or daemon is already there.
    pub fn already_exists(&self) -> bool {
        self.errno() == libc::EEXIST
    }

    /// ESRCH: the service is not there, or the daemon is not running.
    pub fn no_such_service(&self) -> bool {
        self.errno() == libc::ESRCH
    }

    /// ESRCH or ENOENT: the service, the destination, the scheduler or the persistence engine is not there.
    pub fn not_found(&self) -> bool {
        self.no_such_service() || self.errno() == libc::ENOENT
    }

    /// EPERM or EACCES: CAP_NET_ADMIN is missing.
    pub fn not_permitted(&self) -> bool {
        matches!(self.errno(), libc::EPERM | libc::EACCES)
    }

    /// What the number means for this command, where errno's own text misleads.
    fn meaning(&self) -> Option<&'static str> {
        match (self.errno(), self.command) {
            (libc::ESRCH, Command::NewDaemon | Command::DelDaemon) => Some("the daemon is not running"),
            (libc::ESRCH, _) => Some("no such service"),
            (libc::EEXIST, Command::NewService) => Some("the service is already there"),
            (libc::EEXIST, Command::NewDest) => Some("the destination is already there"),
            (libc::EEXIST, Command::NewDaemon) => Some("the daemon is already running"),
            (libc::ENOENT, Command::NewService | Command::SetService) => {
                Some("the kernel has no such scheduler or persistence engine (modules ip_vs_*)")
            }
            (libc::ENOENT, Command::SetDest | Command::DelDest) => Some("no such destination"),
            (libc::EPERM | libc::EACCES, _) => Some("CAP_NET_ADMIN is missing"),
            (libc::ENODEV, Command::NewDaemon) => Some("no such network interface"),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.meaning() {
            Some(meaning) => write!(f, "{meaning}: {}", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

/// An operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The family is not there, and the kernel could not load it.
    #[error("kernel has no IPVS (module ip_vs)")]
    NoIpvs(#[source] KernelError),
    /// The family could not be looked up for another reason.
    #[error("look up the IPVS family of the kernel")]
    Lookup(#[source] netlink::Error),
    /// A batch could not be carried through: which of its requests were executed is not known.
    #[error("send {requests} requests to IPVS")]
    Batch {
        /// How many requests there were.
        requests: usize,
        /// What went wrong.
        #[source]
        source: netlink::Error,
    },
    /// The kernel refused a request.
    #[error("ipvs {request}")]
    Refused {
        /// The request.
        request: Box<Request>,
        /// The kernel's answer.
        #[source]
        source: Refusal,
    },
    /// Something could not be read.
    #[error("read {what} of IPVS")]
    Read {
        /// What was asked for.
        what: String,
        /// What went wrong.
        #[source]
        source: netlink::Error,
    },
    /// The kernel's answer makes no sense to this crate.
    #[error("understand {what} of IPVS")]
    Decode {
        /// What was asked for.
        what: String,
        /// What is odd about it.
        #[source]
        source: netlink_packet_core::DecodeError,
    },
}

impl Error {
    /// The kernel's error number, if it is the kernel that refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::NoIpvs(error) => Some(error.errno()),
            Error::Refused { source, .. } => Some(source.errno()),
            Error::Lookup(source) | Error::Batch { source, .. } | Error::Read { source, .. } => {
                source.refusal().map(KernelError::errno)
            }
            Error::Decode { .. } => None,
        }
    }

    /// EEXIST: what was to be added is already there.
    pub fn already_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// ESRCH or ENOENT: what was meant is not there. Not said of a kernel without IPVS.
    pub fn not_found(&self) -> bool {
        !matches!(self, Error::NoIpvs(_)) && matches!(self.errno(), Some(libc::ESRCH | libc::ENOENT))
    }

    /// EPERM or EACCES: CAP_NET_ADMIN is missing.
    pub fn not_permitted(&self) -> bool {
        matches!(self.errno(), Some(libc::EPERM | libc::EACCES))
    }
}

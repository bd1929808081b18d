// SPDX-License-Identifier: Apache-2.0
//! One slb at a time in a network namespace. There is one table of source NAT rules, and whoever finds a VIP in it that its own
//! store does not know takes it away: two would undo each other's work, whatever state directories they have.
//!
//! The claim is an abstract socket (unix(7)): its name belongs to the network namespace, as all that slb changes does, and it goes
//! with the process, however that ends.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

const NAME: &str = "slb";

/// Held for as long as nobody else may change the kernel for slb.
pub struct Alone {
    _socket: UnixDatagram,
}

/// Why it cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NotAlone {
    /// Somebody has it.
    #[error("another slb server or cleanup runs on this host; two would undo each other's work, so stop it first")]
    Other,
    /// The kernel does not say.
    #[error("could not find out whether another slb runs on this host")]
    Unknown(#[source] io::Error),
}

impl Alone {
    /// Claims this network namespace.
    ///
    /// # Errors
    /// Somebody else has it.
    pub fn claim() -> Result<Self, NotAlone> {
        let bound = SocketAddr::from_abstract_name(NAME).and_then(|name| UnixDatagram::bind_addr(&name));
        match bound {
            Ok(socket) => Ok(Self { _socket: socket }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(NotAlone::Other),
            Err(error) => Err(NotAlone::Unknown(error)),
        }
    }
}

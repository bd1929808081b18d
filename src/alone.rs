// SPDX-License-Identifier: Apache-2.0
//! One slb at a time in a network namespace. There is one table of source NAT rules, and whoever finds a VIP in it that its own
//! store does not know takes it away: two would undo each other's work, whatever state directories they have.
//!
//! The claim is an abstract socket (unix(7)): its name belongs to the network namespace, as all that slb changes does, and it goes
//! with the process, however that ends.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use socket2::Socket;

const NAME: &str = "slb";

/// Held for as long as nobody else may change the kernel for slb; a server hands it over to its successor.
#[derive(Debug)]
pub struct Alone {
    socket: UnixDatagram,
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
            Ok(socket) => Ok(Self { socket }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(NotAlone::Other),
            Err(error) => Err(NotAlone::Unknown(error)),
        }
    }

    /// Whether a socket is the claim.
    pub fn is_claim(socket: &Socket) -> bool {
        socket.local_addr().is_ok_and(|address| address.as_abstract_namespace() == Some(NAME.as_bytes()))
    }
}

impl AsFd for Alone {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<Socket> for Alone {
    fn from(claim: Socket) -> Self {
        Self { socket: claim.into() }
    }
}

impl From<Alone> for Socket {
    fn from(alone: Alone) -> Self {
        alone.socket.into()
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Sockets that clients come to.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use slb_core::model::{Endpoint, Protocol};
use socket2::{Domain, Socket, Type};

/// Connections that wait to be accepted; the kernel takes no more than net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// How a socket is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Beside other sockets of this process on the same endpoint: the kernel spreads clients over them (`SO_REUSEPORT`).
    pub is_shared: bool,
    /// Also where the VIP is not bound to an adapter yet (`IP_FREEBIND`).
    pub is_early: bool,
}

/// Whether somebody has the endpoint. `false` where that cannot be known.
pub fn is_taken(endpoint: Endpoint) -> bool {
    let alone = Binding { is_shared: false, is_early: true };
    bind(endpoint, alone).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// Listens to the TCP endpoint, and accepts nobody yet.
///
/// # Errors
/// Those of bind(2) and listen(2).
pub fn listen(endpoint: Endpoint, binding: Binding) -> io::Result<TcpListener> {
    let socket = bind(endpoint, binding)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Takes datagrams to the UDP endpoint.
///
/// # Errors
/// Those of bind(2).
pub fn receive(endpoint: Endpoint, binding: Binding) -> io::Result<UdpSocket> {
    Ok(bind(endpoint, binding)?.into())
}

fn bind(endpoint: Endpoint, binding: Binding) -> io::Result<Socket> {
    let address = SocketAddr::new(endpoint.vip.address(), endpoint.port.get());
    let kind = if endpoint.protocol == Protocol::Udp { Type::DGRAM } else { Type::STREAM };
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    socket.set_nonblocking(true)?;
    // Of UDP, it would let others take packets.
    if endpoint.protocol != Protocol::Udp {
        socket.set_reuse_address(true)?;
    }
    if binding.is_shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(binding.is_early)?;
    } else {
        socket.set_freebind_v4(binding.is_early)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

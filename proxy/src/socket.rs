// SPDX-License-Identifier: Apache-2.0
//! Sockets that clients come to.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::AsFd,
    time::Duration,
};

use slb_core::model::{Endpoint, Protocol};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

/// Connections that wait to be accepted; the kernel takes no more than net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Who is silent for so long is asked whether there still is anybody, so often, and then given up.
const KEEP_ALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(120)).with_interval(Duration::from_secs(30)).with_retries(4);

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

/// Sets up a connection: small answers are not held back, and unless all has been said (`tcp`), the other end is told by a reset that
/// something went wrong, also when this process just ends. A connection that refuses is gone, which shows soon.
pub fn prepare(connection: &impl AsFd) {
    let socket = SockRef::from(connection);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_linger(Some(Duration::ZERO));
}

/// Sends what waits for something to go with it (`MSG_MORE`, send(2)), which does not come.
pub fn push(connection: &impl AsFd) {
    // tcp(7): this says so, whatever it was before.
    let _ = SockRef::from(connection).set_tcp_nodelay(true);
}

/// Notices when the other end has vanished.
pub fn keep_alive(connection: &impl AsFd) {
    let _ = SockRef::from(connection).set_tcp_keepalive(&KEEP_ALIVE);
}

/// Sets up the connection of a client, or a listener: its connections are all that from the beginning.
pub fn prepare_client(socket: &impl AsFd) {
    prepare(socket);
    keep_alive(socket);
}

/// Listens to the TCP endpoint, and accepts nobody yet.
///
/// # Errors
/// Those of bind(2) and listen(2).
pub fn listen(endpoint: Endpoint, binding: Binding) -> io::Result<TcpListener> {
    let socket = bind(endpoint, binding)?;
    prepare_client(&socket);
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

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use slb_core::model::Port;

    use super::*;

    /// So that accepting takes no more than accept(2).
    #[test]
    fn connections_are_set_up_as_their_listener() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let endpoint = Endpoint::tcp("127.0.0.1".parse().unwrap(), Port::try_from(i64::from(free)).unwrap());
        let listener = listen(endpoint, Binding { is_shared: false, is_early: false }).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(120));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(30));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
    }
}

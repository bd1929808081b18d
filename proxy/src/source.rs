// SPDX-License-Identifier: Apache-2.0
//! From where backends are connected to: this host's own address, or their clients', which only who may pretend to be somebody else can do
//! (`IP_TRANSPARENT`, ip(7)). The host has to bring the answers back.
//!
//! With the client's address goes its port, as with IPVS and as HAProxy has it (`usesrc client`), so that both ends speak of the same connection. Where
//! somebody has that port already, it is any other: a program of this host that listens on it, or an earlier connection that is
//! remembered for a while.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

/// Connects to a backend, in the name of the client if there is one.
///
/// # Errors
/// Those of socket(2), bind(2) and connect(2).
pub async fn stream(client: Option<SocketAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let Some(client) = client else { return TcpStream::connect(to).await };
    match stream_from(client, to).await {
        Err(error) if is_taken(&error) => stream_from(on_any_port(client), to).await,
        other => other,
    }
}

async fn stream_from(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    TcpSocket::from_std_stream(transparent(from, Type::STREAM)?.into()).connect(to).await
}

/// A socket for datagrams to a backend, in the name of the client if there is one. Not connected yet.
///
/// # Errors
/// Those of socket(2) and bind(2).
pub fn datagrams(client: Option<SocketAddr>, to: SocketAddr) -> io::Result<UdpSocket> {
    let Some(client) = client else {
        let socket = UdpSocket::bind(SocketAddr::new(any(to), 0))?;
        socket.set_nonblocking(true)?;
        return Ok(socket);
    };
    let socket = match transparent(client, Type::DGRAM) {
        Err(error) if is_taken(&error) => transparent(on_any_port(client), Type::DGRAM),
        other => other,
    };
    Ok(socket?.into())
}

/// Whether the address is one of this host's, as far as that can be known: its answers never leave it, and so are never brought back.
pub fn is_own(address: IpAddr) -> bool {
    let to = SocketAddr::new(address, 9);
    // Nothing is sent. To its own addresses a host speaks from the same address.
    let from = UdpSocket::bind(SocketAddr::new(any(to), 0)).and_then(|socket| {
        socket.connect(to)?;
        socket.local_addr()
    });
    address.is_loopback() || from.is_ok_and(|from| from.ip() == address)
}

fn transparent(from: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(from), kind, None)?;
    socket.set_nonblocking(true)?;
    // One client, from one port, may be connected to several backends.
    socket.set_reuse_address(true)?;
    if from.is_ipv6() {
        socket.set_ip_transparent_v6(true)?;
    } else {
        socket.set_ip_transparent_v4(true)?;
    }
    socket.bind(&from.into())?;
    Ok(socket)
}

/// Nobody else may have the port, or it takes a privilege (below 1024).
fn is_taken(error: &io::Error) -> bool {
    let kinds = [ErrorKind::AddrInUse, ErrorKind::AddrNotAvailable, ErrorKind::PermissionDenied];
    kinds.contains(&error.kind())
}

fn on_any_port(mut client: SocketAddr) -> SocketAddr {
    client.set_port(0);
    client
}

fn any(like: SocketAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_hosts_own_addresses_are_known() {
        assert!(is_own("127.0.0.1".parse().unwrap()) && is_own("127.1.2.3".parse().unwrap()));
        // RFC 5737 keeps it for documents.
        assert!(!is_own("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn another_port_is_of_the_same_client() {
        let link_local: SocketAddr = "[fe80::1%3]:4000".parse().unwrap();
        assert_eq!(on_any_port(link_local), "[fe80::1%3]:0".parse().unwrap());
    }
}

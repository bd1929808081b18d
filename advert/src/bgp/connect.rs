// SPDX-License-Identifier: Apache-2.0
//! TCP to a peer, with all that BGP asks of it.

use std::{io, net::SocketAddr, time::Duration};

use slb_core::peer::{HoldTime, Peer};
use slb_ffi::tcp;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

/// A neighbour that checks it sees that nobody in between counted it down (RFC 5082); others do not mind.
pub(super) const TIME_TO_LIVE: u32 = 255;
/// How long data may wait for an acknowledgement where the session has no hold time.
const NO_HOLD_TIME: Duration = Duration::from_secs(90);

/// Connects.
///
/// # Errors
/// The kernel's, or the peer's by way of it.
pub(super) async fn connect(peer: &Peer) -> io::Result<TcpStream> {
    let to = SocketAddr::new(peer.address.address(), peer.settings.port());
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if let Some(password) = &peer.password {
        tcp::sign(&socket, to.ip(), password.expose().as_bytes())?;
    }
    if to.is_ipv6() {
        socket.set_unicast_hops_v6(TIME_TO_LIVE)?;
    } else {
        socket.set_ttl_v4(TIME_TO_LIVE)?;
    }
    prepare(&socket, peer)?;
    if let Some(source) = peer.settings.source {
        socket.bind(&SocketAddr::new(source.address(), 0).into())?;
    }
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}

/// Makes a connection that the peer has opened like one to it. Its time to live it has from the listener.
///
/// # Errors
/// The kernel's.
pub(super) fn accept(stream: &TcpStream, peer: &Peer) -> io::Result<()> {
    prepare(&SockRef::from(stream), peer)
}

fn prepare(socket: &Socket, peer: &Peer) -> io::Result<()> {
    if peer.settings.gtsm() {
        tcp::at_least(socket, peer.address.address().is_ipv6(), 255)?;
    }
    // A peer whose host is gone acknowledges nothing: without this, that is noticed after a quarter of an hour (tcp(7)).
    let hold_time = peer.settings.hold_time();
    let patience = if hold_time == HoldTime::ZERO { NO_HOLD_TIME } else { hold_time.into() };
    socket.set_tcp_user_timeout(Some(patience))?;
    socket.set_tcp_nodelay(true)
}

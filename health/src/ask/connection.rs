// SPDX-License-Identifier: Apache-2.0
//! Connections to backends.

use std::net::SocketAddr;

use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};

use super::way::Way;
use crate::failure::Failure;

/// Opens a connection that is reset when it is dropped. An ordinary end would leave a port of this host in TIME_WAIT for a minute: ten thousand
/// checks a second would use up all there are within three seconds. A backend sees a client that went away, which costs it nothing either.
pub(super) async fn open(to: SocketAddr, way: Way) -> Result<TcpStream, Failure> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(Failure::to("open a socket"))?;
    socket.set_zero_linger().map_err(Failure::to("set up a socket"))?;
    if let Some(mark) = way.mark {
        SockRef::from(&socket).set_mark(mark).map_err(Failure::to("mark the connection"))?;
    }
    if let Some(source) = way.source {
        socket.bind(SocketAddr::new(source, 0)).map_err(Failure::to("use the source address"))?;
    }
    let mut connection = socket.connect(to).await.map_err(Failure::to("connect"))?;
    if !way.header.is_empty() {
        // The question would wait until the backend has acknowledged the header.
        connection.set_nodelay(true).map_err(Failure::to("set up a socket"))?;
        connection.write_all(way.header).await.map_err(Failure::to("send the PROXY header"))?;
    }
    Ok(connection)
}

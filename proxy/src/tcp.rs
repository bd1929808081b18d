// SPDX-License-Identifier: Apache-2.0
//! TCP: a client is accepted, a backend chosen and connected to, and from then on what one sends goes to the other.
//!
//! A backend that cannot be reached is passed over, since no byte has been sent; a client that nobody takes is reset, as IPVS's are.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    os::fd::AsFd,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::SockRef;
use tokio::{
    io::unix::AsyncFd,
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    task::consume_budget,
    time::{sleep, timeout},
};

use crate::{
    preface,
    relay::{Patience, relay},
    room::{Room, is_out_of_room},
    service::{Lease, Service},
    socket, source,
};

/// How long to wait when the process, or the host, has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);
/// A connection's files: the client's and the backend's.
const FILES: u32 = 2;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Connecting to a backend.
    pub connect: Duration,
    /// Silence.
    pub patience: Patience,
}

/// Accepts for as long as it is not dropped; connections go on without it.
pub async fn accept(listener: Arc<AsyncFd<TcpListener>>, service: Arc<Service>, room: Arc<Room>, times: Times) {
    // The listener's own.
    let _own = room.place(1).await;
    // Who came to it before this process had it may be set up otherwise than it is now.
    let mut may_be_older = true;
    loop {
        // Those who have been accepted are served in between, however many wait.
        consume_budget().await;
        let Ok(mut ready) = listener.readable().await else { return };
        // Only now: a place is not to be held while nobody comes.
        let place = room.place(FILES).await;
        match ready.try_io(accept_one) {
            Ok(Ok((client, from))) => {
                if may_be_older {
                    socket::prepare_client(&client);
                }
                tokio::spawn(serve(place, client, from, Arc::clone(&service), Arc::clone(&room), times));
            }
            Ok(Err(error)) if is_out_of_room(&error) => {
                drop(place);
                room.tell_failed(&error);
                sleep(NO_ROOM).await;
            }
            // The client is gone again (accept(2)).
            Ok(Err(_)) => {}
            // Nobody waits, or another than this one has the client: who comes from now on comes to the listener as it is.
            Err(_) => may_be_older = false,
        }
    }
}

fn accept_one(listener: impl AsFd) -> io::Result<(TcpStream, SocketAddr)> {
    let (client, from) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let from = from.ok_or(ErrorKind::NotConnected)?.try_into()?;
    Ok((TcpStream::from_std(client.into())?, from))
}

/// The first argument is dropped last: the place is free once the files are closed.
async fn serve(
    _place: OwnedSemaphorePermit,
    mut client: TcpStream,
    from: SocketAddr,
    service: Arc<Service>,
    room: Arc<Room>,
    times: Times,
) {
    let mut tried = Vec::new();
    while let Some(mut lease) = service.lease(from, &tried) {
        let mut gone = pin!(lease.gone());
        let connected = tokio::select! {
            // Cancel-safe, both: what is dropped is not used any more.
            connected = connect(lease.shown(from), lease.address(), times.connect) => connected,
            () = &mut gone => Err(ErrorKind::ConnectionAborted.into()),
        };
        match connected {
            Ok(mut backend) => {
                lease.establish();
                socket::prepare(&backend);
                let ended = tokio::select! {
                    // Cancel-safe, both: what is dropped is not used any more.
                    ended = carry(&mut client, from, &mut backend, &lease, times.patience) => ended,
                    () = &mut gone => Err(ErrorKind::ConnectionAborted.into()),
                };
                let close = if ended.is_ok() { end } else { socket::push };
                close(&client);
                close(&backend);
                return;
            }
            Err(error) => {
                // Of ports, there may be some left towards the next one.
                room.tell_unconnected(lease.address(), &error);
                tried.push(lease.target());
            }
        }
    }
}

/// From the first byte to the last.
async fn carry(
    client: &mut TcpStream,
    from: SocketAddr,
    backend: &mut TcpStream,
    lease: &Lease,
    patience: Patience,
) -> io::Result<()> {
    if let Some(version) = lease.proxy_protocol() {
        let sending = preface::send(version, from, client, backend);
        let of_client = timeout(patience.open, sending).await.map_err(|_| ErrorKind::TimedOut)??;
        lease.each(|traffic| traffic.stream_in(of_client));
    }
    relay(client, backend, lease, patience).await
}

async fn connect(client: Option<SocketAddr>, to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = timeout(limit, source::stream(client, to)).await.map_err(|_| ErrorKind::TimedOut)??;
    other_end(stream, to)
}

/// Where nobody listens on a port of this host's own range, a connection may get that port itself, and has itself at its other end
/// (simultaneous open, RFC 9293, 3.5).
fn other_end(stream: TcpStream, to: SocketAddr) -> io::Result<TcpStream> {
    if stream.local_addr()? == to {
        socket::prepare(&stream);
        return Err(ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// What has not been taken yet is still sent.
fn end(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(None);
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    #[tokio::test]
    async fn nobody_is_connected_to_oneself() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let oneself = socket.local_addr().unwrap();
        socket.connect(&oneself).unwrap();
        socket.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(socket.into()).unwrap();
        assert_eq!(other_end(stream, oneself.as_socket().unwrap()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}

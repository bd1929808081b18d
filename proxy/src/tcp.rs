// SPDX-License-Identifier: Apache-2.0
//! TCP: a client is accepted, a backend chosen and connected to, and from then on what one sends goes to the other.
//!
//! A backend that cannot be reached is passed over, since no byte has been sent; a client that nobody takes is reset, as IPVS's are.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tracing::warn;

use crate::{
    relay::{Patience, relay},
    service::Service,
    socket,
};

/// How long to wait when the process, or the host, has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);
/// How often that is told.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Connecting to a backend.
    pub connect: Duration,
    /// Silence.
    pub patience: Patience,
}

/// Accepts for as long as it is not dropped; connections go on without it.
pub async fn accept(listener: TcpListener, service: Arc<Service>, times: Times) {
    let mut told: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((client, from)) => {
                tokio::spawn(serve(client, from, Arc::clone(&service), times));
            }
            Err(error) if is_out_of_room(&error) => {
                if told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
                    told = Some(Instant::now());
                    warn!(endpoint = %service.endpoint(), %error, "there is no room for more connections: clients wait");
                }
                sleep(NO_ROOM).await;
            }
            // The client is gone again (accept(2)).
            Err(_) => {}
        }
    }
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM; and no port or address of this host's own that is free. It is nobody else's fault.
fn is_out_of_room(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errors = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL, Errno::AGAIN];
    errors.into_iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

async fn serve(mut client: TcpStream, from: SocketAddr, service: Arc<Service>, times: Times) {
    let mut tried = Vec::new();
    while let Some(mut lease) = service.lease(from, &tried) {
        let mut gone = pin!(lease.gone());
        let connected = tokio::select! {
            // Cancel-safe, both: what is dropped is not used any more.
            connected = connect(lease.address(), times.connect) => connected,
            () = &mut gone => Err(ErrorKind::ConnectionAborted.into()),
        };
        match connected {
            Ok(mut backend) => {
                lease.establish();
                socket::prepare(&backend);
                let ended = tokio::select! {
                    // Cancel-safe, both: what is dropped is not used any more.
                    ended = relay(&mut client, &mut backend, &lease, times.patience) => ended,
                    () = &mut gone => Err(ErrorKind::ConnectionAborted.into()),
                };
                if ended.is_ok() {
                    end(&client);
                    end(&backend);
                }
                return;
            }
            Err(error) if is_out_of_room(&error) => break,
            Err(_) => tried.push(lease.target()),
        }
    }
}

async fn connect(to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = timeout(limit, TcpStream::connect(to)).await.map_err(|_| ErrorKind::TimedOut)??;
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

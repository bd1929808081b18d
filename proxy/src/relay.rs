// SPDX-License-Identifier: Apache-2.0
//! Two connections become one: what comes in at one end goes out at the other, until both have closed their direction.
//!
//! Nobody reads more than the other end takes: while a slow reader's socket is full, nothing is taken from who sends.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, ErrorKind},
    net::Shutdown,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::net::{SendFlags, send};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, Interest, ReadBuf},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    task::consume_budget,
};

use crate::{clock::Clock, pipe::Pipe, service::Lease, socket::keep_alive, traffic::Traffic};

/// Copied at a time.
const COPIED: usize = 64 * 1024;
/// Who sends so much at once is spliced from then on, until less comes: that spares copying, and is dearer for little.
const BULK: usize = 32 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; COPIED].into_boxed_slice());
}

/// After so long without a byte it is looked whether the backend still is there, as it is with clients from the beginning: for most
/// connections that spares four system calls.
const QUIET: Duration = Duration::from_secs(60);

/// How long nothing may come before the connection is given up.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// While both directions are open.
    pub open: Duration,
    /// Once one of them is closed, from then on.
    pub half_closed: Duration,
}

/// Goes on until both ends have closed.
///
/// # Errors
/// One end broke off, or nothing came for too long.
pub async fn relay(
    client: &mut TcpStream,
    backend: &mut TcpStream,
    lease: &Lease,
    patience: Patience,
) -> io::Result<()> {
    let clock = Clock::start();
    let (from_client, to_client) = client.split();
    let (from_backend, to_backend) = backend.split();
    let mut there = pin!(pump(from_client, &to_backend, |bytes| {
        clock.touch();
        lease.each(|traffic: &Traffic| traffic.stream_in(bytes));
    }));
    let mut back = pin!(pump(from_backend, &to_client, |bytes| {
        clock.touch();
        lease.each(|traffic: &Traffic| traffic.stream_out(bytes));
    }));
    let (mut is_there, mut is_back, mut is_kept_alive) = (false, false, false);
    loop {
        let limit = if is_there || is_back { patience.half_closed } else { patience.open };
        let silence = if is_kept_alive { limit } else { limit.min(QUIET) };
        tokio::select! {
            // Cancel-safe, both: they are polled on, not made anew.
            ended = &mut there, if !is_there => {
                if let Err(error) = ended {
                    if !is_back && is_reset(to_backend.as_ref()) {
                        last_words(back, &clock, patience).await;
                    }
                    return Err(error);
                }
                clock.touch();
                is_there = true;
                if !is_back {
                    close(to_backend.as_ref())?;
                }
            }
            ended = &mut back, if !is_back => {
                if let Err(error) = ended {
                    if !is_there && is_reset(to_client.as_ref()) {
                        last_words(there, &clock, patience).await;
                    }
                    return Err(error);
                }
                clock.touch();
                is_back = true;
                if !is_there {
                    close(to_client.as_ref())?;
                }
            }
            // Cancel-safe: made anew from the clock each time.
            () = clock.silence(silence) => {
                if silence == limit {
                    return Err(ErrorKind::TimedOut.into());
                }
                keep_alive(to_backend.as_ref());
                is_kept_alive = true;
            }
        }
        // What is left to tell, closing the sockets tells.
        if is_there && is_back {
            return Ok(());
        }
    }
}

/// Whether it was the end that was sent to that broke off, and not the one that was read from.
fn is_reset(to: &TcpStream) -> bool {
    to.peer_addr().is_err()
}

/// What an end has said before it broke off still goes to the other, as it would with nobody in between: a server that refuses what is
/// being sent to it says why.
async fn last_words(rest: impl Future<Output = io::Result<()>>, clock: &Clock, patience: Patience) {
    clock.touch();
    tokio::select! {
        // Cancel-safe, both: nothing is used any more. However this ends, the connection has broken off.
        _ = rest => {}
        () = clock.silence(patience.half_closed) => {}
    }
}

/// Until `from` closes.
async fn pump(mut from: ReadHalf<'_>, to: &WriteHalf<'_>, count: impl Fn(u64)) -> io::Result<()> {
    let (mut is_bulk, mut splices) = (false, true);
    loop {
        consume_budget().await;
        let moved = if is_bulk && splices { carry(&mut from, to).await } else { copy(&mut from, to).await };
        match moved {
            Ok(0) => break,
            Ok(bytes) => {
                is_bulk = bytes >= BULK;
                count(u64::try_from(bytes).unwrap_or(u64::MAX));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if splices && cannot_splice(&error) => splices = false,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Tells the other end that nothing comes any more.
fn close(to: &TcpStream) -> io::Result<()> {
    match SockRef::from(to).shutdown(Shutdown::Write) {
        // It is closed already.
        Err(error) if error.kind() != ErrorKind::NotConnected => Err(error),
        _ => Ok(()),
    }
}

/// This kernel has no splice(2) for sockets.
fn cannot_splice(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput | ErrorKind::PermissionDenied)
}

async fn carry(from: &mut ReadHalf<'_>, to: &WriteHalf<'_>) -> io::Result<usize> {
    from.readable().await?;
    let Some(pipe) = Pipe::take() else { return copy(from, to).await };
    let (from, to): (&TcpStream, &TcpStream) = (from.as_ref(), to.as_ref());
    let filled = from.try_io(Interest::READABLE, || pipe.fill(from));
    let mut left = *filled.as_ref().unwrap_or(&0);
    while left > 0 {
        to.writable().await?;
        match to.try_io(Interest::WRITABLE, || pipe.drain(to, left)) {
            Ok(drained) => left -= drained,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // Of another kind than what cannot be spliced at all: what is in the pipe is lost.
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    pipe.give_back();
    filled
}

/// By the worker's buffer; only what is not taken at once gets one of its own.
///
/// If the end has come with it, it waits for that to be told (`MSG_MORE`, send(2)), and both go in one packet.
async fn copy(from: &mut ReadHalf<'_>, to: &WriteHalf<'_>) -> io::Result<usize> {
    let has_ended = from.ready(Interest::READABLE).await?.is_read_closed();
    let mut pass_on = |context: &mut Context<'_>, buffer: &mut [u8]| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut *from).poll_read(context, &mut buffer))?;
        // All there is, unless the buffer is full.
        let is_last = has_ended && buffer.remaining() > 0;
        let read = buffer.filled();
        if read.is_empty() {
            return Poll::Ready(Ok((0, Vec::new())));
        }
        let flags = SendFlags::NOSIGNAL | if is_last { SendFlags::MORE } else { SendFlags::empty() };
        let to: &TcpStream = to.as_ref();
        let written = match to.try_io(Interest::WRITABLE, || Ok(send(to, read, flags)?)) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Poll::Ready(Err(error)),
        };
        Poll::Ready(Ok((read.len(), read.get(written..).unwrap_or_default().to_vec())))
    };
    let (read, left) = poll_fn(|context| BUFFER.with_borrow_mut(|buffer| pass_on(context, buffer))).await?;
    let mut left = left.as_slice();
    while !left.is_empty() {
        to.writable().await?;
        match to.try_write(left) {
            Ok(written) => left = left.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use slb_core::model::{BackendSettings, Endpoint, Port, ServiceSettings, Target};
    use tokio::{net::TcpListener, sync::mpsc, time::Instant};

    use super::*;
    use crate::{balance::Method, service::Service};

    /// Both ends of a connection.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (here, there) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (here.unwrap(), there.unwrap().0)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_quiet_is_looked_after_and_who_is_silent_is_given_up() {
        let port = Port::try_from(80).unwrap();
        let endpoint = Endpoint::tcp("127.0.0.1".parse().unwrap(), port);
        let service = Arc::new(Service::new(endpoint, Method::Rr, ServiceSettings::default(), mpsc::channel(1).0));
        let target = Target { ip: "127.0.0.2".parse().unwrap(), port: None };
        service.put(target, BackendSettings::default());
        let lease = service.lease(([127, 0, 0, 1], 40_000).into(), &[]).unwrap();
        for open in [QUIET, 15 * QUIET] {
            let ((mut client, _user), (mut backend, _server)) = (pair().await, pair().await);
            let begun = Instant::now();
            let patience = Patience { open, half_closed: QUIET };
            let ended = relay(&mut client, &mut backend, &lease, patience).await;
            assert_eq!(ended.unwrap_err().kind(), ErrorKind::TimedOut);
            assert!(begun.elapsed() >= open);
            assert_eq!(SockRef::from(&backend).keepalive().unwrap(), open > QUIET);
        }
    }
}

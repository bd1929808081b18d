// SPDX-License-Identifier: Apache-2.0
//! Two connections become one: what comes in at one end goes out at the other, until both have closed their direction.
//!
//! Nobody reads more than the other end takes: while a slow reader's socket is full, nothing is taken from who sends.

use std::{
    io::{self, ErrorKind},
    net::Shutdown,
    pin::pin,
    time::Duration,
};

use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream, task::consume_budget};

use crate::{clock::Clock, pipe::Pipe, service::Lease, traffic::Traffic};

/// Copied at a time while no pipe is left.
const BUFFER: usize = 16 * 1024;

/// How long nothing may come before the connection is given up.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// While both directions are open.
    pub open: Duration,
    /// Once one of them is closed.
    pub half_closed: Duration,
}

/// Goes on until both ends have closed.
///
/// # Errors
/// One end broke off, or nothing came for too long.
pub async fn relay(client: &TcpStream, backend: &TcpStream, lease: &Lease, patience: Patience) -> io::Result<()> {
    let clock = Clock::start();
    let mut there = pin!(pump(client, backend, |bytes| {
        clock.touch();
        lease.each(|traffic: &Traffic| traffic.stream_in(bytes));
    }));
    let mut back = pin!(pump(backend, client, |bytes| {
        clock.touch();
        lease.each(|traffic: &Traffic| traffic.stream_out(bytes));
    }));
    let (mut is_there, mut is_back) = (false, false);
    while !(is_there && is_back) {
        let limit = if is_there || is_back { patience.half_closed } else { patience.open };
        tokio::select! {
            // Cancel-safe, both: they are polled on, not made anew.
            ended = &mut there, if !is_there => {
                ended?;
                is_there = true;
            }
            ended = &mut back, if !is_back => {
                ended?;
                is_back = true;
            }
            // Cancel-safe: made anew from the clock each time.
            () = clock.silence(limit) => return Err(ErrorKind::TimedOut.into()),
        }
    }
    Ok(())
}

/// Until `from` closes; then `to` is told.
async fn pump(from: &TcpStream, to: &TcpStream, count: impl Fn(u64)) -> io::Result<()> {
    let mut copies = false;
    loop {
        consume_budget().await;
        from.readable().await?;
        let moved = if copies { copy(from, to).await } else { carry(from, to).await };
        match moved {
            Ok(0) => break,
            Ok(bytes) => count(u64::try_from(bytes).unwrap_or(u64::MAX)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if !copies && cannot_splice(&error) => copies = true,
            Err(error) => return Err(error),
        }
    }
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

async fn carry(from: &TcpStream, to: &TcpStream) -> io::Result<usize> {
    let Some(pipe) = Pipe::take() else { return copy(from, to).await };
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

async fn copy(from: &TcpStream, to: &TcpStream) -> io::Result<usize> {
    let mut buffer = vec![0; BUFFER];
    let read = from.try_read(&mut buffer)?;
    let mut rest = buffer.get(..read).unwrap_or_default();
    while !rest.is_empty() {
        to.writable().await?;
        match to.try_write(rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

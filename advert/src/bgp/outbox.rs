// SPDX-License-Identifier: Apache-2.0
//! What waits to be sent on a connection.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, time::timeout};

/// How long a peer may take nothing of what is to be sent (RFC 9687: at least 8 minutes, and twice the hold time).
const SEND_HOLD: Duration = Duration::from_secs(480);
/// How long a session that is left may take to be rid of its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is to be sent, and since when nothing of it could be.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: VecDeque<u8>,
    waiting_since: Option<Instant>,
}

impl Outbox {
    /// Puts these bytes behind all others.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.bytes.is_empty() && !bytes.is_empty() {
            self.waiting_since = Some(Instant::now());
        }
        self.bytes.extend(bytes);
    }

    /// Whether all of it is sent.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// When the peer has taken nothing for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting_since.map(|since| since + SEND_HOLD)
    }

    /// Whether it has.
    pub(super) fn is_stuck(&self) -> bool {
        self.deadline().is_some_and(|at| at <= Instant::now())
    }

    /// Sends as much as the connection takes.
    pub(super) fn write(&mut self, stream: &TcpStream) -> io::Result<()> {
        match stream.try_write(self.bytes.as_slices().0) {
            Ok(sent) => {
                self.bytes.drain(..sent);
                self.waiting_since = (!self.bytes.is_empty()).then(Instant::now);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends all of it, if the connection takes it soon. It ends either way.
    pub(super) async fn flush(&mut self, stream: &TcpStream) {
        let all = async { while !self.is_empty() && stream.writable().await.is_ok() && self.write(stream).is_ok() {} };
        let _ = timeout(LAST_WORDS, all).await;
    }
}

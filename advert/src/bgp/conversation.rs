// SPDX-License-Identifier: Apache-2.0
//! A session on its connection: bytes from the one to the other.

use std::{io, time::Instant};

use slb_core::{
    peer::{Peer, PeerAddress},
    routing::Traffic,
};
use tokio::{net::TcpStream, select, time::sleep_until};

use super::{
    collision::Origin,
    outbox::Outbox,
    session::{Event, Session, Speaker},
    table::Table,
};

/// A connection to a peer, and what is said on it.
pub(super) struct Conversation {
    pub(super) origin: Origin,
    pub(super) session: Session,
    address: PeerAddress,
    /// Where messages are counted.
    table: Table,
    stream: TcpStream,
    outbox: Outbox,
    inbox: Vec<u8>,
    /// The peer wants all routes once more. It gets them when it has taken what there is: else who asks and does not read would fill
    /// the memory.
    wants_all: bool,
}

impl Conversation {
    /// Begins to talk.
    ///
    /// # Errors
    /// The connection is gone already.
    pub(super) fn begin(
        origin: Origin,
        stream: TcpStream,
        speaker: Speaker,
        peer: Peer,
        table: Table,
        restarted: bool,
    ) -> io::Result<Self> {
        let address = peer.address;
        let session = Session::new(speaker, peer, stream.local_addr()?.ip(), restarted, Instant::now());
        Ok(Self {
            origin,
            session,
            address,
            table,
            stream,
            outbox: Outbox::default(),
            inbox: vec![0; 16 << 10],
            wants_all: false,
        })
    }

    /// Waits until something happens, and sends what is to be sent meanwhile. Cancel-safe: it waits for nothing but readiness and time,
    /// and does what is due at once.
    ///
    /// # Errors
    /// Why it is over; [`last_words`](Self::last_words) may be left.
    pub(super) async fn next(&mut self) -> Result<Vec<Event>, String> {
        loop {
            self.prepare();
            if self.wants_all && self.outbox.is_empty() {
                self.wants_all = false;
                return Ok(vec![Event::Refresh]);
            }
            let deadline = self.session.deadline().into_iter().chain(self.outbox.deadline()).min();
            let heard = select! {
                // Cancel-safe: readiness stays.
                ready = self.stream.readable() => match ready.and_then(|()| self.stream.try_read(&mut self.inbox)) {
                    Ok(0) => return Err("the peer closed the connection".to_owned()),
                    Ok(length) => self.session.hear(self.inbox.get(..length).unwrap_or_default(), Instant::now()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(format!("the connection broke: {error}")),
                },
                // Cancel-safe: readiness stays.
                ready = self.stream.writable(), if !self.outbox.is_empty() => {
                    match ready.and_then(|()| self.outbox.write(&self.stream)) {
                        Ok(()) => continue,
                        Err(error) => return Err(format!("the connection broke: {error}")),
                    }
                }
                // Cancel-safe: the deadline is computed anew.
                () = sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {
                    if self.outbox.is_stuck() {
                        return Err("the peer took nothing for minutes (send hold timer, RFC 9687)".to_owned());
                    }
                    self.session.tick(Instant::now()).map(|()| Vec::new())
                }
            };
            match heard {
                Ok(mut events) => {
                    self.wants_all |= events.contains(&Event::Refresh);
                    events.retain(|event| *event != Event::Refresh);
                    if !events.is_empty() {
                        return Ok(events);
                    }
                }
                Err(ended) => return Err(ended.to_string()),
            }
        }
    }

    fn prepare(&mut self) {
        self.outbox.push(&self.session.output());
        let traffic = self.session.traffic();
        if traffic != Traffic::default() {
            self.table.count(self.address, traffic);
        }
    }

    /// Ends the session with these numbers and words.
    pub(super) async fn leave(mut self, code: (u8, u8), words: &str) {
        self.session.leave(code, words);
        self.last_words().await;
    }

    /// Sends what is left to be sent, if the connection takes it soon.
    pub(super) async fn last_words(mut self) {
        self.prepare();
        self.outbox.flush(&self.stream).await;
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Listens to what changes.

use std::marker::PhantomData;

use netlink_packet_core::NetlinkDeserializable;

use crate::{
    Error,
    reply::{Messages, Reply, decode},
    socket::Connection,
};

/// What a [`Monitor`] yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// A message of a joined group.
    Message(T),
    /// Messages were lost. What is known from earlier messages may be wrong: read everything again. Nothing that happens
    /// after this event is missing from those that follow.
    Overrun,
}

/// A socket that listens to multicast groups of one protocol.
///
/// Join before the first dump of the state to watch: what changes in between is then seen twice instead of never.
#[derive(Debug)]
pub struct Monitor<T> {
    connection: Connection,
    /// How much of the connection's datagram has been yielded.
    read: usize,
    payload: PhantomData<fn() -> T>,
}

impl<T: NetlinkDeserializable> Monitor<T> {
    /// Opens a socket of `protocol` in the network namespace of the calling thread and joins `groups`, by number
    /// (`RTNLGRP_LINK` = 1, …; for generic netlink what `CTRL_CMD_GETFAMILY` says), not by bit.
    ///
    /// Must be called within a tokio runtime that has I/O enabled; tokio panics otherwise.
    ///
    /// # Errors
    /// [`Error::Open`], or [`Error::Join`] for a group that does not exist or needs privileges.
    pub fn open(protocol: isize, groups: &[u32]) -> Result<Self, Error> {
        let connection = Connection::open(protocol).map_err(|source| Error::Open { protocol, source })?;
        for group in groups.iter().copied() {
            connection.join(group).map_err(|source| Error::Join { group, source })?;
        }
        Ok(Monitor { connection, read: 0, payload: PhantomData })
    }

    /// The next event, waited for as long as it takes.
    ///
    /// Cancel-safe: it awaits only the arrival of a datagram, which is taken from the socket in the same poll that ends the
    /// wait, and is kept here until all its messages have been yielded.
    ///
    /// # Errors
    /// [`Error::Decode`] for a message that the codec does not understand, which is passed over; [`Error::Receive`] if the
    /// socket fails.
    pub async fn next(&mut self) -> Result<Event<T>, Error> {
        loop {
            if let Some(event) = self.next_of_datagram()? {
                return Ok(event);
            }
            self.read = 0;
            let received = match self.connection.try_receive() {
                Ok(false) => self.connection.wait().await,
                other => other.map(|_| ()),
            };
            match received {
                Ok(()) => {}
                Err(Error::Overrun | Error::Truncated { .. }) => {
                    // The kernel says so once, and drops messages until the queue has been empty (NETLINK_S_CONGESTED).
                    self.connection.discard()?;
                    return Ok(Event::Overrun);
                }
                Err(other) => return Err(other),
            }
        }
    }

    fn next_of_datagram(&mut self) -> Result<Option<Event<T>>, Error> {
        loop {
            let datagram = &self.connection.datagram;
            let mut messages = Messages::of(datagram.get(self.read..).unwrap_or_default());
            let Some(message) = messages.next() else { return Ok(None) };
            self.read = datagram.len() - messages.rest().len();
            match message? {
                (header, Reply::Object(payload)) => {
                    return decode(&header, payload).map(|message| Some(Event::Message(message)));
                }
                (_, Reply::Overrun) => return Ok(Some(Event::Overrun)),
                (_, Reply::Acknowledged | Reply::Refused(_) | Reply::Done | Reply::Nothing) => {}
            }
        }
    }
}

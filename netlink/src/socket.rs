// SPDX-License-Identifier: Apache-2.0
//! The socket: opened, sized, and the two movements every conversation is made of, send a pack and receive a datagram.

use std::{io, marker::PhantomData, time::Duration};

use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use rustix::net::sockopt;

use crate::{
    Error,
    pack::{Limits, Pack},
};

/// How long one datagram is waited for. The kernel answers inside `sendmsg`, so this only ends what would never end.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Wished size of the receive buffer in bytes. Only what is queued costs memory.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Dumps come in datagrams as long as the reader's buffer, 32 kB at most (`netlink_recvmsg`); other messages may be longer.
const DATAGRAM: usize = 64 << 10;
/// Bytes of a full send. Past 100 kB a longer send gains nothing.
const PACK_BYTES: usize = 100 << 10;
/// What one error answer takes of the receive buffer at most: `sk_buff` and its data are charged 768 to 1,280 bytes
/// (`skb->truesize`) with a capped request and a text.
const ANSWER_COST: usize = 2 << 10;
/// `netlink_sendmsg` refuses what is longer than the send buffer less this.
const SEND_OVERHEAD: usize = 32;

/// A netlink socket to the kernel for the messages `T` of one protocol.
///
/// Every operation takes `&mut self`: the kernel allows one dump at a time per socket, and the borrow checker sees to it.
#[derive(Debug)]
pub struct Socket<T> {
    inner: Connection,
    pub(crate) pack: Pack,
    pub(crate) limits: Limits,
    sequence: u32,
    dirty: bool,
    payload: PhantomData<fn(T) -> T>,
}

impl<T> Socket<T> {
    /// Opens a socket of `protocol` (one of [`crate::protocols`]) in the network namespace of the calling thread.
    ///
    /// Must be called within a tokio runtime that has I/O and time enabled; tokio panics otherwise.
    ///
    /// # Errors
    /// [`Error::Open`] if the kernel lacks the protocol or the process may not open sockets.
    pub fn open(protocol: isize) -> Result<Self, Error> {
        let open = |source| Error::Open { protocol, source };
        let inner = Connection::open(protocol).map_err(open)?;
        let limits = inner.limits().map_err(open)?;
        Ok(Socket { inner, pack: Pack::default(), limits, sequence: 1, dirty: false, payload: PhantomData })
    }

    /// Sets how long one datagram is waited for; [`DEFAULT_TIMEOUT`] without this.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.inner.timeout = timeout;
    }

    /// Starts an operation: reads away what a failed or dropped one left behind, a running dump included.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        if self.dirty {
            self.inner.discard()?;
        }
        self.dirty = true;
        Ok(())
    }

    /// Ends an operation that left nothing behind.
    pub(crate) fn end(&mut self) {
        self.dirty = false;
    }

    /// Starts a pack, its messages numbered after all that were sent before.
    pub(crate) fn start_pack(&mut self) {
        self.pack.start(self.sequence);
    }

    /// Sends the pack.
    pub(crate) async fn send(&mut self) -> Result<(), Error> {
        self.sequence = self.pack.next();
        self.inner.socket.send(self.pack.bytes()).await.map_err(Error::Send)?;
        Ok(())
    }

    /// Waits for the next datagram, see [`Socket::datagram`].
    pub(crate) async fn receive(&mut self) -> Result<(), Error> {
        self.inner.receive().await
    }

    /// Takes the next datagram if there is one; `false` if nothing is queued.
    pub(crate) fn try_receive(&mut self) -> Result<bool, Error> {
        self.inner.try_receive()
    }

    /// The datagram received last.
    pub(crate) fn datagram(&self) -> &[u8] {
        &self.inner.datagram
    }
}

/// The socket and its buffer, for [`Socket`] and [`crate::Monitor`].
pub(crate) struct Connection {
    socket: TokioSocket,
    /// The datagram received last.
    pub datagram: Vec<u8>,
    pub timeout: Duration,
}

impl Connection {
    pub fn open(protocol: isize) -> io::Result<Self> {
        let socket = TokioSocket::new(protocol)?;
        let plain = socket.socket_ref();
        // From now on the kernel is the only one that can send to this socket (`netlink_getsockbyportid`).
        plain.connect(&SocketAddr::new(0, 0))?;
        // Errors quote only the header of the request and carry the kernel's explanation. Both date from before 4.13;
        // without them answers are longer or plainer, nothing else.
        let _ = plain.set_cap_ack(true);
        let _ = plain.set_ext_ack(true);
        // Past net.core.rmem_max only CAP_NET_ADMIN may go. Whatever it becomes, the size of a pack follows it.
        if sockopt::set_socket_recv_buffer_size_force(plain, RECEIVE_BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(plain, RECEIVE_BUFFER)?;
        }
        Ok(Connection { socket, datagram: Vec::with_capacity(DATAGRAM), timeout: DEFAULT_TIMEOUT })
    }

    fn limits(&self) -> io::Result<Limits> {
        let plain = self.socket.socket_ref();
        let send = sockopt::socket_send_buffer_size(plain)?;
        let receive = sockopt::socket_recv_buffer_size(plain)?;
        Ok(Limits {
            whole: send.saturating_sub(SEND_OVERHEAD),
            bytes: send.saturating_sub(SEND_OVERHEAD).min(PACK_BYTES),
            requests: (receive / ANSWER_COST).max(1),
        })
    }

    pub fn join(&self, group: u32) -> io::Result<()> {
        self.socket.socket_ref().add_membership(group)
    }

    /// Receives into `datagram` without waiting; `false` if nothing is queued.
    pub fn try_receive(&mut self) -> Result<bool, Error> {
        self.datagram.clear();
        match self.socket.socket_ref().recv(&mut self.datagram, libc::MSG_TRUNC) {
            Ok(length) if length > self.datagram.len() => {
                self.datagram.clear();
                self.datagram.reserve(length);
                Err(Error::Truncated { length })
            }
            Ok(_) => Ok(true),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => Ok(false),
                Some(libc::ENOBUFS) => Err(Error::Overrun),
                _ => Err(Error::Receive(error)),
            },
        }
    }

    /// Receives and forgets all that is queued, and what a running dump would add to it.
    pub fn discard(&mut self) -> Result<(), Error> {
        loop {
            match self.try_receive() {
                Ok(true) | Err(Error::Overrun | Error::Truncated { .. }) => {}
                Ok(false) => return Ok(()),
                Err(other) => return Err(other),
            }
        }
    }

    /// Receives into `datagram`, waiting [`Self::timeout`] at most.
    pub async fn receive(&mut self) -> Result<(), Error> {
        // Long dumps are read without ever waiting; other tasks of the thread have their turn here.
        tokio::task::coop::consume_budget().await;
        if self.try_receive()? {
            return Ok(());
        }
        let after = self.timeout;
        tokio::time::timeout(after, self.wait()).await.map_err(|_| Error::Timeout { after })?
    }

    /// Receives into `datagram`, waiting as long as it takes. Nothing is lost when this is dropped: the datagram is taken
    /// from the socket in the same poll that returns it.
    pub async fn wait(&mut self) -> Result<(), Error> {
        match self.socket.recv_from_full().await {
            Ok((datagram, _kernel)) => {
                self.datagram.clear();
                self.datagram.extend_from_slice(&datagram);
                Ok(())
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Err(Error::Overrun),
            Err(error) => Err(Error::Receive(error)),
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

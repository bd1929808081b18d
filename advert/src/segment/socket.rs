// SPDX-License-Identifier: Apache-2.0
//! The packet socket (packet(7)) on one adapter: packets of one protocol in and out, the Ethernet header is the kernel's business.

use std::io;

use libc::c_int;
use slb_ffi::{
    adapter,
    packet::{self, Watched},
};
use socket2::{Domain, Socket, Type};

use super::{
    mac::Mac,
    protocol::{Heard, Packet, Protocol, Watch},
};
use crate::Error;

/// Larger than any packet with its padding and options; of what is longer, the end is cut.
const BUFFER: usize = 256;

/// The socket. It stays bound to its adapter when that goes down and up, or is renamed, and loses it when it is removed.
#[derive(Debug)]
pub(super) struct PacketSocket {
    adapter: String,
    protocol: Protocol,
    index: c_int,
    watch: Watch,
    socket: Watched,
}

impl PacketSocket {
    /// Opens a socket on the adapter that hears nothing yet. Needs `CAP_NET_RAW`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn open(adapter: &str, protocol: Protocol) -> Result<Self, Error> {
        let name = || adapter.to_owned();
        let failed = |operation| move |source| Error::Socket { operation, adapter: name(), source };
        // Protocol 0 hears nothing: no frame slips in before there are a filter and an adapter.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, None).map_err(|source| {
            if source.kind() == io::ErrorKind::PermissionDenied {
                Error::Privilege { adapter: name(), source }
            } else {
                failed("open a packet socket")(source)
            }
        })?;
        let index = adapter::index(&socket, adapter).map_err(|source| Error::NoAdapter { adapter: name(), source })?;
        let flags = adapter::flags(&socket, adapter).map_err(failed("read the flags"))?;
        socket.attach_filter(&protocol.program(None)).map_err(failed("filter packets"))?;
        socket
            .bind(&packet::address(index, protocol.ethertype(), Mac::BROADCAST.0))
            .map_err(failed("bind a packet socket"))?;
        let hardware_type = packet::hardware(&socket).map_err(failed("read the hardware address"))?.kind;
        if hardware_type != libc::ARPHRD_ETHER {
            return Err(Error::NotEthernet { adapter: name(), hardware_type });
        }
        if flags & libc::IFF_NOARP != 0 {
            return Err(Error::ArpOff { adapter: name() });
        }
        socket.set_nonblocking(true).map_err(failed("set up a packet socket"))?;
        let socket = Watched::new(socket).map_err(failed("watch a packet socket"))?;
        Ok(Self { adapter: name(), protocol, index, watch: None, socket })
    }

    /// The adapter's number.
    pub(super) fn index(&self) -> u32 {
        self.index.cast_unsigned()
    }

    /// What is spoken.
    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The adapter's name.
    pub(super) fn adapter(&self) -> &str {
        &self.adapter
    }

    /// Whether frames sent now can reach anybody; opens the socket anew if the name now stands for another adapter.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        let named = adapter::index(&self.socket, &self.adapter)
            .map_err(|source| Error::NoAdapter { adapter: self.adapter.clone(), source })?;
        if named != self.index {
            let watch = self.watch;
            *self = Self::open(&self.adapter, self.protocol)?;
            self.listen(watch).map_err(|source| self.failed("filter packets", source))?;
        }
        let flags =
            adapter::flags(&self.socket, &self.adapter).map_err(|source| self.failed("read the flags", source))?;
        let has_carrier = adapter::has_carrier(&self.socket, &self.adapter)
            .map_err(|source| self.failed("look for the carrier", source))?;
        if flags & libc::IFF_UP != 0 && has_carrier {
            return Ok(());
        }
        Err(Error::NoLink { adapter: self.adapter.clone() })
    }

    /// What happened to the adapter and was not told yet. Left there, it would be the answer to the next frame sent, however the
    /// adapter is by then.
    pub(super) fn past(&self) -> io::Result<()> {
        self.socket.take_error()?.map_or(Ok(()), Err)
    }

    /// An error of this socket.
    pub(super) fn failed(&self, operation: &'static str, source: io::Error) -> Error {
        Error::Socket { operation, adapter: self.adapter.clone(), source }
    }

    /// Hears what matters for `watch` from now on, and nothing else. Free when nothing changed.
    pub(super) fn listen(&mut self, watch: Watch) -> io::Result<()> {
        if watch != self.watch {
            self.socket.attach_filter(&self.protocol.program(watch))?;
            self.watch = watch;
        }
        Ok(())
    }

    /// The adapter's hardware address, as it is now.
    pub(super) fn mac(&self) -> io::Result<Mac> {
        // An adapter that was removed leaves an address of length 0.
        packet::hardware(&self.socket)?.mac.map(Mac).ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    }

    /// Sends a packet. Waits for nothing: when the adapter's queue is full, that is an error.
    pub(super) fn send(&self, Packet { to, bytes }: &Packet) -> io::Result<()> {
        let address = packet::address(self.index, self.protocol.ethertype(), to.0);
        self.socket.send_to(bytes, &address).map(drop)
    }

    /// What the next packet says; `None`: nothing that matters. An error tells once that the adapter went down (`ENETDOWN`).
    ///
    /// Cancel-safe: a packet is taken only in the call that answers it.
    pub(super) async fn receive(&self) -> io::Result<Option<Heard>> {
        let mut bytes = [0; BUFFER];
        let (length, sender) = self.socket.receive(&mut bytes).await?;
        Ok(bytes.get(..length).and_then(|bytes| self.protocol.read(bytes, sender.map(Mac))))
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The packet socket (packet(7)) on one adapter: ARP packets in and out, the Ethernet header is the kernel's business.
//!
//! This is the one file of the project with `unsafe`. What needs it has no safe form in `std`, `socket2` or `tokio`: the addresses of
//! packet sockets, the flags of an adapter, and handing a socket to the reactor. Each is a few lines in [`ffi`], which nothing outside
//! can drive out of bounds: lengths and names are checked before, and every value that is read was zeroed or written by the kernel.

use std::io::{self, Read};

use libc::c_int;
use socket2::{Domain, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    filter::{self, Watch},
    frame::{Frame, Mac},
};
use crate::Error;

/// Larger than any ARP packet with its padding; of what is longer, the end is cut, which nobody reads.
const BUFFER: usize = 64;

/// Frames, and errors: without the latter nobody is woken when the adapter goes down. Not room to send: sends do not wait.
const INTEREST: Interest = Interest::READABLE.add(Interest::ERROR);

/// The socket. It stays bound to its adapter when that goes down and up, or is renamed, and loses it when it is removed.
#[derive(Debug)]
pub(super) struct PacketSocket {
    adapter: String,
    index: c_int,
    watch: Watch,
    socket: AsyncFd<Socket>,
}

impl PacketSocket {
    /// Opens a socket on the adapter that hears nothing yet. Needs `CAP_NET_RAW`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn open(adapter: &str) -> Result<Self, Error> {
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
        let index = ffi::index(&socket, adapter).map_err(|source| Error::NoAdapter { adapter: name(), source })?;
        let flags = ffi::flags(&socket, adapter).map_err(failed("read the flags"))?;
        socket.attach_filter(&filter::program(None)).map_err(failed("filter ARP"))?;
        socket.bind(&ffi::address(index, Mac::BROADCAST)).map_err(failed("bind a packet socket"))?;
        let hardware_type = ffi::hardware(&socket).map_err(failed("read the hardware address"))?.kind;
        if hardware_type != libc::ARPHRD_ETHER {
            return Err(Error::NotEthernet { adapter: name(), hardware_type });
        }
        if flags & libc::IFF_NOARP != 0 {
            return Err(Error::ArpOff { adapter: name() });
        }
        socket.set_nonblocking(true).map_err(failed("set up a packet socket"))?;
        let socket = ffi::register(socket).map_err(failed("watch a packet socket"))?;
        Ok(Self { adapter: name(), index, watch: None, socket })
    }

    /// The adapter's name.
    pub(super) fn adapter(&self) -> &str {
        &self.adapter
    }

    /// Whether frames sent now can reach anybody; opens the socket anew if the name now stands for another adapter.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        let socket = self.socket.get_ref();
        let named = ffi::index(socket, &self.adapter)
            .map_err(|source| Error::NoAdapter { adapter: self.adapter.clone(), source })?;
        if named != self.index {
            let watch = self.watch;
            *self = Self::open(&self.adapter)?;
            self.listen(watch).map_err(|source| self.failed("filter ARP", source))?;
        }
        let flags =
            ffi::flags(self.socket.get_ref(), &self.adapter).map_err(|source| self.failed("read the flags", source))?;
        let has_carrier = ffi::has_carrier(self.socket.get_ref(), &self.adapter)
            .map_err(|source| self.failed("look for the carrier", source))?;
        if flags & libc::IFF_UP != 0 && has_carrier {
            return Ok(());
        }
        Err(Error::NoLink { adapter: self.adapter.clone() })
    }

    /// What happened to the adapter and was not told yet. Left there, it would be the answer to the next frame sent, however the
    /// adapter is by then.
    pub(super) fn past(&self) -> io::Result<()> {
        self.socket.get_ref().take_error()?.map_or(Ok(()), Err)
    }

    /// An error of this socket.
    pub(super) fn failed(&self, operation: &'static str, source: io::Error) -> Error {
        Error::Socket { operation, adapter: self.adapter.clone(), source }
    }

    /// Hears what matters for `watch` from now on, and nothing else. Free when nothing changed.
    pub(super) fn listen(&mut self, watch: Watch) -> io::Result<()> {
        if watch != self.watch {
            self.socket.get_ref().attach_filter(&filter::program(watch))?;
            self.watch = watch;
        }
        Ok(())
    }

    /// The adapter's hardware address, as it is now.
    pub(super) fn mac(&self) -> io::Result<Mac> {
        // An adapter that was removed leaves an address of length 0.
        ffi::hardware(self.socket.get_ref())?.mac.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    }

    /// Sends a packet to everybody on the segment. Waits for nothing: when the adapter's queue is full, that is an error.
    pub(super) fn send(&self, frame: &Frame) -> io::Result<()> {
        let everybody = ffi::address(self.index, Mac::BROADCAST);
        self.socket.get_ref().send_to(&frame.encode(), &everybody).map(drop)
    }

    /// The next packet; `None`: it was none that [`Frame::decode`] knows. An error tells once that the adapter went down (`ENETDOWN`).
    ///
    /// Cancel-safe: a packet is taken only in the call that answers it.
    pub(super) async fn receive(&self) -> io::Result<Option<Frame>> {
        loop {
            let mut bytes = [0; BUFFER];
            let mut ready = self.socket.ready(INTEREST).await?;
            if let Ok(result) = ready.try_io(|socket| socket.get_ref().read(&mut bytes)) {
                return result.map(|length| bytes.get(..length).and_then(Frame::decode));
            }
        }
    }
}

/// What the kernel's header files ask for and no safe interface has.
#[expect(unsafe_code, reason = "packet socket addresses, adapter flags and tokio's AsyncFd have no safe interface")]
mod ffi {
    use std::{ffi::c_char, io, os::fd::AsRawFd};

    use libc::{__c_anonymous_ifr_ifru, Ioctl, c_int, ifreq, sockaddr_ll};
    use socket2::{SockAddr, SockAddrStorage, Socket};
    use tokio::io::unix::AsyncFd;

    use crate::arp::frame::Mac;

    /// An adapter's hardware.
    pub(super) struct Hardware {
        /// `ARPHRD_…` of linux/if_arp.h; 0 when the adapter is gone.
        pub(super) kind: u16,
        /// `None`: the address has not the 6 bytes of an Ethernet's.
        pub(super) mac: Option<Mac>,
    }

    /// Gives the socket to tokio's reactor.
    pub(super) fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
        // SAFETY: a `Socket` owns its open descriptor until it is dropped, and `PacketSocket` neither replaces it inside the
        // `AsyncFd` nor closes it.
        Ok(unsafe { AsyncFd::register_with_interest(socket, super::INTEREST) }?)
    }

    /// The address of `mac` on the adapter with this index, for ARP (`struct sockaddr_ll`, linux/if_packet.h).
    pub(super) fn address(index: c_int, mac: Mac) -> SockAddr {
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: `sockaddr_ll` is one of the platform's address types, and all zeros is a valid one.
        let address = unsafe { storage.view_as::<sockaddr_ll>() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ARP as u16).to_be();
        address.sll_ifindex = index;
        address.sll_halen = mac.0.len() as u8;
        address.sll_addr[..mac.0.len()].copy_from_slice(&mac.0);
        // SAFETY: the storage holds a `sockaddr_ll` of family `AF_PACKET`, and this is its length.
        unsafe { SockAddr::new(storage, size_of::<sockaddr_ll>() as libc::socklen_t) }
    }

    /// What the bound socket says of its adapter (getsockname). Not from /sys, which may belong to another network namespace.
    pub(super) fn hardware(socket: &Socket) -> io::Result<Hardware> {
        let mut storage = socket.local_addr()?.as_storage();
        // SAFETY: the kernel answers a `sockaddr_ll` for a packet socket; what it left out is zero, which is valid.
        let address = unsafe { storage.view_as::<sockaddr_ll>() };
        let mac = address.sll_addr.first_chunk().filter(|mac| address.sll_halen as usize == mac.len());
        Ok(Hardware { kind: address.sll_hatype, mac: mac.copied().map(Mac) })
    }

    /// The index of the adapter with this name.
    pub(super) fn index(socket: &Socket, adapter: &str) -> io::Result<c_int> {
        // SAFETY: SIOCGIFINDEX fills the field `ifru_ifindex` (netdevice(7)).
        unsafe { Ok(ask(socket, adapter, libc::SIOCGIFINDEX as Ioctl, ZERO)?.ifru_ifindex) }
    }

    /// The `IFF_…` flags of the adapter with this name.
    pub(super) fn flags(socket: &Socket, adapter: &str) -> io::Result<c_int> {
        // SAFETY: SIOCGIFFLAGS fills the field `ifru_flags` (netdevice(7)).
        unsafe { Ok(ask(socket, adapter, libc::SIOCGIFFLAGS as Ioctl, ZERO)?.ifru_flags.into()) }
    }

    /// Whether the adapter is plugged in, as far as its driver can tell. `IFF_RUNNING` would say the same up to a second later.
    pub(super) fn has_carrier(socket: &Socket, adapter: &str) -> io::Result<bool> {
        /// `struct ethtool_value`, linux/ethtool.h.
        #[repr(C)]
        struct Value {
            command: u32,
            data: u32,
        }
        /// linux/ethtool.h.
        const ETHTOOL_GLINK: u32 = 0x0a;

        let mut value = Value { command: ETHTOOL_GLINK, data: 0 };
        let data = __c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() };
        // SAFETY: the command has the kernel write one `Value` where `ifru_data` points to, and `value` lives until then.
        match unsafe { ask(socket, adapter, libc::SIOCETHTOOL as Ioctl, data) } {
            Ok(_) => Ok(value.data != 0),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(true),
            Err(error) => Err(error),
        }
    }

    const ZERO: __c_anonymous_ifr_ifru = __c_anonymous_ifr_ifru { ifru_ifindex: 0 };

    /// Asks about an adapter by name (netdevice(7)).
    ///
    /// # Safety
    /// `what` takes an `ifreq`, and `data` holds the field that it reads; a pointer there is valid for what it reads and writes.
    unsafe fn ask(
        socket: &Socket,
        adapter: &str,
        what: Ioctl,
        data: __c_anonymous_ifr_ifru,
    ) -> io::Result<__c_anonymous_ifr_ifru> {
        let mut request = ifreq { ifr_name: [0; _], ifr_ifru: data };
        // The last byte stays zero: the name ends there at the latest.
        if adapter.len() >= request.ifr_name.len() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(adapter.bytes()) {
            *to = from as c_char;
        }
        // SAFETY: the caller's promise; `request` lives until the call returns.
        match unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw mut request) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(request.ifr_ifru),
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What the kernel's header files ask for and no safe interface has: the addresses of packet sockets, the flags of an adapter,
//! handing a socket to the reactor, and two options of TCP sockets.
//!
//! This is the one file of the project with `unsafe`. Each function is a few lines, which nothing outside can drive out of bounds:
//! lengths and names are checked before, and every value that is read was zeroed or written by the kernel.

#![expect(
    unsafe_code,
    reason = "packet socket addresses, adapter flags, tokio's AsyncFd and TCP-MD5 have no safe interface"
)]

use std::{
    ffi::c_char,
    io,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

use libc::{__c_anonymous_ifr_ifru, Ioctl, c_int, ifreq, sockaddr_ll, sockaddr_storage};
use socket2::{SockAddr, SockAddrStorage, Socket};
use tokio::io::{Interest, unix::AsyncFd};

use crate::segment::Mac;

/// An adapter's hardware.
pub(crate) struct Hardware {
    /// `ARPHRD_…` of linux/if_arp.h; 0 when the adapter is gone.
    pub(crate) kind: u16,
    /// `None`: the address has not the 6 bytes of an Ethernet's.
    pub(crate) mac: Option<Mac>,
}

/// Gives the socket to tokio's reactor.
pub(crate) fn register(socket: Socket, interest: Interest) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a `Socket` owns its open descriptor until it is dropped, and `PacketSocket` neither replaces it inside the
    // `AsyncFd` nor closes it.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}

/// The address of `mac` on the adapter with this index, for packets of that type (`struct sockaddr_ll`, linux/if_packet.h).
pub(crate) fn address(index: c_int, ethertype: u16, mac: Mac) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of the platform's address types, and all zeros is a valid one.
    let address = unsafe { storage.view_as::<sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ethertype.to_be();
    address.sll_ifindex = index;
    address.sll_halen = mac.0.len() as u8;
    address.sll_addr[..mac.0.len()].copy_from_slice(&mac.0);
    // SAFETY: the storage holds a `sockaddr_ll` of family `AF_PACKET`, and this is its length.
    unsafe { SockAddr::new(storage, size_of::<sockaddr_ll>() as libc::socklen_t) }
}

/// What the bound socket says of its adapter (getsockname). Not from /sys, which may belong to another network namespace.
pub(crate) fn hardware(socket: &Socket) -> io::Result<Hardware> {
    Ok(hardware_of(socket.local_addr()?))
}

fn hardware_of(address: SockAddr) -> Hardware {
    let mut storage = address.as_storage();
    // SAFETY: the kernel answers a `sockaddr_ll` for a packet socket; what it left out is zero, which is valid.
    let address = unsafe { storage.view_as::<sockaddr_ll>() };
    let mac = address.sll_addr.first_chunk().filter(|mac| address.sll_halen as usize == mac.len());
    Hardware { kind: address.sll_hatype, mac: mac.copied().map(Mac) }
}

/// Receives a packet: how long it is, at most what there is room for, and whose.
pub(crate) fn receive(socket: &Socket, room: &mut [u8]) -> io::Result<(usize, Option<Mac>)> {
    let uninitialised = std::ptr::from_mut(room) as *mut [MaybeUninit<u8>];
    // SAFETY: the same bytes, borrowed for as long; nothing that is not initialised is ever written to them, the kernel writes bytes.
    let (length, sender) = socket.recv_from(unsafe { &mut *uninitialised })?;
    Ok((length, hardware_of(sender).mac))
}

/// The index of the adapter with this name.
pub(crate) fn index(socket: &Socket, adapter: &str) -> io::Result<c_int> {
    // SAFETY: SIOCGIFINDEX fills the field `ifru_ifindex` (netdevice(7)).
    unsafe { Ok(ask(socket, adapter, libc::SIOCGIFINDEX as Ioctl, ZERO)?.ifru_ifindex) }
}

/// The `IFF_…` flags of the adapter with this name.
pub(crate) fn flags(socket: &Socket, adapter: &str) -> io::Result<c_int> {
    // SAFETY: SIOCGIFFLAGS fills the field `ifru_flags` (netdevice(7)).
    unsafe { Ok(ask(socket, adapter, libc::SIOCGIFFLAGS as Ioctl, ZERO)?.ifru_flags.into()) }
}

/// Whether the adapter is plugged in, as far as its driver can tell. `IFF_RUNNING` would say the same up to a second later.
pub(crate) fn has_carrier(socket: &Socket, adapter: &str) -> io::Result<bool> {
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

/// Signs segments to and from the peer with a key of at most 80 bytes (TCP-MD5, RFC 2385; `struct tcp_md5sig`, linux/tcp.h). On a
/// listening socket it holds for connections from this peer; before connecting, for the one to it.
pub(crate) fn sign(socket: &Socket, peer: IpAddr, key: &[u8]) -> io::Result<()> {
    /// linux/tcp.h, with the flags and the prefix left at zero: the address as a whole.
    #[repr(C)]
    struct Md5 {
        address: sockaddr_storage,
        flags: u8,
        prefix: u8,
        length: u16,
        interface: c_int,
        key: [u8; 80],
    }
    let storage = SockAddr::from(SocketAddr::new(peer, 0)).as_storage();
    // SAFETY: both are the platform's `sockaddr_storage`, of which every byte is initialised.
    let address = unsafe { std::mem::transmute_copy::<SockAddrStorage, sockaddr_storage>(&storage) };
    let mut md5 = Md5 { address, flags: 0, prefix: 0, length: 0, interface: 0, key: [0; 80] };
    let Some(room) = md5.key.get_mut(..key.len()) else { return Err(io::ErrorKind::InvalidInput.into()) };
    room.copy_from_slice(key);
    md5.length = u16::try_from(key.len()).unwrap_or_default();
    set(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &md5)
}

/// Takes only packets whose time to live was not counted down below `hops` (`IP_MINTTL`, `IPV6_MINHOPCOUNT`; RFC 5082).
pub(crate) fn at_least(socket: &Socket, is_ipv6: bool, hops: c_int) -> io::Result<()> {
    /// linux/in6.h; not in libc.
    const IPV6_MINHOPCOUNT: c_int = 73;
    match is_ipv6 {
        true => set(socket, libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT, &hops),
        false => set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &hops),
    }
}

fn set<T>(socket: &Socket, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
    // SAFETY: the kernel reads `length` bytes at `value`, which is as long, and copies them.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

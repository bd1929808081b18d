// SPDX-License-Identifier: Apache-2.0
//! Options of TCP sockets.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

use libc::{c_int, sockaddr_storage};
use socket2::{SockAddr, SockAddrStorage, Socket};

/// Signs segments to and from the peer with a key of at most 80 bytes (TCP-MD5, RFC 2385; `struct tcp_md5sig`, linux/tcp.h). On a
/// listening socket it holds for connections from this peer; before connecting, for the one to it.
///
/// # Errors
/// The kernel's, where it has no TCP-MD5 or no such key is to be forgotten; that the key is too long.
pub fn sign(socket: &Socket, peer: IpAddr, key: &[u8]) -> io::Result<()> {
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
///
/// # Errors
/// The kernel's.
pub fn at_least(socket: &Socket, is_ipv6: bool, hops: c_int) -> io::Result<()> {
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

// SPDX-License-Identifier: Apache-2.0
//! Packet sockets (packet(7)) that a task can wait for.

use std::{io, mem::MaybeUninit, ops::Deref};

use libc::{c_int, sockaddr_ll};
use socket2::{SockAddr, SockAddrStorage, Socket};
use tokio::io::{Interest, unix::AsyncFd};

/// Frames, and errors: without the latter nobody is woken when the adapter goes down. Not room to send: sends do not wait.
const INTEREST: Interest = Interest::READABLE.add(Interest::ERROR);

/// An adapter's hardware.
pub struct Hardware {
    /// `ARPHRD_…` of linux/if_arp.h; 0 when the adapter is gone.
    pub kind: u16,
    /// `None`: the address has not the 6 bytes of an Ethernet's.
    pub mac: Option<[u8; 6]>,
}

/// A packet socket in tokio's reactor. Whoever has it can use the socket, and neither replace nor close it.
#[derive(Debug)]
pub struct Watched(AsyncFd<Socket>);

impl Watched {
    /// Gives a packet socket to the reactor. It must not block.
    ///
    /// # Errors
    /// The kernel's.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(socket: Socket) -> io::Result<Self> {
        // SAFETY: a `Socket` owns its open descriptor until it is dropped, and nobody gets more than a shared reference to this one.
        Ok(Self(unsafe { AsyncFd::register_with_interest(socket, INTEREST) }?))
    }

    /// Receives a packet: how long it is, at most what there is room for, and whose.
    ///
    /// Cancel-safe: a packet is taken only in the call that answers it.
    ///
    /// # Errors
    /// The kernel's; `ENETDOWN` says once that the adapter went down. `EAFNOSUPPORT`: it is no packet socket, and what came is lost.
    pub async fn receive(&self, room: &mut [u8]) -> io::Result<(usize, Option<[u8; 6]>)> {
        loop {
            if let Ok(received) = self.0.ready(INTEREST).await?.try_io(|socket| receive(socket.get_ref(), room)) {
                return received;
            }
        }
    }
}

impl Deref for Watched {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        self.0.get_ref()
    }
}

/// The address of `mac` on the adapter with this index, for packets of that type (`struct sockaddr_ll`, linux/if_packet.h).
pub fn address(index: c_int, ethertype: u16, mac: [u8; 6]) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of the platform's address types, and all zeros is a valid one.
    let address = unsafe { storage.view_as::<sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ethertype.to_be();
    address.sll_ifindex = index;
    address.sll_halen = mac.len() as u8;
    address.sll_addr[..mac.len()].copy_from_slice(&mac);
    // SAFETY: the storage holds a `sockaddr_ll` of family `AF_PACKET`, and this is its length.
    unsafe { SockAddr::new(storage, size_of::<sockaddr_ll>() as libc::socklen_t) }
}

/// What a bound packet socket says of its adapter (getsockname). Not from /sys, which may belong to another network namespace.
///
/// # Errors
/// The kernel's; `EAFNOSUPPORT` for any other socket.
pub fn hardware(socket: &Socket) -> io::Result<Hardware> {
    hardware_of(socket.local_addr()?)
}

fn hardware_of(address: SockAddr) -> io::Result<Hardware> {
    if i32::from(address.family()) != libc::AF_PACKET {
        return Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
    }
    let mut storage = address.as_storage();
    // SAFETY: an address of family `AF_PACKET` is a `sockaddr_ll`; what the kernel left out is zero, which is valid.
    let address = unsafe { storage.view_as::<sockaddr_ll>() };
    let mac = address.sll_addr.first_chunk().filter(|mac| usize::from(address.sll_halen) == mac.len());
    Ok(Hardware { kind: address.sll_hatype, mac: mac.copied() })
}

fn receive(socket: &Socket, room: &mut [u8]) -> io::Result<(usize, Option<[u8; 6]>)> {
    let uninitialised = std::ptr::from_mut(room) as *mut [MaybeUninit<u8>];
    // SAFETY: the same bytes, borrowed for as long; nothing that is not initialised is ever written to them, the kernel writes bytes.
    let (length, sender) = socket.recv_from(unsafe { &mut *uninitialised })?;
    Ok((length, hardware_of(sender)?.mac))
}

// SPDX-License-Identifier: Apache-2.0
//! What IPVS tells by getsockopt(2) (linux/ip_vs.h).

use std::{io, os::fd::AsRawFd};

use libc::{c_int, socklen_t};
use socket2::Socket;

/// `IP_VS_BASE_CTL`; the numbers of questions count from there.
const BASE: c_int = 64 + 1024 + 64;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Question {
    /// `IP_VS_SO_GET_INFO`, answered by `struct ip_vs_getinfo`.
    Info = BASE + 1,
    /// `IP_VS_SO_GET_SERVICES`, in a `struct ip_vs_get_services`.
    Services = BASE + 2,
    /// `IP_VS_SO_GET_DESTS`, in a `struct ip_vs_get_dests`.
    Destinations = BASE + 4,
}

/// Asks IPVS of the socket's network namespace, with a socket of IPv4. The room holds the question, and then the answer; the kernel takes none that is not as
/// long as the question says.
///
/// # Errors
/// The kernel's: `ESRCH` for a service that is not there, `EPERM` without `CAP_NET_ADMIN`, `ENOPROTOOPT` without IPVS.
pub fn ask(socket: &Socket, question: Question, room: &mut [u8]) -> io::Result<()> {
    let mut length = socklen_t::try_from(room.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let number = question as c_int;
    // SAFETY: the kernel reads and writes at most `length` bytes at `room`, which is as long, whatever is asked and whatever it holds: none of these
    // answers goes anywhere else. All bytes are valid in it.
    let answered = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, number, room.as_mut_ptr().cast(), &raw mut length)
    };
    if answered == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

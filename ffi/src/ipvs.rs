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

/// A table behind a head that says how many entries there is room for.
struct Table {
    head: usize,
    entry: usize,
    /// Where in the head that is said.
    count: usize,
}

impl Question {
    /// Of the answer, for 64 bits, and for 32 where a `__u64` lies as it does there. Another kernel takes no such room.
    fn table(self) -> Option<Table> {
        match self {
            Self::Info => None,
            Self::Services => Some(Table { head: 8, entry: 104, count: 0 }),
            Self::Destinations => Some(Table { head: 24, entry: 96, count: 16 }),
        }
    }
}

/// Asks IPVS of the socket's network namespace, with a socket of IPv4. The room holds the question, and then the answer; for how many entries there is
/// room is said here.
///
/// # Errors
/// The kernel's: `ESRCH` for a service that is not there, `EPERM` without `CAP_NET_ADMIN`, `ENOPROTOOPT` without IPVS; that no whole number of
/// entries fits the room.
pub fn ask(socket: &Socket, question: Question, room: &mut [u8]) -> io::Result<()> {
    let mut length = socklen_t::try_from(room.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    if let Some(table) = question.table() {
        let entries = room.len().checked_sub(table.head).filter(|entries| entries % table.entry == 0);
        let many = entries.and_then(|entries| u32::try_from(entries / table.entry).ok());
        let many = many.ok_or(io::ErrorKind::InvalidInput)?.to_ne_bytes();
        room.iter_mut().skip(table.count).zip(many).for_each(|(byte, of_count)| *byte = of_count);
    }
    let number = question as c_int;
    // SAFETY: the kernel reads and writes at most `length` bytes at `room`, which is as long, and takes nothing in it for an address. It believes the count,
    // which is that of the room: older kernels multiply it with 32 bits before they compare it with the length. All bytes are valid in the room.
    let answered = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, number, room.as_mut_ptr().cast(), &raw mut length)
    };
    if answered == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

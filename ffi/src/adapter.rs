// SPDX-License-Identifier: Apache-2.0
//! What the kernel says of a network adapter, asked for through any socket of its network namespace.

use std::{ffi::c_char, io, os::fd::AsRawFd};

use libc::{__c_anonymous_ifr_ifru, Ioctl, c_int, ifreq};
use socket2::Socket;

/// The index of the adapter with this name.
///
/// # Errors
/// The kernel's; `ENODEV`: there is no such adapter.
pub fn index(socket: &Socket, adapter: &str) -> io::Result<c_int> {
    // SAFETY: SIOCGIFINDEX fills the field `ifru_ifindex` (netdevice(7)).
    unsafe { Ok(ask(socket, adapter, libc::SIOCGIFINDEX as Ioctl, ZERO)?.ifru_ifindex) }
}

/// The `IFF_…` flags of the adapter with this name.
///
/// # Errors
/// The kernel's; `ENODEV`: there is no such adapter.
pub fn flags(socket: &Socket, adapter: &str) -> io::Result<c_int> {
    // SAFETY: SIOCGIFFLAGS fills the field `ifru_flags` (netdevice(7)).
    unsafe { Ok(ask(socket, adapter, libc::SIOCGIFFLAGS as Ioctl, ZERO)?.ifru_flags.into()) }
}

/// Whether the adapter is plugged in, as far as its driver can tell. `IFF_RUNNING` would say the same up to a second later.
///
/// # Errors
/// The kernel's; `ENODEV`: there is no such adapter.
pub fn has_carrier(socket: &Socket, adapter: &str) -> io::Result<bool> {
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

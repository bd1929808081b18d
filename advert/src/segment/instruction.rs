// SPDX-License-Identifier: Apache-2.0
//! Instructions of classic BPF programs on packet sockets (linux/filter.h).

use socket2::SockFilter;

/// Where the kernel tells whose packet it is; [`OUTGOING`] are our own. The kernel gives those only to sockets for every protocol, today.
pub(crate) const KIND: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
/// What [`KIND`] is for packets of this host (`PACKET_OUTGOING`, linux/if_packet.h).
pub(crate) const OUTGOING: u32 = 4;

/// Loads the word, half word or byte `at` that offset; past the end of the packet, drops it.
pub(crate) fn load(width: u32, at: u32) -> SockFilter {
    instruction(libc::BPF_LD | width | libc::BPF_ABS, 0, 0, at)
}

/// Compares what was loaded with `value` and skips so many instructions.
pub(crate) fn jump(comparison: u32, value: u32, if_so: u8, if_not: u8) -> SockFilter {
    instruction(libc::BPF_JMP | comparison | libc::BPF_K, if_so, if_not, value)
}

/// Ends the program: this many bytes of the packet are taken.
pub(crate) fn take(bytes: u32) -> SockFilter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, bytes)
}

fn instruction(code: u32, if_so: u8, if_not: u8, operand: u32) -> SockFilter {
    // Every code of linux/filter.h fits 16 bits.
    SockFilter::new(code as u16, if_so, if_not, operand)
}

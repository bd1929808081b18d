// SPDX-License-Identifier: Apache-2.0
//! Which frames may wake the process: a classic BPF program on the packet socket (linux/filter.h).
//!
//! On a busy segment hosts ask for each other all day. Only who claims one of our addresses, or probes for one, matters here.
//! One range from the lowest to the highest address stands for the set: it is one program of fixed length whatever the number of
//! VIPs, and exact for the usual pool, a range. A frame too many costs one wake-up; the machine decides.

use std::net::Ipv4Addr;

use socket2::SockFilter;

use crate::segment::instruction::{KIND, OUTGOING, jump, load, take};

/// The lowest and the highest address that frames matter for; `None`: no frame matters.
pub(crate) type Watch = Option<(Ipv4Addr, Ipv4Addr)>;

/// The program that lets through what matters for `watch`. It sees packets without the Ethernet header, see [`frame`](super::frame).
pub(crate) fn program(watch: Watch) -> Vec<SockFilter> {
    let Some((lowest, highest)) = watch else {
        return vec![take(0)];
    };
    vec![
        // Our own frames.
        load(libc::BPF_W, KIND),
        jump(libc::BPF_JEQ, OUTGOING, DROP - 2, 0),
        // IPv4 over Ethernet.
        load(libc::BPF_W, 0),
        jump(libc::BPF_JEQ, 0x0001_0800, 0, DROP - 4),
        load(libc::BPF_H, 4),
        jump(libc::BPF_JEQ, 0x0604, 0, DROP - 6),
        // The sender's address; in a probe, which has none, the target's.
        load(libc::BPF_W, 14),
        jump(libc::BPF_JEQ, 0, 0, 1),
        load(libc::BPF_W, 24),
        jump(libc::BPF_JGE, lowest.to_bits(), 0, DROP - 10),
        jump(libc::BPF_JGT, highest.to_bits(), DROP - 11, 0),
        take(u32::MAX),
        take(0),
    ]
}

/// Where the program's last instruction is, `take(0)`. A jump counts from the instruction that follows it.
const DROP: u8 = 12;

#[cfg(test)]
mod tests;

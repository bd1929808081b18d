// SPDX-License-Identifier: Apache-2.0
//! Which packets may wake the process: a classic BPF program on the packet socket (linux/filter.h).
//!
//! All IPv6 passes by here. Only neighbour advertisements matter, and solicitations of those who are about to take an address, both of
//! addresses from the lowest to the highest of ours. The machine of BPF compares words of 32 bits: those that the two ends share have to be
//! the same; the first that they do not share has to be between theirs, and the rest is let through. Where the ends share 96 bits, as
//! those of the usual pool do, that is exact. A packet too many costs one wake-up; the machine decides.

use std::net::Ipv6Addr;

use socket2::SockFilter;

use crate::segment::instruction::{KIND, OUTGOING, jump, load, take};

/// The lowest and the highest address that packets matter for; `None`: no packet matters.
pub(crate) type Watch = Option<(Ipv6Addr, Ipv6Addr)>;

/// Where the target's address begins, see [`message`](super::message).
const TARGET: u32 = 48;

/// The program that lets through what matters for `watch`. It sees packets without the Ethernet header.
pub(crate) fn program(watch: Watch) -> Vec<SockFilter> {
    let Some((lowest, highest)) = watch else {
        return vec![take(0)];
    };
    // Each check goes on with the next instruction or drops the packet, which is one further.
    let must = |comparison, value| [jump(comparison, value, 1, 0), take(0)];
    let must_not = |comparison, value| [jump(comparison, value, 0, 1), take(0)];
    let mut program = vec![load(libc::BPF_W, KIND)];
    program.extend(must_not(libc::BPF_JEQ, OUTGOING));
    // ICMPv6, from this link.
    program.push(load(libc::BPF_H, 6));
    program.extend(must(libc::BPF_JEQ, 0x3aff));
    program.push(load(libc::BPF_H, 40));
    // An advertisement, or a solicitation whose source is four words of zero.
    program.push(jump(libc::BPF_JEQ, 0x8800, 14, 0));
    program.extend(must(libc::BPF_JEQ, 0x8700));
    for word in 0..4 {
        program.push(load(libc::BPF_W, 8 + 4 * word));
        program.extend(must(libc::BPF_JEQ, 0));
    }
    for (word, (low, high)) in (0..).zip(words(lowest).into_iter().zip(words(highest))) {
        program.push(load(libc::BPF_W, TARGET + 4 * word));
        if low != high {
            program.extend(must(libc::BPF_JGE, low));
            program.extend(must_not(libc::BPF_JGT, high));
            break;
        }
        program.extend(must(libc::BPF_JEQ, low));
    }
    program.push(take(u32::MAX));
    program
}

fn words(address: Ipv6Addr) -> [u32; 4] {
    let bits = address.to_bits();
    [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
}

#[cfg(test)]
mod tests;

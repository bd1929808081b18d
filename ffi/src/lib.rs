// SPDX-License-Identifier: Apache-2.0
//! What has no safe interface: packet sockets, what an adapter and IPVS are asked for, two options of TCP sockets, and where the program takes its
//! memory from.
//!
//! This is the one place of the project with `unsafe`, so that there is one place to audit. Each function is a few lines, and what is
//! public can be called by anybody with anything: lengths and names are checked before, every value that is read was zeroed or written by the
//! kernel, and nothing that has to stay as it is can be got at. It decides nothing and knows nothing of slb.

#![expect(
    unsafe_code,
    reason = "the kernel's structures, tokio's AsyncFd and the global allocator have no safe interface"
)]

pub mod adapter;
pub mod ipvs;
pub mod memory;
pub mod packet;
pub mod tcp;

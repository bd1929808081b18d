// SPDX-License-Identifier: Apache-2.0
//! What the allocator gives back. A program of its own: nothing else may take memory meanwhile.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, hint::black_box};

use slb_ffi::memory::{Allocator, LARGE};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// What is freed in the middle is given back, whatever is left around it.
#[test]
fn large_pieces_are_given_back() {
    const PIECES: usize = 64;
    let before = resident();
    let mut held = Vec::new();
    let large: Vec<Vec<u8>> = (0..PIECES)
        .map(|piece| {
            held.push([(); 100].map(|()| vec![1_u8; 1000]));
            vec![piece as u8; 8 * LARGE]
        })
        .collect();
    black_box(&large);
    let with_all = resident();
    drop(large);
    let after = resident();
    assert!(with_all - before > PIECES * 8 * LARGE / 2, "{before} {with_all}");
    assert!(after < before + (with_all - before) / 4, "{before} {with_all} {after}");
    assert_eq!(held.len(), PIECES);
}

/// In bytes: `VmRSS` of proc(5).
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

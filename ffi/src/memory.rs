// SPDX-License-Identifier: Apache-2.0
//! Where the static binary takes its memory from. musl's own allocator rounds sizes up by a sixth and gives little back: ten thousand
//! load-balancers took a quarter more, and a start touched almost three times as many pages.

use std::{
    alloc::{GlobalAlloc, Layout},
    ptr,
};

use dlmalloc::GlobalDlmalloc as Heap;

/// In bytes. What is larger are lists of everything, which are soon done with: on the heap they would leave holes, and it gives back what is at its end and little else.
pub const LARGE: usize = 128 * 1024;
/// In bytes: no kernel has smaller pages.
const PAGE: usize = 4096;

/// Pieces of [`LARGE`] and more are mappings of their own (mmap(2)): they grow without being copied, and are given back when they are
/// freed. All others are on the heap.
pub struct Allocator;

/// Whether such a piece is a mapping. The layout says so when it is freed as it did when it was made.
fn is_mapped(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= PAGE
}

// SAFETY: a mapping is page-aligned, as large as was asked for, zeroed, and nobody else's until it is unmapped; so is what the heap gives,
// but for the zeros. Each piece goes back to where it came from, since its layout alone decides that. The kernel rounds lengths
// up to whole pages, in all three calls. Nothing here allocates or panics.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match is_mapped(layout) {
            true => map(layout.size()),
            // SAFETY: the caller's promise.
            false => unsafe { Heap.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match is_mapped(layout) {
            true => map(layout.size()),
            // SAFETY: the caller's promise.
            false => unsafe { Heap.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match is_mapped(layout) {
            // SAFETY: `piece` is a mapping of this length, which the caller gives up. It stays only where the process has as many
            // mappings as it may, and nobody could be told.
            true => _ = unsafe { libc::munmap(piece.cast(), layout.size()) },
            // SAFETY: the caller's promise.
            false => unsafe { Heap.dealloc(piece, layout) },
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise: `size` is no more than there can be with this alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_mapped(layout), is_mapped(wanted)) {
            // SAFETY: the caller's promise.
            (false, false) => unsafe { Heap.realloc(piece, layout, size) },
            // SAFETY: `piece` is a mapping of this length, and the caller forgets it if it has moved.
            (true, true) => unsafe { or_null(libc::mremap(piece.cast(), layout.size(), size, libc::MREMAP_MAYMOVE)) },
            // SAFETY: both pieces are there for as long as the shorter one, and are two; the caller forgets the old one.
            (true, false) | (false, true) => unsafe {
                let new = self.alloc(wanted);
                if !new.is_null() {
                    ptr::copy_nonoverlapping(piece, new, layout.size().min(size));
                    self.dealloc(piece, layout);
                }
                new
            },
        }
    }
}

fn map(size: usize) -> *mut u8 {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, wherever the kernel has room: nothing that is there is touched.
    or_null(unsafe { libc::mmap(ptr::null_mut(), size, access, kind, -1, 0) })
}

fn or_null(mapping: *mut libc::c_void) -> *mut u8 {
    if mapping == libc::MAP_FAILED { ptr::null_mut() } else { mapping.cast() }
}

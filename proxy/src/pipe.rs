// SPDX-License-Identifier: Apache-2.0
//! Pipes between sockets: by splice(2), bytes go from one to the other without being copied here. A pipe is only taken while there is
//! something in it, so that an idle connection has none.

use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// How much travels at a time, if the kernel allows pipes of that size; 64 KiB otherwise.
const SIZE: usize = 256 * 1024;
/// So many empty ones are kept for each worker.
const KEPT: usize = 64;

thread_local! {
    static EMPTY: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
    /// So many more may be made.
    static TO_MAKE: Cell<usize> = const { Cell::new(0) };
}

/// This thread may have so many, empty or not. Before, it may have none.
pub fn allow(many: usize) {
    TO_MAKE.set(many);
}

/// An empty pipe, or one that is being emptied.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        TO_MAKE.set(TO_MAKE.get() + 1);
    }
}

impl Pipe {
    /// An empty one; `None` if no more can be had.
    pub fn take() -> Option<Self> {
        EMPTY.with_borrow_mut(Vec::pop).or_else(Self::new)
    }

    fn new() -> Option<Self> {
        let to_make = TO_MAKE.get().checked_sub(1)?;
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
        // Above a user's share of memory for pipes it stays as it is.
        let _ = fcntl_setpipe_size(&write, SIZE);
        TO_MAKE.set(to_make);
        Some(Self { read, write })
    }

    /// Keeps it for the next one. It has to be empty.
    pub fn give_back(self) {
        EMPTY.with_borrow_mut(|empty| {
            if empty.len() < KEPT {
                empty.push(self);
            }
        });
    }

    /// Takes what the socket has; how much that was, 0 at its end.
    ///
    /// # Errors
    /// Those of splice(2).
    pub fn fill(&self, from: impl AsFd) -> io::Result<usize> {
        Ok(splice(from, None, &self.write, None, SIZE, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?)
    }

    /// Gives the socket as much as it takes of what is in it.
    ///
    /// # Errors
    /// Those of splice(2).
    pub fn drain(&self, to: impl AsFd, left: usize) -> io::Result<usize> {
        Ok(splice(&self.read, None, to, None, left, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?)
    }
}

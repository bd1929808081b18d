// SPDX-License-Identifier: Apache-2.0
//! What a server is asked for by signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To end: SIGTERM, SIGINT.
    Stop,
    /// To hand over to a successor: SIGUSR2.
    HandOver,
}

/// Signals. One that comes while nobody waits stays pending.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hand_over: Signal,
}

impl Signals {
    /// Takes them from now on; none of them ends the process by itself any more.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hand_over: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one. Cancel-safe.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            // To end is more urgent.
            biased;
            // Cancel-safe, all: a signal stays pending until it is returned.
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hand_over.recv() => Asked::HandOver,
        }
    }

    /// The next one that asks to end; the others stay pending. Cancel-safe.
    pub async fn stop(&mut self) {
        tokio::select! {
            // Cancel-safe, both: a signal stays pending until it is returned.
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What was asked for, on standard output. Events are [`crate::log`]'s.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use tracing::error;

/// Writes it. Whoever reads no more of it has read enough; whatever else is wrong with standard output is a failure, and is logged.
pub fn write(what: impl Display) -> ExitCode {
    let mut out = io::stdout().lock();
    match write!(out, "{what}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            error!("standard output cannot be written to: {error}");
            ExitCode::FAILURE
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

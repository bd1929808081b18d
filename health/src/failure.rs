// SPDX-License-Identifier: Apache-2.0
//! What an answer can lack, in words for the operator.

use std::{io, time::Duration};

/// Why a check failed. One line each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nothing came, or not enough of it.
    #[error("no answer within {0:?}")]
    Silence(Duration),
    /// It could not be asked, or the connection broke.
    #[error("cannot {doing}: {error}")]
    Io {
        /// What was tried, in words that follow "cannot".
        doing: &'static str,
        /// The kernel's word.
        error: io::Error,
    },
    /// The other side ended the connection before it had answered.
    #[error("the connection was closed in the middle of the answer")]
    Half,
    /// It did not speak the protocol.
    #[error("the answer is not {0}")]
    Garbage(&'static str),
    /// It answered something else.
    #[error("{0}")]
    Wrong(String),
    /// Checks that run commands were not allowed when slb was started.
    #[error("commands are not allowed as checks here")]
    Forbidden,
}

impl Failure {
    /// From an error of the kernel's.
    pub(crate) fn to<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Io { doing, error: error.into() }
    }
}

/// What came from outside, cut and without control characters, to be quoted.
pub(crate) fn quote(bytes: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = String::from_utf8_lossy(bytes);
    let mut quoted: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        quoted.push('…');
    }
    quoted
}

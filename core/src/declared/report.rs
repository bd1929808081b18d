// SPDX-License-Identifier: Apache-2.0
//! How the configuration file is doing, for readers.

use std::{path::PathBuf, time::SystemTime};

/// How the configuration file is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// When what it said was last carried out, or found to be there.
    pub applied: Option<SystemTime>,
    /// Why what it says now is not; what it said before stays.
    pub problem: Option<FileProblem>,
}

impl FileReport {
    /// Whether nobody knows yet what becomes of what it said at the start.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.applied.is_none() && self.problem.is_none()
    }
}

/// Why what a file says is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// When it was found.
    pub since: SystemTime,
    /// Where in the file, counted from 1, if it is somewhere there.
    pub line: Option<usize>,
    /// In words for who wrote it.
    pub why: String,
}

// SPDX-License-Identifier: Apache-2.0
//! What can go wrong with the store.

use std::{io, path::PathBuf};

/// A store that cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be made or used.
    #[error("{path}: the state directory cannot be used")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{0}: another slb server uses this state directory; stop it, or give this one its own with --stateDir")]
    InUse(PathBuf),
    /// The file cannot be opened.
    #[error("{path}: cannot be opened")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<redb::DatabaseError>,
    },
    /// The file was written by a later version.
    #[error("{path}: written by a later version of slb (format {found}, this one knows {known})")]
    Later {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: u64,
        /// The latest format that this version knows.
        known: u64,
    },
    /// Reading or writing failed.
    #[error("{path}: cannot {doing}")]
    Access {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// A record makes no sense.
    #[error("{path}: the record of {what} cannot be read")]
    Record {
        /// The file.
        path: PathBuf,
        /// Whose record it is.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The thread that does the work is gone.
    #[error("{path}: the write was broken off")]
    Ended {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
}

// SPDX-License-Identifier: Apache-2.0
//! What can go wrong with the store.

use std::{
    io,
    path::{Path, PathBuf},
};

use slb_core::ports::Cause;

use crate::record::Unreadable;

/// A store that cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be made or used.
    #[error("{path}: the state directory cannot be used")]
    Folder {
        /// The folder, or the file in it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{0}: another slb server uses this state directory; stop it, or give this one its own with --stateDir")]
    InUse(PathBuf),
    /// The file cannot be opened.
    #[error("{path}: cannot be opened as the store of slb")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<redb::DatabaseError>,
    },
    /// Some of the file is not what slb wrote there.
    #[error(
        "{0}: was damaged, and has been repaired without what could not be read; \
         bring back a copy of it, or start again to go on with what is left"
    )]
    Damaged(PathBuf),
    /// The file is a database, but not one of slb.
    #[error("{0}: is not a store of slb")]
    Foreign(PathBuf),
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
        source: Cause,
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
        source: Unreadable,
    },
    /// An earlier write was answered with an error, and is in the file all the same.
    #[error(
        "{0}: holds a change that had been given up; nothing is written until slb is started again and has read it"
    )]
    InDoubt(PathBuf),
    /// The thread that does the work is gone.
    #[error("{path}: the access was broken off")]
    Ended {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
}

impl Error {
    /// redb's errors do not tell their source. The disk's own error is passed on as it is, so that a full disk can be told from a
    /// broken one.
    pub(crate) fn access(path: &Path, doing: &'static str, error: impl Into<redb::Error>) -> Self {
        let error = error.into();
        let source = if let redb::Error::Io(error) = error { error.into() } else { error.into() };
        Self::Access { path: path.to_owned(), doing, source }
    }
}

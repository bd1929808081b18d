// SPDX-License-Identifier: Apache-2.0
//! The state directory: who may use it, and how the file in it comes to be.
//!
//! A lock on a file of its own keeps other processes out; it goes with the process, however that ends. The store is made under
//! another name and moved to its place when it is complete: a first start that is broken off leaves nothing that has to be
//! understood later.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use redb::{Builder, Database, DatabaseError};

use crate::{Error, keeper::Medium, tables};

/// The store.
const FILE: &str = "slb.redb";
/// The store while it is being made.
const UNFINISHED: &str = "slb.redb.new";
/// Locked for as long as the store is in use.
const LOCK: &str = "slb.lock";
/// Pages kept in memory. The state is read once; after that each commit touches few pages.
const CACHE_BYTES: usize = 1 << 18;

/// A state directory that is this process' own.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    file: PathBuf,
    lock: File,
}

impl Folder {
    /// Takes the folder for this process. Makes it and the store in it if they are not there, readable by their owner alone.
    pub fn claim(path: &Path) -> Result<Self, Error> {
        let unusable = |source| Error::Folder { path: path.to_owned(), source };
        make_folder(path).map_err(unusable)?;
        let lock = private().truncate(false).open(path.join(LOCK)).map_err(unusable)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::InUse(path.to_owned()),
            TryLockError::Error(source) => unusable(source),
        })?;
        let folder = Self { path: path.to_owned(), file: path.join(FILE), lock };
        if !folder.file.try_exists().map_err(unusable)? {
            folder.make_store()?;
        }
        Ok(folder)
    }

    /// Whether there is a store in the folder, which need not be there itself. Changes nothing.
    pub fn has_store(path: &Path) -> Result<bool, Error> {
        path.join(FILE).try_exists().map_err(|source| Error::Folder { path: path.to_owned(), source })
    }

    /// Whether there is a store in the folder that this process may read and write. Changes nothing.
    pub fn has_store_of_ours(path: &Path) -> bool {
        OpenOptions::new().read(true).write(true).open(path.join(FILE)).is_ok()
    }

    fn make_store(&self) -> Result<(), Error> {
        let unusable = |source| Error::Folder { path: self.path.clone(), source };
        let unfinished = self.path.join(UNFINISHED);
        let file = private().truncate(true).open(&unfinished).map_err(unusable)?;
        let database = builder().create_file(file).map_err(|error| self.refused(error))?;
        let made = tables::make(&database);
        made.map_err(|error| Error::access(&unfinished, "make the store", error))?;
        drop(database);
        fs::rename(&unfinished, &self.file).and_then(|()| sync(&self.path)).map_err(unusable)
    }

    fn refused(&self, error: DatabaseError) -> Error {
        if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
            return Error::InUse(self.path.clone());
        }
        Error::Open { path: self.file.clone(), source: Box::new(error) }
    }
}

impl Medium for Folder {
    fn file(&self) -> &Path {
        &self.file
    }

    fn open(&self) -> Result<Database, Error> {
        builder().open(&self.file).map_err(|error| self.refused(error))
    }
}

impl Drop for Folder {
    /// Closing the file would do, were it not for a program that is being started just then and still shares it.
    fn drop(&mut self) {
        drop(self.lock.unlock());
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    path.parent().map_or(Ok(()), |parent| sync(if parent.as_os_str().is_empty() { Path::new(".") } else { parent }))
}

/// A name is on disk once its folder is.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

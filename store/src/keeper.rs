// SPDX-License-Identifier: Apache-2.0
//! Reads and writes the store, and finds out what a failed write left behind.
//!
//! A disk can fail after it has written: the last `fsync` of a transaction answers with an error, and yet all of it is there.
//! Whoever is told that a change failed takes it back in memory; were it found in the file later, two load-balancers could claim one
//! endpoint. Hence each transaction has a number. After a failure the file is opened anew, which redb asks for anyway, and shows:
//!
//! ```text
//!  number before the write  ──▶ it was not written: the error stands
//!  number of the write      ──▶ it was: written again, so that the disk confirms it, and the answer is Ok
//!  cannot be opened         ──▶ the error stands; before the next write the same question is asked
//! ```

#[cfg(test)]
mod tests;

use std::path::Path;

use redb::Database;
use slb_core::ports::{Snapshot, Write};

use crate::{Error, tables};

/// Where the store is.
pub trait Medium {
    /// The file, for messages.
    fn file(&self) -> &Path;

    /// Opens what is there.
    fn open(&self) -> Result<Database, Error>;
}

/// Keeps a store.
#[derive(Debug)]
pub struct Keeper<M> {
    /// `None` after a failure: redb refuses everything after an I/O error until it is opened anew. Goes before what it is on.
    database: Option<Database>,
    /// The number of the last transaction that was answered with `Ok` or loaded.
    last: u64,
    medium: M,
}

impl<M: Medium> Keeper<M> {
    /// Opens the store and checks every page of it.
    pub fn open(medium: M) -> Result<Self, Error> {
        let path = medium.file();
        let mut database = medium.open()?;
        match database.check_integrity() {
            Ok(true) => {}
            Ok(false) => return Err(Error::Damaged(path.to_owned())),
            Err(source) => return Err(Error::Open { path: path.to_owned(), source: Box::new(source) }),
        }
        let last = tables::last(path, &database)?;
        Ok(Self { database: Some(database), last, medium })
    }

    /// Reads everything. What had been in doubt no longer is: this is what there is.
    pub fn load(&mut self) -> Result<Snapshot, Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.medium.open()?,
        };
        let snapshot = tables::read(self.medium.file(), &database)?;
        self.last = tables::last(self.medium.file(), &database)?;
        self.database = Some(database);
        Ok(snapshot)
    }

    /// Writes all or nothing. After `Err` nothing was written, as far as the disk lets one know; while that is not known, further
    /// writes are refused.
    pub fn commit(&mut self, writes: &[Write]) -> Result<(), Error> {
        let database = self.certain()?;
        match tables::write(&database, writes, self.last + 1) {
            Ok(()) => {
                self.last += 1;
                self.database = Some(database);
                Ok(())
            }
            Err(failure) => {
                drop(database);
                self.settle(writes, failure)
            }
        }
    }

    /// The store, which holds what was answered with `Ok` and nothing else.
    fn certain(&mut self) -> Result<Database, Error> {
        if let Some(database) = self.database.take() {
            return Ok(database);
        }
        let database = self.medium.open()?;
        let last = tables::last(self.medium.file(), &database)?;
        if last == self.last { Ok(database) } else { Err(Error::InDoubt(self.medium.file().to_owned())) }
    }

    fn settle(&mut self, writes: &[Write], failure: redb::Error) -> Result<(), Error> {
        let path = self.medium.file();
        let failure = Error::access(path, "write", failure);
        let Ok(database) = self.medium.open() else { return Err(failure) };
        let Ok(last) = tables::last(path, &database) else { return Err(failure) };
        if last == self.last {
            self.database = Some(database);
            return Err(failure);
        }
        if tables::write(&database, writes, last + 1).is_err() {
            return Err(failure);
        }
        self.last = last + 1;
        self.database = Some(database);
        Ok(())
    }
}

// SPDX-License-Identifier: Apache-2.0
//! A redb file: pure Rust, one writer, transactions that survive a power cut.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use slb_core::ports::{Cause, Snapshot, Store, Write};
use tokio::sync::Mutex;

use crate::{Error, folder::Folder, keeper::Keeper};

/// Keeps the desired state in a file.
#[derive(Debug)]
pub struct Redb {
    path: PathBuf,
    keeper: Arc<Mutex<Keeper<Folder>>>,
}

impl Redb {
    /// Opens the store in a folder, and makes both if they are not there: readable by their owner alone.
    ///
    /// # Errors
    /// Another process has it open; it cannot be used; it is damaged, or of a later version of slb.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let keeper = Arc::new(Mutex::new(Keeper::open(Folder::claim(folder)?)?));
        Ok(Self { path: folder.to_owned(), keeper })
    }

    /// Whether there is a store in the folder, which need not be there itself. Changes nothing.
    ///
    /// # Errors
    /// The folder cannot be looked into.
    pub fn is_in(folder: &Path) -> Result<bool, Error> {
        Folder::has_store(folder)
    }

    /// Whether there is a store in the folder that this process may read and write. Changes nothing.
    #[must_use]
    pub fn is_ours_in(folder: &Path) -> bool {
        Folder::has_store_of_ours(folder)
    }

    /// A disk takes its time; other requests do not wait for it. The thread finishes what it began whether or not somebody still
    /// waits for it, and the next access waits for the thread: dropping the future breaks nothing off.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Keeper<Folder>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mut keeper = Arc::clone(&self.keeper).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || work(&mut keeper)).await;
        done.unwrap_or_else(|source| Err(Error::Ended { path: self.path.clone(), source }))
    }
}

impl Store for Redb {
    /// On the calling thread: this is for the start, when nobody else waits, and what it reads stays.
    async fn load(&mut self) -> Result<Snapshot, Cause> {
        Ok(self.keeper.lock().await.load()?)
    }

    async fn commit(&mut self, writes: Vec<Write>) -> Result<(), Cause> {
        Ok(self.off_thread(move |keeper| keeper.commit(&writes)).await?)
    }
}

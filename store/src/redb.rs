// SPDX-License-Identifier: Apache-2.0
//! A redb file: pure Rust, one writer, transactions that survive a power cut. A lock on the file keeps other processes out; it goes
//! with the process, however that ends.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};
use slb_core::{
    model::{LoadBalancerId, Vip},
    ports::{Cause, SettingChange, Snapshot, Store, Write},
};
use uuid::Uuid;

use crate::{Error, record};

/// The file in the state directory.
const FILE: &str = "slb.redb";
/// Pages kept in memory. The state is read once; after that each commit touches few pages.
const CACHE_BYTES: usize = 1 << 20;
/// The format of the file as a whole; records have versions of their own.
const FORMAT: u64 = 1;

const LOAD_BALANCERS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("load_balancers");
/// The release's number by address.
const RELEASED: TableDefinition<'_, u32, u64> = TableDefinition::new("released");
/// What settings of the kernel were and became, by name.
const ORIGINALS: TableDefinition<'_, &str, (&str, &str)> = TableDefinition::new("originals");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
const TEXTS: TableDefinition<'_, &str, &str> = TableDefinition::new("texts");

const FORMAT_KEY: &str = "format";
const LAST_SERIAL_KEY: &str = "last_serial";
const ADAPTER_KEY: &str = "adapter";

/// Keeps the desired state in a file.
#[derive(Debug)]
pub struct Redb {
    folder: PathBuf,
    path: PathBuf,
    /// `None` after a failure: redb refuses everything after an I/O error until it is opened anew.
    database: Option<Arc<Database>>,
}

impl Redb {
    /// Opens the store in a folder, and makes both if they are not there: readable by their owner alone.
    ///
    /// # Errors
    /// Another process has it open; it cannot be used; it was written by a later version of slb.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let mut store = Self { folder: folder.to_owned(), path: folder.join(FILE), database: None };
        store.check_format()?;
        Ok(store)
    }

    fn database(&mut self) -> Result<Arc<Database>, Error> {
        if let Some(database) = &self.database {
            return Ok(Arc::clone(database));
        }
        let unusable = |source| Error::Folder { path: self.folder.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(unusable)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.path);
        match redb::Builder::new().set_cache_size(CACHE_BYTES).create_file(file.map_err(unusable)?) {
            Ok(database) => Ok(Arc::clone(self.database.insert(Arc::new(database)))),
            Err(DatabaseError::DatabaseAlreadyOpen) => Err(Error::InUse(self.folder.clone())),
            Err(source) => Err(Error::Open { path: self.path.clone(), source: Box::new(source) }),
        }
    }

    fn check_format(&mut self) -> Result<(), Error> {
        let database = self.database()?;
        match numbers(&database).map_err(|source| self.access("read its format", source))?.0 {
            Some(FORMAT) => Ok(()),
            Some(found) => Err(Error::Later { path: self.path.clone(), found, known: FORMAT }),
            None => {
                let fresh = write_format(&database);
                fresh.map_err(|source| self.access("write its format", source))
            }
        }
    }

    fn access(&self, doing: &'static str, source: redb::Error) -> Error {
        Error::Access { path: self.path.clone(), doing, source: Box::new(source) }
    }
}

impl Store for Redb {
    async fn load(&mut self) -> Result<Snapshot, Cause> {
        Ok(self.off_thread(read).await?)
    }

    /// Dropping the future leaves the transaction to its thread: it is written whole or not at all.
    async fn commit(&mut self, writes: Vec<Write>) -> Result<(), Cause> {
        Ok(self.off_thread(move |path, database| write(path, database, &writes)).await?)
    }
}

impl Redb {
    /// A disk takes its time; other requests do not wait for it.
    async fn off_thread<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Path, &Database) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (path, database) = (self.path.clone(), self.database()?);
        let done = tokio::task::spawn_blocking(move || work(&path, &database)).await;
        let done = done.unwrap_or_else(|source| Err(Error::Ended { path: self.path.clone(), source }));
        if done.is_err() {
            self.database = None;
        }
        done
    }
}

fn write_format(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(NUMBERS)?.insert(FORMAT_KEY, FORMAT)?;
    transaction.open_table(LOAD_BALANCERS)?;
    transaction.open_table(RELEASED)?;
    transaction.open_table(ORIGINALS)?;
    transaction.open_table(TEXTS)?;
    transaction.commit()?;
    Ok(())
}

/// The format and the last serial.
fn numbers(database: &Database) -> Result<(Option<u64>, u64), redb::Error> {
    let transaction = database.begin_read()?;
    let numbers = match transaction.open_table(NUMBERS) {
        Ok(numbers) => numbers,
        Err(TableError::TableDoesNotExist(_)) => return Ok((None, 0)),
        Err(error) => return Err(error.into()),
    };
    let number = |key| Ok::<_, redb::Error>(numbers.get(key)?.map(|value| value.value()));
    Ok((number(FORMAT_KEY)?, number(LAST_SERIAL_KEY)?.unwrap_or_default()))
}

fn read(path: &Path, database: &Database) -> Result<Snapshot, Error> {
    let access = |source| Error::Access { path: path.to_owned(), doing: "read its records", source: Box::new(source) };
    let mut snapshot = read_small(database).map_err(access)?;
    let transaction = database.begin_read().map_err(|source| access(source.into()))?;
    let table = transaction.open_table(LOAD_BALANCERS).map_err(|source| access(source.into()))?;
    for entry in table.iter().map_err(|source| access(source.into()))? {
        let (id, bytes) = entry.map_err(|source| access(source.into()))?;
        let id = LoadBalancerId(Uuid::from_u128(id.value()));
        let unreadable = |source| Error::Record { path: path.to_owned(), what: format!("load-balancer {id}"), source };
        snapshot.load_balancers.push(record::decode(id, bytes.value()).map_err(unreadable)?);
    }
    Ok(snapshot)
}

fn read_small(database: &Database) -> Result<Snapshot, redb::Error> {
    let mut snapshot = Snapshot { last_serial: numbers(database)?.1, ..Snapshot::default() };
    let transaction = database.begin_read()?;
    for entry in transaction.open_table(RELEASED)?.iter()? {
        let (address, serial) = entry?;
        // An address that is no longer one that could be a VIP is no longer handed out either.
        if let Ok(vip) = Vip::try_from(std::net::Ipv4Addr::from(address.value())) {
            snapshot.released.insert(vip, serial.value());
        }
    }
    for entry in transaction.open_table(ORIGINALS)?.iter()? {
        let (name, change) = entry?;
        let (from, to) = change.value();
        let change = SettingChange { name: name.value().to_owned(), from: from.to_owned(), to: to.to_owned() };
        snapshot.originals.insert(change.name.clone(), change);
    }
    snapshot.adapter = transaction.open_table(TEXTS)?.get(ADAPTER_KEY)?.map(|value| value.value().to_owned());
    Ok(snapshot)
}

fn write(path: &Path, database: &Database, writes: &[Write]) -> Result<(), Error> {
    let access = |source| Error::Access { path: path.to_owned(), doing: "write", source: Box::new(source) };
    let transaction = database.begin_write().map_err(|source| access(source.into()))?;
    for each in writes {
        // Dropping the transaction takes back what was written so far.
        write_one(&transaction, each).map_err(access)?;
    }
    transaction.commit().map_err(|source| access(source.into()))
}

fn write_one(transaction: &WriteTransaction, write: &Write) -> Result<(), redb::Error> {
    match write {
        Write::Put(load_balancer) => {
            let bytes = record::encode(load_balancer).map_err(io::Error::from)?;
            transaction.open_table(LOAD_BALANCERS)?.insert(load_balancer.id.0.as_u128(), bytes.as_slice())?;
            let mut numbers = transaction.open_table(NUMBERS)?;
            let last = numbers.get(LAST_SERIAL_KEY)?.map_or(0, |value| value.value());
            if load_balancer.serial > last {
                numbers.insert(LAST_SERIAL_KEY, load_balancer.serial)?;
            }
        }
        Write::Erase(id) => drop(transaction.open_table(LOAD_BALANCERS)?.remove(id.0.as_u128())?),
        Write::Released { vip, serial } => {
            transaction.open_table(RELEASED)?.insert(u32::from(vip.address()), serial)?;
        }
        Write::Reused(vip) => drop(transaction.open_table(RELEASED)?.remove(u32::from(vip.address()))?),
        Write::Original(SettingChange { name, from, to }) => {
            transaction.open_table(ORIGINALS)?.insert(name.as_str(), (from.as_str(), to.as_str()))?;
        }
        Write::Restored(name) => drop(transaction.open_table(ORIGINALS)?.remove(name.as_str())?),
        Write::Adapter(name) => drop(transaction.open_table(TEXTS)?.insert(ADAPTER_KEY, name.as_str())?),
    }
    Ok(())
}

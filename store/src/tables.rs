// SPDX-License-Identifier: Apache-2.0
//! The tables of the store, and transactions over them.

use std::{
    fmt::Display,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::Arc,
};

use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError, Value,
    WriteTransaction,
};
use slb_core::{
    model::{Invalid, LoadBalancerId, Vip},
    ports::{SettingChange, Snapshot, Write},
};
use uuid::Uuid;

use crate::{
    Error,
    record::{self, Unreadable},
};

/// The format of the file as a whole: which tables there are and what types they have. Records have versions of their own.
const FORMAT: u64 = 1;

/// Records by id.
const LOAD_BALANCERS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("load_balancers");
/// The release's number by address of IPv4.
const RELEASED: TableDefinition<'_, u32, u64> = TableDefinition::new("released");
/// The same of IPv6.
const RELEASED_IPV6: TableDefinition<'_, u128, u64> = TableDefinition::new("released_ipv6");
/// What settings of the kernel were and became, by name.
const ORIGINALS: TableDefinition<'_, &str, (&str, &str)> = TableDefinition::new("originals");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// By address, as text.
const PEERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("peers");
/// What was granted, by idempotency key.
const KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("keys");
const TEXTS: TableDefinition<'_, &str, &str> = TableDefinition::new("texts");
/// What there is only one of.
const SINGLES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("singles");

const FORMAT_KEY: &str = "format";
/// Counts transactions.
const TRANSACTION_KEY: &str = "transaction";
const LAST_SERIAL_KEY: &str = "last_serial";
const ADAPTER_KEY: &str = "adapter";
const IDENTITY_KEY: &str = "identity";
const UPLINK_KEY: &str = "uplink";

/// Makes the tables in an empty database.
pub fn make(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    Tables::open(&transaction)?.numbers.insert(FORMAT_KEY, FORMAT)?;
    Ok(transaction.commit()?)
}

/// The number of the last transaction; 0 before the first.
///
/// # Errors
/// This is no store of slb, or one of a later version.
pub fn last(path: &Path, database: &Database) -> Result<u64, Error> {
    let numbers = [FORMAT_KEY, TRANSACTION_KEY].map(|key| number(database, key));
    let [format, last] = numbers.map(|number| number.map_err(|error| unread(path, error)));
    match format? {
        Some(FORMAT) => Ok(last?.unwrap_or_default()),
        Some(found) => Err(Error::Later { path: path.to_owned(), found, known: FORMAT }),
        None => Err(Error::Foreign(path.to_owned())),
    }
}

/// Reads everything.
pub fn read(path: &Path, database: &Database) -> Result<Snapshot, Error> {
    let transaction = &database.begin_read().map_err(|error| unread(path, error))?;
    let mut snapshot = Snapshot::default();
    each(path, transaction, LOAD_BALANCERS, |id, bytes| {
        let id = LoadBalancerId(Uuid::from_u128(id));
        let load_balancer =
            record::decode(id, bytes).map_err(|source| unreadable(path, "load-balancer", id, source))?;
        snapshot.load_balancers.push(Arc::new(load_balancer));
        Ok(())
    })?;
    let mut released = |address: IpAddr, serial| {
        let vip =
            Vip::try_from(address).map_err(|source| unreadable(path, "the release of", address, source.into()))?;
        snapshot.released.insert(vip, serial);
        Ok(())
    };
    each(path, transaction, RELEASED, |bits, serial| released(Ipv4Addr::from_bits(bits).into(), serial))?;
    each(path, transaction, RELEASED_IPV6, |bits, serial| released(Ipv6Addr::from_bits(bits).into(), serial))?;
    each(path, transaction, ORIGINALS, |name, (from, to)| {
        let change = SettingChange { name: name.to_owned(), from: from.to_owned(), to: to.to_owned() };
        snapshot.originals.insert(name.to_owned(), change);
        Ok(())
    })?;
    each(path, transaction, NUMBERS, |key, number| {
        if key == LAST_SERIAL_KEY {
            snapshot.last_serial = number;
        }
        Ok(())
    })?;
    each(path, transaction, PEERS, |address, bytes| {
        let peer = record::peer::decode(address, bytes).map_err(|source| unreadable(path, "peer", address, source))?;
        snapshot.peers.insert(peer.address, peer);
        Ok(())
    })?;
    each(path, transaction, KEYS, |key, bytes| {
        let kept = record::kept::decode(key, bytes);
        snapshot.kept.push(Arc::new(kept.map_err(|source| unreadable(path, "the request", key, source))?));
        Ok(())
    })?;
    each(path, transaction, TEXTS, |key, text| {
        match key {
            ADAPTER_KEY => snapshot.adapter = Some(text.to_owned()),
            IDENTITY_KEY => {
                let identity = text.parse().map_err(|_| Invalid(format!("{text:?} is no UUID")));
                snapshot.identity = Some(identity.map_err(|source| unreadable(path, "the", key, source.into()))?);
            }
            _ => {}
        }
        Ok(())
    })?;
    each(path, transaction, SINGLES, |key, bytes| {
        if key == UPLINK_KEY {
            let uplink = record::uplink::decode(bytes).map_err(|source| unreadable(path, "the", key, source))?;
            snapshot.uplink = Some(uplink);
        }
        Ok(())
    })?;
    Ok(snapshot)
}

/// Writes all or nothing, as transaction number `number`. After an error from the disk both are possible.
pub fn write(database: &Database, writes: &[Write], number: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    // Leaving early drops the transaction, which takes back what was written so far.
    let mut tables = Tables::open(&transaction)?;
    for write in writes {
        tables.write(write)?;
    }
    tables.numbers.insert(TRANSACTION_KEY, number)?;
    drop(tables);
    Ok(transaction.commit()?)
}

struct Tables<'a> {
    load_balancers: Table<'a, u128, &'static [u8]>,
    released: Table<'a, u32, u64>,
    released_ipv6: Table<'a, u128, u64>,
    originals: Table<'a, &'static str, (&'static str, &'static str)>,
    numbers: Table<'a, &'static str, u64>,
    peers: Table<'a, &'static str, &'static [u8]>,
    keys: Table<'a, &'static str, &'static [u8]>,
    texts: Table<'a, &'static str, &'static str>,
    singles: Table<'a, &'static str, &'static [u8]>,
}

impl<'a> Tables<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            load_balancers: transaction.open_table(LOAD_BALANCERS)?,
            released: transaction.open_table(RELEASED)?,
            released_ipv6: transaction.open_table(RELEASED_IPV6)?,
            originals: transaction.open_table(ORIGINALS)?,
            numbers: transaction.open_table(NUMBERS)?,
            peers: transaction.open_table(PEERS)?,
            keys: transaction.open_table(KEYS)?,
            texts: transaction.open_table(TEXTS)?,
            singles: transaction.open_table(SINGLES)?,
        })
    }

    fn write(&mut self, write: &Write) -> Result<(), redb::Error> {
        match write {
            Write::Put(load_balancer) => {
                let bytes = record::encode(load_balancer).map_err(io::Error::other)?;
                self.load_balancers.insert(load_balancer.id.0.as_u128(), bytes.as_slice())?;
                let last = self.numbers.get(LAST_SERIAL_KEY)?.map_or(0, |value| value.value());
                if load_balancer.serial > last {
                    self.numbers.insert(LAST_SERIAL_KEY, load_balancer.serial)?;
                }
            }
            Write::Erase(id) => drop(self.load_balancers.remove(id.0.as_u128())?),
            Write::Released { vip, serial } => match vip.address() {
                IpAddr::V4(address) => drop(self.released.insert(address.to_bits(), serial)?),
                IpAddr::V6(address) => drop(self.released_ipv6.insert(address.to_bits(), serial)?),
            },
            Write::Reused(vip) => match vip.address() {
                IpAddr::V4(address) => drop(self.released.remove(address.to_bits())?),
                IpAddr::V6(address) => drop(self.released_ipv6.remove(address.to_bits())?),
            },
            Write::Original(SettingChange { name, from, to }) => {
                drop(self.originals.insert(name.as_str(), (from.as_str(), to.as_str()))?);
            }
            Write::Restored(name) => drop(self.originals.remove(name.as_str())?),
            Write::Peer(peer) => {
                let bytes = record::peer::encode(peer).map_err(io::Error::other)?;
                self.peers.insert(peer.address.to_string().as_str(), bytes.as_slice())?;
            }
            Write::NoPeer(address) => drop(self.peers.remove(address.to_string().as_str())?),
            Write::Keep(kept) => {
                let bytes = record::kept::encode(kept).map_err(io::Error::other)?;
                self.keys.insert(kept.keyed.key.as_str(), bytes.as_slice())?;
            }
            Write::Forget(key) => drop(self.keys.remove(key.as_str())?),
            Write::Adapter(name) => drop(self.texts.insert(ADAPTER_KEY, name.as_str())?),
            Write::NoAdapter => drop(self.texts.remove(ADAPTER_KEY)?),
            Write::Uplink(uplink) => {
                let bytes = record::uplink::encode(uplink).map_err(io::Error::other)?;
                self.singles.insert(UPLINK_KEY, bytes.as_slice())?;
            }
            Write::Identity(identity) => drop(self.texts.insert(IDENTITY_KEY, identity.to_string().as_str())?),
        }
        Ok(())
    }
}

/// Hands every row of a table to `take`, in order. A table that an earlier version of slb did not know has none.
fn each<K: Key + 'static, V: Value + 'static>(
    path: &Path,
    transaction: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
    mut take: impl for<'a> FnMut(K::SelfType<'a>, V::SelfType<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    let table = match transaction.open_table(table) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(unread(path, error)),
    };
    for row in table.iter().map_err(|error| unread(path, error))? {
        let (key, value) = row.map_err(|error| unread(path, error))?;
        take(key.value(), value.value())?;
    }
    Ok(())
}

/// `None` if there is no such number, or no numbers at all.
fn number(database: &Database, key: &str) -> Result<Option<u64>, redb::Error> {
    match database.begin_read()?.open_table(NUMBERS) {
        Ok(numbers) => Ok(numbers.get(key)?.map(|value| value.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn unread(path: &Path, error: impl Into<redb::Error>) -> Error {
    Error::access(path, "read", error)
}

fn unreadable(path: &Path, what: &str, name: impl Display, source: Unreadable) -> Error {
    Error::Record { path: path.to_owned(), what: format!("{what} {name}"), source }
}

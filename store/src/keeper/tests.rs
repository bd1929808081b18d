// SPDX-License-Identifier: Apache-2.0
//! The store on a disk that fails, and on one whose power is cut.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use proptest::prelude::*;
use redb::StorageBackend;

use super::*;

/// What of a disk survives a power cut for certain, and what may.
#[derive(Clone, Debug, Default)]
struct Image {
    durable: Arc<Vec<u8>>,
    /// Since the last sync, in order.
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Bytes(offset, data) => {
                let end = offset + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(data);
            }
        }
    }
}

/// How a disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failing {
    /// One operation is not carried out.
    Once,
    /// One operation is carried out and answered with an error.
    AfterTheFact,
    /// One operation and all after it.
    FromThenOn,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    image: Image,
    operations: usize,
    failure: Option<(usize, Failing)>,
    /// The image before each operation.
    history: Option<Vec<Image>>,
}

/// A disk that fails on demand and remembers.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    fn of(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.with(|state| state.bytes = bytes);
        disk
    }

    /// Fails at an operation, counted from now.
    fn fail(&self, at: usize, failing: Failing) {
        self.with(|state| state.failure = Some((state.operations + at, failing)));
    }

    fn heal(&self) {
        self.with(|state| state.failure = None);
    }

    fn operation(&self, work: impl FnOnce(&mut State)) -> io::Result<()> {
        self.with(|state| {
            let number = state.operations;
            state.operations += 1;
            let State { image, history, .. } = state;
            if let Some(history) = history {
                history.push(image.clone());
            }
            let fails =
                |(at, failing): &(usize, Failing)| number == *at || (number > *at && *failing == Failing::FromThenOn);
            let failing = state.failure.filter(fails).map(|(_, failing)| failing);
            if matches!(failing, None | Some(Failing::AfterTheFact)) {
                work(state);
            }
            if failing.is_none() { Ok(()) } else { Err(io::Error::from_raw_os_error(5)) }
        })
    }

    fn change(&self, change: Change) -> io::Result<()> {
        self.operation(|state| {
            change.apply(&mut state.bytes);
            state.image.unsynced.push(change);
        })
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|state| state.bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = place(offset);
        self.with(|state| {
            let bytes = state.bytes.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(place(len)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.operation(|state| state.image = Image { durable: Arc::new(state.bytes.clone()), unsynced: Vec::new() })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Bytes(place(offset), data.to_vec()))
    }
}

impl Medium for Disk {
    fn file(&self) -> &Path {
        Path::new("disk")
    }

    fn open(&self) -> Result<Database, Error> {
        let opened = Database::builder().set_cache_size(1 << 16).create_with_backend(self.clone());
        opened.map_err(|source| Error::Open { path: PathBuf::from("disk"), source: Box::new(source) })
    }
}

/// A disk with a store on it.
fn made() -> Disk {
    let disk = Disk::default();
    tables::make(&disk.open().unwrap()).unwrap();
    disk
}

/// A change that can be told from others by its number.
fn change(number: u64) -> Vec<Write> {
    let name = |part: u64| format!("net.{number}.{part}");
    let setting = |part| slb_core::ports::SettingChange { name: name(part), from: "0".repeat(700), to: "1".to_owned() };
    (0..4).map(|part| Write::Original(setting(part))).collect()
}

/// The numbers of the changes that are there. Each is there as a whole.
fn found(snapshot: &Snapshot) -> Vec<u64> {
    let mut numbers: Vec<u64> =
        snapshot.originals.keys().map(|name| name.split('.').nth(1).unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.chunks(4).all(|four| four.len() == 4 && four.iter().all(|number| *number == four[0])));
    numbers.dedup();
    numbers
}

/// Whatever fails at whichever operation: what was answered with `Ok` is there; what was answered with `Err` is not, or
/// nothing more is written.
#[test]
fn no_failure_of_the_disk_is_misreported() {
    let mut landed_and_in_doubt = (0, 0);
    for failing in [Failing::Once, Failing::AfterTheFact, Failing::FromThenOn] {
        for at in 0.. {
            let disk = made();
            let mut keeper = Keeper::open(disk.clone()).unwrap();
            keeper.commit(&change(1)).unwrap();
            disk.fail(at, failing);
            let before = disk.with(|state| state.operations);
            let second = keeper.commit(&change(2));
            let reached = disk.with(|state| state.operations) > before + at;
            disk.heal();
            let third = keeper.commit(&change(3));
            drop(keeper);
            let mut keeper = Keeper::open(Disk::of(disk.with(|state| state.bytes.clone()))).unwrap();
            let found = found(&keeper.load().unwrap());
            match (&second, &third) {
                (Ok(()), Ok(())) => assert_eq!(found, [1, 2, 3], "{failing:?} at {at}"),
                (Err(_), Ok(())) => assert_eq!(found, [1, 3], "{failing:?} at {at}: {second:?}"),
                (Err(_), Err(Error::InDoubt(_))) => assert_eq!(found, [1, 2], "{failing:?} at {at}: {second:?}"),
                (_, Err(error)) => panic!("{failing:?} at {at}: {error:?} after {second:?}"),
            }
            landed_and_in_doubt.0 += usize::from(reached && second.is_ok());
            landed_and_in_doubt.1 += usize::from(third.is_err());
            if !reached {
                break;
            }
        }
    }
    assert!(landed_and_in_doubt.0 > 0, "no failure came after the fact");
    assert!(landed_and_in_doubt.1 > 0, "no failure left a doubt");
}

#[test]
fn loading_ends_the_doubt() {
    for at in 0.. {
        let disk = made();
        let mut keeper = Keeper::open(disk.clone()).unwrap();
        disk.fail(at, Failing::FromThenOn);
        assert!(keeper.commit(&change(1)).is_err(), "no failure left a doubt");
        disk.heal();
        if keeper.commit(&change(2)).is_ok() {
            continue;
        }
        assert!(matches!(keeper.commit(&change(2)), Err(Error::InDoubt(_))), "for as long as it is not loaded");
        assert_eq!(found(&keeper.load().unwrap()), [1]);
        keeper.commit(&change(2)).unwrap();
        assert_eq!(found(&keeper.load().unwrap()), [1, 2]);
        return;
    }
}

/// A store in use, with every moment that the power could be cut at: the image and how many changes had been acknowledged.
fn moments() -> Vec<(Image, u64)> {
    let disk = made();
    let mut moments = Vec::new();
    let mut keeper = Keeper::open(disk.clone()).unwrap();
    for number in 0..12 {
        disk.with(|state| state.history = Some(Vec::new()));
        keeper.commit(&change(number)).unwrap();
        let history = disk.with(|state| state.history.take()).unwrap();
        moments.extend(history.into_iter().map(|image| (image, number)));
    }
    moments
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// A power cut loses any part of what was not synced, and nothing that was acknowledged.
    #[test]
    fn a_power_cut_loses_nothing_acknowledged(moment in any::<prop::sample::Index>(), kept in any::<u64>()) {
        static MOMENTS: std::sync::LazyLock<Vec<(Image, u64)>> = std::sync::LazyLock::new(moments);
        let (image, acknowledged) = moment.get(&MOMENTS);
        let mut bytes = Vec::clone(&image.durable);
        for (at, change) in image.unsynced.iter().enumerate() {
            if matches!(change, Change::Length(_)) || kept >> (at % 64) & 1 == 1 {
                change.apply(&mut bytes);
            }
        }
        let mut keeper = Keeper::open(Disk::of(bytes)).unwrap();
        let found = found(&keeper.load().unwrap());
        prop_assert!(found == Vec::from_iter(0..*acknowledged) || found == Vec::from_iter(0..=*acknowledged));
        keeper.commit(&change(99)).unwrap();
    }

    /// A store that was damaged is refused; what is read is as it was written. redb panics on some of the damage, which ends a
    /// server before it has changed anything.
    #[test]
    fn what_was_damaged_is_refused(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        static STORE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
            let disk = made();
            let mut keeper = Keeper::open(disk.clone()).unwrap();
            (0..12).for_each(|number| keeper.commit(&change(number)).unwrap());
            drop(keeper);
            disk.with(|state| state.bytes.clone())
        });
        let written: Vec<usize> = (0..STORE.len()).filter(|at| STORE[*at] != 0).collect();
        let mut bytes = STORE.clone();
        bytes[*at.get(&written)] ^= 1 << bit;
        if let Ok(Ok(mut keeper)) = std::panic::catch_unwind(|| Keeper::open(Disk::of(bytes))) {
            prop_assert_eq!(found(&keeper.load().unwrap()), Vec::from_iter(0..12));
        }
    }
}

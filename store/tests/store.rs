// SPDX-License-Identifier: Apache-2.0
//! The store against a model of it, across re-opening, and against being killed.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and the writer speaks")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use proptest::prelude::*;
use slb_core::{
    model::{
        Backend, BackendId, BackendSettings, Endpoint, Forwarding, LoadBalancer, LoadBalancerId, Name, Phase, Port,
        Target, Vip, Weight,
    },
    ports::{SettingChange, Snapshot, Store, Write},
};
use slb_store::{Error, Redb};
use uuid::Uuid;

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("slb-store-{}", Uuid::new_v4()));
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn load(store: &mut Redb) -> Snapshot {
    let mut snapshot = block_on(store.load()).unwrap();
    snapshot.load_balancers.sort_by_key(|each| each.id);
    snapshot
}

fn port(number: u16) -> Port {
    Port::try_from(i64::from(number)).unwrap()
}

fn vip(number: u8) -> Vip {
    Vip::try_from(std::net::Ipv4Addr::new(10, 0, 0, number)).unwrap()
}

fn load_balancer(id: u8, serial: u64, backends: Option<u8>, deleting: bool) -> LoadBalancer {
    let backend = |number: u8| Backend {
        id: BackendId(Uuid::from_u128(number.into())),
        target: Target { ip: std::net::Ipv4Addr::new(10, 1, 0, number).try_into().unwrap(), port: port(80) },
        settings: BackendSettings { forwarding: Forwarding::Local, weight: Weight::from(u16::from(number)) },
    };
    LoadBalancer {
        id: LoadBalancerId(Uuid::from_u128(id.into())),
        serial,
        name: Name::try_from(format!("lb \"{id}\" ⚖")).unwrap(),
        endpoint: Endpoint { vip: vip(id), port: port(u16::from(id) + 1) },
        backends: backends.map(|count| (0..count).map(backend).collect()),
        phase: if deleting { Phase::Deleting } else { Phase::Active },
    }
}

fn writes() -> impl Strategy<Value = Write> {
    let name = || prop::sample::select(vec!["net.a", "net.b"]).prop_map(str::to_owned);
    prop_oneof![
        4 => (0_u8..6, 0_u64..50, prop::option::of(0_u8..4), any::<bool>())
            .prop_map(|(id, serial, backends, deleting)| Write::Put(Arc::new(load_balancer(id, serial, backends, deleting)))),
        2 => (0_u128..6).prop_map(|id| Write::Erase(LoadBalancerId(Uuid::from_u128(id)))),
        2 => (0_u8..6, any::<u64>()).prop_map(|(number, serial)| Write::Released { vip: vip(number), serial }),
        1 => (0_u8..6).prop_map(|number| Write::Reused(vip(number))),
        1 => (name(), ".{0,5}", ".{0,5}").prop_map(|(name, from, to)| Write::Original(SettingChange { name, from, to })),
        1 => name().prop_map(Write::Restored),
        1 => "[a-z0-9.]{1,15}".prop_map(Write::Adapter),
    ]
}

fn apply(model: &mut (BTreeMap<LoadBalancerId, LoadBalancer>, Snapshot), write: &Write) {
    let (load_balancers, rest) = model;
    match write {
        Write::Put(each) => {
            rest.last_serial = rest.last_serial.max(each.serial);
            load_balancers.insert(each.id, LoadBalancer::clone(each));
        }
        Write::Erase(id) => drop(load_balancers.remove(id)),
        Write::Released { vip, serial } => drop(rest.released.insert(*vip, *serial)),
        Write::Reused(vip) => drop(rest.released.remove(vip)),
        Write::Original(change) => drop(rest.originals.insert(change.name.clone(), change.clone())),
        Write::Restored(name) => drop(rest.originals.remove(name)),
        Write::Adapter(name) => rest.adapter = Some(name.clone()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_was_committed_is_loaded(batches in prop::collection::vec(prop::collection::vec(writes(), 0..8), 1..6)) {
        let folder = Folder::new();
        let mut model = Default::default();
        for batch in batches {
            let mut store = Redb::open(&folder.0).unwrap();
            block_on(store.commit(batch.clone())).unwrap();
            batch.iter().for_each(|write| apply(&mut model, write));
            drop(store);
            let (load_balancers, rest) = model.clone();
            let expected = Snapshot { load_balancers: load_balancers.into_values().collect(), ..rest };
            prop_assert_eq!(load(&mut Redb::open(&folder.0).unwrap()), expected);
        }
    }
}

#[test]
fn a_second_opener_is_refused_and_files_are_private() {
    let folder = Folder::new();
    let store = Redb::open(&folder.0).unwrap();
    let error = Redb::open(&folder.0).unwrap_err();
    assert!(matches!(&error, Error::InUse(path) if *path == folder.0), "{error}");
    assert!(error.to_string().contains("another slb server"));
    drop(store);
    Redb::open(&folder.0).unwrap();
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.0.clone()), 0o700);
    assert_eq!(mode(folder.0.join("slb.redb")), 0o600);
}

#[test]
fn what_is_no_store_is_refused() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    std::fs::write(folder.0.join("slb.redb"), "not a store, but longer than a header would be".repeat(400)).unwrap();
    let error = Redb::open(&folder.0).unwrap_err();
    assert!(matches!(error, Error::Open { .. }), "{error}");

    let file = folder.0.join("file");
    std::fs::write(&file, "").unwrap();
    let error = Redb::open(&file).unwrap_err();
    assert!(matches!(&error, Error::Folder { path, .. } if *path == file), "{error}");
}

/// The variable that makes the test below the writer that is killed.
const WRITER: &str = "SLB_STORE_WRITER";
const KILLS: u64 = 40;

#[test]
fn killed_while_committing_loses_nothing_acknowledged() {
    if let Some(folder) = std::env::var_os(WRITER) {
        return commit_for_ever(&PathBuf::from(folder));
    }
    let folder = Folder::new();
    let mut acknowledged = 0;
    for round in 0..KILLS {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed_while_committing_loses_nothing_acknowledged", "--nocapture"])
            .env(WRITER, &folder.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
        // Killed after another number of commits each time: the moment within a commit is left to chance.
        let serials = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        acknowledged = serials.take(usize::try_from(round % 7 + 1).unwrap()).last().unwrap();
        writer.kill().unwrap();
        writer.wait().unwrap();
        let snapshot = load(&mut Redb::open(&folder.0).unwrap());
        assert!(snapshot.last_serial >= acknowledged, "{} < {acknowledged}", snapshot.last_serial);
        let serials: Vec<u64> = snapshot.load_balancers.iter().map(|each| each.serial).collect();
        assert_eq!(serials.len(), 2, "a commit is whole or not at all");
        assert_eq!(serials[0], serials[1]);
    }
    assert!(acknowledged >= KILLS);
}

fn commit_for_ever(folder: &std::path::Path) {
    let mut store = Redb::open(folder).unwrap();
    let mut serial = load(&mut store).last_serial;
    loop {
        serial += 1;
        let pair = [1, 2].map(|id| Write::Put(Arc::new(load_balancer(id, serial, Some(3), false))));
        block_on(store.commit(pair.to_vec())).unwrap();
        println!("acknowledged {serial}");
    }
}

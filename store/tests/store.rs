// SPDX-License-Identifier: Apache-2.0
//! The store against a model of it, across re-opening, and against being killed.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and the writers speak")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    pin::Pin,
    process::{Command, Stdio},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use proptest::prelude::*;
use redb::{Database, Key, TableDefinition, Value};
use slb_core::{
    errors::Chain,
    model::{
        Advertise, Backend, BackendId, BackendSettings, Condition, Drain, Encapsulation, Fallback, Forwarding,
        LoadBalancer, LoadBalancerId, Mark, Marked, Name, Persistence, PersistenceTimeout, Phase, Port, Ports,
        Protocol, ProxyProtocol, Scheduler, SchedulerFlags, ServiceSettings, SourceNat, Target, Then, Thresholds, Time,
        Vip, Vips, Weight,
        check::{Address, Check, HealthCheck, Question, Reaction, Timing},
    },
    peer::{Peer, PeerAddress},
    ports::{SettingChange, Snapshot, Store, Write},
    uplink::Uplink,
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

fn poll_once<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
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
    let address = if number.is_multiple_of(2) { format!("10.0.0.{number}") } else { format!("fd00::{number}") };
    address.parse().unwrap()
}

/// One, or one of each family.
fn vips(number: u8) -> Vips {
    let other = if number.is_multiple_of(2) { vip(number | 1) } else { vip(number & !1) };
    if number.is_multiple_of(3) { Vips::both(vip(number), other).unwrap() } else { vip(number).into() }
}

fn health_check(number: u8) -> Arc<HealthCheck> {
    let timing = Timing::every(Duration::from_secs(u64::from(number) + 1)).unwrap();
    let address = if number.is_multiple_of(4) { Address::Vip } else { Address::Backend };
    let check = Check { question: Question::Tcp, timing, address, port: None, source: None };
    Arc::new(HealthCheck { check: Arc::new(check), reaction: Reaction::default() })
}

fn drain(number: u8) -> Option<Drain> {
    let time = |millis: u8| Time::from_millis(millis.into());
    number.is_multiple_of(4).then(|| Drain {
        since: time(number),
        deadline: number.is_multiple_of(8).then(|| time(9)),
        then: if number.is_multiple_of(12) { Then::Delete } else { Then::Stay },
        done: number.is_multiple_of(16).then(|| time(7)),
    })
}

fn load_balancer(id: u8, serial: u64, backends: Option<u8>, deleting: bool) -> LoadBalancer {
    let several = id.is_multiple_of(5);
    let backend = |number: u8| Backend {
        id: BackendId(Uuid::from_u128(number.into())),
        target: Target {
            ip: vip(number.wrapping_add(100)).address().try_into().unwrap(),
            port: (!several).then(|| port(80)),
        },
        settings: BackendSettings {
            forwarding: [
                Forwarding::Masquerade,
                Forwarding::Local,
                Forwarding::DirectRoute,
                Forwarding::Tunnel(Encapsulation::Ipip),
                Forwarding::Tunnel(Encapsulation::Gre),
                Forwarding::Tunnel(Encapsulation::Gue(port(6080))),
            ][(usize::from(number) + usize::from(id)) % 6],
            weight: Weight::from(u16::from(number)),
            thresholds: Thresholds::new(u32::from(number) * 2, number.into()).unwrap(),
        },
        check: number.is_multiple_of(2).then(|| health_check(number)),
        condition: Condition {
            down: number.is_multiple_of(2).then(|| Time::from_millis(id.into())),
            back: number.is_multiple_of(3).then(|| Time::from_millis(number.into())),
            drain: drain(number),
        }
        .into(),
    };
    LoadBalancer {
        id: LoadBalancerId(Uuid::from_u128(id.into())),
        serial,
        name: Name::try_from(format!("lb \"{id}\" ⚖")).unwrap(),
        vips: vips(id),
        port: port(u16::from(id) + 1),
        protocol: Protocol::ALL[usize::from(id) % Protocol::ALL.len()],
        marked: several.then(|| {
            let ports = Ports::new([port(u16::from(id) + 1).into(), port(443).into()]).unwrap();
            Box::new(Marked { ports, mark: Mark::all().nth(id.into()).unwrap() })
        }),
        backends: backends.map(|count| (0..count).map(backend).collect()),
        phase: if deleting { Phase::Deleting } else { Phase::Active },
        advertise: if id.is_multiple_of(2) { Advertise::Always } else { Advertise::WithBackends },
        source_nat: SourceNat::ALL[usize::from(id % 3)],
        service: ServiceSettings {
            scheduler: Scheduler::ALL[usize::from(id) % Scheduler::ALL.len()],
            flags: SchedulerFlags { port: id.is_multiple_of(2), fallback: id.is_multiple_of(3) },
            persistence: (!id.is_multiple_of(2)).then(|| Persistence {
                timeout: PersistenceTimeout::default(),
                granularity: id.is_multiple_of(3).then_some(id),
            }),
            one_packet: id.is_multiple_of(3),
            proxy_protocol: id.is_multiple_of(5).then_some(ProxyProtocol::V1),
            source_nat: None,
        },
        check: id.is_multiple_of(2).then(|| health_check(id)),
        fallback: id.is_multiple_of(3).then(|| {
            let target = Target { ip: vip(id).address().try_into().unwrap(), port: Some(port(81)) };
            Box::new(Fallback { target, settings: BackendSettings::default() })
        }),
        drain: drain(id),
        origin: if id.is_multiple_of(7) { slb_core::model::Origin::File } else { slb_core::model::Origin::Api },
        check_marks: Mark::all()
            .take(id.into())
            .zip(0_u128..)
            .map(|(mark, number)| (BackendId(Uuid::from_u128(number)), mark))
            .collect(),
    }
}

fn peer_address() -> impl Strategy<Value = PeerAddress> {
    let addresses = ["10.0.0.254", "fd00::fe", "10.0.0.253"];
    prop::sample::select(addresses.to_vec()).prop_map(|text| text.parse::<IpAddr>().unwrap().try_into().unwrap())
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
        1 => Just(Write::NoAdapter),
        1 => any::<u128>().prop_map(|bits| Write::Identity(Uuid::from_u128(bits))),
        1 => (any::<u128>(), 1_u32.., any::<u32>(), prop::collection::vec(peer(), 0..3)).prop_map(|(device, asn, address, peers)| {
            Write::Uplink(Uplink { device: Uuid::from_u128(device), asn: asn.try_into().unwrap(), address: address.into(), peers })
        }),
        2 => peer().prop_map(Write::Peer),
        1 => peer_address().prop_map(Write::NoPeer),
    ]
}

fn peer() -> impl Strategy<Value = Peer> {
    (peer_address(), 1_u32.., prop::option::of("[ -~]{1,80}")).prop_map(|(address, asn, password)| {
        let password = password.map(|text| text.try_into().unwrap());
        Peer { password, ..Peer::new(address, asn.try_into().unwrap()) }
    })
}

fn apply(model: &mut (BTreeMap<LoadBalancerId, Arc<LoadBalancer>>, Snapshot), write: &Write) {
    let (load_balancers, rest) = model;
    match write {
        Write::Put(each) => {
            rest.last_serial = rest.last_serial.max(each.serial);
            load_balancers.insert(each.id, Arc::clone(each));
        }
        Write::Erase(id) => drop(load_balancers.remove(id)),
        Write::Released { vip, serial } => drop(rest.released.insert(*vip, *serial)),
        Write::Reused(vip) => drop(rest.released.remove(vip)),
        Write::Original(change) => drop(rest.originals.insert(change.name.clone(), change.clone())),
        Write::Restored(name) => drop(rest.originals.remove(name)),
        Write::Adapter(name) => rest.adapter = Some(name.clone()),
        Write::NoAdapter => rest.adapter = None,
        Write::Uplink(uplink) => rest.uplink = Some(uplink.clone()),
        Write::Identity(identity) => rest.identity = Some(*identity),
        Write::Peer(peer) => drop(rest.peers.insert(peer.address, peer.clone())),
        Write::NoPeer(address) => drop(rest.peers.remove(address)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

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
fn a_commit_that_nobody_waits_for_is_finished() {
    let folder = Folder::new();
    let mut store = Redb::open(&folder.0).unwrap();
    let put = |id: u8| vec![Write::Put(Arc::new(load_balancer(id, id.into(), None, false)))];
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        // Polled once, which starts the work, then dropped.
        let mut commit = Box::pin(store.commit(put(1)));
        drop(poll_once(commit.as_mut()));
        drop(commit);
        store.commit(put(2)).await.unwrap();
    });
    assert_eq!(load(&mut store).last_serial, 2);
    assert_eq!(load(&mut store).load_balancers.len(), 2);
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
fn a_first_start_that_was_broken_off_is_made_up_for() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    // As redb leaves it before the last step: of full length, and not to be opened.
    std::fs::write(folder.0.join("slb.redb.new"), vec![0; 1 << 20]).unwrap();
    assert_eq!(load(&mut Redb::open(&folder.0).unwrap()), Snapshot::default());
    assert!(!folder.0.join("slb.redb.new").exists());
}

#[test]
fn what_is_no_store_is_refused() {
    let folder = Folder::new();
    drop(Redb::open(&folder.0).unwrap());
    let file = folder.0.join("slb.redb");
    let whole = std::fs::read(&file).unwrap();
    let garbage = "not a store, but longer than a header would be".repeat(400).into_bytes();
    for bytes in [&garbage[..], &whole[..0], &whole[..100], &whole[..whole.len() / 2], &whole[..whole.len() - 1]] {
        std::fs::write(&file, bytes).unwrap();
        let error = Redb::open(&folder.0).unwrap_err();
        assert!(matches!(error, Error::Open { .. }), "{} bytes: {error:?}", bytes.len());
        assert!(error.to_string().contains("slb.redb"), "{error}");
    }

    for unusable in [file.clone(), file.join("below"), PathBuf::from("/proc/slb")] {
        let error = Redb::open(&unusable).unwrap_err();
        assert!(matches!(&error, Error::Folder { path, .. } if *path == unusable), "{error:?}");
    }
}

/// A store with a row that slb did not write.
fn with_row<K: Key + 'static, V: Value + 'static>(
    table: TableDefinition<'_, K, V>,
    key: K::SelfType<'_>,
    value: V::SelfType<'_>,
) -> Folder {
    let folder = Folder::new();
    drop(Redb::open(&folder.0).unwrap());
    let database = Database::open(folder.0.join("slb.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert(key, value).unwrap();
    transaction.commit().unwrap();
    folder
}

#[test]
fn a_record_that_makes_no_sense_is_named() {
    let records = TableDefinition::<u128, &[u8]>::new("load_balancers");
    let garbage = with_row(records, 7, b"{}");
    let released = TableDefinition::<u32, u64>::new("released");
    let multicast = with_row(released, 0xe000_0001, 1);
    for (folder, name) in [
        (garbage, "the record of load-balancer 00000000-0000-0000-0000-000000000007 cannot be read"),
        (multicast, "the record of the release of 224.0.0.1 cannot be read"),
    ] {
        let error = block_on(Redb::open(&folder.0).unwrap().load()).unwrap_err();
        assert!(error.to_string().ends_with(name), "{error}");
        assert!(error.source().is_some());
    }
}

/// What came with later versions is not there yet.
#[test]
fn a_store_of_an_earlier_version_is_read_and_written() {
    let folder = with_row(TableDefinition::<&str, &str>::new("texts"), "adapter", "eth0");
    let database = Database::open(folder.0.join("slb.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    for table in [TableDefinition::<&str, &[u8]>::new("singles"), TableDefinition::new("peers")] {
        assert!(transaction.delete_table(table).unwrap());
    }
    transaction.commit().unwrap();
    drop(database);
    let mut store = Redb::open(&folder.0).unwrap();
    let before = load(&mut store);
    assert_eq!((before.adapter.as_deref(), before.peers.len(), &before.uplink), (Some("eth0"), 0, &None));
    let peer = Peer::new("10.0.0.254".parse::<IpAddr>().unwrap().try_into().unwrap(), std::num::NonZeroU32::MIN);
    block_on(store.commit(vec![Write::Peer(peer.clone())])).unwrap();
    assert_eq!(load(&mut store).peers.into_values().collect::<Vec<_>>(), [peer]);
}

#[test]
fn a_later_format_is_refused() {
    let folder = with_row(TableDefinition::<&str, u64>::new("numbers"), "format", 2);
    let error = Redb::open(&folder.0).unwrap_err();
    assert!(matches!(error, Error::Later { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn a_database_of_something_else_is_left_alone() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    drop(Database::create(folder.0.join("slb.redb")).unwrap());
    for _ in 0..2 {
        assert!(matches!(Redb::open(&folder.0).unwrap_err(), Error::Foreign(_)));
    }
}

/// This test again, as a program with a store in `folder`.
fn again(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(WRITER, folder).stdout(Stdio::piped());
    command
}

/// The numbers of the commits that the writer says were acknowledged.
fn acknowledged(output: impl Read) -> impl Iterator<Item = u64> {
    let lines = BufReader::new(output).lines().map_while(Result::ok);
    lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok())
}

/// Every commit but those that no longer fit is there, and nothing of those.
#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    const TEST: &str = "a_full_disk_refuses_and_loses_nothing";
    if let Some(folder) = std::env::var_os(WRITER) {
        return commit_until_full(Path::new(&folder));
    }
    let folder = Folder::new();
    // The size of files is limited to 2 MiB: the kernel refuses more as it does on a full disk.
    let program = again(TEST, &folder.0);
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$@\"", "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .env(WRITER, &folder.0)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let acknowledged: Vec<u64> = acknowledged(&output.stdout[..]).collect();
    let mut serials: Vec<u64> =
        load(&mut Redb::open(&folder.0).unwrap()).load_balancers.iter().map(|each| each.serial).collect();
    serials.sort_unstable();
    assert_eq!(serials, acknowledged);
}

fn commit_until_full(folder: &Path) {
    let mut store = Redb::open(folder).unwrap();
    let mut refused = 0;
    for serial in 1..10_000 {
        let id = LoadBalancerId(Uuid::from_u128(serial.into()));
        let load_balancer = LoadBalancer { id, ..load_balancer(1, serial, Some(200), false) };
        match block_on(store.commit(vec![Write::Put(Arc::new(load_balancer))])) {
            Ok(()) => println!("acknowledged {serial}"),
            Err(error) => {
                assert!(Chain(&*error).to_string().contains("File too large"), "{}", Chain(&*error));
                refused += 1;
            }
        }
        if refused == 3 {
            break;
        }
    }
    assert_eq!(refused, 3, "it all fit");
}

/// The variable that makes a test the writer of the store in this folder.
const WRITER: &str = "SLB_STORE_WRITER";
const KILLS: u64 = 50;

#[test]
fn killed_while_committing_loses_nothing_acknowledged() {
    const TEST: &str = "killed_while_committing_loses_nothing_acknowledged";
    if let Some(folder) = std::env::var_os(WRITER) {
        return commit_for_ever(Path::new(&folder));
    }
    let folder = Folder::new();
    let mut last = 0;
    for round in 0..KILLS {
        let mut writer = again(TEST, &folder.0).spawn().unwrap();
        // Killed after another number of commits each time: the moment within a commit is left to chance.
        let serials = acknowledged(writer.stdout.take().unwrap());
        last = serials.take(usize::try_from(round % 7 + 1).unwrap()).last().unwrap();
        writer.kill().unwrap();
        writer.wait().unwrap();
        let snapshot = load(&mut Redb::open(&folder.0).unwrap());
        assert!(snapshot.last_serial >= last, "{} < {last}", snapshot.last_serial);
        let serials: Vec<u64> = snapshot.load_balancers.iter().map(|each| each.serial).collect();
        assert_eq!(serials, [snapshot.last_serial; 2], "a commit is whole or not at all");
    }
    assert!(last >= KILLS);
}

#[test]
fn a_folder_is_asked_without_being_changed() {
    let folder = Folder::new();
    assert!(!Redb::is_ours_in(&folder.0) && !Redb::is_in(&folder.0).unwrap());
    drop(Redb::open(&folder.0).unwrap());
    assert!(Redb::is_ours_in(&folder.0) && Redb::is_in(&folder.0).unwrap());
}

fn commit_for_ever(folder: &Path) {
    let mut store = Redb::open(folder).unwrap();
    let mut serial = load(&mut store).last_serial;
    loop {
        serial += 1;
        let pair = [1, 2].map(|id| Write::Put(Arc::new(load_balancer(id, serial, Some(3), false))));
        block_on(store.commit(pair.to_vec())).unwrap();
        println!("acknowledged {serial}");
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Laws of edits of the configuration file, beside requests, whatever fails.

use proptest::prelude::*;

use super::{declare::declare, laws::building, *};
use crate::model::{Origin, Phase};

/// A name, a VIP or any, a port or two, and backends.
type Entry = (u8, Option<u8>, (i64, bool), BTreeSet<u8>);

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let listen = (80_i64..82, any::<bool>());
    let entry = (0_u8..4, prop::option::of(85_u8..88), listen, prop::collection::btree_set(1_u8..4, 0..3));
    prop::collection::vec(entry, 0..4).prop_map(|mut entries| {
        let mut names = BTreeSet::new();
        entries.retain(|(name, ..)| names.insert(*name));
        entries
    })
}

/// Ids are others each time, as when the file is read.
fn load_balancers(edit: usize, entries: &[Entry]) -> Vec<NewLoadBalancer> {
    let new = |(index, (name, wanted, (at, alone), backends)): (usize, &Entry)| {
        let number = 1000 + (edit * 10 + index) as u128;
        let Command::Create(new) = create(number, wanted.map(vip)) else { panic!("no creation") };
        let several = Ports::new([port(*at).into(), port(at + 2).into()]).unwrap();
        let place = |backend: Backend| Target { port: alone.then(|| port(80)), ..backend.target };
        let id = |last: u8| BackendId(Uuid::from_u128(number * 10 + u128::from(last)));
        let member = |last| Backend { id: id(last), target: place(backend(last)), ..backend(last) };
        NewLoadBalancer {
            name: Name::try_from(format!("of file {name}")).unwrap(),
            listen: if *alone { port(*at).into() } else { Listen::Ports(several) },
            backends: Some(backends.iter().copied().map(member).collect()),
            ..new
        }
    };
    entries.iter().enumerate().map(new).collect()
}

fn of(server: &Server, origin: Origin) -> Vec<Arc<LoadBalancer>> {
    let all = server.board.list().unwrap_or_default().into_iter().map(|seen| seen.load_balancer);
    let mut all: Vec<_> = all.filter(|each| each.origin == origin && each.phase == Phase::Active).collect();
    all.sort_by_key(|each| each.id);
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Each edit is carried out, or nothing has changed; requests' load-balancers are never touched, and the kernel is as the board says.
    #[test]
    fn an_edit_is_whole(
        api in prop::collection::vec((prop::option::of(85_u8..88), any::<bool>()), 0..3),
        edits in prop::collection::vec((entries(), prop::collection::vec((building(), any::<bool>()), 0..3), prop::bool::weighted(0.1)), 1..5),
    ) {
        let sim = Sim::default();
        let mut server = Server::start(&sim).unwrap();
        for (number, (wanted, is_update)) in (1..).zip(api) {
            let _answer = server.ask(create(number, wanted.map(vip)));
            if is_update {
                let _answer = server.ask(Command::AddBackends(lb(number), vec![backend(9)]));
            }
        }
        let of_api = of(&server, Origin::Api);
        for (edit, (entries, broken, disk_full)) in edits.into_iter().enumerate() {
            let before = of(&server, Origin::File);
            sim.with(|remains| (remains.broken, remains.disk_full) = (broken, disk_full));
            let declared = load_balancers(edit, &entries);
            let outcome = declare(&mut server, &declared).unwrap();
            sim.with(|remains| (remains.broken, remains.disk_full) = (Vec::new(), false));
            // What failed on the way back is put right.
            server.pass(INTERVAL);
            server.check();
            prop_assert_eq!(&of(&server, Origin::Api), &of_api);
            let after = of(&server, Origin::File);
            match outcome {
                Ok(_) => {
                    let names = |all: &mut dyn Iterator<Item = String>| all.collect::<BTreeSet<_>>();
                    let there = names(&mut after.iter().map(|each| each.name.to_string()));
                    prop_assert_eq!(there, names(&mut declared.iter().map(|each| each.name.to_string())));
                    prop_assert_eq!(after.len(), declared.len());
                }
                Err(_) => prop_assert_eq!(after, before),
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The laws of what a file declares.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    command::Extent,
    model::{
        Advertise, Backend, BackendId, BackendSettings, Name, Origin, Ports, Scheduler, ServiceSettings, SourceNat,
        Target,
    },
};

fn vip(last: u8) -> Vip {
    Vip::try_from(Ipv4Addr::new(192, 168, 0, last)).unwrap()
}

fn port(number: i64) -> Port {
    Port::try_from(number).unwrap()
}

/// Ids are the asker's: each time others.
fn id() -> Uuid {
    thread_local!(static LAST: std::cell::Cell<u128> = const { std::cell::Cell::new(0) });
    LAST.with(|last| {
        last.set(last.get() + 1);
        Uuid::from_u128(last.get())
    })
}

/// A name or none, a VIP or any, one port or two, backends, and how it balances.
type Entry = (Option<u8>, Option<u8>, (i64, bool), BTreeSet<u8>, bool);

fn entry() -> impl Strategy<Value = Entry> {
    let backends = prop::collection::btree_set(1_u8..4, 0..3);
    (
        prop::option::weighted(0.8, 0_u8..4),
        prop::option::of(1_u8..4),
        (80_i64..83, any::<bool>()),
        backends,
        any::<bool>(),
    )
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    prop::collection::vec(entry(), 0..5).prop_map(|mut entries| {
        let mut names = BTreeSet::new();
        // What the reader of the file sees to: names are there once, and what has none has a VIP.
        entries.retain(|(name, vip, ..)| name.map_or(vip.is_some(), |name| names.insert(name)));
        entries
    })
}

fn declare(entries: &[Entry]) -> Vec<NewLoadBalancer> {
    let new = |(name, wanted, (first, alone), backends, fair): &Entry| NewLoadBalancer {
        id: LoadBalancerId(id()),
        name: Name::try_from(name.map_or_else(String::new, |name| format!("lb {name}"))).unwrap(),
        listen: if *alone { port(*first).into() } else { Listen::Ports(ports(*first)) },
        protocol: Protocol::Tcp,
        vips: wanted.map(vip).into(),
        advertise: Advertise::default(),
        source_nat: SourceNat::default(),
        service: ServiceSettings {
            scheduler: if *fair { Scheduler::Lc } else { Scheduler::default() },
            ..ServiceSettings::default()
        },
        check: None,
        fallback: None,
        backends: Some(backends.iter().copied().map(|last| backend(last, *alone)).collect()),
    };
    entries.iter().map(new).collect()
}

fn ports(first: i64) -> Ports {
    Ports::new([port(first).into(), port(first + 2).into()]).unwrap()
}

fn backend(last: u8, alone: bool) -> Backend {
    let target = Target { ip: Ipv4Addr::new(10, 0, 0, last).try_into().unwrap(), port: alone.then(|| port(80)) };
    Backend::new(BackendId(id()), target, BackendSettings::default())
}

fn is_of_file(each: &LoadBalancer) -> bool {
    each.origin == Origin::File
}

/// What the controller makes of it, but for the world; `wait` leaves those that go and are in nobody's way where they are.
fn apply(state: &mut State, declared: &[NewLoadBalancer], wait: bool) -> Result<Difference, Rejected> {
    let difference = Difference::between(state, is_of_file, declared);
    for each in &difference.removed {
        if wait && !difference.in_the_way.contains(each) {
            state.mark_deleting(*each)?;
        } else {
            state.erase(*each);
        }
    }
    // What some are to have is not given to others.
    let named: Vec<Vip> =
        difference.created.values().flat_map(|wanted| wanted.each()).filter_map(Wanted::vip).collect();
    for (index, new) in declared.iter().enumerate() {
        if let Some(kept) = difference.kept.get(&index) {
            state.redeclare(*kept, new, Extent::File)?;
        } else {
            let vips = difference.created[&index].named();
            let is_free = |vip: &Vip| !state.holds(*vip) && !named.contains(vip);
            let vips = vips.unwrap_or_else(|| (50..).map(vip).find(is_free).unwrap().into());
            state.create_declared(Origin::File, new.clone(), vips, &BTreeSet::new())?;
        }
    }
    Ok(difference)
}

fn of(state: &State, origin: Origin) -> Vec<Arc<LoadBalancer>> {
    let is = |each: &&Arc<LoadBalancer>| each.origin == origin && each.phase == Phase::Active;
    state.load_balancers().filter(is).cloned().collect()
}

fn named<'a>(all: &'a [Arc<LoadBalancer>], name: &Name) -> Option<&'a Arc<LoadBalancer>> {
    all.iter().find(|each| each.name == *name && !name.as_str().is_empty())
}

/// The API's, and those of the file.
fn state(api: &[Entry], file: &[Entry]) -> State {
    let mut state = State::default();
    for new in declare(api) {
        let vips = new.vips.named().unwrap_or_else(|| vip(1).into());
        // One that meets another is refused, and there is one less.
        drop(state.create(new, vips, &BTreeSet::new()));
    }
    let mut with_file = state.clone();
    if apply(&mut with_file, &declare(file), false).is_ok() { with_file } else { state }
}

proptest! {
    #[test]
    fn a_file_is_what_there_is_afterwards(api in entries(), before in entries(), after in entries()) {
        let mut state = state(&api, &before);
        let (of_api, of_file) = (of(&state, Origin::Api), of(&state, Origin::File));
        let declared = declare(&after);
        let mut waiting = state.clone();
        let Ok(difference) = apply(&mut state, &declared, false) else { return Ok(()) };
        prop_assert!(difference.in_the_way.is_subset(&difference.removed));

        // What the API made is as it was.
        prop_assert_eq!(of(&state, Origin::Api), of_api);

        // All that is declared is there, as it is declared, and nothing else.
        let there = of(&state, Origin::File);
        prop_assert_eq!(there.len(), declared.len());
        for new in &declared {
            let wants = |each: &&Arc<LoadBalancer>| {
                let targets = |all: &[Backend]| all.iter().map(|backend| backend.target).collect::<Vec<_>>();
                fits(each, new) && each.name == new.name && each.service == new.service
                    && each.ranges() == new.listen.ranges()
                    && targets(each.backends()) == targets(new.backends.as_deref().unwrap_or_default())
            };
            prop_assert_eq!(there.iter().filter(wants).count(), 1, "{:?} among {:?}", new, there);
        }

        // The same file again is nothing to do.
        let again = Difference::between(&state, is_of_file, &declare(&after));
        prop_assert_eq!(again.kept.len(), declared.len());
        let mut same = state.clone();
        apply(&mut same, &declare(&after), false).unwrap();
        prop_assert_eq!(of(&same, Origin::File), there.clone());

        // A name stays what it was, where it was, unless the file moves it; so do its backends.
        for new in &declared {
            let (Some(was), Some(is)) = (named(&of_file, &new.name), named(&there, &new.name)) else { continue };
            prop_assert_eq!(was.id == is.id, fits(was, new));
            prop_assert!(new.vips.named().is_some() || was.vips == is.vips);
            for backend in is.backends() {
                let before = was.backends().iter().find(|each| each.target == backend.target);
                prop_assert!(was.id != is.id || before.is_none_or(|before| before.id == backend.id));
            }
        }

        // Only what is in the way has to be gone before the rest is done.
        prop_assert!(apply(&mut waiting, &declared, true).is_ok());
    }
}

#[test]
fn a_new_name_for_a_place_is_a_new_name() {
    let mut state = State::default();
    let old = (Some(0), Some(1), (80, true), BTreeSet::from([1]), false);
    apply(&mut state, &declare(std::slice::from_ref(&old)), false).unwrap();
    let [before] = of(&state, Origin::File).try_into().unwrap();
    apply(&mut state, &declare(&[(Some(1), old.1, old.2, old.3, old.4)]), false).unwrap();
    let [after] = of(&state, Origin::File).try_into().unwrap();
    assert_eq!((after.id, after.name.as_str()), (before.id, "lb 1"));
}

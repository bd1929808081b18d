// SPDX-License-Identifier: Apache-2.0
//! What is decided without asking anybody, by criterion: `cargo bench --bench pure`. Each with 100, 1,000 and 10,000 load-balancers of
//! ten backends; where the name is of one of them, the figure should hardly grow.

#![expect(clippy::unwrap_used, reason = "a benchmark panics if something goes wrong")]

#[path = "scale/fleet.rs"]
#[expect(dead_code, reason = "there are hosts in it, too")]
mod fleet;

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    sync::Arc,
    time::Duration,
};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use slb_core::{
    model::{LoadBalancer, Time, Vip},
    plan::{Observed, Scope, plan},
    ports::{Pool, Wanted},
    state::State,
    tag::Tag,
};
use slb_ipam::Ranges;

use self::fleet::Fleet;

const SCALES: [u32; 3] = [100, 1_000, 10_000];

fn decisions(criterion: &mut Criterion) {
    for load_balancers in SCALES {
        let fleet = Fleet(load_balancers);
        let all: Vec<Arc<LoadBalancer>> = fleet.load_balancers().map(Arc::new).collect();
        let state = State::restore(all.clone(), load_balancers.into()).unwrap();
        let (nothing, observed) = (Observed::default(), carried_out(&state));
        let one = Scope::Vips(BTreeSet::from([Vip::try_from(fleet.vips().next().unwrap()).unwrap()]));
        let mut bench = |name: &str, work: &mut dyn FnMut()| {
            criterion.bench_function(&format!("{name}, {load_balancers}"), |bencher| bencher.iter(&mut *work));
        };
        bench("plan a start", &mut || drop(black_box(plan(&state, &nothing, &Scope::All, Time::FIRST))));
        bench("plan nothing", &mut || drop(black_box(plan(&state, &observed, &Scope::All, Time::FIRST))));
        bench("plan one", &mut || drop(black_box(plan(&state, &nothing, &one, Time::FIRST))));
        bench("restore the state", &mut || drop(black_box(State::restore(all.clone(), load_balancers.into()))));
        bench("tag the list", &mut || assert!(black_box(Tag::of_list(&state)).is_some()));
        let ranges: Ranges = fleet.range(1).parse().unwrap();
        let full = || {
            let mut ranges = ranges.clone();
            ranges.restore(state.vips().collect(), Vec::new());
            ranges
        };
        criterion.bench_function(&format!("acquire one, {load_balancers}"), |bencher| {
            let take = |mut ranges: Ranges| (ranges.acquire(Wanted::Any, &BTreeMap::new()).now_or_never(), ranges);
            bencher.iter_batched(full, take, BatchSize::LargeInput);
        });
    }
}

/// What there is once a start has been planned and carried out.
fn carried_out(state: &State) -> Observed {
    let mut observed = Observed::default();
    let steps = plan(state, &observed, &Scope::All, Time::FIRST);
    steps.values().flatten().for_each(|step| observed.note(step));
    assert!(plan(state, &observed, &Scope::All, Time::FIRST).is_empty());
    observed
}

criterion_group! {
    name = pure;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2)).without_plots();
    targets = decisions
}
criterion_main!(pure);

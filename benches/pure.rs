// SPDX-License-Identifier: Apache-2.0
//! What is decided without asking anybody, by criterion: `cargo bench --bench pure`. Each with 100, 1,000 and 10,000 load-balancers of
//! ten backends; where the name is of one of them, the figure should hardly grow. What criterion measured is kept and shown as that of other
//! benchmarks is, a value for each of its samples.

#![expect(clippy::unwrap_used, reason = "a benchmark panics if something goes wrong")]

#[path = "scale/fleet.rs"]
#[expect(dead_code, reason = "there are hosts in it, too")]
mod fleet;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    hint::black_box,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use criterion::{BatchSize, Criterion};
use futures_util::FutureExt;
use serde_json::Value;
use slb_core::{
    model::{LoadBalancer, Time, Vip},
    plan::{Observed, Scope, plan},
    ports::{Pool, Wanted},
    state::State,
    tag::Tag,
};
use slb_ipam::Ranges;
use slb_lab::findings::{self, Chart, Findings, Page, Rooms, median, table, tell_at, values};

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

/// Where criterion leaves what it measured, in a folder for each benchmark.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion")
}

/// Tells of each sample that criterion has just taken, by iteration.
fn tell_all() {
    // It is not there if none was asked for.
    let folders = fs::read_dir(folder()).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = folders.filter_map(|folder| measured(&folder)).collect();
    all.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
    for ((what, load_balancers), seconds) in all {
        tell_at(&what, "time", load_balancers, "s", &seconds);
    }
}

/// What was measured, with so many load-balancers, and how long each iteration took in each sample.
fn measured(folder: &Path) -> Option<((String, u32), Vec<f64>)> {
    let read = |name: &str| serde_json::from_slice::<Value>(&fs::read(folder.join("new").join(name)).ok()?).ok();
    let (benchmark, sample) = (read("benchmark.json")?, read("sample.json")?);
    let (what, load_balancers) = benchmark["title"].as_str()?.rsplit_once(", ")?;
    let of = |name: &str| sample[name].as_array().into_iter().flatten().filter_map(Value::as_f64);
    let seconds = of("times").zip(of("iters")).map(|(time, iterations)| time / iterations / 1e9).collect();
    Some(((what.to_owned(), load_balancers.parse().ok()?), seconds))
}

fn show(findings: Findings) {
    let rooms = findings.keep("pure");
    let chart =
        Chart { title: "what is decided", x: "load-balancers of ten backends", y: "seconds", lines: lines(&rooms) };
    let mut page = Page::of("pure");
    page.picture("pure.svg", chart.title, &chart.svg());
    page.write(&table(&rooms, &[]));
}

fn lines(rooms: &Rooms) -> Vec<(String, Vec<(f64, f64)>)> {
    let point = |found: &Value| (found["loadBalancers"].as_f64().unwrap(), median(&values(found)));
    rooms.iter().map(|(room, found)| (room.clone(), found.iter().map(point).collect())).collect()
}

fn main() -> ExitCode {
    findings::follow(Findings::default, work, show)
}

fn work() -> ExitCode {
    // Otherwise each is tried once, and not measured.
    let is_measuring = env::args().any(|word| word == "--bench");
    if is_measuring && folder().exists() {
        fs::remove_dir_all(folder()).unwrap();
    }
    let measured = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2)).without_plots();
    let mut criterion = measured.output_directory(&folder()).configure_from_args();
    decisions(&mut criterion);
    criterion.final_summary();
    if is_measuring {
        tell_all();
    }
    ExitCode::SUCCESS
}

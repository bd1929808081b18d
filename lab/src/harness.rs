// SPDX-License-Identifier: Apache-2.0
//! Takes the arguments of `cargo test` (or nextest) and runs the tests they select, each in the place it is for.

use std::{env, process::ExitCode};

use libtest_mimic::{Arguments, Trial};

use crate::{
    kernel::{Error, Job},
    place::Place,
};

/// Set inside a lab kernel: the name of the place.
const PLACE: &str = "SLB_LAB_PLACE";
/// Set inside a lab kernel: how many tests were selected for it.
const SELECTED: &str = "SLB_LAB_SELECTED";

/// A test and where it runs.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// The place.
    pub place: Place,
    /// `place::function`.
    pub name: &'static str,
    /// Panics when it fails.
    pub body: fn(),
}

/// Outside, boots a kernel for each place of the selected tests; inside, runs those tests one at a time.
#[must_use]
pub fn run(tests: &[Test]) -> ExitCode {
    let args = Arguments::from_args();
    match env::var(PLACE) {
        Ok(place) => inside(args, tests, &place),
        Err(_) => outside(&args, tests),
    }
}

fn inside(mut args: Arguments, tests: &[Test], place: &str) -> ExitCode {
    args.test_threads = Some(1);
    let here = tests.iter().filter(|test| test.place.name() == place);
    let trial = |test: &Test| {
        let body = test.body;
        Trial::test(test.name, move || {
            body();
            Ok(())
        })
    };
    let conclusion = libtest_mimic::run(&args, here.map(trial).collect());
    let ran = conclusion.num_passed + conclusion.num_failed + conclusion.num_ignored;
    let selected = env::var(SELECTED).unwrap_or_default();
    if ran.to_string() == selected {
        conclusion.exit_code()
    } else {
        report(&format!("{selected} tests were selected for {place}, and {ran} ran"));
        ExitCode::FAILURE
    }
}

fn outside(args: &Arguments, tests: &[Test]) -> ExitCode {
    let selected = |place| {
        let here = tests.iter().filter(|test| test.place == place);
        here.filter(|test| !args.is_filtered_out(&only_inside(test))).count()
    };
    let places = Place::ALL.map(|place| (place, selected(place)));
    if args.list || places.iter().all(|(_, selected)| *selected == 0) {
        return libtest_mimic::run(args, tests.iter().map(only_inside).collect()).exit_code();
    }
    let mut code = ExitCode::SUCCESS;
    for (place, selected) in places.into_iter().filter(|(_, selected)| *selected > 0) {
        match run_inside(place, selected) {
            Ok(true) => {}
            Ok(false) => code = ExitCode::FAILURE,
            Err(error) => {
                report(&error.to_string());
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// A test as it is listed, counted and filtered.
fn only_inside(test: &Test) -> Trial {
    Trial::test(test.name, || Err("it runs inside a lab kernel only".into()))
}

fn run_inside(place: Place, selected: usize) -> Result<bool, Error> {
    let mut job = Job::this_binary()?;
    job.set(PLACE, place.name());
    place.prepare(&mut job);
    job.set(SELECTED, &selected.to_string());
    place.kernel().run(&job)
}

#[expect(clippy::print_stderr, reason = "it is what cargo test shows")]
fn report(error: &str) {
    eprintln!("{error}");
}

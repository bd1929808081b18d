// SPDX-License-Identifier: Apache-2.0
//! Takes the arguments of `cargo test` (or nextest) and runs the tests they select, each on the kernel it is for.

use std::{env, process::ExitCode};

use libtest_mimic::{Arguments, Trial};

use crate::kernel::{Error, Job, Kernel};

/// Set inside a lab kernel: its name.
const KERNEL: &str = "SLB_LAB_KERNEL";
/// Set inside a lab kernel: how many tests were selected for it.
const SELECTED: &str = "SLB_LAB_SELECTED";

/// A test and the kernel it runs on.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// The kernel.
    pub kernel: Kernel,
    /// `kernel::function`.
    pub name: &'static str,
    /// Panics when it fails.
    pub body: fn(),
}

/// Outside, boots the kernels of the selected tests; inside, runs those tests one at a time.
#[must_use]
pub fn run(tests: &[Test]) -> ExitCode {
    let args = Arguments::from_args();
    match env::var(KERNEL) {
        Ok(kernel) => inside(args, tests, &kernel),
        Err(_) => outside(&args, tests),
    }
}

fn inside(mut args: Arguments, tests: &[Test], kernel: &str) -> ExitCode {
    args.test_threads = Some(1);
    let here = tests.iter().filter(|test| test.kernel.name() == kernel);
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
        report(&format!("{selected} tests were selected for the {kernel} kernel, and {ran} ran"));
        ExitCode::FAILURE
    }
}

fn outside(args: &Arguments, tests: &[Test]) -> ExitCode {
    let selected = |kernel| {
        let here = tests.iter().filter(|test| test.kernel == kernel);
        here.filter(|test| !args.is_filtered_out(&only_inside(test))).count()
    };
    let kernels = [Kernel::fast, Kernel::stock].map(|kernel| (kernel, selected(kernel)));
    if args.list || kernels.iter().all(|(_, selected)| *selected == 0) {
        return libtest_mimic::run(args, tests.iter().map(only_inside).collect()).exit_code();
    }
    let mut code = ExitCode::SUCCESS;
    for (kernel, selected) in kernels.into_iter().filter(|(_, selected)| *selected > 0) {
        match run_inside(kernel, selected) {
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

fn run_inside(kernel: Kernel, selected: usize) -> Result<bool, Error> {
    let mut job = Job::this_binary()?;
    job.set(KERNEL, kernel.name());
    job.set(SELECTED, &selected.to_string());
    kernel.run(&job)
}

#[expect(clippy::print_stderr, reason = "it is what cargo test shows")]
fn report(error: &str) {
    eprintln!("{error}");
}

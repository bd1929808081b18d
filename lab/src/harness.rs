// SPDX-License-Identifier: Apache-2.0
//! Takes the arguments of `cargo test` and runs the tests they select, each on the kernel it is for.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use crate::kernel::Kernel;

/// Set inside a lab kernel to the name of the kernel.
const INSIDE: &str = "SLB_LAB_KERNEL";

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
    let mut args = Arguments::from_args();
    if args.list {
        return libtest_mimic::run(&args, trials(tests.iter())).exit_code();
    }
    if let Some(inside) = std::env::var_os(INSIDE) {
        args.test_threads = Some(1);
        let here = tests.iter().filter(|test| inside == test.kernel.name());
        return libtest_mimic::run(&args, trials(here)).exit_code();
    }
    let mut code = ExitCode::SUCCESS;
    for kernel in [Kernel::fast, Kernel::stock] {
        if tests.iter().any(|test| test.kernel == kernel && selects(&args, test.name)) {
            match kernel.run_this_binary(INSIDE) {
                Ok(true) => {}
                Ok(false) => code = ExitCode::FAILURE,
                Err(error) => {
                    report(&error);
                    code = ExitCode::FAILURE;
                }
            }
        }
    }
    code
}

fn trials<'a>(tests: impl Iterator<Item = &'a Test>) -> Vec<Trial> {
    let trial = |test: &Test| {
        let body = test.body;
        Trial::test(test.name, move || {
            body();
            Ok(())
        })
    };
    tests.map(trial).collect()
}

/// As libtest does: all, those that contain the filter, or the one that is the filter; without those that are skipped.
fn selects(args: &Arguments, name: &str) -> bool {
    let matches = |filter: &String| if args.exact { name == filter } else { name.contains(filter.as_str()) };
    args.filter.as_ref().is_none_or(matches) && !args.skip.iter().any(matches)
}

#[expect(clippy::print_stderr, reason = "it is what cargo test shows")]
fn report(error: &crate::kernel::Error) {
    eprintln!("{error}");
}

// SPDX-License-Identifier: Apache-2.0
//! What benchmarks find: each finding is a line of JSON on standard output, and so leaves a lab kernel, too. Outside they are taken out of
//! what is printed, kept in `benches/results/NAME.json`, and shown in `docs/benchmarks.md`, with pictures beside it. A build that is not
//! optimised keeps nothing.

mod bars;
mod chart;
mod kept;
mod page;
mod table;

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, ExitCode, Stdio},
};

pub use self::{
    chart::Chart,
    kept::{Findings, Rooms, median, part, tell, tell_at},
    page::Page,
    table::{short, table, values},
};

/// Makes a benchmark do its work instead of following one that does.
const WORK: &str = "SLB_BENCH_WORK";
/// Set inside a lab kernel.
const PLACE: &str = "SLB_LAB_PLACE";

/// Does the work of the benchmark of that name in a process of its own; keeps what that finds, and shows it. In each room one of the references is
/// what the others are compared with.
///
/// # Panics
/// The process cannot be started, or what it finds not be kept.
pub fn main(name: &str, references: &[&str], work: impl FnOnce() -> ExitCode) -> ExitCode {
    follow(Findings::default, work, |findings| {
        let rooms = findings.keep(name);
        let mut page = Page::of(name);
        page.picture(&format!("{name}.svg"), &format!("× {}", references.join(" or ")), &bars::svg(&rooms, references));
        page.write(&table(&rooms, references));
    })
}

/// The same for what is shown in a way of its own; with what is found before.
///
/// # Panics
/// The process cannot be started.
#[expect(clippy::print_stdout, reason = "it is what a benchmark shows")]
pub fn follow(
    before: impl FnOnce() -> Findings,
    work: impl FnOnce() -> ExitCode,
    show: impl FnOnce(Findings),
) -> ExitCode {
    if env::var_os(PLACE).is_some() || env::var_os(WORK).is_some() || is_listing() {
        return work();
    }
    let mut findings = before();
    let program = env::current_exe().expect("this program has a path");
    let mut working = Command::new(program);
    let working = working.args(env::args_os().skip(1)).env(WORK, "1").stdout(Stdio::piped()).spawn();
    let mut working = working.expect("this program starts again");
    for line in working.stdout.take().into_iter().flat_map(|said| BufReader::new(said).lines()) {
        let line = line.expect("a benchmark prints text");
        println!("{line}");
        findings.take(&line);
    }
    let ended = working.wait().expect("it ends");
    let is_whole = findings.is_whole();
    if !findings.is_empty() && !cfg!(debug_assertions) {
        show(findings);
    }
    if ended.success() && is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether nothing is to be done but to say what there is (`--list`).
#[must_use]
pub fn is_listing() -> bool {
    env::args().any(|word| word == "--list")
}

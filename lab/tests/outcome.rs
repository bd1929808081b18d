// SPDX-License-Identifier: Apache-2.0
//! What happens inside comes out: this binary is started again, with a role, as a test binary of the lab.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use libtest_mimic::{Arguments, Trial};
use slb_lab::{
    Place,
    harness::{self, Test},
};

const ROLE: &str = "SLB_LAB_ROLE";
const TESTS: [Test; 2] = [
    Test { place: Place::fast, name: "fast::inner", body: inner },
    Test { place: Place::fast, name: "fast::other", body: other },
];

fn main() -> ExitCode {
    match env::var(ROLE).as_deref() {
        Ok("forget") if env::var_os("SLB_LAB_PLACE").is_some() => return harness::run(&TESTS[1..]),
        Ok(_) => return harness::run(&TESTS),
        Err(_) => {}
    }
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = vec![
        trial("a_success_comes_out", a_success_comes_out),
        trial("a_failure_comes_out", a_failure_comes_out),
        trial("a_test_that_did_not_run_is_a_failure", a_test_that_did_not_run_is_a_failure),
        trial("a_dead_kernel_is_a_failure", a_dead_kernel_is_a_failure),
        trial("a_kernel_that_takes_too_long_is_a_failure", a_kernel_that_takes_too_long_is_a_failure),
        trial("a_kernel_that_does_not_boot_is_a_failure", a_kernel_that_does_not_boot_is_a_failure),
        trial("nextest_is_understood", nextest_is_understood),
        trial("nothing_selected_boots_nothing", nothing_selected_boots_nothing),
        trial("nothing_is_written_to_the_machine", nothing_is_written_to_the_machine),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn inner() {
    match env::var(ROLE).as_deref() {
        Ok("fail") => panic!("told to fail"),
        Ok("die") => drop(Command::new("poweroff").arg("-f").status()),
        Ok("hang") => thread::sleep(Duration::MAX),
        Ok("write") => {
            let file = env::var("SLB_LAB_FILE").unwrap();
            fs::write(&file, "inside").unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), "inside");
        }
        _ => {}
    }
}

fn other() {}

/// A run of this binary in a role, with a folder of its own for temporary files.
struct Run {
    command: Command,
    temporary: PathBuf,
}

impl Run {
    fn new(role: &str) -> Self {
        let temporary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{role}-{}", std::process::id()));
        fs::create_dir_all(&temporary).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command.env(ROLE, role).env("TMPDIR", &temporary).stdin(Stdio::null());
        Self { command, temporary }
    }

    fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Whether it succeeded, and what it said.
    fn outcome(&mut self) -> (bool, String) {
        let output = self.command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// The folders that runs left behind.
    fn left(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.temporary).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.temporary));
    }
}

fn a_success_comes_out() {
    let mut run = Run::new("succeed");
    let (succeeded, said) = run.outcome();
    assert!(succeeded && said.contains("2 passed; 0 failed"), "{said}");
    assert!(said.starts_with("\nrunning 2 tests\n"), "{said}");
    assert!(run.left().is_empty(), "{:?}", run.left());
}

fn a_failure_comes_out() {
    let mut run = Run::new("fail");
    let (succeeded, said) = run.outcome();
    assert!(!succeeded && said.contains("told to fail") && said.contains("1 passed; 1 failed"), "{said}");
    assert!(run.left().is_empty(), "{:?}", run.left());
}

fn a_test_that_did_not_run_is_a_failure() {
    let (succeeded, said) = Run::new("forget").outcome();
    assert!(!succeeded && said.contains("2 tests were selected for fast, and 1 ran"), "{said}");
}

fn a_dead_kernel_is_a_failure() {
    let mut run = Run::new("die");
    let (succeeded, said) = run.outcome();
    assert!(!succeeded && said.contains("the fast kernel ended without a result"), "{said}");
    let [kept] = run.left().try_into().unwrap();
    assert!(said.contains(&kept.display().to_string()), "{said}");
    assert!(fs::read_to_string(kept.join("console")).unwrap().contains("running 2 tests"));
}

fn a_kernel_that_takes_too_long_is_a_failure() {
    let (succeeded, said) = Run::new("hang").env("SLB_LAB_DEADLINE", "4").outcome();
    assert!(!succeeded && said.contains("the fast kernel was not done after 4 s"), "{said}");
}

fn a_kernel_that_does_not_boot_is_a_failure() {
    let run = Run::new("not-started");
    let emulator = run.temporary.join("linux.uml");
    fs::write(&emulator, "#!/bin/sh\necho 'no memory at all' >&2\n").unwrap();
    fs::set_permissions(&emulator, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", run.temporary.display(), env::var("PATH").unwrap());
    let (succeeded, said) = run.env("PATH", &path).outcome();
    assert!(!succeeded && said.contains("the fast kernel ended without a result"), "{said}");
    assert!(said.contains("no memory at all"), "{said}");
}

/// It lists the tests and then starts the binary once for each of them.
fn nextest_is_understood() {
    let (succeeded, said) = Run::new("succeed-list").args(&["--list", "--format", "terse"]).outcome();
    assert!(succeeded && said == "fast::inner: test\nfast::other: test\n", "{said}");
    let (succeeded, said) = Run::new("succeed-list").args(&["--list", "--format", "terse", "--ignored"]).outcome();
    assert!(succeeded && said.is_empty(), "{said}");
    let (succeeded, said) = Run::new("succeed-one").args(&["--exact", "fast::inner", "--nocapture"]).outcome();
    assert!(succeeded && said.contains("1 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out"), "{said}");
}

fn nothing_selected_boots_nothing() {
    let (succeeded, said) = Run::new("die").args(&["no such test"]).outcome();
    assert!(succeeded && said.contains("0 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out"), "{said}");
}

fn nothing_is_written_to_the_machine() {
    let mut run = Run::new("write");
    let file = run.temporary.join("file");
    run = run.env("SLB_LAB_FILE", &file.to_string_lossy());
    fs::write(&file, "outside").unwrap();
    let (succeeded, said) = run.outcome();
    assert!(succeeded, "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "outside");
}

// SPDX-License-Identifier: Apache-2.0
//! What happens inside comes out: this binary is started again, with a role, as a test binary of the lab.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Trial};
use slb_lab::{
    harness::{self, Test},
    kernel::Kernel,
};

const ROLE: &str = "SLB_LAB_ROLE";

fn main() -> ExitCode {
    if std::env::var_os(ROLE).is_some() {
        return harness::run(&[Test { kernel: Kernel::fast, name: "fast::inner", body: inner }]);
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
        trial("a_dead_kernel_is_a_failure", a_dead_kernel_is_a_failure),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn inner() {
    match std::env::var(ROLE).as_deref() {
        Ok("fail") => panic!("told to fail"),
        Ok("die") => drop(Command::new("poweroff").arg("-f").status()),
        _ => {}
    }
}

fn outcome(role: &str) -> (bool, String) {
    let exe = std::env::current_exe().unwrap();
    let output = Command::new(exe).env(ROLE, role).stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn a_success_comes_out() {
    let (succeeded, said) = outcome("succeed");
    assert!(succeeded && said.contains("1 passed; 0 failed"), "{said}");
}

fn a_failure_comes_out() {
    let (succeeded, said) = outcome("fail");
    assert!(!succeeded && said.contains("told to fail") && said.contains("1 failed"), "{said}");
}

fn a_dead_kernel_is_a_failure() {
    let (succeeded, said) = outcome("die");
    assert!(!succeeded && said.contains("ended without a result"), "{said}");
}

// SPDX-License-Identifier: Apache-2.0
//! schemathesis, which asks a server for all that an OpenAPI description allows, and for much that it does not.

use std::{env, path::Path, process::Output};

/// Where lab/setup puts it.
const PROGRAM: &str = "/var/cache/slb-lab/schemathesis/bin/schemathesis";
/// Other requests: `SLB_CONTRACT_SEED=7 cargo test --test contract`.
const SEED: &str = "SLB_CONTRACT_SEED";
/// Requests of a run; it has given up early if there are fewer.
const FEWEST: u32 = 200;

/// A server and what it is held against.
#[derive(Clone, Copy, Debug)]
pub struct Schemathesis<'a> {
    /// The path of the configuration.
    pub config: &'a str,
    /// The path of the OpenAPI description.
    pub description: &'a str,
    /// Where the server is.
    pub url: &'a str,
}

impl Schemathesis<'_> {
    /// Runs it with further options: `run` is given the program and its arguments, and returns how it ended and what it printed.
    ///
    /// # Panics
    /// With all that it finds; it is not installed, or it asked next to nothing.
    pub fn drive(&self, what: &[&str], run: impl FnOnce(&str, &[&str]) -> Output) {
        assert!(Path::new(PROGRAM).exists(), "{PROGRAM} is not there: run `make setup`");
        let seed = env::var(SEED).unwrap_or_else(|_| "1".to_owned());
        let words = ["--config-file", self.config, "run", self.description, "--url", self.url, "--seed", &seed];
        let output = run(PROGRAM, &[&words, what].concat());
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}:\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
        let count = said.lines().find_map(|line| line.split_once(" generated,")?.0.trim().parse::<u32>().ok());
        assert!(count >= Some(FEWEST), "only {count:?} requests:\n{said}");
    }
}

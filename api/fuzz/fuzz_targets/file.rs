// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a configuration file: read or refused, and what is wrong has a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slb_api::declaration::{Document, Mistake};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(mistake) => return check(text, &mistake),
    };
    for commands in [false, true] {
        if let Err(mistakes) = document.load_balancers(commands) {
            check(text, mistakes.first().unwrap());
        }
    }
});

fn check(text: &str, Mistake { line, why }: &Mistake) {
    let lines = text.matches('\n').count() + 1;
    assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{line:?}: {why}");
    assert!(!why.is_empty() && !why.contains('\n'), "{why:?}");
}

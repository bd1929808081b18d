// SPDX-License-Identifier: Apache-2.0
//! Replays the fuzzer's corpus.

use std::{fs, path::Path};

#[expect(clippy::expect_used, reason = "a test fails by panicking")]
#[path = "../fuzz/decoder.rs"]
mod decoder;

#[test]
fn the_corpus_is_decoded_without_a_panic() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decode");
    let mut files = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        decoder::feed(&fs::read(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files > 50, "{files} files");
}

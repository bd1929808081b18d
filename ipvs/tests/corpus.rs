// SPDX-License-Identifier: Apache-2.0
//! Replays the fuzzer's corpus, as it is and damaged.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use proptest::{collection::vec, prelude::*, sample::Index};

#[expect(clippy::expect_used, reason = "a test fails by panicking")]
#[path = "../fuzz/decoder.rs"]
mod decoder;

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decode");
    fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn the_corpus_is_decoded_without_a_panic() {
    let corpus = corpus();
    assert!(corpus.len() > 50, "{} files", corpus.len());
    corpus.iter().for_each(|bytes| decoder::feed(bytes));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn so_is_what_is_left_of_it(
        mut bytes in prop::sample::select(corpus()),
        changes in vec((any::<Index>(), any::<u8>()), 0..5),
        end: Index,
    ) {
        for (at, byte) in changes {
            if let Some(length) = bytes.len().checked_sub(1) {
                bytes[at.index(length + 1)] = byte;
            }
        }
        decoder::feed(&bytes);
        decoder::feed(&bytes[..end.index(bytes.len() + 1)]);
    }
}

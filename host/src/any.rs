// SPDX-License-Identifier: Apache-2.0
//! For property tests: what a kernel sends, or a mad one.

use proptest::{collection::vec, prelude::*, sample::Index};

/// The bytes with some of them changed, and possibly without their end.
pub(crate) fn damaged(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<Index>(), prop_oneof![0_u8..9, any::<u8>()]), 0..5);
    let end = proptest::option::weighted(0.2, any::<Index>());
    (Just(bytes), changes, end).prop_map(|(mut bytes, changes, end)| {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(end.map_or(bytes.len(), |end| end.index(bytes.len())));
        bytes
    })
}

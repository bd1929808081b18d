// SPDX-License-Identifier: Apache-2.0
//! Feeds arbitrary bytes to the decoder.

#![no_main]

#[path = "../decoder.rs"]
mod decoder;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoder::feed(bytes));

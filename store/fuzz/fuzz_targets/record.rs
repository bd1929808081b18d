// SPDX-License-Identifier: Apache-2.0
//! Whatever is on the disk, reading a record does not panic, and what was read is written as something that reads the same.
//! The records in `store/tests/records` are a corpus to begin with.

#![no_main]

use libfuzzer_sys::fuzz_target;
use slb_core::model::LoadBalancerId;
use slb_store::record::{decode, encode};

fuzz_target!(|bytes: &[u8]| {
    let id = LoadBalancerId(Default::default());
    if let Ok(load_balancer) = decode(id, bytes) {
        let written = encode(&load_balancer).expect("what was read can be written");
        assert_eq!(decode(id, &written).expect("what was written can be read"), load_balancer);
    }
});

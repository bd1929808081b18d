// SPDX-License-Identifier: Apache-2.0
//! Whatever is on the wire: the decoder does not panic, and what it accepts is what it says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use slb_advert::arp::frame::{Frame, LENGTH};

fuzz_target!(|bytes: &[u8]| {
    if let Some(frame) = Frame::decode(bytes) {
        assert_eq!(&frame.encode()[..], &bytes[..LENGTH]);
    }
});

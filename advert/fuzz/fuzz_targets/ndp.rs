// SPDX-License-Identifier: Apache-2.0
//! Whatever is on the wire: the decoder does not panic, and what it accepts is what it says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use slb_advert::ndp::message::Message;

fuzz_target!(|bytes: &[u8]| {
    if let Some(message) = Message::decode(bytes) {
        assert_eq!(Message::decode(&message.encode()), Some(message));
    }
});

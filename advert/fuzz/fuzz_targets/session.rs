// SPDX-License-Identifier: Apache-2.0
//! Whatever a BGP peer sends, in whatever pieces: the session does not panic, and what it has to say is whole messages.

#![no_main]

use std::{net::Ipv4Addr, time::Instant};

use libfuzzer_sys::fuzz_target;
use slb_advert::bgp::{Speaker, session::Session};
use slb_core::model::Vip;

/// Marker, length and type (RFC 4271, section 4.1).
const HEADER: usize = 19;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let speaker = Speaker::new(65_000, Ipv4Addr::new(10, 0, 0, 1));
    let peer = "10.0.0.254:65530".parse().expect("a peer");
    let now = Instant::now();
    let mut session = Session::new(speaker, peer, Ipv4Addr::new(10, 0, 0, 1).into(), false, now);
    for piece in bytes.chunks(usize::from(piece).max(1)) {
        if session.hear(piece, now).is_err() {
            break;
        }
    }
    session.announce(&["203.0.113.10".parse::<Vip>().expect("a VIP").into()]);
    let mut said = &session.output()[..];
    while !said.is_empty() {
        let length = usize::from(u16::from_be_bytes([said[16], said[17]]));
        assert!(length >= HEADER && said[..16] == [0xff; 16]);
        said = &said[length..];
    }
});

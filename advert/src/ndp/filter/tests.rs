// SPDX-License-Identifier: Apache-2.0
//! The program in the kernel's own interpreter: any datagram socket takes a filter, no privilege needed.

use std::io::Read;

use proptest::prelude::*;
use socket2::{Domain, Socket, Type};

use super::*;
use crate::{
    ndp::message::{Kind, Message},
    segment::Mac,
};

/// Whether the kernel lets the datagram through.
fn passes(watch: Watch, datagram: &[u8]) -> bool {
    let (near, far) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
    far.set_nonblocking(true).unwrap();
    far.attach_filter(&program(watch)).unwrap();
    near.send(datagram).unwrap();
    (&far).read(&mut [0; 128]).is_ok()
}

/// The same, from the words of the front page.
fn matters(watch: Watch, message: &Message) -> bool {
    let Some((lowest, highest)) = watch else { return false };
    let claims = message.kind == Kind::Advertisement || message.source.is_unspecified();
    claims && (lowest..=highest).contains(&message.target)
}

/// Few addresses, so that ranges are hit, missed and met at their ends; they share 96 bits.
fn address() -> impl Strategy<Value = Ipv6Addr> {
    prop_oneof![
        4 => (0..8_u16).prop_map(|last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0xffff, last)),
        1 => Just(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 1, 0xffff, 3)),
        1 => Just(Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0xffff, 3)),
        2 => Just(Ipv6Addr::UNSPECIFIED),
    ]
}

fn watches() -> impl Strategy<Value = Watch> {
    let end = |last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0xffff, last);
    prop::option::of((0..8_u16, 0..8_u16).prop_map(move |(a, b)| (end(a.min(b)), end(a.max(b)))))
}

proptest! {
    #[test]
    fn the_kernel_lets_through_what_matters_and_nothing_else(
        watch in watches(), source in address(), target in address(), is_advertisement: bool,
    ) {
        let kind = if is_advertisement { Kind::Advertisement } else { Kind::Solicitation };
        let message = Message { kind, source, target, ..Message::announcement(Mac([2, 0, 0, 0, 0, 1]), target) };
        prop_assert_eq!(passes(watch, &message.encode()), matters(watch, &message));
    }

    /// Whatever the ends are, what is between them passes.
    #[test]
    fn nothing_that_matters_is_dropped(ends: [u128; 3]) {
        let mut ends = ends.map(Ipv6Addr::from_bits);
        ends.sort();
        let [lowest, target, highest] = ends;
        prop_assert!(passes(Some((lowest, highest)), &Message::probe(target).encode()));
    }

    #[test]
    fn what_is_not_neighbour_discovery_does_not_pass(at in prop::sample::select(vec![6_usize, 7, 40, 41]), flip in 2..=255_u8) {
        let address = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
        let mut bytes = Message::probe(address).encode();
        prop_assert!(passes(Some((address, address)), &bytes));
        prop_assume!(at != 40 || bytes[40] ^ flip != 136);
        bytes[at] ^= flip;
        prop_assert!(!passes(Some((address, address)), &bytes));
    }

    #[test]
    fn a_short_packet_does_not_pass(length in 0..64_usize) {
        let address = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
        prop_assert!(!passes(Some((address, address)), &Message::probe(address).encode()[..length]));
    }
}

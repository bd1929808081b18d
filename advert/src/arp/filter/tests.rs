// SPDX-License-Identifier: Apache-2.0
//! The program in the kernel's own interpreter: any datagram socket takes a filter, no privilege needed.

use std::{io::Read, net::Ipv4Addr};

use proptest::prelude::*;
use socket2::{Domain, Socket, Type};

use super::{Watch, program};
use crate::arp::frame::{Frame, Mac, Operation};

/// Whether the kernel lets the datagram through.
fn passes(watch: Watch, datagram: &[u8]) -> bool {
    let (near, far) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
    far.set_nonblocking(true).unwrap();
    far.attach_filter(&program(watch)).unwrap();
    near.send(datagram).unwrap();
    (&far).read(&mut [0; 64]).is_ok()
}

/// The same, from the words of the front page.
fn matters(watch: Watch, frame: &Frame) -> bool {
    let subject = if frame.sender_ip.is_unspecified() { frame.target_ip } else { frame.sender_ip };
    watch.is_some_and(|(lowest, highest)| (lowest..=highest).contains(&subject))
}

/// Few addresses, so that ranges are hit, missed and met at their ends.
fn addresses() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        4 => (0..8_u8).prop_map(|last| Ipv4Addr::new(10, 0, 0, last)),
        1 => Just(Ipv4Addr::new(9, 255, 255, 255)),
        1 => Just(Ipv4Addr::BROADCAST),
        2 => Just(Ipv4Addr::UNSPECIFIED),
    ]
}

fn watches() -> impl Strategy<Value = Watch> {
    proptest::option::of(
        (1..8_u8, 1..8_u8).prop_map(|(a, b)| (Ipv4Addr::new(10, 0, 0, a.min(b)), Ipv4Addr::new(10, 0, 0, a.max(b)))),
    )
}

proptest! {
    #[test]
    fn the_kernel_lets_through_what_matters_and_nothing_else(
        watch in watches(), sender_ip in addresses(), target_ip in addresses(), reply in any::<bool>(), padded in any::<bool>(),
    ) {
        let operation = if reply { Operation::Reply } else { Operation::Request };
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let frame = Frame { operation, sender_mac: mac, sender_ip, target_mac: Mac::UNKNOWN, target_ip };
        let mut bytes = frame.encode().to_vec();
        if padded {
            bytes.resize(46, 0);
        }
        prop_assert_eq!(passes(watch, &bytes), matters(watch, &frame));
    }

    #[test]
    fn what_is_not_ipv4_over_ethernet_does_not_pass(at in 0..6_usize, flip in 1..=255_u8) {
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let mut bytes = Frame::probe(Mac([2, 0, 0, 0, 0, 1]), address).encode();
        prop_assert!(passes(Some((address, address)), &bytes));
        bytes[at] ^= flip;
        prop_assert!(!passes(Some((address, address)), &bytes));
    }

    #[test]
    fn a_short_packet_does_not_pass(length in 0..18_usize) {
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let [announcement, _] = Frame::announcement(Mac([2, 0, 0, 0, 0, 1]), address);
        prop_assert!(!passes(Some((address, address)), &announcement.encode()[..length]));
    }
}

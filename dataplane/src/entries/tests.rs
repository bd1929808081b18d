// SPDX-License-Identifier: Apache-2.0
//! Entries as the kernel lays them out.

use proptest::prelude::*;
use slb_core::model::{BackendSettings, Endpoint, Forwarding, Port, Thresholds, Weight};

use super::*;

/// `struct ip_vs_service_entry` up to its counters.
fn service(destinations: u32) -> Vec<u8> {
    let mut bytes = vec![6, 0, 0, 0, 192, 168, 0, 85, 0x19, 0x2b, 0, 0, 0, 0, 0, 0];
    if cfg!(target_endian = "big") {
        bytes.swap(0, 1);
    }
    bytes.extend(b"rr\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    for number in [2, 0, u32::MAX, destinations] {
        bytes.extend(number.to_ne_bytes());
    }
    bytes
}

/// `struct ip_vs_dest_entry`.
fn destination(last: u8, flags: u32, weight: u32, connections: u8) -> Vec<u8> {
    let mut bytes = vec![10, 0, 0, last, 0, 80, 0, 0];
    for number in [flags, weight, 9, 5] {
        bytes.extend(number.to_ne_bytes());
    }
    bytes.resize(DESTINATION, connections);
    bytes
}

fn room(destinations: &[Vec<u8>]) -> Vec<u8> {
    [destinations.concat(), vec![0; 2 * DESTINATION]].concat()
}

#[test]
fn what_was_asked_for_is_read() {
    let room = room(&[destination(1, 0x103, 7, 1), destination(2, 0, 1, 2)]);
    let entry = Entry::of(&service(2), 2, &room);
    let vip = "192.168.0.85".parse().unwrap();
    assert_eq!(entry.key, Some(Endpoint::tcp(vip, Port::try_from(6443).unwrap()).into()));
    let thresholds = Thresholds::new(9, 5).unwrap();
    let settings = |forwarding, weight| BackendSettings { forwarding, weight: Weight::from(weight), thresholds };
    let target = |last: u8| translate::target(&DestinationId { address: [10, 0, 0, last].into(), port: 80 }).unwrap();
    let expected = [
        (target(1), Some(settings(Forwarding::DirectRoute, 7))),
        (target(2), Some(settings(Forwarding::Masquerade, 1))),
    ];
    assert_eq!(entry.backends(), Some(expected.into()));
}

#[test]
fn connections_are_not_looked_at_and_all_else_is() {
    let look = |service: &[u8], destinations: &[Vec<u8>]| Entry::of(service, 1, &room(destinations)).look;
    let same = look(&service(1), &[destination(1, 0, 1, 0)]);
    assert_eq!(look(&service(1), &[destination(1, 0, 1, 9)]), same);
    let others = [
        look(&service(2), &[destination(1, 0, 1, 0)]),
        look(&service(1), &[destination(2, 0, 1, 0)]),
        look(&service(1), &[destination(1, 3, 1, 0)]),
        look(&service(1), &[destination(1, 0, 2, 0)]),
        look(&service(1), &[]),
    ];
    assert!(same.is_some() && others.iter().all(|other| *other != same));
}

#[test]
fn backends_are_not_told_where_some_are_missing_or_are_tunnels() {
    let (one, tunnel) = (destination(1, 0, 1, 0), destination(2, TUNNEL, 1, 0));
    for (counted, destinations) in [(2, vec![one.clone()]), (0, vec![one.clone()]), (2, vec![one, tunnel])] {
        assert_eq!(Entry::of(&service(2), counted, &room(&destinations)).backends(), None, "{counted}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(service in prop::collection::vec(any::<u8>(), SERVICE), counted in 0_usize..3, room: Vec<u8>) {
        let entry = Entry::of(&service, counted, &room);
        let (key, listed) = (entry.key, entry.backends());
        prop_assert!(listed.is_none_or(|listed| listed.len() <= counted));
        prop_assert_eq!(key, Entry::of(&service, counted, &[]).key);
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The nftables messages and what is read back from them.
use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use netlink_packet_netfilter::{NetfilterMessageInner, nftables::NfTablesMessage};
use proptest::{collection::btree_set, prelude::*};

use super::*;
use crate::any;

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

fn vips(family: Family, numbers: impl IntoIterator<Item = u32>) -> BTreeSet<Vip> {
    let vip = |number: u32| match family {
        Family::Ipv4 => Vip::try_from(Ipv4Addr::from_bits(0x0a00_0000 | number)).unwrap(),
        Family::Ipv6 => Vip::try_from(Ipv6Addr::from_bits(0xfd << 120 | u128::from(number))).unwrap(),
    };
    numbers.into_iter().map(vip).collect()
}

/// Reads a message as a list of elements: the kernel lists them in the form in which they were added.
fn read(payload: &[u8]) -> Message {
    let mut header = NetlinkHeader::default();
    // NFNL_SUBSYS_NFTABLES and NFT_MSG_NEWSETELEM.
    header.message_type = 10 << 8 | 12;
    Message::deserialize(&header, payload).unwrap()
}

/// What a message says: a word for what it does, and the addresses in it as the kernel would send them back.
fn meaning(change: &Request<Message>) -> (&'static str, Vec<Vip>) {
    let Message::Plain(message) = &change.payload else { panic!("{change:?}") };
    let NetfilterMessageInner::NfTables(message) = &message.inner else { panic!("{change:?}") };
    let mut bytes = vec![0; change.payload.buffer_len()];
    change.payload.serialize(&mut bytes);
    let Message::Elements(vips) = read(&bytes) else { panic!("{change:?}") };
    let words: [(bool, &str); 4] = [
        (matches!(message, NfTablesMessage::NewSetElement(_)), "add"),
        (matches!(message, NfTablesMessage::DeleteSetElement(_)), "delete"),
        (matches!(message, NfTablesMessage::DeleteTable(_)), "delete table"),
        (matches!(message, NfTablesMessage::NewTable(_)), "new table"),
    ];
    let word = words.into_iter().find_map(|(is_it, word)| is_it.then_some(word)).unwrap_or("frame");
    (word, vips)
}

/// What the table is after the changes.
fn after(mut found: Found, changes: &[Request<Message>]) -> Found {
    for change in changes {
        match meaning(change) {
            ("add", vips) => found.vips.extend(vips),
            ("delete", vips) => vips.iter().for_each(|vip| assert!(found.vips.remove(vip), "{vip} is not there")),
            ("delete table", _) => found = Found::default(),
            ("new table", _) => found.has_table = true,
            _ => found.is_sound = true,
        }
    }
    found
}

fn found(family: Family) -> impl Strategy<Value = Found> {
    (any::<bool>(), any::<bool>(), btree_set(0_u32..8, 0..6)).prop_map(move |(has_table, is_sound, numbers)| {
        let vips = if has_table { vips(family, numbers) } else { BTreeSet::new() };
        Found { has_table, is_sound: has_table && is_sound, vips }
    })
}

proptest! {
    #[test]
    fn whatever_was_there_the_wanted_vips_are_there_afterwards(
        (family, before) in prop::sample::select(FAMILIES.to_vec()).prop_flat_map(|family| (Just(family), found(family))),
        wanted in btree_set(0_u32..8, 0..6),
    ) {
        let wanted = vips(family, wanted);
        let after = after(before.clone(), &edit(family, &before, &wanted));
        prop_assert_eq!(after.effective(), wanted.clone());
        prop_assert!(edit(family, &after, &wanted).is_empty(), "a second time there is nothing to do");
        prop_assert_eq!(after.has_table, !wanted.is_empty(), "the last one takes the table along");
    }

    /// What slb wrote, sent back damaged, is read as something; of what was not there only as much as damage can make up.
    #[test]
    fn any_bytes_are_read(payloads in damaged()) {
        for (message_type, payload) in payloads {
            let mut header = NetlinkHeader::default();
            header.message_type = message_type;
            match Message::deserialize(&header, &payload).unwrap() {
                Message::Elements(vips) => prop_assert!(vips.len() * 4 <= payload.len()),
                Message::Rule(rule) => {
                    prop_assert!(rule.table.len() + rule.chain.len() + rule.user_data.len() <= payload.len());
                }
                Message::Other => {}
                Message::Plain(message) => panic!("{message:?}"),
            }
        }
    }
}

/// The rule is known by what the kernel keeps of it as it was written.
#[test]
fn the_rule_is_known_again() {
    let read = |(message_type, payload): (u16, Vec<u8>)| {
        let mut header = NetlinkHeader::default();
        header.message_type = message_type;
        ruleset::rule(Message::deserialize(&header, &payload).unwrap())
    };
    let rules: Vec<_> = written(Family::Ipv6).into_iter().filter_map(read).collect();
    let [rule] = rules.as_slice() else { panic!("{rules:?}") };
    assert!(ruleset::is_ours(rule));
    assert!(!ruleset::is_ours(&message::Rule { chain: b"other".to_vec(), ..rule.clone() }));
    assert!(!ruleset::is_ours(&message::Rule { user_data: b"other".to_vec(), ..rule.clone() }));
}

/// The whole table as messages, with their types.
fn written(family: Family) -> Vec<(u16, Vec<u8>)> {
    let message = |change: Request<Message>| {
        let mut bytes = vec![0; change.payload.buffer_len()];
        change.payload.serialize(&mut bytes);
        (change.payload.message_type(), bytes)
    };
    edit(family, &Found::default(), &vips(family, 0..3)).into_iter().map(message).collect()
}

fn damaged() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let both = FAMILIES.into_iter().flat_map(written);
    both.map(|(kind, bytes)| (Just(kind), any::damaged(bytes))).collect::<Vec<_>>()
}

#[test]
fn a_full_batch_fits_into_attributes_and_into_one_send() {
    const DEFAULT_SEND_BUFFER: usize = 212_992;
    for family in FAMILIES {
        let wanted = vips(family, 0..u32::try_from(BATCH).unwrap());
        let batch = ruleset::batch(edit(family, &Found::default(), &wanted));
        let lengths: Vec<usize> = batch.iter().map(|change| change.payload.buffer_len()).collect();
        assert!(lengths.iter().all(|length| *length <= usize::from(u16::MAX)), "{lengths:?}");
        assert!(lengths.iter().sum::<usize>() + 100 * lengths.len() < DEFAULT_SEND_BUFFER);
        let added: BTreeSet<Vip> = batch[1..batch.len() - 1].iter().flat_map(|change| meaning(change).1).collect();
        assert_eq!(added, wanted);
    }
}

#[test]
fn what_the_kernel_sends_is_never_too_short_to_read() {
    let mut message = Vec::new();
    let change = ruleset::add_vips(Family::Ipv6, vips(Family::Ipv6, 0..3).into_iter()).next().unwrap();
    message.resize(change.payload.buffer_len(), 0);
    change.payload.serialize(&mut message);
    for length in 0..message.len() {
        let Message::Elements(vips) = read(&message[..length]) else { panic!("{length}") };
        assert!(vips.len() < 3);
    }
}

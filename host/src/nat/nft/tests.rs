// SPDX-License-Identifier: Apache-2.0
//! The nftables messages and what is read back from them.
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use netlink::Request;
use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use netlink_packet_netfilter::{
    NetfilterMessageInner,
    nftables::{NfTablesMessage, SetElementList, SetElementMessage},
};
use proptest::{
    collection::{btree_map, btree_set},
    prelude::*,
};

use super::*;
use crate::{
    any,
    nft::{
        message::{Message, Rule},
        words,
    },
};

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

/// Some networks of the family, by a bit each.
fn networks(family: Family, which: u8) -> BTreeSet<Network> {
    let network = |number: u8| {
        let (first, prefix) = match family {
            Family::Ipv4 => (Ipv4Addr::new(10, number, 0, 0).into(), 16),
            Family::Ipv6 => (Ipv6Addr::new(0xfd00, number.into(), 0, 0, 0, 0, 0, 0).into(), 64),
        };
        Network { first, last: first, prefix }
    };
    (0..3).filter(|number| which & 1 << number != 0).map(network).collect()
}

/// A choice for each VIP, by number.
fn choices(family: Family, numbers: &BTreeMap<u32, bool>) -> Choices {
    let choice = |near: &bool| if *near { Choice::SameNetwork } else { Choice::Always };
    vips(family, numbers.keys().copied()).into_iter().zip(numbers.values().map(choice)).collect()
}

fn bytes(change: &Request<Message>) -> Vec<u8> {
    let mut bytes = vec![0; change.payload.buffer_len()];
    change.payload.serialize(&mut bytes);
    bytes
}

/// A rule as it is read back.
fn rule(message_type: u16, payload: &[u8]) -> Option<Rule> {
    let mut header = NetlinkHeader::default();
    header.message_type = message_type;
    if let Message::Rule(rule) = Message::deserialize(&header, payload).unwrap() { Some(rule) } else { None }
}

/// The table after the changes, as the kernel would send it back.
fn after(mut found: Found, changes: &[Request<Message>]) -> Found {
    let mut rules = Vec::new();
    for change in changes {
        let Message::Plain(message) = &change.payload else { panic!("{change:?}") };
        let NetfilterMessageInner::NfTables(message) = &message.inner else { continue };
        let elements = || {
            let Message::Elements(elements) = read(&bytes(change)) else { panic!("{change:?}") };
            elements.iter().filter_map(vip_of).collect::<Vec<_>>()
        };
        if let NfTablesMessage::NewSetElement(message) = message {
            set_of(&mut found, message).extend(elements());
        } else if let NfTablesMessage::DeleteSetElement(message) = message {
            let set = set_of(&mut found, message);
            elements().iter().for_each(|vip| assert!(set.remove(vip), "{vip} is not there"));
        } else if let NfTablesMessage::DeleteTable(_) = message {
            found = Found::default();
        } else if let NfTablesMessage::NewTable(_) = message {
            found.has_table = true;
        } else if let NfTablesMessage::DeleteRule(_) = message {
            (found.is_sound, found.networks) = (false, BTreeSet::new());
        } else if let NfTablesMessage::NewRule(_) = message {
            rules.extend(rule(change.payload.message_type(), &bytes(change)));
            let networks = ruleset::networks(&rules);
            found.is_sound = networks.is_some();
            found.networks = networks.unwrap_or_default();
        }
    }
    found
}

fn set_of<'a>(found: &'a mut Found, message: &SetElementMessage) -> &'a mut BTreeSet<Vip> {
    let is = |set: &str| message.attributes.contains(&SetElementList::Set(set.to_owned()));
    if is(NEAR_SET) { &mut found.near } else { &mut found.vips }
}

fn found(family: Family) -> impl Strategy<Value = Found> {
    let numbers = || btree_set(0_u32..8, 0..6);
    (0_u8..3, 0_u8..8, numbers(), numbers()).prop_map(move |(soundness, which, all, near)| match soundness {
        0 => Found::default(),
        _ => Found {
            has_table: true,
            is_sound: soundness == 2,
            networks: names(&networks(family, which)),
            vips: vips(family, all),
            near: vips(family, near),
        },
    })
}

proptest! {
    #[test]
    fn whatever_was_there_the_wanted_vips_are_there_afterwards(
        (family, before) in prop::sample::select(FAMILIES.to_vec()).prop_flat_map(|family| (Just(family), found(family))),
        wanted in btree_map(0_u32..8, any::<bool>(), 0..6),
        which in 0_u8..8,
    ) {
        let (wanted, networks) = (choices(family, &wanted), networks(family, which));
        let after = after(before.clone(), &edit(family, &before, &wanted, &networks));
        prop_assert_eq!(after.effective(&networks), wanted.clone());
        prop_assert!(edit(family, &after, &wanted, &networks).is_empty(), "a second time there is nothing to do");
        prop_assert_eq!(after.has_table, !wanted.is_empty(), "the last one takes the table along");
        prop_assert_eq!(after, Found::after(&wanted, &networks));
    }

    /// What slb wrote, sent back damaged, is read as something; of what was not there only as much as damage can make up.
    #[test]
    fn any_bytes_are_read(payloads in damaged()) {
        for (message_type, payload) in payloads {
            let mut header = NetlinkHeader::default();
            header.message_type = message_type;
            match Message::deserialize(&header, &payload).unwrap() {
                Message::Elements(elements) => {
                    let read: usize = elements.iter().map(|each| each.key.len() + each.end.len() + each.data.len()).sum();
                    prop_assert!(read <= payload.len());
                }
                Message::Rule(rule) => {
                    prop_assert!(rule.table.len() + rule.chain.len() + rule.user_data.len() <= payload.len());
                }
                Message::Other => {}
                Message::Plain(message) => panic!("{message:?}"),
            }
        }
    }
}

/// The host's networks have changed, and somebody asks for one VIP before all are looked after.
#[test]
fn one_vip_takes_no_other_along() {
    for family in FAMILIES {
        let [old, new] = [1, 2].map(|which| networks(family, which));
        let both = choices(family, &(0..2).map(|number| (number, true)).collect());
        let before = Found::after(&both, &old);
        assert_eq!(before.effective(&new), Choices::new());
        let wanted = fulfilled(before.held(), both.clone().into_iter().take(1));
        let changes = edit(family, &before, &wanted, &new);
        assert_eq!(changes.len(), 3, "the rules alone");
        assert_eq!(after(before, &changes).effective(&new), both);
    }
}

/// The rules are known by what the kernel keeps of them as it was written.
#[test]
fn the_rules_are_known_again() {
    let rules: Vec<_> = written(Family::Ipv6).iter().filter_map(|(kind, payload)| rule(*kind, payload)).collect();
    assert_eq!(ruleset::networks(&rules), Some(names(&networks(Family::Ipv6, 3))));
    assert_eq!(ruleset::networks(&rules[..1]), Some(BTreeSet::new()));
    assert_eq!(ruleset::networks(&rules[1..]), None);
    for which in 0..rules.len() {
        let mut others = rules.clone();
        others[which] = Rule { chain: b"other".to_vec(), ..others[which].clone() };
        assert_eq!(ruleset::networks(&others), None);
        others[which] = Rule { user_data: b"other".to_vec(), ..rules[which].clone() };
        assert_eq!(ruleset::networks(&others), None);
    }
}

/// The whole table as messages, with their types.
fn written(family: Family) -> Vec<(u16, Vec<u8>)> {
    let wanted = choices(family, &(0..4).map(|number| (number, number == 3)).collect());
    let changes = edit(family, &Found::default(), &wanted, &networks(family, 3));
    changes.iter().map(|change| (change.payload.message_type(), bytes(change))).collect()
}

fn damaged() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let both = FAMILIES.into_iter().flat_map(written);
    both.map(|(kind, bytes)| (Just(kind), any::damaged(bytes))).collect::<Vec<_>>()
}

#[test]
fn a_full_batch_fits_into_attributes_and_into_one_send() {
    const DEFAULT_SEND_BUFFER: usize = 212_992;
    for family in FAMILIES {
        let all = |near| choices(family, &(0..u32::try_from(BATCH).unwrap()).map(|number| (number, near)).collect());
        let networks = networks(family, 7);
        let from = Found::after(&all(false), &networks);
        // All of them anew, and all of them from one set to the other.
        for (from, near) in [(Found::default(), false), (Found { networks: names(&networks), ..from }, true)] {
            let batch = words::batch(edit(family, &from, &all(near), &networks));
            let lengths: Vec<usize> = batch.iter().map(|change| change.payload.buffer_len()).collect();
            assert!(lengths.iter().all(|length| *length <= usize::from(u16::MAX)), "{lengths:?}");
            assert!(lengths.iter().sum::<usize>() + 100 * lengths.len() < DEFAULT_SEND_BUFFER);
            assert_eq!(after(from, &batch), Found::after(&all(near), &networks));
        }
    }
}

#[test]
fn what_the_kernel_sends_is_never_too_short_to_read() {
    let mut message = Vec::new();
    let change = ruleset::add_vips(Family::Ipv6, SET, vips(Family::Ipv6, 0..3).into_iter()).next().unwrap();
    message.resize(change.payload.buffer_len(), 0);
    change.payload.serialize(&mut message);
    for length in 0..message.len() {
        let Message::Elements(elements) = read(&message[..length]) else { panic!("{length}") };
        assert!(elements.iter().filter_map(vip_of).count() < 3);
    }
}

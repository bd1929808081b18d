// SPDX-License-Identifier: Apache-2.0
//! The nftables messages and what is read back from them.
use std::{collections::BTreeMap, net::IpAddr};

use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use netlink_packet_netfilter::{
    NetfilterMessageInner,
    nftables::{Bitwise, NfTablesMessage},
};
use proptest::{collection::btree_set, prelude::*};

use super::*;
use crate::{any, marks::any_rule, nft::message::Message};

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

fn sent(change: &Change) -> Vec<u8> {
    let mut bytes = vec![0; change.payload.buffer_len()];
    change.payload.serialize(&mut bytes);
    bytes
}

/// Reads a message of that type: the kernel sends what it keeps in the form in which it was written.
fn read(message_type: u16, payload: &[u8]) -> Message {
    let mut header = NetlinkHeader::default();
    header.message_type = message_type;
    Message::deserialize(&header, payload).unwrap()
}

fn elements(change: &Change) -> Vec<Element> {
    // NFNL_SUBSYS_NFTABLES and NFT_MSG_NEWSETELEM.
    let Message::Elements(elements) = read(10 << 8 | 12, &sent(change)) else { panic!("{change:?}") };
    elements
}

/// The table after the batches, as the kernel would send it back.
fn after(family: Family, mut found: Found, batches: &[Vec<Change>]) -> Found {
    let mut rules = Vec::new();
    for change in batches.iter().flatten() {
        let Message::Plain(message) = &change.payload else { panic!("{change:?}") };
        let NetfilterMessageInner::NfTables(message) = &message.inner else { continue };
        if let NfTablesMessage::NewSetElement(_) = message {
            for element in elements(change) {
                let rule = rule_of(family, &element).unwrap();
                let overlaps = |other: &MarkRule| {
                    (other.vip, other.protocol) == (rule.vip, rule.protocol) && other.ports.common(rule.ports).is_some()
                };
                // They do not overlap each other, so its neighbours are enough.
                let beside = [found.rules.range(..rule).next_back(), found.rules.range(rule..).next()];
                assert!(!beside.into_iter().flatten().any(overlaps), "the kernel refuses {rule}");
                found.rules.insert(rule);
            }
        } else if let NfTablesMessage::DeleteSetElement(_) = message {
            let by_key: BTreeMap<_, _> = found.rules.iter().map(|rule| (element_key(rule), *rule)).collect();
            for element in elements(change) {
                assert!(found.rules.remove(&by_key[&(element.key, element.end)]));
            }
        } else if let NfTablesMessage::DeleteTable(_) = message {
            found = Found::default();
        } else if let NfTablesMessage::NewTable(_) = message {
            found.has_table = true;
        } else if let NfTablesMessage::NewRule(_) = message {
            if let Message::Rule(rule) = read(change.payload.message_type(), &sent(change)) {
                rules.push(rule);
            }
            found.is_sound = are_ours(&rules);
        }
    }
    found
}

fn element_key(rule: &MarkRule) -> (Vec<u8>, Vec<u8>) {
    (key(rule, rule.ports.first()), key(rule, rule.ports.last()))
}

/// Rules of which no two are about the same port.
fn rules(family: Family) -> impl Strategy<Value = Rules> {
    btree_set(any_rule(family), 0..8).prop_map(|all| {
        let mut rules = Rules::new();
        for rule in all {
            let same = |other: &MarkRule| (other.vip, other.protocol) == (rule.vip, rule.protocol);
            if !rules.iter().any(|other| same(other) && other.ports.common(rule.ports).is_some()) {
                rules.insert(rule);
            }
        }
        rules
    })
}

fn found(family: Family) -> impl Strategy<Value = Found> {
    (0_u8..4, rules(family)).prop_map(|(soundness, rules)| match soundness {
        0 => Found::default(),
        _ => Found { has_table: true, is_sound: soundness > 1, rules, has_strange_elements: soundness == 2 },
    })
}

proptest! {
    #[test]
    fn whatever_was_there_the_wanted_rules_are_there_afterwards(
        (family, before, wanted) in prop::sample::select(FAMILIES.to_vec())
            .prop_flat_map(|family| (Just(family), found(family), rules(family))),
    ) {
        let after = after(family, before.clone(), &edit(family, &before, &wanted));
        prop_assert_eq!(after.effective(), wanted.clone());
        prop_assert_eq!(after.has_table, !wanted.is_empty(), "the last one takes the table along");
        prop_assert!(edit(family, &after, &wanted).is_empty(), "a second time there is nothing to do");
    }

    /// What slb wrote, sent back damaged, is read as something.
    #[test]
    fn any_element_is_read(family in prop::sample::select(FAMILIES.to_vec()), rule in any_rule(Family::Ipv4), bytes in any::damaged(vec![0; 24])) {
        let whole = Element { key: key(&rule, rule.ports.first()), end: bytes.clone(), data: vec![1, 0, 0, 0] };
        rule_of(family, &whole);
        rule_of(family, &Element { key: bytes, ..whole });
    }
}

#[test]
fn what_this_host_sends_with_a_mark_of_slbs_keeps_it() {
    let number = |number: u32| DataAttribute::Value(number.to_ne_bytes().to_vec());
    for family in FAMILIES {
        let arriving = rule_at(family, InetHookNumber::PreRouting);
        let leaving = rule_at(family, InetHookNumber::LocalOut);
        let [Expressions::Meta(loaded), Expressions::Bitwise(masked), Expressions::Cmp(compared), same @ ..] =
            &leaving[..]
        else {
            panic!("{leaving:?}")
        };
        assert_eq!(same, arriving);
        assert!(loaded.contains(&Meta::Key(MetaKey::Mark)), "{loaded:?}");
        assert!(masked.contains(&Bitwise::Mask(number(0xffff_e000))), "{masked:?}");
        assert!(compared.contains(&Cmp::Op(Operator::NotEqual)), "{compared:?}");
        assert!(compared.contains(&Cmp::Data(number(0x51b0_0000))), "{compared:?}");
    }
}

/// Many VIPs of some ports each, and one of many: everything at once, as after a reboot, and moved by a port.
#[test]
fn a_full_batch_fits_into_attributes_and_into_one_send() {
    const DEFAULT_SEND_BUFFER: usize = 212_992;
    let mark = Mark::all().last().unwrap();
    for on_each in [64, 3000] {
        let rule = |number: u32, more: u32| {
            let vip: IpAddr = std::net::Ipv6Addr::from_bits(0xfd << 120 | u128::from(number / on_each)).into();
            let port = |offset| Port::try_from(i64::from(number % on_each * 4 + 1 + more + offset)).unwrap();
            let ports = PortRange::new(port(0), port(1)).unwrap();
            MarkRule { vip: vip.try_into().unwrap(), protocol: Protocol::Tcp, ports, mark }
        };
        let mut found = Found::default();
        for more in [0, 1] {
            let wanted: Rules = (0..3000).map(|number| rule(number, more)).collect();
            let batches = edit(Family::Ipv6, &found, &wanted);
            found = after(Family::Ipv6, found, &batches);
            assert_eq!(found.rules, wanted);
            for batch in batches {
                let lengths: Vec<usize> = batch.iter().map(|change| change.payload.buffer_len()).collect();
                assert!(lengths.iter().all(|length| *length <= usize::from(u16::MAX)), "{lengths:?}");
                assert!(lengths.iter().sum::<usize>() + 100 * lengths.len() < DEFAULT_SEND_BUFFER);
            }
        }
    }
}

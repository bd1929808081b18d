// SPDX-License-Identifier: Apache-2.0
//! What is written is read by another implementation, netgauze-bgp-pkt, which stands for any peer.

#![expect(clippy::wildcard_enum_match_arm, reason = "there are twenty kinds of attributes, and slb sends nine")]

use std::{collections::HashMap, iter};

use netgauze_bgp_pkt::{
    BgpMessage,
    nlri::{Ipv4UnicastAddress, Ipv6UnicastAddress},
    path_attribute::{MpReach, MpUnreach, PathAttributeValue},
    update::BgpUpdateMessage,
    wire::deserializer::BgpParsingContext,
};
use netgauze_parse_utils::{reader::SliceReader, traits::ParseFromWithOneInput};
use proptest::prelude::*;

use super::*;

fn read(bytes: &[u8], four_octet_as: bool) -> BgpUpdateMessage {
    let (labels, paths) = (HashMap::new(), HashMap::new());
    let mut context = BgpParsingContext::new(four_octet_as, labels, paths, true, true, true, true);
    let mut reader = SliceReader::new(bytes);
    let message = BgpMessage::parse(&mut reader, &mut context).unwrap();
    if let BgpMessage::Update(update) = message { update } else { panic!("{message:?}") }
}

fn prefixes(read: &[Ipv4UnicastAddress]) -> Vec<String> {
    read.iter().map(|prefix| prefix.network().address().to_string()).collect()
}

fn prefixes_v6(read: &[Ipv6UnicastAddress]) -> Vec<String> {
    read.iter().map(|prefix| prefix.network().address().to_string()).collect()
}

fn written(prefixes: &[Prefix]) -> Vec<String> {
    prefixes.iter().map(ToString::to_string).collect()
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let next_hop = prop_oneof![Just("192.168.0.1".parse().unwrap()), Just("fd00::1".parse::<IpAddr>().unwrap())];
    let numbers = (prop_oneof![1_u32..65536, any::<u32>()], any::<bool>(), any::<bool>(), 0_u8..5);
    let values = (prop::option::of(any::<u32>()), any::<u32>());
    let community = prop_oneof![
        any::<(u16, u16)>().prop_map(|(high, low)| Community::Standard(high, low)),
        any::<(u32, u32, u32)>().prop_map(|(a, b, c)| Community::Large(a, b, c)),
    ];
    let communities = prop::collection::vec(community, 0..64);
    (next_hop, numbers, values, communities).prop_map(
        |(next_hop, (asn, is_internal, four_octet_as, prepend), (med, local_preference), communities)| Attributes {
            asn,
            is_internal,
            four_octet_as,
            next_hop,
            prepend,
            med,
            local_preference,
            communities,
        },
    )
}

fn some_prefixes() -> impl Strategy<Value = Vec<Prefix>> {
    (0_u32..1000, 0_u32..3000, 8_u8..=32).prop_map(|(first, count, length)| {
        let vip = |number: u32| Ipv4Addr::from(0x0a00_0000 + number * 7).into();
        (first..first + count).map(|number| Prefix::around(vip(number), length)).collect()
    })
}

fn some_prefixes_v6() -> impl Strategy<Value = Vec<Prefix>> {
    (0_u128..1000, 0_u128..3000, 16_u8..=128).prop_map(|(first, count, length)| {
        let vip = |number: u128| Ipv6Addr::from(0xfd << 120 | (number * 7) << 40 | number).into();
        (first..first + count).map(|number| Prefix::around(vip(number), length)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_route_arrives_with_its_attributes(
        attributes in attributes(), ipv4 in some_prefixes(), ipv6 in some_prefixes_v6(), is_ipv6: bool,
    ) {
        let family = if is_ipv6 && attributes.next_hop.is_ipv6() { Family::Ipv6 } else { Family::Ipv4 };
        let sent = if family == Family::Ipv6 { ipv6 } else { ipv4 };
        let messages = announce(family, &attributes, &sent);
        let mut arrived = Vec::new();
        for bytes in &messages {
            prop_assert!(bytes.len() <= LONGEST);
            let update = read(bytes, attributes.four_octet_as);
            prop_assert!(update.withdraw_routes().is_empty());
            arrived.extend(prefixes(update.nlri()));
            let (mut path, mut next_hop, mut communities) = (None, None, Vec::new());
            for value in update.path_attributes().iter().map(|attribute| attribute.value()) {
                match value {
                    PathAttributeValue::AsPath(value) => path = Some(format!("{value:?}")),
                    PathAttributeValue::NextHop(value) => next_hop = Some(IpAddr::V4(value.next_hop())),
                    PathAttributeValue::MpReach(MpReach::Ipv4Unicast { next_hop: hop, nlri, .. }) => {
                        next_hop = Some(*hop);
                        arrived.extend(prefixes(nlri));
                    }
                    PathAttributeValue::MpReach(MpReach::Ipv6Unicast { next_hop_global, next_hop_local, nlri }) => {
                        next_hop = Some(IpAddr::V6(*next_hop_global));
                        prop_assert!(next_hop_local.is_none());
                        arrived.extend(prefixes_v6(nlri));
                    }
                    PathAttributeValue::Communities(value) => {
                        communities.extend(value.communities().iter().map(|each| {
                            Community::Standard((each.value() >> 16) as u16, each.value() as u16)
                        }));
                    }
                    PathAttributeValue::MultiExitDiscriminator(value) => prop_assert_eq!(Some(value.metric()), attributes.med),
                    PathAttributeValue::LocalPreference(value) => {
                        prop_assert!(attributes.is_internal);
                        prop_assert_eq!(value.metric(), attributes.local_preference);
                    }
                    PathAttributeValue::As4Path(_) => prop_assert!(attributes.asn > 65535 && !attributes.four_octet_as),
                    PathAttributeValue::LargeCommunities(value) => {
                        let each = value.communities().iter();
                        communities.extend(each.map(|each| {
                            Community::Large(each.global_admin(), each.local_data1(), each.local_data2())
                        }));
                    }
                    PathAttributeValue::Origin(_) => {}
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            prop_assert_eq!(next_hop, Some(attributes.next_hop));
            let (standard, large): (Vec<_>, Vec<_>) =
                attributes.communities.iter().partition(|each| matches!(each, Community::Standard(..)));
            prop_assert_eq!(communities, [standard, large].concat());
            let narrow = u16::try_from(attributes.asn).unwrap_or(AS_TRANS);
            let number = if attributes.four_octet_as { attributes.asn } else { narrow.into() };
            let count = if attributes.is_internal { 0 } else { usize::from(attributes.prepend) + 1 };
            let numbers = iter::repeat_n(number.to_string(), count).collect::<Vec<_>>().join(", ");
            prop_assert!(path.as_ref().is_some_and(|path| path.contains(&numbers)), "{:?} lacks {}", path, numbers);
        }
        prop_assert_eq!(arrived, written(&sent));
        let fitting = if family == Family::Ipv6 { 180 } else { 500 };
        prop_assert!(messages.len() <= sent.len() / fitting + 1, "{} messages", messages.len());
    }

    #[test]
    fn every_withdrawal_arrives(
        (family, next_hop) in prop::sample::select(vec![
            (Family::Ipv4, "10.0.0.1"), (Family::Ipv4, "fd00::1"), (Family::Ipv6, "fd00::1"),
        ]),
        ipv4 in some_prefixes(), ipv6 in some_prefixes_v6(),
    ) {
        let sent = if family == Family::Ipv6 { ipv6 } else { ipv4 };
        let mut arrived = Vec::new();
        for bytes in withdraw(family, next_hop.parse().unwrap(), &sent) {
            prop_assert!(bytes.len() <= LONGEST);
            let update = read(&bytes, true);
            prop_assert!(update.nlri().is_empty());
            arrived.extend(prefixes(update.withdraw_routes()));
            for attribute in update.path_attributes() {
                match attribute.value() {
                    PathAttributeValue::MpUnreach(MpUnreach::Ipv4Unicast { nlri }) => arrived.extend(prefixes(nlri)),
                    PathAttributeValue::MpUnreach(MpUnreach::Ipv6Unicast { nlri }) => arrived.extend(prefixes_v6(nlri)),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
        prop_assert_eq!(arrived, written(&sent));
    }
}

#[test]
fn the_end_of_routes_is_read_as_such() {
    for family in [Family::Ipv4, Family::Ipv6] {
        assert!(read(&end_of_routes(family), true).end_of_rib().is_some());
    }
}

#[test]
fn a_next_hop_is_somebodys_address() {
    for (text, expected) in [
        ("10.0.0.1", true),
        ("fe80::1", true),
        ("127.0.0.1", false),
        ("::", false),
        ("::1", false),
        ("ff02::1", false),
        ("0.0.0.0", false),
    ] {
        assert_eq!(can_be_next_hop(text.parse().unwrap()), expected, "{text}");
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What is written against a naive reading of it, and what is refused, by the text that is to blame.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Every address of a list, one by one.
fn all(text: &str) -> Vec<String> {
    let numbers = list(text)
        .unwrap()
        .into_iter()
        .flat_map(|range| (range.first..=range.last).map(move |number| address_of(range.family, number).to_string()));
    numbers.collect()
}

#[test]
fn defect_20_octet_borders_are_crossed() {
    let expected: Vec<String> = (250..=255).map(|last| format!("10.0.0.{last}")).collect();
    assert_eq!(all("10.0.0.250-10.0.0.255"), expected);
    let below = (250..=255).map(|last| format!("10.0.255.{last}"));
    let expected: Vec<String> = below.chain((0..=5).map(|last| format!("10.1.0.{last}"))).collect();
    assert_eq!(all("10.0.255.250-10.1.0.5"), expected);
}

#[test]
fn networks_keep_their_own_and_their_broadcast_address() {
    assert_eq!(all("192.168.0.0/30"), ["192.168.0.1", "192.168.0.2"]);
    assert_eq!(all("192.168.0.4/31"), ["192.168.0.4", "192.168.0.5"]);
    assert_eq!(all("192.168.0.7/32"), ["192.168.0.7"]);
    assert_eq!("10.0.0.0/8".parse::<Range>().unwrap().size(), (1 << 24) - 2);
    assert_eq!("127.0.0.8/29".parse::<Range>().unwrap().to_string(), "127.0.0.9-127.0.0.14");
}

#[test]
fn networks_of_ipv6_keep_the_address_of_their_routers() {
    assert_eq!(all("fd00::4/126"), ["fd00::5", "fd00::6", "fd00::7"]);
    assert_eq!(all("fd00::4/127, 10.0.0.1, fd00::1/128"), ["10.0.0.1", "fd00::1", "fd00::4", "fd00::5"]);
    assert_eq!("fd00::/64".parse::<Range>().unwrap().to_string(), "fd00::1-fd00::ffff:ffff:ffff:ffff");
}

#[test]
fn spaces_do_not_matter() {
    assert_eq!(all(" 10.0.0.9 ,10.0.0.1 - 10.0.0.2, 10.0.0.4 / 31 "), all("10.0.0.1-10.0.0.2,10.0.0.4/31,10.0.0.9"));
}

#[test]
fn garbage_is_refused_by_name() {
    for (text, expected) in [
        ("", "missing in \"\""),
        (" , ", "missing in \" , \""),
        ("10.0.0.1,,10.0.0.2", "missing in \"10.0.0.1,,10.0.0.2\""),
        ("10.0.0.1,", "missing in \"10.0.0.1,\""),
        ("10.0.0.90-10.0.0.85", "\"10.0.0.90-10.0.0.85\" is the wrong way round"),
        ("10.0.0.1-10.0.0.5,10.0.0.5-10.0.0.9", "\"10.0.0.1-10.0.0.5\" and \"10.0.0.5-10.0.0.9\" overlap"),
        ("10.0.0.1,10.0.0.1", "\"10.0.0.1\" and \"10.0.0.1\" overlap"),
        ("10.0.0.7,10.0.0.0/24", "\"10.0.0.0/24\" and \"10.0.0.7\" overlap"),
        ("10.0.0.0/30,10.0.0.3", "\"10.0.0.0/30\" and \"10.0.0.3\" overlap"),
        ("10.0.0.4,10.0.0.4/30", "\"10.0.0.4\" and \"10.0.0.4/30\" overlap"),
        ("10.0.0.1,fish", "\"fish\" is not a range"),
        ("10.0.0.1-", "\"10.0.0.1-\" is not a range"),
        ("10.0.0.256", "\"10.0.0.256\" is not a range"),
        ("10.0.0.01", "\"10.0.0.01\" is not a range"),
        ("10.0.0.1-10.0.0.2-10.0.0.3", "\"10.0.0.1-10.0.0.2-10.0.0.3\" is not a range"),
        ("10.0.0.0/33", "\"10.0.0.0/33\" has no prefix length"),
        ("10.0.0.0/+8", "\"10.0.0.0/+8\" has no prefix length"),
        ("10.0.0.0/", "\"10.0.0.0/\" has no prefix length"),
        ("10.0.0.7/24", "\"10.0.0.7/24\" has host bits set; the network is 10.0.0.0/24"),
        ("fd00::9-fd00::1", "\"fd00::9-fd00::1\" is the wrong way round"),
        ("10.0.0.1-fd00::9", "\"10.0.0.1-fd00::9\" goes from one family"),
        ("fd00::/129", "\"fd00::/129\" has no prefix length from 0 to 128"),
        ("fd00::7/64", "\"fd00::7/64\" has host bits set; the network is fd00::/64"),
        ("fd00::/64,10.0.0.1,fd00::9", "\"fd00::/64\" and \"fd00::9\" overlap"),
        ("fe00::-ff00::", "\"fe00::-ff00::\" cannot be handed out"),
        ("::/0", "\"::/0\" cannot be handed out"),
        ("::ffff:10.0.0.1", "\"::ffff:10.0.0.1\" cannot be handed out"),
        ("223.255.255.250-224.0.0.1", "\"223.255.255.250-224.0.0.1\" cannot be handed out"),
        ("0.0.0.0/0", "\"0.0.0.0/0\" cannot be handed out"),
        ("240.0.0.0/4", "\"240.0.0.0/4\" cannot be handed out"),
        ("255.255.255.255", "\"255.255.255.255\" cannot be handed out"),
    ] {
        let error = list(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// The text of a part, the addresses that it names, and those of them that may be handed out.
type Written = (String, BTreeSet<u32>, BTreeSet<u32>);

/// Parts around an octet border.
fn part() -> impl Strategy<Value = Written> {
    let address = || (0x0a00_ffe0_u32..0x0a01_0020).boxed();
    let dotted = |number: u32| Ipv4Addr::from(number).to_string();
    prop_oneof![
        address().prop_map(move |only| (dotted(only), [only].into(), [only].into())),
        (address(), 0_u32..6).prop_map(move |(first, more)| {
            let named: BTreeSet<u32> = (first..=first + more).collect();
            (format!("{}-{}", dotted(first), dotted(first + more)), named.clone(), named)
        }),
        (address(), 28_u32..=32).prop_map(move |(within, prefix)| {
            let count = 1 << (32 - prefix);
            let first = within / count * count;
            let named: BTreeSet<u32> = (first..first + count).collect();
            let ends = if count > 2 { vec![first, first + count - 1] } else { Vec::new() };
            let usable = named.iter().copied().filter(|number| !ends.contains(number)).collect();
            (format!("{}/{prefix}", dotted(first)), named, usable)
        }),
    ]
}

proptest! {
    /// A list is every address of its parts in order; refused as a whole where two of them name the same address.
    #[test]
    fn a_list_is_its_parts_or_nothing(parts in prop::collection::vec(part(), 1..5)) {
        let text = parts.iter().map(|(text, ..)| text.as_str()).collect::<Vec<_>>().join(", ");
        let named: BTreeSet<u32> = parts.iter().flat_map(|(_, named, _)| named).copied().collect();
        let apart = named.len() == parts.iter().map(|(_, named, _)| named.len()).sum::<usize>();
        match list(&text) {
            Ok(ranges) => {
                prop_assert!(apart, "{text}");
                let read: Vec<u32> = ranges.iter().flat_map(|range| range.first as u32..=range.last as u32).collect();
                let usable: BTreeSet<u32> = parts.iter().flat_map(|(_, _, usable)| usable).copied().collect();
                prop_assert_eq!(read, usable.into_iter().collect::<Vec<_>>());
                prop_assert!(ranges.iter().all(|range| range.to_string().parse() == Ok(*range)));
            }
            Err(error) => prop_assert!(!apart && matches!(error, BadRange::Overlap { .. }), "{text}: {error}"),
        }
    }

    /// Whatever is written, reading it does not panic, and no address is read twice.
    #[test]
    fn any_text_is_read_or_refused(text in "[0-9a-f.:,/ -]{0,40}|(fd00::[0-9a-f]{0,2}[-/,][0-9a-f:]{0,9}){1,3}|((10\\.0\\.0\\.[0-9]{1,3}|[0-9]{1,2}\\.0\\.0\\.0)[-/,][0-9.]{0,9}){1,3}|.{0,20}") {
        if let Ok(ranges) = list(&text) {
            prop_assert!(ranges.windows(2).all(|pair| pair[0].last() < pair[1].first()));
        }
    }
}

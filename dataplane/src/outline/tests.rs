// SPDX-License-Identifier: Apache-2.0
//! What counts in the kernel's list, and what does not.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const HEADINGS: &str = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
                        -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n";
const ONE: &str = "TCP  C0A80055:192B rr  \n  -> 0A000001:192B      Masq    1      0          0         \n";

fn outline(text: &str) -> Outline {
    let mut reader = Reader::default();
    text.split_inclusive('\n').for_each(|line| reader.take(line.as_bytes()));
    reader.end()
}

fn of(text: &str) -> Outline {
    outline(&format!("{HEADINGS}{text}"))
}

fn key(vip: &str, port: i64, protocol: Protocol) -> ServiceKey {
    Endpoint { vip: vip.parse().unwrap(), port: Port::try_from(port).unwrap(), protocol }.into()
}

fn services(outline: &Outline) -> Vec<ServiceKey> {
    outline.0.iter().map(|(key, _)| *key).collect()
}

#[test]
fn services_of_all_kinds_are_found() {
    let text = "UDP  [fd00:0000:0000:0000:0000:0000:0000:0055]:0035 wlc persistent 300 00000080\n  \
                -> [fd00:0000:0000:0000:0000:0000:0000:0001]:0035      Route   5      0          0         \n\
                SCTP C0A80056:0050 mh ops \n\
                FWM  51B00007 rr \n  -> 0A000001:0000      Tunnel  1      2          3         \n";
    let mark = |family| ServiceKey::Mark(family, Mark::try_from(0x51b0_0007).unwrap());
    let mut all = vec![
        key("192.168.0.85", 6443, Protocol::Tcp),
        key("fd00::55", 53, Protocol::Udp),
        key("192.168.0.86", 80, Protocol::Sctp),
        mark(Family::Ipv4),
        mark(Family::Ipv6),
    ];
    all.sort_unstable();
    assert_eq!(services(&of(&format!("{ONE}{text}"))), all);
    assert_eq!(of(""), Outline::default());
    // Any port, and a protocol that slb does not know.
    assert_eq!(of("TCP  C0A80055:0000 rr persistent 300 FFFFFFFF\nIP_47  C0A80055:0001 rr \n"), Outline::default());
}

#[test]
fn all_that_is_listed_counts_but_for_connections() {
    let one = of(ONE);
    assert_eq!(of(&ONE.replace("0          0         ", "1234567890 99        ")), one);
    for other in [
        ONE.replace("rr  ", "wrr  "),
        ONE.replace("rr  ", "rr persistent 300 FFFFFFFF"),
        ONE.replace("0A000001", "0A000002"),
        ONE.replace(":192B      Masq", ":192C      Masq"),
        ONE.replace("Masq ", "Route"),
        ONE.replace("Masq    1", "Masq    0"),
        ONE.lines().take(1).map(|line| format!("{line}\n")).collect(),
    ] {
        assert_eq!(services(&of(&other)), services(&one), "{other}");
        assert_ne!(of(&other), one, "{other}");
    }
}

/// The list has both, and does not say which is which.
#[test]
fn a_mark_of_two_families_is_another_one_if_either_changes() {
    let [one, other] = ["1", "2"].map(|weight| format!("FWM  51B00007 rr \n  -> 0A000001:0000 Masq {weight} 0 0\n"));
    let both = of(&format!("{one}{one}"));
    assert_eq!((services(&both).len(), services(&both)), (2, services(&of(&one))));
    assert!(both.compared(&of(&one).looks()).all(|(_, is_same)| !is_same));
    assert!(both.compared(&of(&format!("{one}{other}")).looks()).all(|(_, is_same)| !is_same));
    assert_eq!(of(&format!("{one}{other}")), of(&format!("{other}{one}")));
}

#[test]
fn what_was_forgotten_looks_like_nothing_and_so_do_all_if_that_is_much() {
    let text: String = (0..2 * MANY).map(|number| ONE.replace("192B", &format!("{number:04X}"))).skip(1).collect();
    let all = of(&format!("{ONE}{text}"));
    let (keys, mut seen) = (services(&all), all.looks());
    let known =
        |seen: &Looks| all.compared(seen).filter_map(|(key, is_same)| is_same.then_some(key)).collect::<Vec<_>>();
    assert_eq!((known(&seen), keys.len()), (keys.clone(), 2 * MANY));
    seen.forget(keys[3]);
    assert_eq!(known(&seen), [&keys[..3], &keys[4..]].concat());
    seen.forget(keys[0]);
    assert_eq!(known(&seen), [&keys[1..3], &keys[4..]].concat());
    seen.forget(keys[5]);
    assert_eq!(known(&seen), []);
}

proptest! {
    #[test]
    fn what_looks_the_same_in_both_is_the_same(
        one in prop::collection::btree_map(1_i64..9, 0_u64..3, 0..9),
        other in prop::collection::btree_map(1_i64..9, 0_u64..3, 0..9),
    ) {
        let key = |port: &i64| key("192.168.0.85", *port, Protocol::Tcp);
        let line = |(port, weight): (&i64, &u64)| {
            format!("TCP  C0A80055:{port:04X} rr  \n  -> 0A000001:192B      Masq    {weight}      0          0         \n")
        };
        let of = |services: &BTreeMap<i64, u64>| of(&services.iter().map(line).collect::<String>());
        let expected: Vec<_> = one.iter().map(|(port, look)| (key(port), other.get(port) == Some(look))).collect();
        prop_assert_eq!(of(&one).compared(&of(&other).looks()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn any_bytes_can_be_read(lines in prop::collection::vec(any::<Vec<u8>>(), 0..8)) {
        let mut reader = Reader::default();
        lines.iter().for_each(|line| reader.take(line));
        let _ = reader.end();
    }

    #[test]
    fn words_in_any_order_can_be_read(words in prop::collection::vec("TCP|FWM|  ->|[0-9A-F]{0,9}:[0-9A-F]{0,5}|\\[[0-9a-f:]{0,40}\\]:[0-9A-F]{4}|\n| ", 0..40)) {
        let _ = outline(&words.concat());
    }
}

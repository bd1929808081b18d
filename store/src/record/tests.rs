// SPDX-License-Identifier: Apache-2.0
//! Records that are on disks out there, and what is no record.

use proptest::prelude::*;

use super::*;

const ID: LoadBalancerId = LoadBalancerId(Uuid::from_u128(1));

/// On disks out there: a change that breaks one of these needs a new version, and a decoder for the old one.
const WRITTEN: [&str; 4] = [
    include_str!("../../tests/records/v1-one-backend.json"),
    include_str!("../../tests/records/v1-two-backends.json"),
    include_str!("../../tests/records/v1-never-a-backend.json"),
    include_str!("../../tests/records/v1-no-backend-left-deleting.json"),
];

#[test]
fn the_records_out_there_are_read_and_written_as_ever() {
    let [one, two, never, none] = WRITTEN.map(|text| {
        let load_balancer = decode(ID, text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(encode(&load_balancer).unwrap()).unwrap(), text.trim_end());
        load_balancer
    });
    assert_eq!((one.id, one.serial, one.name.as_str()), (ID, 7, "test loadbalancer"));
    assert_eq!((one.endpoint.to_string().as_str(), one.phase), ("192.168.0.85:6443", Phase::Active));
    let [backend] = one.backends() else { panic!("{one:?}") };
    assert_eq!(backend.id.to_string(), "779344ce-72ca-4aec-a1c0-d9c5c4d72419");
    assert_eq!((backend.target.to_string().as_str(), backend.settings), ("10.80.96.25:6443", Default::default()));
    let last = two.backends().last().unwrap().settings;
    assert_eq!(last, BackendSettings { forwarding: Forwarding::Local, weight: Weight::from(65535) });
    assert_eq!((never.backends.is_none(), none.backends.is_some()), (true, true));
    assert_eq!(none.phase, Phase::Deleting);
}

fn refused(from: &str, to: &str) -> Unreadable {
    let text = WRITTEN[0].replacen(from, to, 1);
    assert_ne!(text, WRITTEN[0]);
    decode(ID, text.as_bytes()).unwrap_err()
}

#[test]
fn a_later_version_is_named() {
    let error = refused(r#""v":"1""#, r#""v":"2","colour":"red""#);
    assert_eq!(
        error.to_string(),
        "it was written by a later version of slb (record version \"2\", this one knows \"1\")"
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    for (from, to) in [
        (r#""v":"1","#, ""),
        (r#""serial":7,"#, ""),
        (r#""weight":1"#, r#""weight":1,"colour":"red""#),
        (r#""serial":7"#, r#""serial":7,"colour":"red""#),
        (r#""weight":1"#, r#""weight":65536"#),
        ("active", "asleep"),
        ("MASQ", "masq"),
        ("}]", "}"),
    ] {
        let error = refused(from, to);
        assert!(matches!(error, Unreadable::Malformed(_)), "{to}: {error:?}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    for (from, to) in [
        (r#""port":6443,"backends""#, r#""port":0,"backends""#),
        (r#""port":6443,"type""#, r#""port":0,"type""#),
        ("192.168.0.85", "224.0.0.1"),
        ("10.80.96.25", "0.0.0.0"),
        ("test loadbalancer", "\\u0007"),
    ] {
        let error = refused(from, to);
        assert!(matches!(error, Unreadable::Invalid(_)), "{to}: {error:?}");
    }
}

proptest! {
    /// Whatever is on the disk, reading it does not panic, and what is read is written as something that reads the same.
    #[test]
    fn any_bytes_are_read_or_refused(
        which in 0..WRITTEN.len(),
        at: prop::sample::Index,
        removed in 0_usize..4,
        added in prop_oneof![".{0,3}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..4)],
    ) {
        let mut bytes = WRITTEN[which].as_bytes().to_vec();
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + removed);
        bytes.splice(at..end, added);
        if let Ok(load_balancer) = decode(ID, &bytes) {
            prop_assert_eq!(decode(ID, &encode(&load_balancer).unwrap()).unwrap(), load_balancer);
        }
    }
}

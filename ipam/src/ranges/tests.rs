// SPDX-License-Identifier: Apache-2.0
//! The pool against a naive model of it, after every step.

use std::future::Future;

use proptest::prelude::*;

use super::*;

fn vip(text: &str) -> Vip {
    text.parse().unwrap()
}

/// Nothing in this pool waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("waits"),
    }
}

fn all(text: &str) -> Vec<String> {
    let mut pool: Ranges = text.parse().unwrap();
    let avoid = BTreeMap::new();
    std::iter::from_fn(|| now(pool.acquire(None, &avoid)).ok()).map(|vip| vip.to_string()).collect()
}

#[test]
fn defect_20_octet_borders_are_crossed() {
    let expected: Vec<String> = (250..=255).map(|last| format!("10.0.0.{last}")).collect();
    assert_eq!(all("10.0.0.250-10.0.0.255"), expected);
    let across = all("10.0.255.250-10.1.0.5");
    assert_eq!((across.len(), across[5].as_str(), across[6].as_str()), (12, "10.0.255.255", "10.1.0.0"));
}

#[test]
fn networks_keep_their_own_and_their_broadcast_address() {
    assert_eq!(all("192.168.0.0/30"), ["192.168.0.1", "192.168.0.2"]);
    assert_eq!(all("192.168.0.4/31"), ["192.168.0.4", "192.168.0.5"]);
    assert_eq!(all("192.168.0.7/32"), ["192.168.0.7"]);
    assert_eq!(
        all("10.0.0.9 , 10.0.0.1-10.0.0.2,10.0.0.4/31"),
        ["10.0.0.1", "10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.9"]
    );
}

#[test]
fn garbage_is_refused_by_name() {
    for (text, expected) in [
        ("", "no address"),
        (" , ", "no address"),
        ("10.0.0.1,,10.0.0.2", "no address"),
        ("10.0.0.90-10.0.0.85", "\"10.0.0.90-10.0.0.85\" is the wrong way round"),
        ("10.0.0.1-10.0.0.5,10.0.0.5-10.0.0.9", "\"10.0.0.1-10.0.0.5\" and \"10.0.0.5-10.0.0.9\" overlap"),
        ("10.0.0.1,10.0.0.1", "overlap"),
        ("10.0.0.0/24,10.0.0.7", "overlap"),
        ("fish", "\"fish\""),
        ("10.0.0.1-", "\"\""),
        ("10.0.0.256", "\"10.0.0.256\""),
        ("10.0.0.1-10.0.0.2-10.0.0.3", "\"10.0.0.2-10.0.0.3\""),
        ("10.0.0.0/33", "prefix length"),
        ("10.0.0.0/+8", "prefix length"),
        ("10.0.0.0/", "prefix length"),
        ("10.0.0.7/24", "the network is 10.0.0.0/24"),
        ("fd00::1-fd00::9", "IPv6"),
        ("224.0.0.1", "cannot be handed out"),
        ("0.0.0.0/0", "cannot be handed out"),
        ("255.255.255.255", "cannot be handed out"),
    ] {
        let error = text.parse::<Ranges>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_huge_range_costs_nothing() {
    let mut pool: Ranges = "10.0.0.0/8".parse().unwrap();
    assert_eq!(pool.size(), (1 << 24) - 2);
    assert_eq!(now(pool.acquire(None, &BTreeMap::new())).unwrap(), vip("10.0.0.1"));
    assert_eq!(now(pool.acquire(Some(vip("10.255.255.254")), &BTreeMap::new())).unwrap(), vip("10.255.255.254"));
}

#[test]
fn what_cannot_be_had_is_explained() {
    let mut pool: Ranges = "10.0.0.1-10.0.0.2".parse().unwrap();
    let avoid = BTreeMap::from([(Ipv4Addr::new(10, 0, 0, 1), "eth0's own address".to_owned())]);
    let error = |pool: &mut Ranges, wanted| now(pool.acquire(wanted, &avoid)).unwrap_err().to_string();
    assert_eq!(error(&mut pool, Some(vip("10.0.0.9"))), "10.0.0.9 is not in the range 10.0.0.1-10.0.0.2");
    assert_eq!(error(&mut pool, Some(vip("10.0.0.1"))), "10.0.0.1 cannot be used: it is eth0's own address");
    assert_eq!(now(pool.acquire(None, &avoid)).unwrap(), vip("10.0.0.2"));
    assert_eq!(error(&mut pool, None), "no address is left in the range 10.0.0.1-10.0.0.2: 1 in use, 1 set aside");
}

#[derive(Clone, Debug)]
enum Act {
    Acquire(Option<u8>, Vec<u8>),
    Release(prop::sample::Index),
    Restart,
}

fn acts() -> impl Strategy<Value = Act> {
    let avoid = prop::collection::vec(0_u8..24, 0..4);
    prop_oneof![
        4 => (prop::option::weighted(0.3, 0_u8..24), avoid).prop_map(|(wanted, avoid)| Act::Acquire(wanted, avoid)),
        3 => any::<prop::sample::Index>().prop_map(Act::Release),
        1 => Just(Act::Restart),
    ]
}

fn number(last: u8) -> Vip {
    Vip::try_from(Ipv4Addr::new(10, 0, 0, last)).unwrap()
}

proptest! {
    /// Never an address that is held, avoided or outside; the lowest that never was used first, then the longest released.
    #[test]
    fn as_the_model_says(acts in prop::collection::vec(acts(), 1..80)) {
        const TEXT: &str = "10.0.0.3-10.0.0.9,10.0.0.12,10.0.0.16/29";
        let mut pool: Ranges = TEXT.parse().unwrap();
        let members: Vec<Vip> = (3..=9).chain([12]).chain(17..=22).map(number).collect();
        let mut held: Vec<Vip> = Vec::new();
        let mut released: Vec<Vip> = Vec::new();
        for act in acts {
            match act {
                Act::Acquire(wanted, avoided) => {
                    let avoid: BTreeMap<_, _> =
                        avoided.into_iter().map(|last| (number_address(last), "avoided".to_owned())).collect();
                    let free = |vip: &Vip| {
                        members.contains(vip) && !held.contains(vip) && !avoid.contains_key(&vip.address())
                    };
                    let expected = match wanted {
                        Some(last) => Vip::try_from(number_address(last)).ok().filter(free),
                        None => members.iter().copied().filter(|vip| !released.contains(vip)).find(free)
                            .or_else(|| released.iter().copied().find(free)),
                    };
                    let wanted = wanted.map(number);
                    let got = now(pool.acquire(wanted, &avoid)).ok();
                    prop_assert_eq!(got, expected);
                    if let Some(vip) = got {
                        held.push(vip);
                        released.retain(|each| *each != vip);
                    }
                }
                Act::Release(which) if !held.is_empty() => {
                    let vip = held.swap_remove(which.index(held.len()));
                    now(pool.release(vip)).unwrap();
                    released.push(vip);
                }
                Act::Release(_) => {}
                Act::Restart => {
                    pool = TEXT.parse().unwrap();
                    pool.restore(held.iter().copied().collect(), released.clone());
                }
            }
        }
    }

    /// Whatever is written, reading it does not panic, and what is read has no address twice.
    #[test]
    fn any_text_is_read_or_refused(text in "[0-9a-f.:,/ -]{0,40}") {
        if let Ok(ranges) = range::list(&text) {
            prop_assert!(ranges.windows(2).all(|pair| pair[0].last() < pair[1].first()));
        }
    }
}

fn number_address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

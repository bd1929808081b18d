// SPDX-License-Identifier: Apache-2.0
//! The pool against a naive model of it, after every step.

use std::{future::Future, net::Ipv4Addr};

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

fn some(pool: &mut Ranges, count: usize) -> Vec<String> {
    (0..count).map(|_| now(pool.acquire(Wanted::Any, &BTreeMap::new())).unwrap().to_string()).collect()
}

#[test]
fn the_first_address_that_is_in_no_network_is_found() {
    let pool: Ranges = "10.0.0.250-10.0.1.5, 10.9.0.1".parse().unwrap();
    let net = |first: &str, last: &str| (first.parse().unwrap(), last.parse().unwrap());
    let (low, high) = (net("10.0.0.0", "10.0.0.255"), net("10.0.1.0", "10.0.1.255"));
    let outside = |networks: &[_]| pool.outside(networks).map(|address| address.to_string());
    assert_eq!(outside(&[]).as_deref(), Some("10.0.0.250"));
    assert_eq!(outside(&[low]).as_deref(), Some("10.0.1.0"));
    assert_eq!(outside(&[high, low]).as_deref(), Some("10.9.0.1"));
    assert_eq!(outside(&[net("10.0.0.0", "10.255.255.255"), low]), None);
    assert_eq!(outside(&[net("0.0.0.0", "255.255.255.255")]), None);
    assert_eq!(outside(&[net("::", "ffff::")]).as_deref(), Some("10.0.0.250"));
}

#[test]
fn defect_17_the_order_is_the_same_at_every_start() {
    for _ in 0..2 {
        let mut pool: Ranges = "10.0.0.9, 10.0.0.4/31, 10.0.0.1".parse().unwrap();
        assert_eq!(some(&mut pool, 4), ["10.0.0.1", "10.0.0.4", "10.0.0.5", "10.0.0.9"]);
    }
}

#[test]
fn defect_18_what_was_released_is_handed_out_again() {
    let mut pool: Ranges = "10.0.0.1-10.0.0.3".parse().unwrap();
    assert_eq!(some(&mut pool, 3), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    for released in ["10.0.0.2", "10.0.0.1", "10.0.0.3"] {
        pool.release(vip(released));
    }
    assert_eq!(some(&mut pool, 3), ["10.0.0.2", "10.0.0.1", "10.0.0.3"]);
    assert!(now(pool.acquire(Wanted::Any, &BTreeMap::new())).is_err());
}

#[test]
fn defect_19_a_restart_forgets_nothing() {
    let mut pool: Ranges = "10.0.0.1-10.0.0.4".parse().unwrap();
    let held = ["10.0.0.2", "192.168.7.7"].map(vip);
    let released = ["10.0.0.3", "192.168.7.8", "10.0.0.1"].map(vip);
    pool.restore(BTreeSet::from(held), released.to_vec());
    assert_eq!(some(&mut pool, 3), ["10.0.0.4", "10.0.0.3", "10.0.0.1"]);
}

#[test]
fn a_huge_range_costs_nothing() {
    let mut pool: Ranges = "10.0.0.0/8".parse().unwrap();
    assert_eq!(pool.size(Family::Ipv4), (1 << 24) - 2);
    assert_eq!(now(pool.acquire(Wanted::Any, &BTreeMap::new())).unwrap(), vip("10.0.0.1"));
    assert_eq!(now(pool.acquire(Wanted::Vip(vip("10.255.255.254")), &BTreeMap::new())).unwrap(), vip("10.255.255.254"));
    let many = some(&mut pool, 10_000);
    assert_eq!((many[0].as_str(), many[9_999].as_str()), ("10.0.0.2", "10.0.39.17"));
}

#[test]
fn a_range_of_ipv6_may_be_of_any_size() {
    let mut pool: Ranges = "fd00::/64".parse().unwrap();
    assert_eq!(pool.size(Family::Ipv6), (1 << 64) - 1);
    assert_eq!(some(&mut pool, 2), ["fd00::1", "fd00::2"]);
    let last = vip("fd00::ffff:ffff:ffff:ffff");
    assert_eq!(now(pool.acquire(Wanted::Vip(last), &BTreeMap::new())).unwrap(), last);
    pool.release(vip("fd00::1"));
    assert_eq!(some(&mut pool, 1), ["fd00::3"]);
}

#[test]
fn of_two_families_the_wanted_one_is_taken() {
    let mut pool: Ranges = "fd00::1-fd00::2, 10.0.0.1".parse().unwrap();
    let no = BTreeMap::new();
    assert_eq!(now(pool.acquire(Wanted::Any, &no)).unwrap(), vip("10.0.0.1"));
    let error = now(pool.acquire(Wanted::Any, &no)).unwrap_err().to_string();
    assert!(error.starts_with("no IPv4 address is left"), "{error}");
    let ipv6 = |pool: &mut Ranges| now(pool.acquire(Wanted::Of(Family::Ipv6), &BTreeMap::new()));
    assert_eq!([ipv6(&mut pool).unwrap(), ipv6(&mut pool).unwrap()], ["fd00::1", "fd00::2"].map(vip));
    let error = ipv6(&mut pool).unwrap_err().to_string();
    assert!(error.starts_with("no IPv6 address is left") && error.ends_with("2 in use, 0 set aside"), "{error}");
    [vip("10.0.0.1"), vip("fd00::2")].into_iter().for_each(|vip| pool.release(vip));
    assert_eq!(ipv6(&mut pool).unwrap(), vip("fd00::2"));
    assert_eq!(now(pool.acquire(Wanted::Any, &no)).unwrap(), vip("10.0.0.1"));
}

#[test]
fn what_cannot_be_had_is_explained() {
    let mut pool: Ranges = "10.0.0.1-10.0.0.2".parse().unwrap();
    let avoid = BTreeMap::from([(number_address(1), "eth0's own address".to_owned())]);
    let error = |pool: &mut Ranges, wanted| now(pool.acquire(wanted, &avoid)).unwrap_err().to_string();
    assert_eq!(error(&mut pool, Wanted::Vip(vip("10.0.0.9"))), "10.0.0.9 is not in the range 10.0.0.1-10.0.0.2");
    assert_eq!(error(&mut pool, Wanted::Vip(vip("10.0.0.1"))), "10.0.0.1 cannot be used: it is eth0's own address");
    assert_eq!(now(pool.acquire(Wanted::Any, &avoid)).unwrap(), vip("10.0.0.2"));
    assert_eq!(
        error(&mut pool, Wanted::Any),
        "no IPv4 address is left in the range 10.0.0.1-10.0.0.2: 1 in use, 1 set aside"
    );
    assert_eq!(error(&mut pool, Wanted::Of(Family::Ipv6)), "there is no IPv6 address in the range 10.0.0.1-10.0.0.2");
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
                    let free = |vip: &Vip| !held.contains(vip) && !avoid.contains_key(&vip.address());
                    let lowest = || members.iter().copied().filter(|vip| !released.contains(vip)).find(free);
                    let longest = || released.iter().copied().find(free);
                    let expected = match wanted.map(number) {
                        Some(wanted) if !members.contains(&wanted) => Err("outside".to_owned()),
                        Some(wanted) if avoid.contains_key(&wanted.address()) => Err("avoided".to_owned()),
                        Some(wanted) if held.contains(&wanted) => {
                            Err("being handed out to somebody else".to_owned())
                        }
                        Some(wanted) => Ok(wanted),
                        None => lowest().or_else(longest).ok_or_else(|| {
                            format!("{} held, {} avoided", held.len(), members.len() - held.len())
                        }),
                    };
                    let got = now(pool.acquire(wanted.map_or(Wanted::Any, |last| Wanted::Vip(number(last))), &avoid));
                    let got = got.map_err(|error| match error {
                        PoolError::Outside { .. } | PoolError::OtherFamily { .. } => "outside".to_owned(),
                        PoolError::Unavailable { why, .. } => why,
                        PoolError::Exhausted { held, avoided, .. } => format!("{held} held, {avoided} avoided"),
                        PoolError::Provider(cause) => panic!("{cause}"),
                    });
                    prop_assert_eq!(&got, &expected);
                    if let Ok(vip) = got {
                        held.push(vip);
                        released.retain(|each| *each != vip);
                    }
                }
                Act::Release(which) if !held.is_empty() => {
                    let vip = held.swap_remove(which.index(held.len()));
                    pool.release(vip);
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
}

fn number_address(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

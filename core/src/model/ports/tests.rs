// SPDX-License-Identifier: Apache-2.0
//! Several ports, beside a set of numbers.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn ranges() -> impl Strategy<Value = Vec<PortRange>> {
    // Close to each other and to both ends, so that they touch and overlap.
    let port = prop_oneof![1_i64..40, 65_500_i64..=65_535].prop_map(|number| Port::try_from(number).unwrap());
    let range = (port.clone(), port).prop_map(|(one, other)| PortRange::new(one.min(other), one.max(other)).unwrap());
    prop::collection::vec(range, 1..6)
}

fn numbers(ranges: &[PortRange]) -> BTreeSet<u16> {
    ranges.iter().flat_map(|range| range.first().get()..=range.last().get()).collect()
}

proptest! {
    /// No port comes or goes, and no two ranges could be one.
    #[test]
    fn merged_is_the_same_in_fewer_words(ranges in ranges()) {
        let ports = Ports::new(ranges.iter().copied()).unwrap();
        prop_assert_eq!(numbers(ports.ranges()), numbers(&ranges));
        prop_assert_eq!(Some(ports.lowest().get()), numbers(&ranges).first().copied());
        prop_assert!(ports.ranges().windows(2).all(|two| u32::from(two[0].last().get()) + 1 < two[1].first().get().into()));
        prop_assert_eq!(Ports::new(ports.ranges().iter().copied()), Ok(ports));
    }

    #[test]
    fn what_both_have_is_found(ranges in ranges()) {
        for (one, other) in ranges.iter().flat_map(|one| ranges.iter().map(move |other| (*one, *other))) {
            let expected = numbers(&[one]).intersection(&numbers(&[other])).next().copied();
            prop_assert_eq!(one.common(other).map(Port::get), expected);
        }
    }

    #[test]
    fn written_and_read_it_is_the_same(ranges in ranges()) {
        for range in ranges {
            prop_assert_eq!(range.to_string().parse(), Ok(range));
        }
    }
}

#[test]
fn what_is_no_range_is_refused() {
    for text in
        ["", "-", "80-", "-80", "0", "0-80", "65536", "80-65536", "81-80", "80-81-82", "http", " 80", "+80", "80,443"]
    {
        assert!(text.parse::<PortRange>().is_err(), "{text}");
    }
}

#[test]
fn there_is_a_limit_to_what_is_left_after_merging() {
    let single = |number: usize| PortRange::from(Port::try_from(i64::try_from(number).unwrap()).unwrap());
    assert!(Ports::new([]).is_err());
    assert_eq!(Ports::new((1..=1000).map(single)).unwrap().ranges().len(), 1);
    assert_eq!(Ports::new((1..=MAX_RANGES).map(|n| single(2 * n))).unwrap().ranges().len(), MAX_RANGES);
    assert!(Ports::new((0..=MAX_RANGES).map(|n| single(2 * n + 1))).is_err());
}

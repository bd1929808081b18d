// SPDX-License-Identifier: Apache-2.0
//! The laws of health: what decides, how soon, and what a weight does meanwhile.

use proptest::prelude::*;

use super::*;

fn timing() -> impl Strategy<Value = Timing> {
    (10_u64..5_000, 0.0..1.0, 0.0..1.0, 0.0..0.5, 1_i64..6, 1_i64..6).prop_map(
        |(interval, timeout, fast, jitter, rise, fall)| {
            let interval = Duration::from_millis(interval);
            let share = |share| interval.mul_f64(share).max(Duration::from_millis(1));
            let timing = Timing::every(interval).unwrap().with_timeout(share(timeout)).unwrap();
            let mut timing =
                timing.with_fast_interval(share(fast)).unwrap().with_jitter(interval.mul_f64(jitter)).unwrap();
            (timing.rise, timing.fall) = (rise.try_into().unwrap(), fall.try_into().unwrap());
            timing
        },
    )
}

#[test]
fn a_new_backend_serves_until_its_first_check_says_otherwise() {
    let timing = Timing::default();
    let mut health = Health::new();
    assert_eq!(health.standing(), Standing::Up);
    assert_eq!(health.record(false, timing), Some(Standing::Down));
    let mut health = Health::new();
    assert_eq!([true, false, false].map(|passed| health.record(passed, timing)), [None; 3]);
    assert_eq!(health.record(false, timing), Some(Standing::Down));
}

#[test]
fn one_that_was_down_before_a_restart_stays_down_until_it_has_risen() {
    let mut health = Health::known(Standing::Down);
    let answers = [true, false, true, true].map(|passed| health.record(passed, Timing::default()));
    assert_eq!(answers, [None, None, None, Some(Standing::Up)]);
}

#[test]
fn a_weight_of_one_has_no_part() {
    let minute = SlowStart::try_from(Duration::from_secs(60)).unwrap();
    for weight in [0, 1] {
        assert_eq!(ramp(weight.into(), minute, Duration::ZERO), Ramp { weight: weight.into(), next: None });
    }
    let ramp = |secs| ramp(4.into(), minute, Duration::from_secs(secs));
    assert_eq!([0, 15, 30, 45, 60].map(|secs| ramp(secs).weight.get()), [1, 1, 2, 3, 4]);
    assert_eq!((ramp(31).next, ramp(60).next), (Some(Duration::from_secs(45)), None));
}

#[test]
fn panic_is_above_the_threshold() {
    let is_panic = |down, all, threshold: i64| is_panic(down, all, threshold.try_into().unwrap());
    assert!(!is_panic(5, 10, 50) && is_panic(6, 10, 50));
    assert!(is_panic(1, 10, 0) && !is_panic(0, 10, 0) && !is_panic(0, 0, 0));
    assert!(!is_panic(10, 10, 100) && is_panic(10, 10, 99));
}

proptest! {
    #[test]
    fn only_answers_in_a_row_decide(timing in timing(), answers in prop::collection::vec(any::<bool>(), 0..200)) {
        let mut health = Health::known(Standing::Up);
        let (mut up, mut row) = (true, 0);
        for passed in answers {
            row = if passed == up { 0 } else { row + 1 };
            let enough = if passed { timing.rise } else { timing.fall }.get();
            let changes = row == enough;
            if changes {
                (up, row) = (passed, 0);
            }
            let expected = if up { Standing::Up } else { Standing::Down };
            prop_assert_eq!(health.record(passed, timing), changes.then_some(expected));
            prop_assert_eq!(health.standing(), expected);
        }
    }

    /// Whenever it dies, and however long each check takes.
    #[test]
    fn a_dead_backend_is_out_in_time(timing in timing(), rolls in prop::collection::vec((any::<u32>(), 0.0..=1.0), 6)) {
        let mut health = Health::known(Standing::Up);
        // It dies right after a check that it passed.
        let first = rolls[0].0;
        let mut now = health.pause(timing, Duration::ZERO, first);
        for (roll, slowness) in rolls {
            let took = timing.timeout().mul_f64(slowness);
            if health.record(false, timing).is_some() {
                prop_assert!(now + took <= timing.interval() * u32::from(timing.fall.get()) + timing.timeout());
                return Ok(());
            }
            let pause = health.pause(timing, took, roll);
            prop_assert!(took <= pause && pause <= timing.interval());
            now += pause;
        }
        prop_assert!(false, "it is still up");
    }

    #[test]
    fn a_ramp_only_rises_and_ends(asked in any::<u16>(), millis in 0_u64..3_600_000) {
        let over = SlowStart::try_from(Duration::from_millis(millis)).unwrap();
        let mut at = ramp(asked.into(), over, Duration::ZERO);
        let mut steps = 0;
        while let Some(next) = at.next {
            let just_before = ramp(asked.into(), over, next - Duration::from_nanos(1));
            prop_assert_eq!(just_before, at);
            let after = ramp(asked.into(), over, next);
            prop_assert!(at.weight <= after.weight && at.weight.get() >= 1);
            prop_assert!(after.next.is_none_or(|later| later > next));
            at = after;
            steps += 1;
        }
        prop_assert!(steps <= 20);
        prop_assert_eq!(at.weight.get(), asked);
        prop_assert_eq!(ramp(asked.into(), over, Duration::from_secs(3600)).weight.get(), asked);
    }
}

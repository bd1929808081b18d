// SPDX-License-Identifier: Apache-2.0
//! The laws of the machine, under arbitrary histories, and its timetable under the default timing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    num::NonZeroU8,
};

use proptest::prelude::*;

use super::*;

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// As many as with ARP.
const FORMS: usize = 2;
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn vip(last: u8) -> Vip {
    Vip::try_from(Ipv4Addr::new(10, 0, 0, last)).unwrap()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn claim(vip: Vip, by: Mac) -> Heard {
    Heard { vip, sender: by, is_probe: false }
}

fn probe(vip: Vip, by: Mac) -> Heard {
    Heard { vip, sender: by, is_probe: true }
}

/// What may happen to a machine.
#[derive(Clone, Debug)]
enum Happening {
    Advertise(Vip),
    Withdraw(Vip),
    Probe(Vip),
    Abandon(Vip),
    Claimed(Vip, Mac),
    ProbedBy(Vip, Mac),
    Wait(Duration),
    WaitForDeadline,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let vips = || (1..12_u8).prop_map(vip);
    let macs = || prop_oneof![1 => Just(OWN), 4 => Just(OTHER)];
    proptest::collection::vec(
        prop_oneof![
            4 => vips().prop_map(Happening::Advertise),
            2 => vips().prop_map(Happening::Withdraw),
            2 => vips().prop_map(Happening::Probe),
            1 => vips().prop_map(Happening::Abandon),
            3 => (vips(), macs()).prop_map(|(vip, mac)| Happening::Claimed(vip, mac)),
            1 => (vips(), macs()).prop_map(|(vip, mac)| Happening::ProbedBy(vip, mac)),
            3 => (0..3_000_u64).prop_map(|wait| Happening::Wait(ms(wait))),
            8 => Just(Happening::WaitForDeadline),
        ],
        1..120,
    )
}

fn timings() -> impl Strategy<Value = Timing> {
    (1..4_u8, 1..4_u8, prop_oneof![Just(0), 1_000..10_000_u64], 1..10_u32, 0..50_u64).prop_map(
        |(probes, announcements, refresh, burst, frame)| Timing {
            probe_count: NonZeroU8::new(probes).unwrap(),
            announce_count: NonZeroU8::new(announcements).unwrap(),
            refresh_interval: ms(refresh),
            burst,
            frame_interval: ms(frame),
            ..Timing::default()
        },
    )
}

/// A machine, the clock, and what has to be true of it.
struct World {
    machine: Machine,
    timing: Timing,
    now: Instant,
    /// Frames of announcements since the last `advertise`.
    advertised: BTreeMap<Vip, usize>,
    /// When each probe was sent.
    probed: BTreeMap<Vip, Vec<Instant>>,
    /// The last report of a conflict.
    reported: BTreeMap<Vip, Instant>,
    /// VIPs that were reported, whose defence has not been sent.
    undefended: BTreeSet<Vip>,
    /// When each frame was sent.
    frames: Vec<Instant>,
    /// In which form each VIP was announced last.
    forms: BTreeMap<Vip, usize>,
}

impl World {
    fn new(timing: Timing) -> Self {
        let now = Instant::now();
        Self {
            machine: Machine::new(timing.clone(), FORMS, now),
            timing,
            now,
            advertised: BTreeMap::new(),
            probed: BTreeMap::new(),
            reported: BTreeMap::new(),
            undefended: BTreeSet::new(),
            frames: Vec::new(),
            forms: BTreeMap::new(),
        }
    }

    fn happens(&mut self, happening: &Happening) {
        let (now, machine) = (self.now, &mut self.machine);
        match *happening {
            Happening::Advertise(vip) => {
                machine.advertise(vip, now);
                self.advertised.insert(vip, 0);
            }
            Happening::Withdraw(vip) => {
                machine.withdraw(vip);
                self.advertised.remove(&vip);
                self.reported.remove(&vip);
                self.undefended.remove(&vip);
            }
            Happening::Probe(vip) => {
                machine.probe(vip, now);
                self.probed.entry(vip).or_default();
            }
            Happening::Abandon(vip) => {
                machine.abandon(vip);
                self.probed.remove(&vip);
            }
            Happening::Claimed(vip, by) => {
                machine.hear(claim(vip, by), OWN, now);
                self.heard(vip, by, self.advertised.contains_key(&vip));
            }
            Happening::ProbedBy(vip, by) => {
                machine.hear(probe(vip, by), OWN, now);
                self.heard(vip, by, false);
            }
            Happening::Wait(pause) => self.now += pause,
            Happening::WaitForDeadline => self.now = machine.deadline().unwrap_or(now),
        }
        self.settle();
    }

    /// A foreign frame ends probing at once, and a foreign claim is reported, unless one was within the defend interval.
    fn heard(&mut self, vip: Vip, by: Mac, is_claim: bool) {
        if by == OWN {
            return;
        }
        if self.probed.remove(&vip).is_some() {
            assert_eq!(self.machine.poll(self.now), Some(Output::InUse(vip, OTHER)));
        }
        let recent = self.reported.get(&vip).is_some_and(|&at| self.now - at < self.timing.defend_interval);
        if is_claim && !recent {
            let report = self.machine.poll(self.now);
            assert!(matches!(report, Some(Output::Conflict { vip: of, holder: OTHER, claims: 1.. }) if of == vip));
            self.reported.insert(vip, self.now);
            self.undefended.insert(vip);
        }
    }

    /// Polls until nothing is left to do now, and holds each output against what may be.
    fn settle(&mut self) {
        while let Some(output) = self.machine.poll(self.now) {
            match output {
                Output::Announce(vip, form) => {
                    *self.advertised.get_mut(&vip).expect("only what is advertised is announced") += 1;
                    self.undefended.remove(&vip);
                    self.frames.push(self.now);
                    let before = self.forms.insert(vip, form);
                    assert!(form == 0 || before == Some(form - 1), "{form} after {before:?}");
                }
                Output::Probe(vip) => {
                    self.probed.get_mut(&vip).expect("only what is asked for is probed").push(self.now);
                    self.frames.push(self.now);
                }
                Output::Free(vip) => {
                    let probes = self.probed.remove(&vip).expect("only what was asked for is free");
                    assert_eq!(probes.len(), usize::from(self.timing.probe_count.get()));
                    for pair in [&probes[..], &[self.now]].concat().windows(2) {
                        assert!(pair[1] - pair[0] >= self.timing.probe_interval, "{pair:?}");
                    }
                }
                Output::InUse(..) | Output::Conflict { .. } => panic!("nothing was heard that explains {output:?}"),
            }
        }
        if let Some(deadline) = self.machine.deadline() {
            assert!(deadline > self.now, "what is due now has been done");
        }
        let ends = self.probed.keys().chain(self.advertised.keys()).copied();
        assert_eq!(self.machine.watch(), ends.clone().min().zip(ends.max()));
    }

    /// No window of time has more frames than a burst and what the pace lets follow in it.
    fn check_pace(&self) {
        let allowed = |window: Duration| {
            let following = window.as_nanos().checked_div(self.timing.frame_interval.as_nanos());
            following.map(|following| following + u128::from(self.timing.burst))
        };
        for (first, from) in self.frames.iter().enumerate() {
            for (count, to) in (1_u128..).zip(&self.frames[first..]) {
                assert!(allowed(*to - *from).is_none_or(|allowed| count <= allowed));
            }
        }
    }
}

proptest! {
    #[test]
    fn the_laws_hold_whatever_happens(timing in timings(), happenings in happenings()) {
        let mut world = World::new(timing);
        for happening in &happenings {
            world.happens(happening);
        }
        world.check_pace();
        let nothing = world.advertised.is_empty() && world.probed.is_empty();
        prop_assert!(!nothing || world.machine.deadline().is_none(), "no wake-up when there is nothing to do");
    }

    #[test]
    fn left_alone_it_finishes_what_it_began_and_falls_silent(timing in timings(), happenings in happenings()) {
        let mut world = World::new(Timing { refresh_interval: Duration::ZERO, ..timing });
        for happening in &happenings {
            world.happens(happening);
        }
        while world.machine.deadline().is_some() {
            let frames = (world.frames.len(), world.probed.len());
            world.happens(&Happening::WaitForDeadline);
            prop_assert_ne!(frames, (world.frames.len(), world.probed.len()), "no wake-up for nothing");
        }
        let count = FORMS * usize::from(world.timing.announce_count.get());
        prop_assert!(world.advertised.values().all(|&frames| frames >= count), "{:?}", world.advertised);
        prop_assert!(world.advertised.keys().all(|vip| world.forms.get(vip) == Some(&(FORMS - 1))), "{:?}", world.forms);
        prop_assert!(world.probed.is_empty() && world.undefended.is_empty());
    }
}

fn started(timing: Timing) -> (Machine, Instant) {
    let now = Instant::now();
    (Machine::new(timing, FORMS, now), now)
}

/// What comes out until `until` after the start, with the milliseconds since the start.
fn timetable(machine: &mut Machine, start: Instant, until: Duration) -> Vec<(u128, Output)> {
    let mut table = Vec::new();
    let mut now = start;
    loop {
        table.extend(std::iter::from_fn(|| machine.poll(now)).map(|output| ((now - start).as_millis(), output)));
        match machine.deadline().filter(|&deadline| deadline <= start + until) {
            Some(deadline) if deadline <= now => panic!("what is due at {deadline:?} was not done"),
            Some(deadline) => now = deadline,
            None => return table,
        }
    }
}

#[test]
fn a_free_address_is_found_in_three_intervals() {
    let (mut machine, start) = started(Timing::default());
    machine.probe(vip(1), start);
    let expected = [
        (0, Output::Probe(vip(1))),
        (200, Output::Probe(vip(1))),
        (400, Output::Probe(vip(1))),
        (600, Output::Free(vip(1))),
    ];
    assert_eq!(timetable(&mut machine, start, ms(3_600_000)), expected);
}

#[test]
fn a_vip_is_announced_twice_and_then_each_interval() {
    let (mut machine, start) = started(Timing::default());
    machine.advertise(vip(1), start);
    let times: Vec<u128> = timetable(&mut machine, start, ms(600_000)).iter().map(|&(at, _)| at).collect();
    let (first, second): (Vec<_>, Vec<_>) = times.chunks(FORMS).map(|forms| (forms[0], forms[1])).unzip();
    assert_eq!(first, second, "in both forms at once");
    assert_eq!(first[..2], [0, 2_000]);
    assert!((2_000..62_000).contains(&first[2]));
    assert!(first[2..].windows(2).all(|pair| pair[1] - pair[0] == 60_000), "{first:?}");
    assert!(first.len() >= 11);
}

#[test]
fn advertised_again_it_is_announced_anew() {
    let (mut machine, start) = started(Timing::default());
    machine.advertise(vip(1), start);
    timetable(&mut machine, start, ms(5_000));
    let again = start + ms(5_500);
    machine.advertise(vip(1), again);
    let expected = [0, 2_000].map(|at| [0, 1].map(|form| (at, Output::Announce(vip(1), form))));
    assert_eq!(timetable(&mut machine, again, ms(2_000)), expected.concat());
}

#[test]
fn a_claim_is_answered_once_and_counted_for_the_next_report() {
    let (mut machine, start) = started(Timing { refresh_interval: Duration::ZERO, ..Timing::default() });
    machine.advertise(vip(1), start);
    timetable(&mut machine, start, ms(5_000));
    let conflict = |claims| Output::Conflict { vip: vip(1), holder: OTHER, claims };
    for (at, expected) in [(0, Some(1)), (1, None), (9_999, None), (10_000, Some(3)), (25_000, Some(1))] {
        let now = start + ms(5_000 + at);
        machine.hear(claim(vip(1), OTHER), OWN, now);
        let outputs: Vec<Output> = std::iter::from_fn(|| machine.poll(now)).collect();
        let defended =
            expected.map(|claims| [conflict(claims), Output::Announce(vip(1), 0), Output::Announce(vip(1), 1)]);
        assert_eq!(outputs, defended.into_iter().flatten().collect::<Vec<_>>(), "at {at} ms");
    }
}

#[test]
fn a_defence_does_not_stand_for_an_announcement() {
    let (mut machine, start) = started(Timing { refresh_interval: Duration::ZERO, ..Timing::default() });
    machine.advertise(vip(1), start);
    timetable(&mut machine, start, ms(500));
    machine.hear(claim(vip(1), OTHER), OWN, start + ms(500));
    let times: Vec<u128> = timetable(&mut machine, start + ms(500), ms(60_000)).iter().map(|&(at, _)| at).collect();
    assert_eq!(times, [0, 0, 0, 2_000, 2_000], "report, defence, second announcement");
}

#[test]
fn whoever_is_about_to_take_a_vip_does_not_claim_it() {
    let (mut machine, start) = started(Timing::default());
    machine.advertise(vip(1), start);
    timetable(&mut machine, start, ms(0));
    for heard in [probe(vip(1), OTHER), claim(vip(9), OTHER)] {
        machine.hear(heard, OWN, start);
        assert_eq!(machine.poll(start), None, "{heard:?}");
    }
}

#[test]
fn a_probe_goes_before_the_announcements_of_a_thousand_vips() {
    let (mut machine, start) = started(Timing::default());
    for last in 0..1_000_u32 {
        machine.advertise(Vip::try_from(Ipv4Addr::from_bits(0x0a00_0001 + last)).unwrap(), start);
    }
    while machine.poll(start).is_some() {}
    machine.probe(vip(1), start);
    assert_eq!(timetable(&mut machine, start, ms(3))[0], (2, Output::Probe(vip(1))));
}

#[test]
fn all_are_told_of_before_one_is_told_of_again() {
    let (mut machine, start) = started(Timing::default());
    let all: Vec<Vip> =
        (0..1_000).map(|last| Vip::try_from(Ipv4Addr::from_bits(0x0a00_0001 + last)).unwrap()).collect();
    all.iter().for_each(|vip| machine.advertise(*vip, start));
    let mut left: BTreeSet<Vip> = all.into_iter().collect();
    let later = start + Duration::from_nanos(1);
    for (at, output) in timetable(&mut machine, later, ms(3_900)) {
        let Output::Announce(vip, form) = output else { panic!("{output:?}") };
        assert!(form == 0 || left.is_empty(), "at {at}, {} left", left.len());
        left.remove(&vip);
        assert!(at < 2_000 || left.is_empty(), "{left:?}");
    }
}

#[test]
fn refreshes_of_vips_advertised_together_are_spread_over_the_interval() {
    let (mut machine, start) = started(Timing::default());
    for last in 0..2_000 {
        machine.advertise(Vip::try_from(Ipv4Addr::from_bits(0x0a00_0001 + last)).unwrap(), start);
    }
    // The first announcements keep the wire busy for 16 s.
    timetable(&mut machine, start, ms(120_000));
    let mut per_second = BTreeMap::<u128, u32>::new();
    for (at, output) in timetable(&mut machine, start + ms(120_000), ms(59_999)) {
        let is_first = matches!(output, Output::Announce(_, 0));
        *per_second.entry(at / 1_000).or_default() += u32::from(is_first);
    }
    assert_eq!(per_second.values().sum::<u32>(), 2_000);
    assert!(per_second.values().all(|&count| (31..=36).contains(&count)), "{per_second:?}");
}

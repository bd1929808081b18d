// SPDX-License-Identifier: Apache-2.0
//! What the data plane is to hold of a load-balancer: what was asked for, after what has become of its backends. Pure.
//!
//! Each of its VIPs has the backends that serve it, and stands for itself: who cannot be reached over one may be over the other.

use crate::{
    health::{STEPS, is_panic, ramp},
    model::{
        Backend, BackendSettings, Fallback, LoadBalancer, Target, Time, Vip, Weight,
        check::{OnFailure, SlowStart},
    },
};

/// What the data plane is to hold of a load-balancer on one of its VIPs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programmed {
    /// Its backends, in their order, and the fallback if it is needed.
    pub backends: Vec<(Target, BackendSettings)>,
    /// When it will be something else, with nothing else happening.
    pub changes: Option<Time>,
}

const NONE: Weight = Weight::ZERO;

impl LoadBalancer {
    /// What the data plane is to hold of it on that VIP at that time.
    #[must_use]
    pub fn programmed(&self, vip: Vip, now: Time) -> Programmed {
        let panics = self.panics_on(vip);
        let scale = self.scale(vip, now);
        let mut changes: Option<Time> = None;
        let mut backends = Vec::with_capacity(self.backends().len());
        for backend in self.backends_of(vip) {
            let mut settings = BackendSettings { weight: backend.settings().weight.times(scale), ..backend.settings() };
            let is_down = backend.condition().down.is_some() && !panics;
            // Nor is there anything to wait for if it is drained.
            if is_down && self.on_failure(backend) == OnFailure::Remove {
                continue;
            }
            if is_down || self.drain().is_some() || backend.condition().drain.is_some() {
                settings.weight = NONE;
            } else if let Some((weight, change)) = self.raised(backend, settings.weight, now) {
                settings.weight = weight;
                changes = Some(changes.map_or(change, |other| other.min(change)));
            }
            backends.push((backend.target, settings));
        }
        if let Some(fallback) = self.fallback_of(vip)
            && backends.iter().all(|(_, settings)| settings.weight == NONE)
        {
            // What the fallback has when a drain begins goes on, too.
            let weight = if self.drain().is_some() { NONE } else { fallback.settings.weight };
            backends.push((fallback.target, BackendSettings { weight, ..fallback.settings }));
        }
        Programmed { backends, changes }
    }

    fn backends_of(&self, vip: Vip) -> impl Iterator<Item = &Backend> {
        self.backends().iter().filter(move |backend| backend.serves(vip))
    }

    fn fallback_of(&self, vip: Vip) -> Option<&Fallback> {
        self.fallback().filter(|fallback| fallback.serves(vip))
    }

    fn on_failure(&self, backend: &Backend) -> OnFailure {
        let chosen = self.check_of(backend).and_then(|check| check.reaction.on_failure);
        chosen.unwrap_or_else(|| OnFailure::of(self.protocol))
    }

    /// The weight of a backend that came back not long ago and is on its way to `asked`, and when it is another.
    fn raised(&self, backend: &Backend, asked: Weight, now: Time) -> Option<(Weight, Time)> {
        // While the clock is behind that time nobody knows how long ago it was; a clock without a battery may be so for days.
        let back = backend.condition().back.filter(|back| *back <= now)?;
        let slow_start = self.check_of(backend)?.reaction.slow_start;
        let ramp = ramp(asked, slow_start, now.since(back));
        Some((ramp.weight, back.after(ramp.next?)))
    }

    /// Whether some of it may change by time alone: the weight of a backend that came back and is raised slowly.
    #[must_use]
    pub fn starts_slowly(&self) -> bool {
        let is_slow = |backend: &Backend| {
            self.check_of(backend).is_some_and(|check| check.reaction.slow_start != SlowStart::default())
        };
        self.backends().iter().any(|backend| backend.condition().back.is_some() && is_slow(backend))
    }

    /// By how much all weights are multiplied, which schedulers do not mind: while a small one is raised, so that it has parts to begin with.
    fn scale(&self, vip: Vip, now: Time) -> u16 {
        let is_small = |backend: &&Backend| (1..STEPS / 2).contains(&backend.settings().weight.get());
        let is_raised = |backend: &Backend| {
            takes_part(backend) && self.raised(backend, backend.settings().weight.times(STEPS), now).is_some()
        };
        if !self.backends_of(vip).filter(is_small).any(is_raised) {
            return 1;
        }
        let heaviest = self.backends_of(vip).map(|backend| backend.settings().weight.get()).max().unwrap_or(1);
        (u16::MAX / heaviest).clamp(1, STEPS)
    }

    /// Whether so many of its backends fail that none of the failures is believed, on one of its VIPs at least.
    #[must_use]
    pub fn panics(&self) -> bool {
        self.vips.into_iter().any(|vip| self.panics_on(vip))
    }

    fn panics_on(&self, vip: Vip) -> bool {
        let Some(check) = &self.check else { return false };
        let counted = || self.backends_of(vip).filter(|backend| takes_part(backend));
        let down = counted().filter(|backend| backend.condition().down.is_some()).count();
        down > 0 && is_panic(down, counted().count(), check.reaction.panic_threshold)
    }

    /// Whether there is a backend to send connections to that VIP to, or the fallback. A drain of the whole is no reason: what it has goes on.
    #[must_use]
    pub fn has_place(&self, vip: Vip) -> bool {
        let panics = self.panics_on(vip);
        let takes = |backend: &Backend| takes_part(backend) && (panics || backend.condition().down.is_none());
        self.backends_of(vip).any(takes) || self.fallback_of(vip).is_some()
    }
}

/// Whether it would get connections if it were up.
fn takes_part(backend: &Backend) -> bool {
    backend.settings().weight > NONE && backend.condition().drain.is_none()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::model::{
        Advertise, BackendId, Condition, Encapsulation, Forwarding, LoadBalancerId, Name, Phase, Protocol,
        ServiceSettings, SourceNat, Vips,
        check::{Address, Check, HealthCheck, Question, Reaction, Timing},
    };

    fn vip(text: &str) -> Vip {
        text.parse().unwrap()
    }

    fn back_at(back: Time, weight: u16, slow_start: u64) -> LoadBalancer {
        let port = 80.try_into().unwrap();
        let target = Target { ip: "10.0.0.1".parse().unwrap(), port: Some(port) };
        let settings = BackendSettings { weight: weight.into(), ..BackendSettings::default() };
        let condition = Condition { back: Some(back), ..Condition::default() };
        let backend = Backend::new(BackendId(Uuid::nil()), target, settings).with_condition(condition);
        let check = Check {
            question: Question::Tcp,
            timing: Timing::default(),
            address: Address::default(),
            port: None,
            source: None,
        };
        let slow_start = SlowStart::try_from(Duration::from_millis(slow_start)).unwrap();
        let reaction = Reaction { slow_start, ..Reaction::default() };
        LoadBalancer {
            id: LoadBalancerId(Uuid::nil()),
            serial: 1,
            name: Name::try_from(String::new()).unwrap(),
            vips: vip("192.0.2.1").into(),
            port,
            protocol: Protocol::Tcp,
            marked: None,
            backends: Some([backend].into()),
            phase: Phase::Active,
            advertise: Advertise::default(),
            source_nat: SourceNat::default(),
            service: ServiceSettings::default(),
            check: Some(Arc::new(HealthCheck { check: Arc::new(check), reaction })),
            extras: None,
            origin: crate::model::Origin::default(),
        }
    }

    proptest! {
        /// Otherwise it would be looked at again and again, or too late.
        #[test]
        fn it_is_something_else_when_it_says_and_not_before(
            weight in prop_oneof![0..3 * STEPS, any::<u16>()],
            slow_start in 0_u64..10_000,
            passed in 0_u64..10_000,
        ) {
            let back = Time::from_millis(1_000_000);
            let now = back.after(Duration::from_millis(passed));
            let load_balancer = back_at(back, weight, slow_start);
            let is = load_balancer.programmed(vip("192.0.2.1"), now);
            if let Some(changes) = is.changes {
                prop_assert!(changes > now);
                let at = |millis| load_balancer.programmed(vip("192.0.2.1"), Time::from_millis(millis)).backends;
                prop_assert_eq!(&at(changes.millis() - 1), &is.backends);
                prop_assert_ne!(&at(changes.millis()), &is.backends);
            } else {
                prop_assert_eq!(is.backends[0].1.weight, weight.into());
            }
        }
    }

    #[test]
    fn without_a_slow_start_time_changes_nothing() {
        let back = Time::from_millis(1);
        assert!(back_at(back, 10, 1).starts_slowly());
        let at_once = back_at(back, 10, 0);
        assert!(!at_once.starts_slowly());
        for millis in [0, 1, 2, 1_000] {
            let programmed = at_once.programmed(vip("192.0.2.1"), Time::from_millis(millis));
            assert_eq!((programmed.backends[0].1.weight, programmed.changes), (10.into(), None));
        }
    }

    #[test]
    fn a_clock_that_was_set_back_begins_no_slow_start() {
        let load_balancer = back_at(Time::from_millis(1_000_000), 10, 5_000);
        let at = |millis| load_balancer.programmed(vip("192.0.2.1"), Time::from_millis(millis));
        assert_eq!(at(1_000_000).backends[0].1.weight, 1.into());
        let before = at(999_999);
        assert_eq!((before.backends[0].1.weight, before.changes), (10.into(), None));
    }
    /// A tunnel leads to both; whoever fails on one family is no reason to doubt, or to send somewhere else, on the other.
    #[test]
    fn each_vip_has_the_backends_that_serve_it() {
        let (four, six) = (vip("192.0.2.1"), vip("fd00::1"));
        let down = Condition { down: Some(Time::FIRST), ..Condition::default() };
        let of = back_at(Time::FIRST, 10, 0);
        let [backend] = of.backends() else { panic!("one") };
        let at = |ip: &str, forwarding, condition| {
            let target = Target { ip: ip.parse().unwrap(), ..backend.target };
            let settings = BackendSettings { forwarding, ..backend.settings() };
            Backend::new(backend.id, target, settings).with_condition(condition)
        };
        let (nat, tunnel) = (Forwarding::Masquerade, Forwarding::Tunnel(Encapsulation::Ipip));
        let fallback = Fallback { target: at("fd00::99", nat, down).target, settings: BackendSettings::default() };
        let with = |backends: &[Backend]| LoadBalancer {
            vips: Vips::both(four, six).unwrap(),
            backends: Some(backends.into()),
            ..of.clone().with_fallback(Some(fallback))
        };
        let shown = |of: &LoadBalancer, vip| {
            let all = of.programmed(vip, Time::from_millis(2)).backends.into_iter();
            all.map(|(target, settings)| (target.ip.to_string(), settings.weight.get())).collect::<Vec<_>>()
        };
        let up = Condition::default();
        let mixed = with(&[at("10.0.0.1", nat, up), at("fd00::2", nat, down), at("10.0.0.3", tunnel, up)]);
        assert_eq!(shown(&mixed, four), [("10.0.0.1".into(), 10), ("10.0.0.3".into(), 10)]);
        assert_eq!(shown(&mixed, six), [("fd00::2".into(), 0), ("10.0.0.3".into(), 10)]);
        let apart = with(&[at("10.0.0.1", nat, up), at("fd00::2", nat, down)]);
        assert_eq!(shown(&apart, six), [("fd00::2".into(), 0), ("fd00::99".into(), 1)]);
        let without = apart.clone().with_fallback(None);
        assert_eq!((without.has_place(four), without.has_place(six), apart.has_place(six)), (true, false, true));
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What the data plane is to hold of a load-balancer: what was asked for, after what has become of its backends. Pure.

use std::time::Duration;

use crate::{
    health::{is_panic, ramp},
    model::{Backend, BackendSettings, LoadBalancer, Target, Time, Weight, check::OnFailure},
};

/// What the data plane is to hold of a load-balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programmed {
    /// Its backends, in their order, and the fallback if it is needed.
    pub backends: Vec<(Target, BackendSettings)>,
    /// When it will be something else, with nothing else happening.
    pub changes: Option<Time>,
}

const NONE: Weight = Weight::ZERO;

impl LoadBalancer {
    /// What the data plane is to hold of it at that time.
    #[must_use]
    pub fn programmed(&self, now: Time) -> Programmed {
        let panics = self.panics();
        let mut changes: Option<Time> = None;
        let mut backends = Vec::with_capacity(self.backends().len());
        for backend in self.backends() {
            let mut settings = backend.settings;
            if self.drain.is_some() || backend.condition.drain.is_some() {
                settings.weight = NONE;
            } else if backend.condition.down.is_some() && !panics {
                match self.check_of(backend).map(|check| check.reaction.on_failure) {
                    Some(OnFailure::Remove) => continue,
                    Some(OnFailure::Weight0) | None => settings.weight = NONE,
                }
            } else if let Some((weight, change)) = self.raised(backend, now) {
                settings.weight = weight;
                changes = Some(changes.map_or(change, |other| other.min(change)));
            }
            backends.push((backend.target, settings));
        }
        if let Some(fallback) = &self.fallback
            && backends.iter().all(|(_, settings)| settings.weight == NONE)
        {
            // What the fallback has when a drain begins goes on, too.
            let weight = if self.drain.is_some() { NONE } else { fallback.settings.weight };
            backends.push((fallback.target, BackendSettings { weight, ..fallback.settings }));
        }
        Programmed { backends, changes }
    }

    /// The weight of a backend that came back not long ago, and when it is another.
    fn raised(&self, backend: &Backend, now: Time) -> Option<(Weight, Time)> {
        let back = backend.condition.back?;
        let slow_start = self.check_of(backend)?.reaction.slow_start;
        let ramp = ramp(backend.settings.weight, slow_start, now.since(back));
        Some((ramp.weight, back.after(ramp.next?.max(Duration::from_millis(1)))))
    }

    /// Whether so many of its backends fail that none of the failures is believed.
    #[must_use]
    pub fn panics(&self) -> bool {
        let Some(check) = &self.check else { return false };
        let counted = || self.backends().iter().filter(|backend| takes_part(backend));
        let down = counted().filter(|backend| backend.condition.down.is_some()).count();
        down > 0 && is_panic(down, counted().count(), check.reaction.panic_threshold)
    }

    /// Whether there is a backend to send connections to, or the fallback. A drain of the whole is no reason: what it has goes on.
    #[must_use]
    pub fn has_place(&self) -> bool {
        let panics = self.panics();
        let serves = |backend: &Backend| takes_part(backend) && (panics || backend.condition.down.is_none());
        self.backends().iter().any(serves) || self.fallback.is_some()
    }
}

/// Whether it would get connections if it were up.
fn takes_part(backend: &Backend) -> bool {
    backend.settings.weight > NONE && backend.condition.drain.is_none()
}

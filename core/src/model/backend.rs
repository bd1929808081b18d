// SPDX-License-Identifier: Apache-2.0
//! A backend. There may be a hundred thousand of them, so what most have none of takes no more than a pointer, all together.

use std::sync::Arc;

use super::{
    BackendId, BackendSettings, Condition, Forwarding, Target, Thresholds, Vip, Weight, check::HealthCheck, serves,
};

/// A server that a load-balancer sends connections to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    /// Its name in the API.
    pub id: BackendId,
    /// Where it listens; unique within its load-balancer.
    pub target: Target,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// Its share of the connections.
    pub weight: Weight,
    /// What else there is to tell of it.
    pub more: Option<Box<More>>,
}

/// What there is to tell of few backends: of others, this is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct More {
    thresholds: Thresholds,
    check: Option<Arc<HealthCheck>>,
    condition: Condition,
}

impl Backend {
    /// One that has only just been added, and is asked what all others are asked.
    #[must_use]
    pub fn new(id: BackendId, target: Target, settings: BackendSettings) -> Self {
        let BackendSettings { forwarding, weight, thresholds } = settings;
        let new = Self { id, target, forwarding, weight, more: None };
        new.telling(|more| more.thresholds = thresholds)
    }

    /// What can be changed of it.
    #[must_use]
    pub fn settings(&self) -> BackendSettings {
        let thresholds = self.more.as_ref().map(|more| more.thresholds).unwrap_or_default();
        BackendSettings { forwarding: self.forwarding, weight: self.weight, thresholds }
    }

    /// What it is asked, if it is something else than all others are asked.
    #[must_use]
    pub fn check(&self) -> Option<&Arc<HealthCheck>> {
        self.more.as_ref()?.check.as_ref()
    }

    /// What has become of it.
    #[must_use]
    pub fn condition(&self) -> &Condition {
        const NOTHING: &Condition = &Condition { down: None, back: None, drain: None };
        self.more.as_ref().map_or(NOTHING, |more| &more.condition)
    }

    /// The same with other settings.
    #[must_use]
    pub fn with_settings(self, settings: BackendSettings) -> Self {
        let BackendSettings { forwarding, weight, thresholds } = settings;
        Self { forwarding, weight, ..self }.telling(|more| more.thresholds = thresholds)
    }

    /// The same that is asked this.
    #[must_use]
    pub fn with_check(self, check: Option<Arc<HealthCheck>>) -> Self {
        self.telling(|more| more.check = check)
    }

    /// The same of which something else has become.
    #[must_use]
    pub fn with_condition(self, condition: Condition) -> Self {
        self.telling(|more| more.condition = condition)
    }

    /// Whether it gets connections to that VIP.
    #[must_use]
    pub fn serves(&self, vip: Vip) -> bool {
        serves(self.target, self.forwarding, vip)
    }

    fn telling(self, tell: impl FnOnce(&mut More)) -> Self {
        let mut more = self.more.unwrap_or_default();
        tell(&mut more);
        Self { more: (*more != More::default()).then_some(more), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_thousand_of_them_take_less_than_five_megabytes() {
        assert!(100_000 * size_of::<Backend>() < 5_000_000, "{}", size_of::<Backend>());
    }
}

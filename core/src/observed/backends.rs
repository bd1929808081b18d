// SPDX-License-Identifier: Apache-2.0
//! The backends of a service as the data plane has them. Most of the time they are those that its load-balancer is to have: then
//! they are not listed, which with many load-balancers would take as much memory as what is asked for.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use crate::model::{BackendSettings, Family, LoadBalancer, Target, Time, Vip};

/// Settings by target; `None` for settings that slb never asks for.
pub type Listed = BTreeMap<Target, Option<BackendSettings>>;

/// The backends of a service as the data plane has them.
#[derive(Clone, Debug)]
pub struct Backends(Held);

#[derive(Clone, Debug)]
enum Held {
    Listed(Box<Listed>),
    /// Those of the load-balancer's service on its VIP of the family, none of which changes by time.
    Planned(Arc<LoadBalancer>, Family),
}

impl Backends {
    /// Each of them.
    #[must_use]
    pub fn listed(&self) -> Cow<'_, Listed> {
        match &self.0 {
            Held::Listed(listed) => Cow::Borrowed(listed),
            Held::Planned(load_balancer, family) => Cow::Owned(planned(load_balancer, *family)),
        }
    }

    /// Adds one, or gives it other settings.
    pub fn insert(&mut self, target: Target, settings: Option<BackendSettings>) {
        let mut listed = self.take();
        listed.insert(target, settings);
        *self = listed.into();
    }

    /// Takes one out.
    pub fn remove(&mut self, target: Target) {
        let mut listed = self.take();
        listed.remove(&target);
        *self = listed.into();
    }

    fn take(&mut self) -> Listed {
        match std::mem::take(self).0 {
            Held::Listed(listed) => *listed,
            Held::Planned(load_balancer, family) => planned(&load_balancer, family),
        }
    }

    /// Whether they are known to be those of the load-balancer on its VIP, as it is.
    #[must_use]
    pub fn are_of(&self, load_balancer: &LoadBalancer, vip: Vip) -> bool {
        match &self.0 {
            Held::Listed(_) => false,
            Held::Planned(known, family) => std::ptr::eq(Arc::as_ptr(known), load_balancer) && *family == vip.family(),
        }
    }

    /// Holds them by the load-balancer on whose VIP they are, if they are what it is to have there at any time.
    pub fn settle(&mut self, load_balancer: &Arc<LoadBalancer>, vip: Vip) {
        if load_balancer.starts_slowly() || self.are_of(load_balancer, vip) {
            return;
        }
        let listed = self.listed();
        let programmed = load_balancer.programmed(vip, Time::FIRST).backends;
        let is_as_planned = |(target, settings): &(_, _)| listed.get(target) == Some(&Some(*settings));
        if listed.len() == programmed.len() && programmed.iter().all(is_as_planned) {
            self.0 = Held::Planned(Arc::clone(load_balancer), vip.family());
        }
    }
}

fn planned(load_balancer: &LoadBalancer, family: Family) -> Listed {
    let vip = load_balancer.vips.into_iter().find(|vip| vip.family() == family);
    let programmed = vip.map(|vip| load_balancer.programmed(vip, Time::FIRST).backends);
    programmed.into_iter().flatten().map(|(target, settings)| (target, Some(settings))).collect()
}

impl Default for Backends {
    fn default() -> Self {
        Listed::new().into()
    }
}

impl From<Listed> for Backends {
    fn from(listed: Listed) -> Self {
        Self(Held::Listed(Box::new(listed)))
    }
}

impl<const N: usize> From<[(Target, Option<BackendSettings>); N]> for Backends {
    fn from(listed: [(Target, Option<BackendSettings>); N]) -> Self {
        Listed::from(listed).into()
    }
}

impl FromIterator<(Target, Option<BackendSettings>)> for Backends {
    fn from_iter<I: IntoIterator<Item = (Target, Option<BackendSettings>)>>(backends: I) -> Self {
        Listed::from_iter(backends).into()
    }
}

/// By what there is, however it is held.
impl PartialEq for Backends {
    fn eq(&self, other: &Self) -> bool {
        self.listed() == other.listed()
    }
}

impl Eq for Backends {}

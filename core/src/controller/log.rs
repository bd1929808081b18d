// SPDX-License-Identifier: Apache-2.0
//! Tells operators what is not as desired: what is repaired, what failed, and, once, what can never be served.

use std::collections::BTreeSet;

use tracing::warn;

use super::{
    Controller, World,
    converge::{Failed, Failures},
};
use crate::{
    model::{ServiceKey, Target, Vip},
    plan::Scope,
    step::{AdvertStep, Step},
};

/// How many of a kind are named one by one; more are counted.
const NAMED: usize = 20;

/// A service, or a backend of it.
pub(super) type Place = (ServiceKey, Option<Target>);

/// What is done although nobody asked for it, as far as it has been told.
#[derive(Default)]
pub(super) struct Repairs {
    steps: usize,
}

impl Repairs {
    /// Tells of the first few steps before they are taken.
    pub(super) fn log(&mut self, steps: &[Step]) {
        let steps = steps.iter().filter(|step| !matches!(step, Step::Advert(AdvertStep::Advertise(_))));
        for step in steps {
            if self.steps < NAMED {
                warn!(%step, vip = %step.vip(), "the kernel is not as desired: repairing");
            }
            self.steps += 1;
        }
    }

    /// Counts the others.
    pub(super) fn log_more(&self) {
        if self.steps > NAMED {
            warn!(more = self.steps - NAMED, "the kernel was not as desired: repaired, as far as nothing else is said");
        }
    }
}

impl<W: World> Controller<W> {
    /// What failed of the scope although nobody asked for it, without what followed from it.
    pub(super) fn log_failures(&mut self, scope: &Scope, failed: &Failures) {
        let all: Vec<(Vip, &Failed)> = failed
            .iter()
            .flat_map(|(vip, failed)| failed.iter().filter(|each| !follows(each, failed)).map(|each| (*vip, each)))
            .collect();
        let (tried, unserved): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, failed)| failed.was_tried());
        for (vip, failed) in tried.iter().take(NAMED) {
            warn!(%vip, error = failed.describe(), "not as desired; it is tried again");
        }
        if tried.len() > NAMED {
            let vips: BTreeSet<Vip> = tried.iter().map(|(vip, _)| *vip).collect();
            warn!(failures = tried.len(), vips = vips.len(), "not as desired; they are tried again");
        }
        self.log_unserved(scope, &unserved);
    }

    fn log_unserved(&mut self, scope: &Scope, unserved: &[(Vip, &Failed)]) {
        let known = match scope {
            Scope::All => std::mem::take(&mut self.unserved),
            Scope::Vips(vips) => vips.iter().filter_map(|vip| Some((*vip, self.unserved.remove(vip)?))).collect(),
        };
        let mut new = 0;
        for (vip, failed) in unserved {
            let Failed::Untried { step, .. } = failed else { continue };
            let place = (step.service().key(), step.target());
            self.unserved.entry(*vip).or_default().insert(place);
            if known.get(vip).is_some_and(|known| known.contains(&place)) {
                continue;
            }
            new += 1;
            if new <= NAMED {
                warn!(%vip, error = failed.describe(), "cannot be served as it is; it is tried again when it is changed");
            }
        }
        if new > NAMED {
            warn!(more = new - NAMED, "others cannot be served as they are either; GET /loadbalancers says why");
        }
    }
}

/// Whether it failed only because its service is not there.
fn follows(failed: &Failed, all: &[Failed]) -> bool {
    let step = match *failed {
        Failed::Step { step, .. } => step,
        Failed::Untried { step, .. } => Step::Dataplane(step),
        Failed::Erase(_) | Failed::Observe(_) => return false,
    };
    all.iter().any(|other| other.fails(&step))
}

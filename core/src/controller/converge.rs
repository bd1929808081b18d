// SPDX-License-Identifier: Apache-2.0
//! Brings the kernel and the network to the desired state, stage by stage. A VIP whose step failed has its later steps skipped
//! and is tried again in the background.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use tracing::debug;

use super::{Controller, Drivers, World, background::Retry};
use crate::{
    command::Failure,
    errors::{Chain, Shared},
    model::Vip,
    plan::{Observed, Scope, plan},
    ports::{Advertiser, Cause, Dataplane, Host, Verdict},
    step::{AdvertStep, DataplaneStep, HostStep, Step},
};

/// Why a VIP is not as desired.
#[derive(Debug)]
pub(super) enum Failed {
    /// A step of it failed.
    Step { step: Step, may_pass: bool, cause: Cause },
    /// The kernel is clean, but the record could not be erased.
    Erase(Cause),
    /// The kernel could not be read.
    Observe(Cause),
}

impl Failed {
    pub(super) fn into_failure(self, undone: bool) -> Failure {
        match self {
            Self::Step { step, may_pass, cause } => Failure::Step { step, may_pass, undone, cause },
            Self::Erase(cause) => Failure::Store(cause),
            Self::Observe(cause) => Failure::Ask { doing: "read the state of the kernel".to_owned(), cause },
        }
    }

    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Step { may_pass, .. } => *may_pass,
            Self::Erase(_) | Self::Observe(_) => true,
        }
    }

    /// One line with all causes.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Step { step, cause, .. } => format!("could not {step}: {}", Chain(&**cause)),
            Self::Erase(cause) => format!("could not erase the record: {}", Chain(&**cause)),
            Self::Observe(cause) => format!("could not read the state of the kernel: {}", Chain(&**cause)),
        }
    }
}

impl<W: World> Controller<W> {
    /// Carries out the plan for `scope`, from what was last observed.
    pub(super) async fn converge(&mut self, scope: &Scope, now: Instant) -> BTreeMap<Vip, Failed> {
        let mut failed: BTreeMap<Vip, Failed> = BTreeMap::new();
        for mut steps in plan(&self.state, &self.observed, scope).into_values() {
            steps.retain(|step| !failed.contains_key(&step.vip()));
            let verdicts = self.drivers.apply(&steps).await;
            for (step, verdict) in steps.into_iter().zip(verdicts) {
                let (may_pass, cause) = match verdict {
                    Verdict::Applied => {
                        debug!(%step, "done");
                        self.observed.note(&step);
                        continue;
                    }
                    Verdict::Retry(cause) => (true, cause),
                    Verdict::Refused(cause) => (false, cause),
                };
                debug!(%step, may_pass, error = %Chain(&*cause), "failed");
                failed.entry(step.vip()).or_insert(Failed::Step { step, may_pass, cause });
            }
        }
        self.note_retries(scope, &failed, now);
        failed
    }

    /// The same after a fresh look at the kernel.
    pub(super) async fn observe_and_converge(&mut self, scope: &Scope, now: Instant) -> BTreeMap<Vip, Failed> {
        match self.observe(now).await {
            Ok(()) => self.converge(scope, now).await,
            Err(cause) => {
                let cause = Shared::from(cause);
                let vips: BTreeSet<Vip> = match scope {
                    Scope::All => self.state.vips().collect(),
                    Scope::Vips(vips) => vips.clone(),
                };
                let failed = vips.into_iter().map(|vip| (vip, Failed::Observe(cause.clone().into()))).collect();
                self.note_retries(scope, &failed, now);
                failed
            }
        }
    }

    /// Reads the kernel anew.
    pub(super) async fn observe(&mut self, now: Instant) -> Result<(), Cause> {
        let host = self.drivers.host.observe().await?;
        let services = self.drivers.dataplane.observe().await?;
        let advertised = std::mem::take(&mut self.observed.advertised);
        self.observed = Observed { host, services, advertised };
        self.avoid.refresh(&self.state, &self.observed, now);
        Ok(())
    }

    fn note_retries(&mut self, scope: &Scope, failed: &BTreeMap<Vip, Failed>, now: Instant) {
        match scope {
            Scope::All => self.retries.retain(|vip, _| failed.contains_key(vip)),
            Scope::Vips(vips) => self.retries.retain(|vip, _| !vips.contains(vip) || failed.contains_key(vip)),
        }
        failed.keys().for_each(|vip| self.retry_later(*vip, now));
    }

    pub(super) fn retry_later(&mut self, vip: Vip, now: Instant) {
        let attempt = self.retries.get(&vip).map_or(0, |retry| retry.attempt);
        self.retries.insert(vip, Retry::after(attempt, now));
    }
}

impl<W: World> Drivers<W> {
    /// Hands each step to its driver; the verdicts are in the order of the steps, which belong to one stage and so to one driver.
    async fn apply(&mut self, steps: &[Step]) -> Vec<Verdict> {
        let (mut advert, mut host, mut dataplane) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            match *step {
                Step::Advert(step) => advert.push(step),
                Step::Host(step) => host.push(step),
                Step::Dataplane(step) => dataplane.push(step),
            }
        }
        self.apply_each(advert, host, dataplane).await
    }

    async fn apply_each(
        &mut self,
        advert: Vec<AdvertStep>,
        host: Vec<HostStep>,
        dataplane: Vec<DataplaneStep>,
    ) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        if !advert.is_empty() {
            verdicts.append(&mut complete(self.advertiser.apply(&advert).await, advert.len()));
        }
        if !host.is_empty() {
            verdicts.append(&mut complete(self.host.apply(&host).await, host.len()));
        }
        if !dataplane.is_empty() {
            verdicts.append(&mut complete(self.dataplane.apply(&dataplane).await, dataplane.len()));
        }
        verdicts
    }
}

/// A step without a verdict may or may not have been taken.
fn complete(mut verdicts: Vec<Verdict>, steps: usize) -> Vec<Verdict> {
    verdicts.resize_with(steps, || Verdict::Retry("the driver gave no verdict".into()));
    verdicts
}

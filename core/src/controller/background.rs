// SPDX-License-Identifier: Apache-2.0
//! What the controller does without being asked: repair at once after an event, at the latest after the interval, and failed
//! things again after a while.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{Controller, World, converge::Look, pace};
use crate::{
    errors::Chain,
    model::{Family, Phase, Vip},
    plan::Scope,
    ports::{Cause, Host, HostEvent, SettingChange, Settings, Store, Write},
};

/// The first wait after a failure; it doubles each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// When a VIP that is not as desired is tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    pub(super) attempt: u32,
    /// Whether something of it failed for a reason that may pass.
    may_pass: bool,
    at: Instant,
}

impl Retry {
    pub(super) fn after(attempt: u32, may_pass: bool, now: Instant) -> Self {
        let wait = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(attempt)).min(LONGEST_RETRY);
        Self { attempt: attempt.saturating_add(1), may_pass, at: now + wait }
    }
}

impl<W: World> Controller<W> {
    /// When [`tick`](Self::tick) is due.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        let look = (!self.draining.is_empty()).then_some(self.next_look);
        let retries = self.retries.values().map(|retry| retry.at);
        retries.chain(self.raises.values().copied()).chain(look).fold(self.next_reconcile, Instant::min)
    }

    /// Does what is due: the periodic reconcile, a look at drains, the next step of weights that are raised, or another try.
    pub async fn tick(&mut self, now: Instant) {
        if self.next_reconcile <= now {
            let look = if self.next_whole_look <= now { Look::Whole } else { Look::Glance };
            return self.look_around(look, now).await;
        }
        if !self.draining.is_empty() && self.next_look <= now {
            self.follow_drains(now).await;
        }
        let raised: BTreeSet<Vip> = self.raises.iter().filter(|(_, at)| **at <= now).map(|(vip, _)| *vip).collect();
        if !raised.is_empty() {
            self.converge_unasked(&self.scope_of(raised), now).await;
        }
        let due: BTreeSet<Vip> =
            self.retries.iter().filter(|(_, retry)| retry.at <= now).map(|(vip, _)| *vip).collect();
        if !due.is_empty() {
            self.repair(&self.scope_of(due), Look::Glance, now).await;
        }
    }

    /// Reads everything anew and brings it to the desired state.
    pub async fn reconcile(&mut self, now: Instant) {
        self.look_around(Look::Whole, now).await;
    }

    async fn look_around(&mut self, look: Look, now: Instant) {
        self.next_reconcile = now + self.reconcile_interval;
        if let Err(cause) = self.settle_settings().await {
            warn!(error = %Chain(&*cause), "could not set the kernel's settings; it is tried again");
        }
        self.repair(&Scope::All, look, now).await;
        if look == Look::Whole {
            self.next_whole_look = now + pace::wait(self.reconcile_interval, self.look);
        }
    }

    /// Reacts to what happened on the host.
    pub async fn host_changed(&mut self, events: &[HostEvent], now: Instant) {
        let mut all = false;
        let mut lost = BTreeSet::new();
        for event in events {
            match *event {
                HostEvent::AddressAdded(address) => self.appeared(address),
                HostEvent::AddressRemoved(address) => lost.extend(self.vanished(address)),
                HostEvent::LinkUp => {
                    info!("the adapter is up: all VIPs are announced again");
                    self.observed.advertised.clear();
                    all = true;
                }
                HostEvent::LinkDown => warn!("the adapter is down: no VIP can be reached until it is up again"),
                HostEvent::Overrun => all = true,
            }
        }
        if all {
            // With the settings: an adapter that was made anew has none of them.
            self.reconcile(now).await;
        } else if !lost.is_empty() {
            self.repair(&self.scope_of(lost), Look::Glance, now).await;
        }
    }

    fn appeared(&mut self, address: IpAddr) {
        if !Vip::try_from(address).is_ok_and(|vip| self.state.holds(vip)) {
            self.avoid.appeared(address);
        }
    }

    /// An address that slb wants there was taken off: neighbours may have been told that it lives elsewhere.
    fn vanished(&mut self, address: IpAddr) -> Option<Vip> {
        self.avoid.vanished(address);
        let vip = Vip::try_from(address).ok()?;
        self.observed.host.bound.remove(&vip);
        let wanted = self.state.on(vip).any(|load_balancer| load_balancer.phase == Phase::Active);
        wanted.then(|| {
            self.observed.advertised.remove(&vip);
            vip
        })
    }

    async fn repair(&mut self, scope: &Scope, look: Look, now: Instant) {
        let starting = !self.board.is_ready();
        if let Err(cause) = self.observe(look, now).await {
            warn!(error = %Chain(&*cause), "could not read the state of the kernel; it is tried again");
            let vips: Vec<Vip> = self.state.vips().collect();
            return vips.into_iter().for_each(|vip| self.retry_later(vip, true, now));
        }
        let mut failed =
            if starting { self.converge(scope, &[], now).await } else { self.converge_and_tell(scope, now).await };
        self.finish_deletions(scope, &mut failed, now).await;
        self.log_failures(scope, &failed);
        // What is refused for good is in the log, and no reason to keep the others waiting.
        if starting && !self.retries.values().any(|retry| retry.may_pass) {
            self.board.post_ready();
            info!(load_balancers = self.state.load_balancers().count(), "ready");
        }
    }

    /// Gives the kernel's settings the values that slb needs. What they were is written down first, once.
    ///
    /// # Errors
    /// A setting could not be read, written down or set.
    pub async fn settle_settings(&mut self) -> Result<(), Cause> {
        if self.state.load_balancers().any(|each| each.asks_for_vips(Family::Ipv4)) {
            self.drivers.host.expect_answers_from_vips();
        }
        let of_host = self.drivers.host.drifted_settings().await?;
        let of_dataplane = self.drivers.dataplane.drifted_settings().await?;
        let writes: Vec<Write> =
            of_host.iter().chain(&of_dataplane).filter_map(|change| self.original(change)).collect();
        if !writes.is_empty() {
            self.drivers.store.commit(writes.clone()).await?;
            writes.into_iter().for_each(|write| self.committed(write));
        }
        set(&mut self.drivers.host, of_host).await?;
        set(&mut self.drivers.dataplane, of_dataplane).await
    }

    /// What a setting was before slb first changed it, and what it is to be now, if that is not written down yet.
    fn original(&self, change: &SettingChange) -> Option<Write> {
        let Some(known) = self.originals.get(&change.name) else { return Some(Write::Original(change.clone())) };
        let original = SettingChange { from: known.from.clone(), ..change.clone() };
        (known.to != change.to).then_some(Write::Original(original))
    }
}

async fn set(driver: &mut impl Settings, changes: Vec<SettingChange>) -> Result<(), Cause> {
    for SettingChange { name, from, to } in changes {
        driver.set(&name, &to).await?;
        info!(setting = name, from, to, "set");
    }
    Ok(())
}

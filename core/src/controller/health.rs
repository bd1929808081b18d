// SPDX-License-Identifier: Apache-2.0
//! What checks find out: backends that fail are taken out, and come back, for every load-balancer that asks them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use tracing::{info, warn};

use super::{Controller, World};
use crate::{
    checker::{Beginning, Checker, Known, Through, Transition, Watch},
    errors::Chain,
    health::Standing,
    model::{Family, LoadBalancer, LoadBalancerId, Phase, Time, Vip, VirtualService},
    plan::Scope,
    state::{Change, State},
};

/// Who watches what.
#[derive(Debug, Default)]
pub(super) struct Watched {
    by_owner: BTreeMap<LoadBalancerId, BTreeSet<Watch>>,
    by_watch: BTreeMap<Watch, BTreeSet<LoadBalancerId>>,
}

impl Watched {
    /// Who watches it.
    fn owners(&self, watch: &Watch) -> Vec<LoadBalancerId> {
        self.by_watch.get(watch).into_iter().flatten().copied().collect()
    }

    /// Somebody who watches what this one does not yet; `None` if it does, or nobody does.
    fn before(&self, owner: LoadBalancerId, watch: &Watch) -> Option<LoadBalancerId> {
        let owners = self.by_watch.get(watch)?;
        owners.first().copied().filter(|_| !owners.contains(&owner))
    }

    /// What a load-balancer watches.
    fn of(&self, owner: LoadBalancerId) -> impl Iterator<Item = &Watch> {
        self.by_owner.get(&owner).into_iter().flatten()
    }

    /// Says all that a load-balancer watches from now on. Whether that is something else.
    fn set(&mut self, owner: LoadBalancerId, watches: BTreeSet<Watch>) -> bool {
        let before = self.by_owner.remove(&owner).unwrap_or_default();
        let differs = before != watches;
        for gone in before.difference(&watches) {
            if let Some(owners) = self.by_watch.get_mut(gone) {
                owners.remove(&owner);
                if owners.is_empty() {
                    self.by_watch.remove(gone);
                }
            }
        }
        for new in watches.difference(&before) {
            self.by_watch.entry(new.clone()).or_default().insert(owner);
        }
        if !watches.is_empty() {
            self.by_owner.insert(owner, watches);
        }
        differs
    }
}

impl<W: World> Controller<W> {
    /// The same change for a load-balancer that knows what those know who asked before it: a check that is shared says nothing twice.
    pub(super) fn informed(&mut self, change: Change) -> Change {
        let mut state = std::mem::take(&mut self.state);
        let change = self.informed_in(&mut state, change);
        self.state = state;
        change
    }

    /// The same of a change in a state that may be a copy.
    pub(super) fn informed_in(&self, state: &mut State, change: Change) -> Change {
        let Some(load_balancer) = change.after.clone() else { return change };
        let mut news = BTreeMap::new();
        for watch in load_balancer.backends().iter().filter_map(|backend| load_balancer.watch(backend)) {
            let other = self.watched.before(load_balancer.id, &watch).and_then(|other| state.get(other));
            let Some(backend) = other.and_then(|other| other.backend_at(watch.target)) else { continue };
            let known = match backend.condition().down {
                Some(since) => Known { standing: Standing::Down, since: since.into() },
                None => Known { standing: Standing::Up, since: self.board.journal().now() },
            };
            news.insert(watch, known);
        }
        match state.learn(load_balancer.id, &news) {
            Some(learned) => Change { after: learned.after, ..change },
            None => change,
        }
    }

    /// Has the backends of a load-balancer checked as it asks for. `restored`, it is from before a restart: what was up is up.
    pub(super) fn watch(&mut self, load_balancer: &LoadBalancer, restored: bool) {
        let mut watches = BTreeMap::new();
        if load_balancer.phase == Phase::Active {
            let now = || self.board.journal().now();
            // It watches a backend once.
            let before: BTreeMap<SocketAddr, &Watch> =
                self.watched.of(load_balancer.id).map(|watch| (watch.target, watch)).collect();
            for backend in load_balancer.backends() {
                let Some(watch) = load_balancer.watch(backend).filter(|watch| self.leads_there(watch)) else {
                    continue;
                };
                let asked = before.get(&watch.target).filter(|before| before.asks_as(&watch));
                let beginning = match (asked, backend.condition().down) {
                    (Some(before), _) => Beginning::After(Watch::clone(before)),
                    (None, Some(since)) => Beginning::Known(Known { standing: Standing::Down, since: since.into() }),
                    (None, None) if restored => Beginning::Known(Known { standing: Standing::Up, since: now() }),
                    (None, None) => Beginning::New,
                };
                watches.insert(watch, beginning);
            }
        }
        if self.watched.set(load_balancer.id, watches.keys().cloned().collect()) {
            self.drivers.checker.set(load_balancer.id, watches);
        }
    }

    /// Whether what it asks gets to its backend, and to no other: until then there is nothing to learn from it.
    fn leads_there(&self, watch: &Watch) -> bool {
        let Some(Through { vip, mark, .. }) = watch.through else { return true };
        let found = self.observed.services.get(&VirtualService::Mark(vip, mark).key());
        found.is_some_and(|found| {
            found.backends.listed().keys().map(|target| target.ip.address()).eq([watch.target.ip()])
        })
    }

    /// Begins with the checks in the scope to whose backends the way has just been made.
    pub(super) fn watch_through(&mut self, scope: &Scope) {
        let asked = |each: &&Arc<LoadBalancer>| !each.check_marks().is_empty();
        let asked: Vec<_> = self.in_scope(scope).into_iter().filter(asked).cloned().collect();
        // What is there before the first look is from before a restart.
        let restored = !self.board.is_ready();
        asked.iter().for_each(|load_balancer| self.watch(load_balancer, restored));
    }

    /// Has the host take in the answers of backends that are asked for a VIP from now on.
    pub(super) async fn settle_for_checks(&mut self, changes: &[Change]) {
        let asks =
            |side: &Option<Arc<LoadBalancer>>| side.as_ref().is_some_and(|side| side.asks_for_vips(Family::Ipv4));
        if changes.iter().any(|change| asks(&change.after) && !asks(&change.before))
            && let Err(cause) = self.settle_settings().await
        {
            warn!(error = %Chain(&*cause), "could not set the kernel's settings; it is tried again");
        }
    }

    /// Has nothing checked for a load-balancer that is gone.
    pub(super) fn unwatch(&mut self, id: LoadBalancerId) {
        if self.watched.set(id, BTreeSet::new()) {
            self.drivers.checker.set(id, BTreeMap::new());
        }
    }

    /// Takes backends out and back in. Clients meet a dead backend until the kernel is changed, so that comes first, and does not wait for
    /// a disk: what is forgotten by a crash in between, or because the store refuses it, is found out again.
    pub(super) async fn standing_changed(&mut self, transitions: Vec<Transition>, now: Instant) {
        let mut news: BTreeMap<LoadBalancerId, BTreeMap<Watch, Known>> = BTreeMap::new();
        for Transition { watch, now: known, reason } in transitions {
            let owners = self.watched.owners(&watch);
            let (backend, lbs) = (watch.target, owners.len());
            match (known.standing, reason) {
                _ if lbs == 0 => {}
                (Standing::Up, _) => info!(%backend, lbs, "backend is up again"),
                (Standing::Down, Some(reason)) => warn!(%backend, lbs, %reason, "backend is down"),
                (Standing::Down, None) => warn!(%backend, lbs, "backend is down"),
            }
            for owner in owners {
                news.entry(owner).or_default().insert(watch.clone(), known);
            }
        }
        let changes: Vec<Change> = news.iter().filter_map(|(id, news)| self.state.learn(*id, news)).collect();
        changes.iter().for_each(log_panic);
        changes.iter().filter_map(|change| change.after.as_ref()).for_each(|after| self.board.post(Arc::clone(after)));
        self.carry_out(&changes, now).await;
        if let Err(cause) = self.commit(&changes).await {
            warn!(error = %Chain(&*cause), "what has become of backends could not be written down");
        }
    }

    /// Brings the kernel along with changes that nobody asked for.
    pub(super) async fn carry_out(&mut self, changes: &[Change], now: Instant) {
        let after = changes.iter().filter_map(|change| change.after.as_ref());
        let vips: BTreeSet<Vip> = after.flat_map(|after| after.vips).collect();
        if !vips.is_empty() {
            self.converge_unasked(&self.scope_of(vips), now).await;
        }
    }

    /// The time of day, for what is remembered over a restart.
    pub(super) fn time(&self) -> Time {
        Time::from(self.board.journal().now())
    }

    /// When the clock on the wall will show that time.
    pub(super) fn instant_of(&self, time: Time, now: Instant) -> Instant {
        let wait = SystemTime::from(time).duration_since(self.board.journal().now()).unwrap_or_default();
        now.checked_add(wait).unwrap_or(now)
    }
}

fn log_panic(Change { before, after }: &Change) {
    let panics = |side: &Option<Arc<LoadBalancer>>| side.as_ref().is_some_and(|side| side.panics());
    let Some(load_balancer) = after else { return };
    let LoadBalancer { id: lb, name, .. } = &**load_balancer;
    match (panics(before), panics(after)) {
        (false, true) => warn!(%lb, %name, "too many backends fail to be believed: connections go to all of them"),
        (true, false) => info!(%lb, %name, "enough backends are up: connections go to those only"),
        (false, false) | (true, true) => {}
    }
}

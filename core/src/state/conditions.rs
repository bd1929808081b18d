// SPDX-License-Identifier: Apache-2.0
//! What becomes of backends: they fail and come back, are drained and taken back in.

use std::{collections::BTreeMap, sync::Arc};

use super::{Change, State, known_backend};
use crate::{
    checker::{Known, Watch},
    command::{DrainWish, Rejected},
    health::Standing,
    model::{Backend, BackendId, Condition, Drain, LoadBalancer, LoadBalancerId, Phase, Then, Time},
};

impl State {
    /// Begins to drain a load-balancer, or one backend of it. What is drained already has another deadline from now on.
    ///
    /// # Errors
    /// There is no such thing, or it is being deleted.
    pub(super) fn drain(
        &mut self,
        id: LoadBalancerId,
        which: Option<BackendId>,
        wish: DrainWish,
        now: Time,
    ) -> Result<Change, Rejected> {
        let begin = |before: Option<Drain>| {
            let since = before.filter(|drain| drain.is_under_way()).map_or(now, |drain| drain.since);
            Some(Drain { since, deadline: wish.deadline.map(|time| now.after(time)), then: wish.then, done: None })
        };
        self.change_drain(id, which, |condition| Condition { drain: begin(condition.drain), ..condition }, begin)
    }

    /// Takes a drained load-balancer back in, or one backend of it; its weight is raised slowly if it has a slow start.
    ///
    /// # Errors
    /// There is no such thing, or it is being deleted.
    pub(super) fn undrain(
        &mut self,
        id: LoadBalancerId,
        which: Option<BackendId>,
        now: Time,
    ) -> Result<Change, Rejected> {
        let back = |condition: Condition| match condition.drain {
            Some(_) => Condition { drain: None, back: Some(now), ..condition },
            None => condition,
        };
        self.change_drain(id, which, back, |_| None)
    }

    fn change_drain(
        &mut self,
        id: LoadBalancerId,
        which: Option<BackendId>,
        of_backend: impl Fn(Condition) -> Condition,
        of_all: impl Fn(Option<Drain>) -> Option<Drain>,
    ) -> Result<Change, Rejected> {
        let before = self.active(id)?;
        let after = match which {
            None => LoadBalancer::clone(&before).with_drain(of_all(before.drain())),
            Some(which) => {
                let target = known_backend(&before, which)?.target;
                with_backends(&before, |backend| {
                    let changes = backend.target == target;
                    changes.then(|| backend.clone().with_condition(of_backend(*backend.condition())))
                })
            }
        };
        Ok(self.done(Some(before), Some(after)))
    }

    /// Ends those drains of a load-balancer that `is_over` says are: what is to be deleted then goes. `None` if there are none.
    pub fn end_drains(
        &mut self,
        id: LoadBalancerId,
        now: Time,
        is_over: impl Fn(Option<&Backend>, Drain) -> bool,
    ) -> Option<Change> {
        let before = self.active(id).ok()?;
        let over = |backend: Option<&Backend>, drain: Option<Drain>| {
            drain.filter(|drain| drain.is_under_way() && is_over(backend, *drain))
        };
        let mut after = LoadBalancer::clone(&before);
        let ended = |drain: Drain| Some(Drain { done: Some(now), ..drain });
        if let Some(drain) = over(None, before.drain()) {
            after = after.with_drain(ended(drain));
            if drain.then == Then::Delete {
                after.phase = Phase::Deleting;
            }
        }
        let stays = |backend: &Backend| {
            let drain = over(Some(backend), backend.condition().drain);
            drain.is_none_or(|drain| drain.then == Then::Stay)
        };
        let end = |backend: &Backend| match over(Some(backend), backend.condition().drain) {
            Some(drain) => {
                let condition = Condition { drain: ended(drain), ..*backend.condition() };
                backend.clone().with_condition(condition)
            }
            None => backend.clone(),
        };
        after.backends =
            before.backends.as_ref().map(|backends| backends.iter().filter(|each| stays(each)).map(end).collect());
        (after != *before).then(|| self.done(Some(before), Some(after)))
    }

    /// Takes note of how what is asked does now. `None` if the load-balancer knows already, or does not ask it.
    pub fn learn(&mut self, id: LoadBalancerId, news: &BTreeMap<Watch, Known>) -> Option<Change> {
        let before = self.active(id).ok()?;
        let after = with_backends(&before, |backend| {
            let known = news.get(&before.watch(backend)?)?;
            let since = Time::from(known.since);
            let condition = match (known.standing, backend.condition().down) {
                (Standing::Down, None) => Condition { down: Some(since), ..*backend.condition() },
                (Standing::Up, Some(_)) => Condition { down: None, back: Some(since), ..*backend.condition() },
                (Standing::Down, Some(_)) | (Standing::Up, None) => return None,
            };
            Some(backend.clone().with_condition(condition))
        });
        (after != *before).then(|| self.done(Some(before), Some(after)))
    }
}

/// The same with some of its backends changed.
fn with_backends(of: &LoadBalancer, change: impl Fn(&Backend) -> Option<Backend>) -> LoadBalancer {
    let changed = |backend: &Backend| change(backend).unwrap_or_else(|| backend.clone());
    let backends = of.backends.as_ref().map(|backends| backends.iter().map(changed).collect::<Arc<[_]>>());
    LoadBalancer { backends, ..of.clone() }
}

/// The same without what nobody watches any more: a backend that is not asked has not failed.
pub(super) fn unwatched(mut of: LoadBalancer) -> LoadBalancer {
    if of.backends().iter().any(|backend| backend.condition().down.is_some() && of.check_of(backend).is_none()) {
        of = with_backends(&of, |backend| {
            let forgotten = Condition { down: None, ..*backend.condition() };
            of.check_of(backend).is_none().then(|| backend.clone().with_condition(forgotten))
        });
    }
    of
}

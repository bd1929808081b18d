// SPDX-License-Identifier: Apache-2.0
//! A round: wishes become durable in one commit, the kernel is brought along, each asker gets its answer. What fails is undone.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Instant};

use tracing::{error, info};

use super::{
    Controller, World,
    admission::Asker,
    converge::{Failed, Failures},
    keys::forget,
    report::is_kept,
};
use crate::{
    command::{Answer, Command, Failure, Rejected, Unfit},
    errors::{Chain, Shared},
    model::{Backend, LoadBalancer, LoadBalancerId, Phase, Target, Vip, Vips},
    plan::Scope,
    ports::{Cause, Store, Write},
    state::Change,
    tag::Tag,
};

/// A request whose VIPs are known, and free to be used.
pub(super) struct Ready {
    pub(super) command: Command,
    pub(super) vips: Vips,
    pub(super) asker: Asker,
}

/// A request whose change is in the state.
struct Applied {
    command: Command,
    vips: Vips,
    change: Change,
    answer: Result<Answer, Failure>,
    asker: Asker,
}

impl<W: World> Controller<W> {
    /// Carries out what is queued, in rounds, and gives back the addresses that nobody came to use.
    pub(super) async fn run_queue(&mut self, now: Instant) {
        while !self.queue.is_empty() {
            let round = self.next_round();
            self.run_round(round, now).await;
        }
        self.run_declarations(now).await;
        self.give_back_unused();
    }

    /// The first request of each VIP; the others stay, in order.
    fn next_round(&mut self) -> Vec<Ready> {
        let mut round = Vec::new();
        let mut taken = BTreeSet::new();
        for ready in std::mem::take(&mut self.queue) {
            let is_free = ready.vips.into_iter().all(|vip| !taken.contains(&vip));
            taken.extend(ready.vips);
            if is_free {
                round.push(ready);
            } else {
                self.queue.push_back(ready);
            }
        }
        round
    }

    async fn run_round(&mut self, round: Vec<Ready>, now: Instant) {
        let mut applied = Vec::new();
        for Ready { command, vips, asker } in round {
            if self.has_to_ask_again(&command, vips) {
                Box::pin(self.admit(command, asker, now)).await;
                continue;
            }
            let expected = asker.expected.check(|| Tag::of_subject(&command, &self.state));
            if let Err(rejected) = expected.and_then(|()| self.check_backends(&command)) {
                asker.answer(Err(rejected.into()));
                continue;
            }
            let foreign = match self.marks_in_use(&command, vips).await {
                Ok(marks) => marks,
                Err(failure) => {
                    asker.answer(Err(failure));
                    continue;
                }
            };
            let change = if let Command::Create(new) = &command {
                self.state.create(new.clone(), vips, &foreign)
            } else {
                self.state.apply(&command, self.time())
            };
            let foreign = self.marks_seen();
            match change.and_then(|change| self.state.with_check_marks(change, &foreign)) {
                Ok(change) => {
                    let change = self.informed(change);
                    let answer = answer(&command, &change);
                    applied.push(Applied { command, vips, change, answer, asker });
                }
                Err(rejected) => asker.answer(Err(rejected.into())),
            }
        }
        let changes: Vec<Change> = applied.iter().map(|applied| applied.change.clone()).collect();
        let keep = |Applied { change, answer, asker, .. }: &Applied| {
            self.keep(asker, answer.as_ref().ok()?, change.after.as_deref())
        };
        let kept = applied.iter().filter_map(keep).collect();
        if let Err(cause) = self.commit_with(&changes, kept).await {
            return self.take_back(applied, cause);
        }
        self.settle_for_checks(&changes).await;
        let scope = self.scope_of(applied.iter().flat_map(|applied| applied.vips));
        let failed = self.converge(&scope, &changes, now).await;
        let mut failed = self.look_again(failed, &changes, now).await;
        self.finish_deletions(&scope, &mut failed, now).await;
        let time = self.time();
        for applied in applied {
            let failed = applied.vips.into_iter().filter_map(|vip| failed.remove(&vip)).flatten();
            match failed.into_iter().find(|why| why.holds_up(&applied.change, time)) {
                None => {
                    if let (Command::Drain(..), Some(drained)) = (&applied.command, &applied.change.after) {
                        self.count_connections(drained).await;
                    }
                    succeed(applied);
                }
                Some(why) => self.fail(applied, why, now).await,
            }
        }
    }

    /// No server has an address that means all hosts of a network.
    pub(super) fn check_backends(&self, command: &Command) -> Result<(), Rejected> {
        let (added, fallback) = match command {
            Command::Create(new) => (new.backends.as_deref().unwrap_or_default(), new.fallback),
            Command::AddBackends(_, backends) | Command::ReplaceBackends(_, backends) => (backends.as_slice(), None),
            Command::Update(_, change) => (&[][..], change.fallback.flatten()),
            Command::Delete(_)
            | Command::UpdateBackend(..)
            | Command::RemoveBackend(..)
            | Command::Drain(..)
            | Command::Undrain(..) => (&[][..], None),
        };
        self.check_broadcasts(
            added.iter().map(|backend| backend.target).chain(fallback.map(|fallback| fallback.target)),
        )
    }

    /// The same for all of these.
    pub(super) fn check_broadcasts(&self, mut targets: impl Iterator<Item = Target>) -> Result<(), Rejected> {
        let broadcasts = &self.observed.host.broadcasts;
        match targets.find(|target| broadcasts.contains(&target.ip.address())) {
            Some(target) => Err(Rejected::Unfit { target, why: Unfit::IsBroadcast }),
            None => Ok(()),
        }
    }

    /// What failed may have failed because somebody else changed the kernel since it was last read. That is not the request's fault:
    /// it gets another try on a fresh look.
    pub(super) async fn look_again(&mut self, mut failed: Failures, asked: &[Change], now: Instant) -> Failures {
        let may_pass = |failed: &[Failed]| failed.iter().any(Failed::may_pass);
        let again: BTreeSet<Vip> = failed.iter().filter(|(_, all)| may_pass(all)).map(|(vip, _)| *vip).collect();
        if !again.is_empty() {
            let again = self.state.together(again);
            failed.retain(|vip, _| !again.contains(vip));
            failed.append(&mut self.observe_and_converge(&Scope::Vips(again), asked, now).await);
        }
        failed
    }

    /// Whether a VIP of a creation went back to the pool since it was queued: its last holder is gone. Another creation may have got it since.
    fn has_to_ask_again(&self, command: &Command, vips: Vips) -> bool {
        matches!(command, Command::Create(_)) && vips.into_iter().any(|vip| !self.is_settled(vip))
    }

    /// Makes changes durable, all or none, and shows them to readers. They are in the state already.
    pub(super) async fn commit(&mut self, changes: &[Change]) -> Result<(), Cause> {
        self.commit_with(changes, Vec::new()).await
    }

    /// The same with what is written of keys.
    pub(super) async fn commit_with(&mut self, changes: &[Change], of_keys: Vec<Write>) -> Result<(), Cause> {
        let mut writes = self.writes(changes);
        writes.extend(of_keys);
        if writes.is_empty() { Ok(()) } else { self.write(writes).await }
    }

    /// The same of what is written.
    pub(super) async fn write(&mut self, writes: Vec<Write>) -> Result<(), Cause> {
        let writes = self.with_outdated(writes);
        self.drivers.store.commit(writes.clone()).await?;
        for write in writes {
            self.committed(write);
        }
        Ok(())
    }

    fn writes(&self, changes: &[Change]) -> Vec<Write> {
        let mut writes: Vec<Write> = changes.iter().filter_map(Change::write).collect();
        let created = changes.iter().filter_map(Change::created);
        let reused: BTreeSet<Vip> = created.flat_map(|created| created.vips).collect();
        writes.extend(reused.into_iter().filter(|vip| self.released.contains_key(vip)).map(Write::Reused));
        let erased = changes.iter().filter(|change| change.after.is_none()).filter_map(|change| change.before.as_ref());
        let released: BTreeSet<Vip> = erased.flat_map(|erased| erased.vips).collect();
        let released = released.into_iter().filter(|vip| !self.state.holds(*vip));
        writes.extend(released.zip(self.last_release + 1..).map(|(vip, serial)| Write::Released { vip, serial }));
        writes
    }

    pub(super) fn committed(&mut self, write: Write) {
        match write {
            Write::Put(load_balancer) => {
                for vip in load_balancer.vips {
                    self.acquired.remove(&vip);
                }
                if load_balancer.drains() {
                    self.draining.insert(load_balancer.id);
                } else {
                    self.draining.remove(&load_balancer.id);
                }
                self.watch(&load_balancer, false);
                self.board.post(load_balancer);
            }
            Write::Erase(id) => {
                self.draining.remove(&id);
                self.unwatch(id);
                self.board.remove(id);
            }
            Write::Released { vip, serial } => {
                self.last_release = serial;
                self.released.insert(vip, serial);
            }
            Write::Reused(vip) => drop(self.released.remove(&vip)),
            Write::Original(change) => drop(self.originals.insert(change.name.clone(), change)),
            Write::Restored(name) => drop(self.originals.remove(&name)),
            Write::Keep(kept) => self.keys.put(kept),
            Write::Forget(key) => self.keys.remove(&key),
            Write::Adapter(_)
            | Write::NoAdapter
            | Write::Identity(_)
            | Write::Uplink(_)
            | Write::Peer(_)
            | Write::NoPeer(_) => {}
        }
    }

    /// Nothing could be written: the state goes back to what it was.
    fn take_back(&mut self, applied: Vec<Applied>, cause: Cause) {
        let cause = Shared::from(cause);
        for Applied { change, asker, .. } in applied {
            self.state.put(&change.inverse());
            asker.answer(Err(Failure::Store(cause.clone().into())));
        }
    }

    /// Undoes what a failed request did, as far as it goes, and says so. A deletion is not undone: it is finished later.
    async fn fail(&mut self, applied: Applied, why: Failed, now: Instant) {
        let Applied { command, vips, change, asker, .. } = applied;
        let undone = match (&command, &change.after) {
            (Command::Delete(_), _) => false,
            (Command::Create(_), Some(created)) => match self.state.mark_deleting(created.id) {
                Ok(going) => self.undo(vips, going, forget(&asker), now).await,
                Err(_) => true,
            },
            _ => self.undo(vips, change.undoing(), forget(&asker), now).await,
        };
        asker.answer(Err(why.into_failure(undone)));
    }

    /// Whether everything is as it was before.
    async fn undo(&mut self, vips: Vips, change: Change, of_key: Vec<Write>, now: Instant) -> bool {
        self.state.put(&change);
        if let Err(cause) = self.commit_with(std::slice::from_ref(&change), of_key).await {
            self.state.put(&change.inverse());
            error!(%vips, error = %Chain(&*cause), "a failed change could not be undone: the store refuses the write");
            return false;
        }
        let scope = self.scope_of(vips);
        let mut failed = self.observe_and_converge(&scope, &[], now).await;
        self.finish_deletions(&scope, &mut failed, now).await;
        let time = self.time();
        // What cannot be served now could not be before.
        !failed.values().flatten().any(|why| why.was_tried() && why.holds_up(&change, time))
    }

    /// Erases the records of load-balancers whose removal has reached the kernel, and gives their addresses back.
    pub(super) async fn finish_deletions(&mut self, scope: &Scope, failed: &mut Failures, now: Instant) {
        let finished = |each: &&Arc<LoadBalancer>| each.phase == Phase::Deleting && !is_kept(each, failed);
        let ids: Vec<LoadBalancerId> =
            self.in_scope(scope).into_iter().filter(|each| finished(each)).map(|each| each.id).collect();
        if ids.is_empty() {
            return;
        }
        let changes: Vec<Change> = ids.into_iter().map(|id| self.state.erase(id)).collect();
        if let Err(cause) = self.commit(&changes).await {
            let cause = Shared::from(cause);
            for change in changes {
                let change = change.inverse();
                self.state.put(&change);
                for vip in change.after.iter().flat_map(|kept| kept.vips) {
                    self.retry_later(vip, true, now);
                    failed.entry(vip).or_default().push(Failed::Erase(cause.clone().into()));
                }
            }
            return;
        }
        let freed: BTreeSet<Vip> =
            changes.iter().filter_map(|change| change.before.as_ref()).flat_map(|erased| erased.vips).collect();
        let free = |vip: &Vip| !self.state.holds(*vip) && !self.kept.contains(vip);
        for vip in freed.into_iter().filter(free).collect::<Vec<_>>() {
            self.give_back(vip);
        }
    }
}

fn succeed(Applied { command, change, answer, asker, .. }: Applied) {
    asker.span.in_scope(|| log(&command, &change));
    asker.answer(answer);
}

/// What is answered once the change is carried out.
fn answer(command: &Command, change: &Change) -> Result<Answer, Failure> {
    match (command, &change.after) {
        (Command::Delete(_), _) | (Command::RemoveBackend(..), _) | (_, None) => Ok(Answer::Gone),
        (
            Command::Create(_)
            | Command::Update(..)
            | Command::ReplaceBackends(..)
            | Command::Drain(_, None, _)
            | Command::Undrain(_, None),
            Some(after),
        ) => Ok(Answer::LoadBalancer(Arc::clone(after))),
        (Command::AddBackends(_, added), Some(after)) => {
            let before = after.backends().len().saturating_sub(added.len());
            Ok(Answer::Backends(after.backends().iter().skip(before).cloned().collect()))
        }
        (
            Command::UpdateBackend(id, backend, _)
            | Command::Drain(id, Some(backend), _)
            | Command::Undrain(id, Some(backend)),
            Some(after),
        ) => match after.backend(*backend) {
            Some(found) => Ok(Answer::Backend(found.clone())),
            None => Err(Rejected::UnknownBackend { load_balancer: *id, backend: *backend }.into()),
        },
    }
}

/// One line for each thing that an operator had changed.
fn log(command: &Command, change: &Change) {
    let Some(load_balancer) = change.after.as_ref().or(change.before.as_ref()) else { return };
    let LoadBalancer { id: lb, name, .. } = &**load_balancer;
    let endpoint = &Endpoints(load_balancer);
    match command {
        Command::Create(_) => info!(%lb, %name, %endpoint, "created load-balancer"),
        Command::Update(..) => info!(%lb, %name, %endpoint, "changed load-balancer"),
        Command::Delete(_) => info!(%lb, %name, %endpoint, "deleted load-balancer"),
        Command::AddBackends(_, added) => {
            added.iter().for_each(|added| info!(%lb, %endpoint, backend = %added.target, "added backend"));
        }
        Command::ReplaceBackends(_, backends) => info!(%lb, %endpoint, backends = backends.len(), "replaced backends"),
        Command::UpdateBackend(_, backend, _) => info!(%lb, %endpoint, %backend, "changed backend"),
        Command::RemoveBackend(_, backend) => info!(%lb, %endpoint, %backend, "removed backend"),
        Command::Drain(_, Some(backend), _) => info!(%lb, %endpoint, %backend, "draining backend"),
        Command::Drain(_, None, _) => info!(%lb, %name, %endpoint, "draining load-balancer"),
        Command::Undrain(_, Some(backend)) => info!(%lb, %endpoint, %backend, "took backend back in"),
        Command::Undrain(_, None) => info!(%lb, %name, %endpoint, "took load-balancer back in"),
    }
    log_ports(change);
}

/// Who gives a backend another port than the load-balancer's may have expected packets there.
fn log_ports(change: &Change) {
    let Some(after) = &change.after else { return };
    let before = change.before.as_deref().map(LoadBalancer::backends).unwrap_or_default();
    let has_other = |target: Target| target.port.is_some_and(|port| port != after.port);
    let keeps = |backend: &&Backend| !backend.settings().forwarding.translates() && has_other(backend.target);
    let known: BTreeSet<Target> = before.iter().filter(keeps).map(|backend| backend.target).collect();
    for backend in after.backends().iter().filter(keeps).filter(|backend| !known.contains(&backend.target)) {
        let (target, kind, port) = (backend.target, backend.settings().forwarding.kind(), after.port);
        info!(lb = %after.id, backend = %target, r#type = %kind, %port, "packets arrive at the load-balancer's port; checks ask the backend's");
    }
}

/// Where clients connect to, for the log.
struct Endpoints<'a>(&'a LoadBalancer);

impl fmt::Display for Endpoints<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, endpoint) in self.0.endpoints().enumerate() {
            let separator = if index == 0 { "" } else { " and " };
            write!(f, "{separator}{endpoint}")?;
        }
        Ok(())
    }
}

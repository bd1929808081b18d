// SPDX-License-Identifier: Apache-2.0
//! Declarations, of the configuration file or of one request: all of their load-balancers are made what they say, or none.
//!
//! ```text
//!  difference ──▶ trial ──▶ admission of those to be made ──▶ make way ──▶ create and change ──▶ remove
//!   (pure)        (pure)    (pool, network)                        ▲              │ fails
//!                                                                  └── undo ◀─────┘
//! ```
//! All of it is one transaction. What is not declared any more leaves the kernel last, when all else stands; a removal that fails is finished
//! later, like any. What has a port that another one is to have makes way first. A crash before the transaction changes nothing, and after it
//! the next start brings the kernel along.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use tracing::{error, info, warn};

use super::{
    Controller, World,
    admission::Asker,
    converge::Failed,
    creation::{Creation, Number, Purpose},
    keys::forget,
    report::is_kept,
};
use crate::{
    command::{self, Answer, Failure, NewLoadBalancer, Rejected, Tally, WantedVips},
    declared::Difference,
    errors::Chain,
    model::{LoadBalancer, LoadBalancerId, Mark, Origin, Phase, Vip, Vips},
    ports::{Wanted, Write},
    state::{Change, State},
    tag::{Expected, Tag},
};

/// A declaration on its way.
pub(super) struct Declaration {
    number: Number,
    wish: command::Declaration,
    asker: Asker,
    /// What those have got that are to be made.
    vips: BTreeMap<usize, Option<Vips>>,
    /// What those of them name that name one VIP of two.
    named: BTreeSet<Vip>,
}

impl Declaration {
    /// What a creation is not to be given, free or not, since others of the same declaration name it and have not got it yet.
    pub(super) fn kept_from(&self, purpose: &Purpose) -> impl Iterator<Item = Vip> {
        self.named.iter().copied().filter(|_| purpose.is_part_of(self.number))
    }

    fn is_complete(&self) -> bool {
        self.vips.values().all(Option::is_some)
    }

    /// What it has got so far.
    pub(super) fn vips(&self) -> impl Iterator<Item = Vip> {
        self.vips.values().flatten().copied().flatten()
    }
}

/// Which of the declared load-balancers is to blame, and why.
pub(super) type Refusal = (Option<usize>, Failure);

impl<W: World> Controller<W> {
    /// Looks for what is to be done, and has addresses found for it. One declaration at a time: others wait.
    pub(super) async fn declare(&mut self, wish: command::Declaration, asker: Asker, now: Instant) {
        if self.declaration.is_some() {
            return self.declarations.push_back((wish, asker));
        }
        let difference = self.difference(&wish);
        let expected = self.check_list(&asker.expected);
        if let Err(refusal) = expected.and_then(|()| self.try_out(&difference, &wish)) {
            return asker.answer(Err(blamed(refusal)));
        }
        self.last_creation += 1;
        let number = self.last_creation;
        let (parts, named) = parts(&difference, &wish);
        let vips = parts.iter().map(|(index, _)| (*index, None)).collect();
        self.declaration = Some(Declaration { number, wish, asker, vips, named });
        for (index, new) in parts {
            if self.declaration.is_none() {
                return;
            }
            self.last_creation += 1;
            let purpose = Purpose::Part { declaration: number, index, replaces: difference.replacing.contains(&index) };
            self.advance(self.last_creation, Creation::new(new, purpose), now).await;
        }
    }

    /// Whether the list is as it is taken for.
    pub(super) fn check_list(&self, expected: &Expected) -> Result<(), Refusal> {
        expected.check(|| Tag::of_list(&self.state)).map_err(|rejected| (None, rejected.into()))
    }

    pub(super) fn difference(&self, wish: &command::Declaration) -> Difference {
        let is_covered = |each: &LoadBalancer| wish.extent.covers(each.origin, self.is_declared);
        Difference::between(&self.state, is_covered, &wish.load_balancers)
    }

    /// Finds contradictions before anybody is asked for an address. Of what has no address yet, none are found.
    pub(super) fn try_out(&self, difference: &Difference, wish: &command::Declaration) -> Result<(), Refusal> {
        let blame = |(index, rejected): (usize, Rejected)| (Some(index), rejected.into());
        difference.check_known(&self.state, wish, self.is_declared).map_err(blame)?;
        for (index, new) in wish.load_balancers.iter().enumerate() {
            self.check_broadcasts(new.targets()).map_err(|rejected| blame((index, rejected)))?;
        }
        let mut state = self.state.clone();
        for id in &difference.removed {
            state.erase(*id);
        }
        let vips = difference.created.iter().filter_map(|(index, wanted)| Some((*index, wanted.named()?))).collect();
        apply(&mut state, difference, wish, &vips, &BTreeSet::new()).map(drop)
    }

    /// Takes note of what one that is to be made has got.
    pub(super) fn part_ready(&mut self, number: Number, index: usize, vips: Vips) {
        if let Some(declaration) = self.declaration.as_mut().filter(|declaration| declaration.number == number) {
            declaration.vips.insert(index, Some(vips));
        }
    }

    /// One that is to be made cannot have an address, and so the others are not made either.
    pub(super) fn part_failed(&mut self, number: Number, index: usize, failure: Failure) {
        if let Some(declaration) = self.declaration.take_if(|declaration| declaration.number == number) {
            self.creations.retain(|_, creation| !creation.purpose.is_part_of(number));
            declaration.asker.answer(Err(blamed((Some(index), failure))));
        }
    }

    /// Carries out what has all of its addresses, and begins with what waits.
    pub(super) async fn run_declarations(&mut self, now: Instant) {
        loop {
            if let Some(declaration) = self.declaration.take_if(|declaration| declaration.is_complete()) {
                self.run_declaration(declaration, now).await;
            } else if self.declaration.is_none()
                && let Some((wish, asker)) = self.declarations.pop_front()
            {
                self.declare(wish, asker, now).await;
            } else {
                return;
            }
        }
    }

    async fn run_declaration(&mut self, declaration: Declaration, now: Instant) {
        let difference = self.difference(&declaration.wish);
        let is_as_it_was = difference.created.keys().eq(declaration.vips.keys());
        if !is_as_it_was || !declaration.vips().all(|vip| self.is_settled(vip)) {
            // Somebody else was quicker, or the last holder of an address is gone.
            return self.declare(declaration.wish, declaration.asker, now).await;
        }
        if let Err(refusal) = self.check_list(&declaration.asker.expected) {
            return declaration.asker.answer(Err(blamed(refusal)));
        }
        let Declaration { wish, asker, vips, .. } = declaration;
        let vips: BTreeMap<usize, Vips> = vips.into_iter().filter_map(|(index, vips)| Some((index, vips?))).collect();
        let in_the_way = difference.in_the_way.iter().filter_map(|id| self.state.get(*id));
        let gone: Vec<Arc<LoadBalancer>> = in_the_way.cloned().collect();
        self.kept = gone.iter().flat_map(|gone| gone.vips).chain(vips.values().copied().flatten()).collect();
        let outcome = self.replace(&difference, &wish, &vips, gone, &asker, now).await;
        for vip in std::mem::take(&mut self.kept) {
            if self.is_lost(vip) {
                self.give_back(vip);
            }
        }
        asker.answer(outcome.map_err(blamed));
    }

    /// Carries it out; `gone` are those in the way.
    async fn replace(
        &mut self,
        difference: &Difference,
        wish: &command::Declaration,
        vips: &BTreeMap<usize, Vips>,
        gone: Vec<Arc<LoadBalancer>>,
        asker: &Asker,
        now: Instant,
    ) -> Result<Answer, Refusal> {
        let prepared = match self.make_way(&gone, now).await {
            Ok(erased) => self.prepare(difference, wish, vips).await.map(|changes| (erased, changes)),
            Err(failure) => Err((None, failure)),
        };
        let (erased, changes) = match prepared {
            Ok(prepared) => prepared,
            Err(refusal) => {
                self.come_back(&gone, now).await;
                return Err(refusal);
            }
        };
        let after = changes.iter().filter_map(|(_, change)| change.after.clone()).collect();
        let changes = changes.into_iter().filter(|(_, change)| change.write().is_some());
        let (places, changes): (Vec<usize>, Vec<Change>) = changes.unzip();
        let going = self.going(difference.removed.difference(&difference.in_the_way));
        let created = changes.iter().filter(|change| change.created().is_some()).count();
        let tally = Tally { created, changed: changes.len() - created, removed: difference.removed.len() };
        let answer = Answer::Declared(tally, after);
        let kept = self.keep(asker, &answer, None).into_iter().collect();
        if let Err(cause) = self.commit_with(&[&erased[..], &changes[..], &going[..]].concat(), kept).await {
            changes.iter().rev().for_each(|change| self.state.put(&change.clone().inverse()));
            self.come_back(&gone, now).await;
            return Err((None, Failure::Store(cause)));
        }
        if let Some((at, why)) = self.bring_about(&changes, now).await {
            let all = [changes, going].concat();
            let undone = self.undo_all(all, forget(asker), now).await && self.restore(gone, now).await;
            return Err((places.get(at).copied(), why.into_failure(undone)));
        }
        self.remove(&going, now).await;
        changes.iter().chain(&going).for_each(log);
        Ok(answer)
    }

    /// Takes what is in the way out of the kernel and the state. The records stay, so that a crash only brings it back, and go in one
    /// transaction with what takes its place: a VIP is always somebody's.
    async fn make_way(&mut self, gone: &[Arc<LoadBalancer>], now: Instant) -> Result<Vec<Change>, Failure> {
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let going: Vec<Change> = gone.iter().filter_map(|each| self.state.mark_deleting(each.id).ok()).collect();
        let scope = self.scope_of(gone.iter().flat_map(|each| each.vips).collect::<Vec<_>>());
        let failed = self.converge(&scope, &going, now).await;
        let mut failed = self.look_again(failed, &going, now).await;
        if let Some(kept) = gone.iter().find(|each| is_kept(each, &failed)) {
            let why = kept.vips.into_iter().find_map(|vip| failed.remove(&vip)?.pop());
            return Err(why.map_or(Failure::Rejected(Rejected::Deleting(kept.id)), |why| why.into_failure(true)));
        }
        Ok(gone.iter().map(|each| self.state.erase(each.id)).collect())
    }

    /// Has what was in the way back, whose records are still there.
    async fn come_back(&mut self, gone: &[Arc<LoadBalancer>], now: Instant) {
        if gone.is_empty() {
            return;
        }
        let back = |each: &Arc<LoadBalancer>| Change {
            before: self.state.get(each.id).cloned(),
            after: Some(Arc::clone(each)),
        };
        let changes: Vec<Change> = gone.iter().map(back).collect();
        changes.iter().for_each(|change| self.state.put(change));
        // What fails is tried again in the background.
        let _later = self.bring_about(&changes, now).await;
    }

    /// Everything that is to be made and changed, in the state and nowhere else yet; or the state as it was.
    async fn prepare(
        &mut self,
        difference: &Difference,
        wish: &command::Declaration,
        vips: &BTreeMap<usize, Vips>,
    ) -> Result<Vec<(usize, Change)>, Refusal> {
        let marks = self.marks_for(difference, wish, vips).await?;
        let mut state = self.state.clone();
        let changes = apply(&mut state, difference, wish, vips, &marks)?;
        self.state = state;
        let informed = changes.into_iter().map(|(index, change)| match change.write() {
            Some(_) => (index, self.informed(change)),
            None => (index, change),
        });
        Ok(informed.collect())
    }

    /// The marks that are not to be given out; refused if a place that none of ours has is another program's.
    pub(super) async fn marks_for(
        &mut self,
        difference: &Difference,
        wish: &command::Declaration,
        vips: &BTreeMap<usize, Vips>,
    ) -> Result<BTreeSet<Mark>, Refusal> {
        for (index, new) in wish.load_balancers.iter().enumerate() {
            let kept = difference.kept.get(&index).and_then(|id| self.state.get(*id));
            let own = kept.map(|is| is.id);
            let grows = kept.filter(|is| is.ranges() != new.listen.ranges()).map(|is| is.vips);
            let made_anew = vips.get(&index).filter(|_| difference.replacing.contains(&index)).copied();
            for vip in grows.or(made_anew).into_iter().flatten() {
                if self.state.check_ports(vip, new.protocol, &new.listen.ranges(), own).is_err() {
                    continue;
                }
                let found = self.foreign_service(vip, new.protocol, &new.listen).await;
                if let Some(foreign) = found.map_err(|failure| (Some(index), failure))? {
                    return Err((Some(index), Failure::Foreign(foreign)));
                }
            }
        }
        if vips.is_empty() {
            return Ok(self.marks_seen());
        }
        self.marks_now().await.map_err(|failure| (None, failure))
    }

    /// Brings the kernel along; the first that fails, by its place among the changes.
    async fn bring_about(&mut self, changes: &[Change], now: Instant) -> Option<(usize, Failed)> {
        self.settle_for_checks(changes).await;
        let after = changes.iter().filter_map(|change| change.after.as_ref());
        let scope = self.scope_of(after.flat_map(|after| after.vips).collect::<Vec<_>>());
        let failed = self.converge(&scope, changes, now).await;
        let mut failed = self.look_again(failed, changes, now).await;
        self.finish_deletions(&scope, &mut failed, now).await;
        let time = self.time();
        let (at, vip, which) = changes.iter().enumerate().find_map(|(at, change)| {
            change.after.iter().flat_map(|after| after.vips).find_map(|vip| {
                let which = failed.get(&vip)?.iter().position(|why| why.holds_up(change, time))?;
                Some((at, vip, which))
            })
        })?;
        Some((at, failed.remove(&vip)?.swap_remove(which)))
    }

    /// Changes that have load-balancers go; the state has not seen them, so that until all else stands the kernel keeps what it has.
    fn going<'a>(&self, ids: impl Iterator<Item = &'a LoadBalancerId>) -> Vec<Change> {
        let mut state = self.state.clone();
        ids.filter_map(|id| state.mark_deleting(*id).ok()).collect()
    }

    /// Has them leave the kernel. What it does not let go yet goes later.
    async fn remove(&mut self, going: &[Change], now: Instant) {
        if going.is_empty() {
            return;
        }
        going.iter().for_each(|change| self.state.put(change));
        if let Some((_, why)) = self.bring_about(going, now).await {
            warn!(
                error = why.describe(),
                "could not delete a load-balancer that is not declared any more yet; it is tried again"
            );
        }
    }

    /// Undoes what has been committed. Whether everything is as it was before.
    async fn undo_all(&mut self, changes: Vec<Change>, of_key: Vec<Write>, now: Instant) -> bool {
        let undoing: Vec<Change> = changes.into_iter().map(undoing).collect();
        self.put_back(&undoing, of_key, now).await
    }

    /// Makes what made way be there again. Whether it is.
    async fn restore(&mut self, gone: Vec<Arc<LoadBalancer>>, now: Instant) -> bool {
        let free = |each: &LoadBalancer| {
            let ranges = each.ranges();
            each.vips.into_iter().all(|vip| self.state.check_ports(vip, each.protocol, &ranges, Some(each.id)).is_ok())
        };
        let all = gone.len();
        let gone: Vec<_> = gone.into_iter().filter(|each| free(each)).collect();
        let is_whole = gone.len() == all;
        let back = |after: Arc<LoadBalancer>| Change { before: self.state.get(after.id).cloned(), after: Some(after) };
        let changes: Vec<Change> = gone.into_iter().map(back).collect();
        self.put_back(&changes, Vec::new(), now).await && is_whole
    }

    async fn put_back(&mut self, undoing: &[Change], of_key: Vec<Write>, now: Instant) -> bool {
        if undoing.is_empty() {
            return true;
        }
        undoing.iter().for_each(|change| self.state.put(change));
        if let Err(cause) = self.commit_with(undoing, of_key).await {
            undoing.iter().rev().for_each(|change| self.state.put(&change.clone().inverse()));
            error!(error = %Chain(&*cause), "a failed declaration could not be undone: the store refuses the write");
            return false;
        }
        self.bring_about(undoing, now).await.is_none_or(|(_, why)| !why.was_tried())
    }
}

/// Those that are to be made, in the order in which they get addresses; and what is named by those of them that name one VIP of two.
pub(super) fn parts(
    difference: &Difference,
    wish: &command::Declaration,
) -> (Vec<(usize, NewLoadBalancer)>, BTreeSet<Vip>) {
    let of = |(index, vips): (&usize, &WantedVips)| {
        Some((*index, NewLoadBalancer { vips: *vips, ..wish.load_balancers.get(*index)?.clone() }))
    };
    let mut parts: Vec<(usize, NewLoadBalancer)> = difference.created.iter().filter_map(of).collect();
    // Before any are given out, those are held that are all that somebody wants; what somebody names beside one of any kind is kept.
    parts.sort_by_key(|(_, new)| new.vips.named().is_none());
    let of_two = parts.iter().filter(|(_, new)| new.vips.named().is_none());
    let named = of_two.flat_map(|(_, new)| new.vips.each()).filter_map(Wanted::vip).collect();
    (parts, named)
}

/// Applies it to a state that is thrown away if there is a contradiction.
pub(super) fn apply(
    state: &mut State,
    difference: &Difference,
    wish: &command::Declaration,
    vips: &BTreeMap<usize, Vips>,
    foreign: &BTreeSet<Mark>,
) -> Result<Vec<(usize, Change)>, Refusal> {
    let mut changes = Vec::new();
    for (index, new) in wish.load_balancers.iter().enumerate() {
        let change = match (difference.kept.get(&index), vips.get(&index)) {
            (Some(id), _) => state.redeclare(*id, new, wish.extent),
            (None, Some(vips)) => state.create_declared(wish.extent.origin(), new.clone(), *vips, foreign),
            (None, None) => continue,
        };
        let change = change.and_then(|change| state.with_check_marks(change, foreign));
        changes.push((index, change.map_err(|rejected| (Some(index), rejected.into()))?));
    }
    Ok(changes)
}

/// What undoes a change: what was made goes.
fn undoing(change: Change) -> Change {
    match change.created() {
        Some(created) => {
            let going = LoadBalancer { phase: Phase::Deleting, ..LoadBalancer::clone(created) };
            Change { before: change.after.clone(), after: Some(going.into()) }
        }
        None => change.undoing(),
    }
}

pub(super) fn blamed((index, why): Refusal) -> Failure {
    Failure::Declared { index, why: Box::new(why) }
}

fn log(change: &Change) {
    let Some(LoadBalancer { id: lb, name, vips, origin, phase, .. }) = change.after.as_deref() else { return };
    let of = if *origin == Origin::File { " of the file" } else { "" };
    match (change.created(), phase) {
        (Some(_), _) => info!(%lb, %name, %vips, "created load-balancer{of}"),
        (None, Phase::Active) => info!(%lb, %name, %vips, "changed load-balancer{of}"),
        (None, Phase::Deleting) => info!(%lb, %name, %vips, "deleted load-balancer{of}"),
    }
}

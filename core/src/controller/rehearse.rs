// SPDX-License-Identifier: Apache-2.0
//! Rehearses wishes: everything that can be refused before the first change is, and what would be done is said. Nothing is written,
//! reserved or changed, and nobody but this host is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use futures_util::FutureExt;

use super::{
    Controller, World,
    admission::{ANOTHERS, NAMED},
    declare::{Refusal, apply, blamed, parts},
};
use crate::{
    command::{Answer, Command, Declaration, Failure, NewLoadBalancer, Wish},
    declared::Difference,
    model::{Vip, Vips},
    ports::{Advertiser, Host, Pool, Wanted},
    rehearsal::{Rehearsal, Rehearsed},
    state::Change,
    step::{HostStep, Step},
    tag::{Expected, Tag},
};

/// Addresses that would be handed out.
struct Foreseen<P> {
    /// To take from as if it counted; `None` if only the provider of addresses knows.
    pool: Option<P>,
    /// Those that must not be, with the reason.
    avoid: BTreeMap<IpAddr, String>,
    /// With those that somebody names, who has not got them yet.
    avoid_unless_named: BTreeMap<IpAddr, String>,
    taken: BTreeSet<Vip>,
}

impl<W: World> Controller<W> {
    /// Says what would be done.
    pub(super) async fn rehearse(&mut self, wish: Wish, expected: &Expected) -> Result<Answer, Failure> {
        let rehearsed = match wish {
            Wish::LoadBalancer(Command::Create(new)) => {
                expected.check(|| None)?;
                self.rehearse_declaration(&Declaration::more(vec![new])).await.map_err(|(_, failure)| failure)
            }
            Wish::LoadBalancer(command) => self.rehearse_command(&command, expected).await,
            Wish::Declare(wish) => {
                self.check_list(expected).map_err(blamed)?;
                self.rehearse_declaration(&wish).await.map_err(blamed)
            }
            Wish::Peer(command) => Ok(self.rehearse_peers(&command)?),
        };
        let mut rehearsed = rehearsed?;
        let (announces, binds) = (self.drivers.advertiser.announces(), self.drivers.host.binds());
        rehearsed.steps.retain(|step| match step {
            Step::Advert(_) => announces,
            Step::Host(HostStep::Bind(_) | HostStep::Unbind(_)) => binds,
            Step::Host(_) | Step::Dataplane(_) => true,
        });
        Ok(Answer::Rehearsed(rehearsed))
    }

    async fn rehearse_command(&mut self, command: &Command, expected: &Expected) -> Result<Rehearsed, Failure> {
        let vips = self.vips_of(command.load_balancer())?;
        expected.check(|| Tag::of_subject(command, &self.state))?;
        self.check_backends(command)?;
        self.marks_in_use(command, vips).await?;
        let mut state = self.state.clone();
        let change = state.apply(command, self.time())?;
        let change = state.with_check_marks(change, &self.marks_seen())?;
        let change = self.informed_in(&mut state, change);
        let mut rehearsal = Rehearsal::new(&self.observed, self.time());
        rehearsal.follow(&state, &[change]);
        Ok(rehearsal.end(BTreeSet::new()))
    }

    async fn rehearse_declaration(&mut self, wish: &Declaration) -> Result<Rehearsed, Refusal> {
        let difference = self.difference(wish);
        self.try_out(&difference, wish)?;
        let (vips, tentative) = self.foresee(&difference, wish).await?;
        let mut marks = self.marks_for(&difference, wish, &vips).await?;
        let mut state = self.state.clone();
        let mut rehearsal = Rehearsal::new(&self.observed, self.time());
        let gone = difference.in_the_way.iter().filter_map(|id| state.mark_deleting(*id).ok()).collect::<Vec<_>>();
        rehearsal.follow(&state, &gone);
        // By then these are nobody's.
        for mark in gone.iter().filter_map(|change| change.before.as_ref()).flat_map(|gone| gone.marks()) {
            marks.remove(&mark);
        }
        difference.in_the_way.iter().for_each(|id| drop(state.erase(*id)));
        let changes = apply(&mut state, &difference, wish, &vips, &marks)?.into_iter();
        let changes = changes.map(|(_, change)| change).filter(|change| change.write().is_some());
        let changes: Vec<Change> = changes.collect();
        let changes: Vec<Change> = changes.into_iter().map(|change| self.informed_in(&mut state, change)).collect();
        rehearsal.follow(&state, &changes);
        let rest = difference.removed.difference(&difference.in_the_way);
        let going = rest.filter_map(|id| state.mark_deleting(*id).ok()).collect::<Vec<_>>();
        rehearsal.follow(&state, &going);
        Ok(rehearsal.end(tentative))
    }

    /// The VIPs that those that are to be made would get, and which of them nobody has asked the network for.
    async fn foresee(
        &mut self,
        difference: &Difference,
        wish: &Declaration,
    ) -> Result<(BTreeMap<usize, Vips>, BTreeSet<Vip>), Refusal> {
        let (parts, named) = parts(difference, wish);
        let (pool, avoid) = (self.drivers.pool.trial(), self.avoid.all().clone());
        let mut avoid_unless_named = avoid.clone();
        avoid_unless_named.extend(named.into_iter().map(|vip| (vip.address(), NAMED.to_owned())));
        let mut foreseen = Foreseen { pool, avoid, avoid_unless_named, taken: BTreeSet::new() };
        let mut all = BTreeMap::new();
        for (index, new) in parts {
            let replaces = difference.replacing.contains(&index);
            let mut found = Vec::new();
            for wanted in new.vips.each() {
                let vip = self.foresee_one(&mut foreseen, &new, wanted, replaces).await;
                found.push(vip.map_err(|failure| (Some(index), failure))?);
            }
            let vips = match found[..] {
                [only] => Some(Vips::from(only)),
                [one, other] => Vips::both(one, other).ok(),
                _ => None,
            };
            all.extend(vips.map(|vips| (index, vips)));
        }
        Ok((all, foreseen.taken))
    }

    async fn foresee_one(
        &mut self,
        foreseen: &mut Foreseen<W::Pool>,
        new: &NewLoadBalancer,
        wanted: Wanted,
        replaces: bool,
    ) -> Result<Vip, Failure> {
        loop {
            let named = wanted.vip();
            if let Some(vip) = named.filter(|_| !replaces) {
                self.state.check_ports(vip, new.protocol, &new.listen.ranges(), None)?;
            }
            let found = match named.filter(|vip| foreseen.taken.contains(vip) || !self.is_lost(*vip)) {
                Some(there) if replaces && self.state.holds(there) => return Ok(there),
                Some(there) => there,
                None => foreseen.take(wanted)?,
            };
            match self.foreign_service(found, new.protocol, &new.listen).await? {
                None => return Ok(found),
                Some(foreign) if named.is_some() => return Err(Failure::Foreign(foreign)),
                Some(_) => {
                    foreseen.taken.remove(&found);
                    foreseen.avoid_unless_named.insert(found.address(), ANOTHERS.to_owned());
                }
            }
        }
    }
}

impl<P: Pool> Foreseen<P> {
    fn take(&mut self, wanted: Wanted) -> Result<Vip, Failure> {
        let pool = self.pool.as_mut().ok_or(Failure::Unforeseen)?;
        let avoid = if wanted.vip().is_some() { &self.avoid } else { &self.avoid_unless_named };
        let found = pool.acquire(wanted, avoid).now_or_never().ok_or(Failure::Unforeseen)?;
        let vip = found.map_err(Failure::Pool)?;
        self.taken.insert(vip);
        Ok(vip)
    }
}

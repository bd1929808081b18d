// SPDX-License-Identifier: Apache-2.0
//! Something behind the mailbox: the core's own desired state, a range of addresses, and no kernel.
#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "a test double: what it unwraps it has made itself")]

use std::{
    collections::{BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex},
};

use futures_util::StreamExt;
use slb_core::{
    board::Board,
    command::{
        Answer, Command, Declaration, Extent, Failure, Mailbox, NewLoadBalancer, PeerCommand, Rejected, Request, Tally,
        Terms, Wish, mailbox,
    },
    declared::Difference,
    idempotency::{Book, Kept, Made, Standing},
    model::{Family, LoadBalancer, LoadBalancerId, Origin, Time, Vip, Vips},
    peer::{Peer, PeerAddress},
    plan::Observed,
    ports::{PoolError, Wanted},
    rehearsal::{Rehearsal, Rehearsed},
    routing::rehearsal::{RouteStep, adding, removing},
    state::{Change, State},
    status::{Report, VipReport},
    tag::Tag,
};

/// Failures that the next commands meet, one each.
pub type Faults = Arc<Mutex<VecDeque<Failure>>>;

/// Starts to answer, with `size` addresses from `first` on. Ends with the last mailbox.
pub fn start(first: Ipv4Addr, size: u32) -> (Mailbox, Arc<Board>, Faults) {
    let (mailbox, mut requests) = mailbox();
    let (board, faults) = (Arc::new(Board::default()), Faults::default());
    let (state, keys) = (State::default(), Book::default());
    let mut memory = Memory { state, keys, board: Arc::clone(&board), faults: Arc::clone(&faults), first, size };
    tokio::spawn(async move {
        while let Some(Request { wish, terms, answer, .. }) = requests.next().await {
            drop(answer.send(memory.answer(wish, terms)));
        }
    });
    (mailbox, board, faults)
}

fn of_routes(routes: Vec<RouteStep>) -> Answer {
    Answer::Rehearsed(Rehearsed { routes, ..Rehearsed::default() })
}

struct Memory {
    state: State,
    keys: Book,
    board: Arc<Board>,
    faults: Faults,
    first: Ipv4Addr,
    size: u32,
}

impl Memory {
    fn answer(&mut self, wish: Wish, terms: Terms) -> Result<Answer, Failure> {
        let claim = match terms.key.filter(|_| !terms.rehearse).map(|key| self.keys.claim(key, Time::FIRST)) {
            Some(standing) => match standing? {
                Standing::Answered(answer) => return Ok(answer),
                Standing::New(claim) => Some(claim),
            },
            None => None,
        };
        terms.expected.check(|| self.tag(&wish))?;
        let id = if let Wish::LoadBalancer(command) = &wish { Some(command.load_balancer()) } else { None };
        let answer = match wish {
            Wish::Peer(command) => self.change_peers(command, terms.rehearse),
            wish if terms.rehearse => self.rehearse(wish),
            Wish::LoadBalancer(command) => self.carry_out(command),
            Wish::Declare(all) => self.declare(all),
        }?;
        let about = id.and_then(|id| self.state.get(id));
        if let (Some(claim), Some(made)) = (claim, Made::of(&answer, about.map(|about| &**about))) {
            self.keys.put(Arc::new(Kept { keyed: claim.keyed().clone(), at: Time::FIRST, made }));
        }
        Ok(answer)
    }

    fn change_peers(&mut self, command: PeerCommand, rehearse: bool) -> Result<Answer, Failure> {
        if let Some(fault) = self.faults.lock().unwrap().pop_front() {
            return Err(fault);
        }
        let routing = self.board.routing().ok_or(Rejected::NoRouting)?;
        let is_there = |address: PeerAddress| routing.peers().iter().any(|status| status.peer.address == address);
        match command {
            PeerCommand::Add(peer) if is_there(peer.address) => Err(Rejected::PeerExists(peer.address).into()),
            PeerCommand::Add(peer) if rehearse => Ok(of_routes(adding(&**routing, &peer))),
            PeerCommand::Add(peer) => {
                routing.add(&peer);
                Ok(Answer::Peer(Peer { password: None, ..peer }))
            }
            PeerCommand::Remove(address) if is_there(address) && rehearse => {
                Ok(of_routes(removing(&**routing, address)))
            }
            PeerCommand::Remove(address) if is_there(address) => {
                routing.remove(address);
                Ok(Answer::Gone)
            }
            PeerCommand::Remove(address) => Err(Rejected::UnknownPeer(address).into()),
        }
    }

    fn tag(&self, wish: &Wish) -> Option<Tag> {
        match wish {
            Wish::LoadBalancer(command) => Tag::of_subject(command, &self.state),
            Wish::Declare(_) => Tag::of_list(&self.state),
            Wish::Peer(_) => None,
        }
    }

    /// Says what would be done if the kernel had nothing.
    fn rehearse(&mut self, wish: Wish) -> Result<Answer, Failure> {
        let before = self.state.clone();
        let observed = Observed::default();
        let changes = self.changes(wish);
        let rehearsed = changes.map(|changes| {
            let mut rehearsal = Rehearsal::new(&observed, Time::FIRST);
            rehearsal.follow(&self.state, &changes);
            Answer::Rehearsed(rehearsal.end(BTreeSet::new()))
        });
        self.state = before;
        rehearsed
    }

    fn changes(&mut self, wish: Wish) -> Result<Vec<Change>, Failure> {
        match wish {
            Wish::LoadBalancer(Command::Create(new)) => {
                let vips = self.vips_for(&new)?;
                Ok(vec![self.state.create(new, vips, &BTreeSet::new())?])
            }
            Wish::LoadBalancer(command) => {
                self.check_origin(&command)?;
                Ok(vec![self.state.apply(&command, Time::FIRST)?])
            }
            Wish::Declare(wish) => {
                let covered = |each: &LoadBalancer| wish.extent.covers(each.origin, true);
                let difference = Difference::between(&self.state, covered, &wish.load_balancers);
                let going = difference.removed.iter().filter_map(|id| self.state.get(*id).cloned());
                let going: Vec<Change> = going.map(|before| Change { before: Some(before), after: None }).collect();
                match self.apply(&difference, &wish) {
                    Ok(changes) => Ok(changes.into_iter().chain(going).collect()),
                    Err((index, why)) => Err(Failure::Declared { index: Some(index), why: Box::new(why) }),
                }
            }
            Wish::Peer(_) => unreachable!("peers are not load-balancers"),
        }
    }

    /// Makes what is declared, or nothing.
    fn declare(&mut self, wish: Declaration) -> Result<Answer, Failure> {
        if let Some(fault) = self.faults.lock().unwrap().pop_front() {
            return Err(fault);
        }
        let covered = |each: &LoadBalancer| wish.extent.covers(each.origin, true);
        let difference = Difference::between(&self.state, covered, &wish.load_balancers);
        let before = self.state.clone();
        match self.apply(&difference, &wish) {
            Ok(changes) => {
                difference.removed.iter().for_each(|id| self.board.remove(*id));
                let after: Vec<_> = changes.into_iter().filter_map(|change| self.post(change)).collect();
                let (created, removed) = (difference.created.len(), difference.removed.len());
                Ok(Answer::Declared(Tally { created, changed: 0, removed }, after))
            }
            Err((index, why)) => {
                self.state = before;
                Err(Failure::Declared { index: Some(index), why: Box::new(why) })
            }
        }
    }

    fn apply(&mut self, difference: &Difference, wish: &Declaration) -> Result<Vec<Change>, (usize, Failure)> {
        let known = difference.check_known(&self.state, wish, true);
        known.map_err(|(index, rejected)| (index, rejected.into()))?;
        difference.removed.iter().for_each(|id| drop(self.state.erase(*id)));
        let each = wish.load_balancers.iter().enumerate();
        each.map(|(index, new)| self.apply_one(difference, index, new, wish.extent).map_err(|why| (index, why)))
            .collect()
    }

    fn apply_one(
        &mut self,
        difference: &Difference,
        index: usize,
        new: &NewLoadBalancer,
        extent: Extent,
    ) -> Result<Change, Failure> {
        let change = match difference.created.get(&index) {
            Some(vips) => {
                let new = NewLoadBalancer { vips: *vips, ..new.clone() };
                let vips = self.vips_for(&new)?;
                self.state.create_declared(extent.origin(), new, vips, &BTreeSet::new())?
            }
            None => self.state.redeclare(difference.kept[&index], new, extent)?,
        };
        Ok(change)
    }

    fn check_origin(&self, command: &Command) -> Result<(), Rejected> {
        let id = command.load_balancer();
        let of_file = self.state.get(id).is_some_and(|each| each.origin == Origin::File);
        if of_file { Err(Rejected::OfFile(id)) } else { Ok(()) }
    }

    fn carry_out(&mut self, command: Command) -> Result<Answer, Failure> {
        self.check_origin(&command)?;
        if let Some(fault) = self.faults.lock().unwrap().pop_front() {
            return Err(fault);
        }
        match command {
            Command::Create(new) => {
                let vips = self.vips_for(&new)?;
                let change = self.state.create(new, vips, &BTreeSet::new())?;
                Ok(self.whole(change))
            }
            Command::Update(..)
            | Command::ReplaceBackends(..)
            | Command::Drain(_, None, _)
            | Command::Undrain(_, None) => {
                let change = self.state.apply(&command, Time::FIRST)?;
                Ok(self.whole(change))
            }
            Command::AddBackends(_, ref backends) => {
                let change = self.state.apply(&command, Time::FIRST)?;
                self.post(change);
                Ok(Answer::Backends(backends.clone()))
            }
            Command::UpdateBackend(_, id, _) | Command::Drain(_, Some(id), _) | Command::Undrain(_, Some(id)) => {
                let change = self.state.apply(&command, Time::FIRST)?;
                let after = self.post(change);
                Ok(Answer::Backend(after.and_then(|after| after.backend(id).cloned()).unwrap()))
            }
            Command::RemoveBackend(..) => {
                let change = self.state.apply(&command, Time::FIRST)?;
                self.post(change);
                Ok(Answer::Gone)
            }
            Command::Delete(id) => {
                self.state.apply(&command, Time::FIRST)?;
                self.erase(id);
                Ok(Answer::Gone)
            }
        }
    }

    fn whole(&mut self, change: Change) -> Answer {
        Answer::LoadBalancer(self.post(change).unwrap())
    }

    fn post(&mut self, change: Change) -> Option<Arc<LoadBalancer>> {
        change.after.inspect(|after| {
            self.board.post(Arc::clone(after));
            let backends = after.backends().iter().map(|backend| (backend.id, Ok(()))).collect();
            let well = |vip| VipReport { vip, programmed: Ok(()), advertised: Ok(()) };
            self.board.report(after.id, Report { vips: after.vips.into_iter().map(well).collect(), backends });
        })
    }

    fn erase(&mut self, id: LoadBalancerId) {
        self.state.erase(id);
        self.board.remove(id);
    }

    fn vips_for(&self, new: &NewLoadBalancer) -> Result<Vips, Failure> {
        let found = new.vips.each().map(|wanted| self.vip_for(wanted)).collect::<Result<Vec<_>, _>>()?;
        match found[..] {
            [one, other] => Ok(Vips::both(one, other).unwrap()),
            _ => Ok(found[0].into()),
        }
    }

    fn vip_for(&self, wanted: Wanted) -> Result<Vip, Failure> {
        let pool = || format!("{} and {} more", self.first, self.size - 1);
        let vip = match wanted {
            Wanted::Vip(wanted) => {
                let found = self.range(wanted.family()).any(|vip| vip == wanted).then_some(wanted);
                found.ok_or_else(|| PoolError::Outside { wanted, pool: pool() })
            }
            Wanted::Any | Wanted::Of(_) => {
                let family = if let Wanted::Of(family) = wanted { family } else { Family::Ipv4 };
                let exhausted = PoolError::Exhausted { family, pool: pool(), held: u64::from(self.size), avoided: 0 };
                self.range(family).find(|vip| !self.state.holds(*vip)).ok_or(exhausted)
            }
        };
        vip.map_err(Failure::Pool)
    }

    /// As many of either family; those of IPv6 have the others in their last bytes.
    fn range(&self, family: Family) -> impl Iterator<Item = Vip> {
        let first = u32::from(self.first);
        (first..first + self.size).map(move |bits| {
            let address: IpAddr = match family {
                Family::Ipv4 => Ipv4Addr::from(bits).into(),
                Family::Ipv6 => Ipv6Addr::from((0x2001_0db8 << 96) | u128::from(bits)).into(),
            };
            address.try_into().unwrap()
        })
    }
}

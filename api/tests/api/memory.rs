// SPDX-License-Identifier: Apache-2.0
//! Something behind the mailbox: the core's own desired state, a range of addresses, and no kernel.
#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "a test double: what it unwraps it has made itself")]

use std::{
    collections::{BTreeSet, VecDeque},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use futures_util::StreamExt;
use slb_core::{
    board::Board,
    command::{Answer, Command, Failure, Mailbox, NewLoadBalancer, PeerCommand, Rejected, Request, Wish, mailbox},
    model::{Family, LoadBalancerId, Time, Vip},
    peer::PeerAddress,
    ports::PoolError,
    state::{Change, State},
    status::Report,
};

/// Failures that the next commands meet, one each.
pub type Faults = Arc<Mutex<VecDeque<Failure>>>;

/// Starts to answer, with `size` addresses from `first` on. Ends with the last mailbox.
pub fn start(first: Ipv4Addr, size: u32) -> (Mailbox, Arc<Board>, Faults) {
    let (mailbox, mut requests) = mailbox();
    let (board, faults) = (Arc::new(Board::default()), Faults::default());
    let mut memory =
        Memory { state: State::default(), board: Arc::clone(&board), faults: Arc::clone(&faults), first, size };
    tokio::spawn(async move {
        while let Some(Request { wish, answer, .. }) = requests.next().await {
            drop(answer.send(match wish {
                Wish::LoadBalancer(command) => memory.carry_out(command),
                Wish::Peer(command) => memory.change_peers(command),
            }));
        }
    });
    (mailbox, board, faults)
}

struct Memory {
    state: State,
    board: Arc<Board>,
    faults: Faults,
    first: Ipv4Addr,
    size: u32,
}

impl Memory {
    fn change_peers(&mut self, command: PeerCommand) -> Result<Answer, Failure> {
        if let Some(fault) = self.faults.lock().unwrap().pop_front() {
            return Err(fault);
        }
        let routing = self.board.routing().ok_or(Rejected::NoRouting)?;
        let is_there = |address: PeerAddress| routing.peers().iter().any(|status| status.peer.address == address);
        match command {
            PeerCommand::Add(peer) if is_there(peer.address) => Err(Rejected::PeerExists(peer.address).into()),
            PeerCommand::Add(peer) => {
                routing.add(&peer);
                Ok(Answer::Peer(peer.address))
            }
            PeerCommand::Remove(address) if is_there(address) => {
                routing.remove(address);
                Ok(Answer::Gone)
            }
            PeerCommand::Remove(address) => Err(Rejected::UnknownPeer(address).into()),
        }
    }

    fn carry_out(&mut self, command: Command) -> Result<Answer, Failure> {
        if let Some(fault) = self.faults.lock().unwrap().pop_front() {
            return Err(fault);
        }
        match command {
            Command::Create(new) => {
                let vip = self.vip_for(&new)?;
                let change = self.state.create(new, vip, &BTreeSet::new())?;
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

    fn post(&mut self, change: Change) -> Option<Arc<slb_core::model::LoadBalancer>> {
        change.after.inspect(|after| {
            self.board.post(Arc::clone(after));
            let backends = after.backends().iter().map(|backend| (backend.id, Ok(()))).collect();
            self.board.report(after.id, Report { programmed: Ok(()), advertised: Ok(()), backends });
        })
    }

    fn erase(&mut self, id: LoadBalancerId) {
        self.state.erase(id);
        self.board.remove(id);
    }

    fn vip_for(&self, new: &NewLoadBalancer) -> Result<Vip, Failure> {
        let pool = || format!("{} and {} more", self.first, self.size - 1);
        let first = u32::from(self.first);
        let mut range = (first..first + self.size).map(|bits| Vip::try_from(Ipv4Addr::from(bits)).unwrap());
        let vip = match new.vip.vip() {
            Some(wanted) => range
                .any(|vip| vip == wanted)
                .then_some(wanted)
                .ok_or_else(|| PoolError::Outside { wanted, pool: pool() }),
            None => range.find(|vip| !self.state.holds(*vip)).ok_or_else(|| PoolError::Exhausted {
                family: Family::Ipv4,
                pool: pool(),
                held: u64::from(self.size),
                avoided: 0,
            }),
        };
        vip.map_err(Failure::Pool)
    }
}

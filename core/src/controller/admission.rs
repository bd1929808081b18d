// SPDX-License-Identifier: Apache-2.0
//! Admission: a creation gets an address, and the network is asked whether some other host has it, before anything else happens.
//! A pool may take its time, and so do probes: these inquiries run side by side and hold up nobody else.

use std::{
    future::Future,
    pin::{Pin, pin},
    time::Instant,
};

use futures_channel::oneshot;
use futures_util::{FutureExt, StreamExt};
use tracing::{Span, warn};

use super::{Controller, World, round::Ready};
use crate::{
    checker::{Checker, Transition},
    command::{Answer, Command, Failure, NewLoadBalancer, Rejected, Request, Wish},
    errors::Shared,
    model::{LoadBalancerId, Vip},
    ports::{Advertiser, Cause, Pool, PoolError, Probe},
};

/// Why an address is set aside.
const ANOTHERS: &str = "the address of another program's service";

/// Who waits for an answer, and the span of log lines about it.
pub(super) struct Asker {
    pub(super) span: Span,
    pub(super) answer: oneshot::Sender<Result<Answer, Failure>>,
}

impl Asker {
    /// Whoever asked may have gone; the wish stands all the same.
    pub(super) fn answer(self, answer: Result<Answer, Failure>) {
        drop(self.answer.send(answer));
    }
}

/// A creation that waits for an address, or for the probe of it.
pub(super) struct Waiting {
    new: NewLoadBalancer,
    asker: Asker,
}

/// What an inquiry or a check has found out.
pub struct Learned(Outcome);

enum Outcome {
    /// What the pool had for a creation.
    Acquired(Box<Waiting>, Result<Vip, PoolError>),
    /// What a probe of a VIP found.
    Probed(Vip, Result<Probe, Cause>),
    /// Backends that are out, or back.
    Standing(Vec<Transition>),
}

pub(super) type Inquiry = Pin<Box<dyn Future<Output = Learned> + Send>>;

impl<W: World> Controller<W> {
    /// Takes requests in and carries out those that need no probe.
    pub async fn handle(&mut self, requests: Vec<Request>, now: Instant) {
        for Request { wish, span, answer } in requests {
            let asker = Asker { span, answer };
            match wish {
                Wish::LoadBalancer(command) => self.admit(command, asker, now).await,
                Wish::Peer(command) => asker.answer(self.change_peers(command).await),
            }
        }
        self.run_queue(now).await;
    }

    /// Waits for an inquiry to end, or for a backend to fail or come back. Dropping the future loses nothing: both stay where they are.
    pub async fn next_learned(&mut self) -> Learned {
        let checker = self.drivers.checker.next().map(|transitions| Learned(Outcome::Standing(transitions)));
        let inquiry = async {
            match self.inquiries.next().await {
                Some(learned) => learned,
                None => std::future::pending().await,
            }
        };
        futures_util::future::select(pin!(checker), pin!(inquiry)).await.factor_first().0
    }

    /// Goes on with the creations whose inquiry has ended, with all that have ended by now.
    pub async fn learned(&mut self, learned: Learned, now: Instant) {
        self.conclude(learned, now).await;
        while let Some(Some(learned)) = self.inquiries.next().now_or_never() {
            self.conclude(learned, now).await;
        }
        self.run_queue(now).await;
    }

    /// Finds the VIP that a command is about; for a creation, finds it a VIP.
    pub(super) async fn admit(&mut self, command: Command, asker: Asker, now: Instant) {
        let id = match command {
            Command::Create(new) => return self.admit_creation(new, asker, now).await,
            Command::Update(id, _)
            | Command::Delete(id)
            | Command::AddBackends(id, _)
            | Command::ReplaceBackends(id, _)
            | Command::UpdateBackend(id, ..)
            | Command::RemoveBackend(id, _)
            | Command::Drain(id, ..)
            | Command::Undrain(id, _) => id,
        };
        match self.vip_of(id) {
            Some(vip) => self.queue.push_back(Ready { command, vip, asker }),
            None => asker.answer(Err(Rejected::UnknownLoadBalancer(id).into())),
        }
    }

    fn vip_of(&self, id: LoadBalancerId) -> Option<Vip> {
        self.state.get(id).map(|load_balancer| load_balancer.endpoint.vip)
    }

    async fn admit_creation(&mut self, new: NewLoadBalancer, asker: Asker, now: Instant) {
        let mut next = Some(Waiting { new, asker });
        while let Some(creation) = next.take() {
            let Some(creation) = self.without_pool(creation).await else { return };
            let mut acquiring = Box::pin(self.drivers.pool.acquire(creation.new.vip, self.avoid.all()));
            match (&mut acquiring).now_or_never() {
                Some(found) => next = self.acquired(creation, found, now).await,
                None => {
                    if let Some(wanted) = creation.new.vip.vip() {
                        self.wanted.insert(wanted, Vec::new());
                    }
                    self.inquiries.push(Box::pin(
                        acquiring.map(move |found| Learned(Outcome::Acquired(Box::new(creation), found))),
                    ));
                }
            }
        }
    }

    /// Settles a creation on a VIP that somebody has or waits for already; returns any other.
    async fn without_pool(&mut self, creation: Waiting) -> Option<Waiting> {
        let Some(vip) = creation.new.vip.vip() else { return Some(creation) };
        let (protocol, ranges) = (creation.new.protocol, creation.new.listen.ranges());
        if let Err(rejected) = self.state.check_ports(vip, protocol, &ranges, None) {
            creation.asker.answer(Err(rejected.into()));
        } else if let Some(others) = self.waiting.get_mut(&vip).or_else(|| self.wanted.get_mut(&vip)) {
            others.push(creation);
        } else if self.state.holds(vip) {
            let Waiting { new, asker } = creation;
            match self.foreign_service(vip, protocol, &new.listen).await {
                Ok(None) => self.queue.push_back(Ready { command: Command::Create(new), vip, asker }),
                Ok(Some(endpoint)) => asker.answer(Err(Failure::Foreign(endpoint))),
                Err(failure) => asker.answer(Err(failure)),
            }
        } else {
            return Some(creation);
        }
        None
    }

    /// Asks the network about an address from the pool, unless a service is on it already. Returns a creation that needs another one.
    async fn acquired(&mut self, creation: Waiting, found: Result<Vip, PoolError>, now: Instant) -> Option<Waiting> {
        let vip = match found {
            Ok(vip) => vip,
            Err(error) => {
                creation.asker.answer(Err(Failure::Pool(error)));
                return None;
            }
        };
        let failure = match self.foreign_service(vip, creation.new.protocol, &creation.new.listen).await {
            Ok(None) => {
                self.acquired.insert(vip);
                let probe = self.drivers.advertiser.probe(vip);
                self.inquiries.push(Box::pin(probe.map(move |found| Learned(Outcome::Probed(vip, found)))));
                self.waiting.entry(vip).or_default().push(creation);
                return None;
            }
            Ok(Some(endpoint)) => {
                self.give_back(vip);
                self.avoid.set_aside(vip, ANOTHERS.to_owned(), now);
                if creation.new.vip.vip().is_none() {
                    return Some(creation);
                }
                Failure::Foreign(endpoint)
            }
            Err(failure) => {
                self.give_back(vip);
                failure
            }
        };
        creation.asker.answer(Err(failure));
        None
    }

    async fn conclude(&mut self, Learned(outcome): Learned, now: Instant) {
        match outcome {
            Outcome::Acquired(creation, found) => self.conclude_acquisition(*creation, found, now).await,
            Outcome::Probed(vip, found) => self.conclude_probe(vip, found, now).await,
            Outcome::Standing(transitions) => self.standing_changed(transitions, now).await,
        }
    }

    /// The pool took its time. Others that want the same address had to wait for it, too.
    async fn conclude_acquisition(&mut self, creation: Waiting, found: Result<Vip, PoolError>, now: Instant) {
        let others = creation.new.vip.vip().and_then(|wanted| self.wanted.remove(&wanted)).unwrap_or_default();
        let next = self.acquired(creation, found, now).await;
        for Waiting { new, asker } in next.into_iter().chain(others) {
            self.admit_creation(new, asker, now).await;
        }
    }

    async fn conclude_probe(&mut self, vip: Vip, found: Result<Probe, Cause>, now: Instant) {
        let waiting = self.waiting.remove(&vip).unwrap_or_default();
        let failure: Box<dyn Fn() -> Failure + Send> = match found {
            Ok(Probe::Free) => return self.free(vip, waiting, now).await,
            Ok(Probe::InUse { holder }) => {
                warn!(%vip, %holder, "address is in use on the network: set aside");
                self.avoid.set_aside(vip, format!("in use on the network by {holder}"), now);
                Box::new(move || Failure::AddressInUse { vip, holder: holder.clone() })
            }
            Err(cause) => {
                let cause = Shared::from(cause);
                let failure = move || Failure::Ask { doing: format!("probe {vip}"), cause: cause.clone().into() };
                for Waiting { asker, .. } in waiting {
                    asker.answer(Err(failure()));
                }
                return self.give_back(vip);
            }
        };
        self.give_back(vip);
        for Waiting { new, asker } in waiting {
            match new.vip.vip() {
                Some(_) => asker.answer(Err(failure())),
                None => self.admit_creation(new, asker, now).await,
            }
        }
    }

    /// Nobody on the network has the VIP. A service on it that came meanwhile is another program's.
    async fn free(&mut self, vip: Vip, waiting: Vec<Waiting>, now: Instant) {
        for Waiting { new, asker } in waiting {
            match self.foreign_service(vip, new.protocol, &new.listen).await {
                Ok(None) => self.queue.push_back(Ready { command: Command::Create(new), vip, asker }),
                Ok(Some(endpoint)) if new.vip.vip().is_some() => asker.answer(Err(Failure::Foreign(endpoint))),
                Ok(Some(_)) => {
                    self.avoid.set_aside(vip, ANOTHERS.to_owned(), now);
                    Box::pin(self.admit_creation(new, asker, now)).await;
                }
                Err(failure) => asker.answer(Err(failure)),
            }
        }
    }

    /// Gives an address back to the pool.
    pub(super) fn give_back(&mut self, vip: Vip) {
        self.acquired.remove(&vip);
        self.drivers.pool.release(vip);
    }
}

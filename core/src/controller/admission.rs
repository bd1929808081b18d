// SPDX-License-Identifier: Apache-2.0
//! Admission: a creation gets an address, and the network is asked whether some other host has it, before anything else happens.
//! Probes run side by side and hold up nobody else.

use std::{future::Future, pin::Pin, time::Instant};

use futures_channel::oneshot;
use futures_util::{FutureExt, StreamExt};
use tracing::{Span, warn};

use super::{Controller, World, round::Ready};
use crate::{
    command::{Answer, Command, Failure, NewLoadBalancer, Rejected, Request, Wish},
    errors::{Chain, Shared},
    model::{Endpoint, LoadBalancerId, Vip},
    ports::{Advertiser, Cause, Dataplane, Pool, Probe},
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

/// A creation that waits for its probe.
pub(super) struct Waiting {
    new: NewLoadBalancer,
    asker: Asker,
}

/// A VIP with what a probe of it found.
pub struct Probed {
    vip: Vip,
    found: Result<Probe, Cause>,
}

pub(super) type Probing = Pin<Box<dyn Future<Output = Probed> + Send>>;

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

    /// Waits for a probe to finish; for ever if none is under way. Dropping the future loses nothing: the probes stay where they are.
    pub async fn next_probed(&mut self) -> Probed {
        match self.probes.next().await {
            Some(probed) => probed,
            None => std::future::pending().await,
        }
    }

    /// Goes on with the creations whose probe has finished, with all that have finished by now.
    pub async fn probed(&mut self, probed: Probed, now: Instant) {
        self.conclude(probed, now).await;
        while let Some(Some(probed)) = self.probes.next().now_or_never() {
            self.conclude(probed, now).await;
        }
        self.run_queue(now).await;
    }

    /// Finds the VIP that a command is about; for a creation, finds it a VIP.
    pub(super) async fn admit(&mut self, command: Command, asker: Asker, now: Instant) {
        let id = match command {
            Command::Create(new) => return self.admit_creation(new, asker, now).await,
            Command::Update(id, _)
            | Command::Delete(id)
            | Command::AddBackend(id, _)
            | Command::UpdateBackend(id, ..)
            | Command::RemoveBackend(id, _) => id,
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
        if let Some(vip) = new.vip {
            if let Err(rejected) = self.state.check_endpoint(Endpoint { vip, port: new.port }) {
                return asker.answer(Err(rejected.into()));
            }
            if let Some(waiting) = self.waiting.get_mut(&vip) {
                return waiting.push(Waiting { new, asker });
            }
        }
        match self.find_vip(&new, now).await {
            Ok(Found::Ours(vip)) => self.queue.push_back(Ready { command: Command::Create(new), vip, asker }),
            Ok(Found::ToProbe(vip)) => {
                let probe = self.drivers.advertiser.probe(vip);
                self.probes.push(Box::pin(probe.map(move |found| Probed { vip, found })));
                self.waiting.entry(vip).or_default().push(Waiting { new, asker });
            }
            Err(failure) => asker.answer(Err(failure)),
        }
    }

    /// Whether the data plane has a service there already.
    async fn is_served(&mut self, endpoint: Endpoint) -> Result<bool, Failure> {
        let failed = |cause| Failure::Ask { doing: format!("look for a service on {endpoint}"), cause };
        self.drivers.dataplane.exists(endpoint).await.map_err(failed)
    }

    async fn find_vip(&mut self, new: &NewLoadBalancer, now: Instant) -> Result<Found, Failure> {
        loop {
            let held = new.vip.filter(|vip| self.state.holds(*vip));
            let vip = match held {
                Some(vip) => vip,
                None => self.drivers.pool.acquire(new.vip, self.avoid.all()).await.map_err(Failure::Pool)?,
            };
            let endpoint = Endpoint { vip, port: new.port };
            let is_served = self.is_served(endpoint).await;
            if held.is_some() {
                return if is_served? { Err(Failure::Foreign(endpoint)) } else { Ok(Found::Ours(vip)) };
            }
            match is_served {
                Ok(false) => {
                    self.acquired.insert(vip);
                    return Ok(Found::ToProbe(vip));
                }
                Ok(true) => {
                    self.give_back(vip).await;
                    self.avoid.set_aside(vip, ANOTHERS.to_owned(), now);
                    if new.vip.is_some() {
                        return Err(Failure::Foreign(endpoint));
                    }
                }
                Err(failure) => {
                    self.give_back(vip).await;
                    return Err(failure);
                }
            }
        }
    }

    async fn conclude(&mut self, Probed { vip, found }: Probed, now: Instant) {
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
                return self.give_back(vip).await;
            }
        };
        self.give_back(vip).await;
        for Waiting { new, asker } in waiting {
            match new.vip {
                Some(_) => asker.answer(Err(failure())),
                None => self.admit_creation(new, asker, now).await,
            }
        }
    }

    /// Nobody on the network has the VIP. A service on it that came meanwhile is another program's.
    async fn free(&mut self, vip: Vip, waiting: Vec<Waiting>, now: Instant) {
        for Waiting { new, asker } in waiting {
            let endpoint = Endpoint { vip, port: new.port };
            match self.is_served(endpoint).await {
                Ok(false) => self.queue.push_back(Ready { command: Command::Create(new), vip, asker }),
                Ok(true) if new.vip.is_some() => asker.answer(Err(Failure::Foreign(endpoint))),
                Ok(true) => {
                    self.avoid.set_aside(vip, ANOTHERS.to_owned(), now);
                    Box::pin(self.admit_creation(new, asker, now)).await;
                }
                Err(failure) => asker.answer(Err(failure)),
            }
        }
    }

    /// Gives back an address that was taken for a creation that comes to nothing.
    pub(super) async fn give_back(&mut self, vip: Vip) {
        self.acquired.remove(&vip);
        if let Err(cause) = self.drivers.pool.release(vip).await {
            warn!(%vip, error = %Chain(&*cause), "could not give the address back to its pool");
        }
    }
}

enum Found {
    /// A load-balancer on another port holds it: no need to ask the network.
    Ours(Vip),
    /// Fresh from the pool.
    ToProbe(Vip),
}

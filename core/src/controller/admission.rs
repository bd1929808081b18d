// SPDX-License-Identifier: Apache-2.0
//! Admission: a creation gets its addresses, and the network is asked whether some other host has them, before anything else happens.
//! A pool may take its time, and so do probes: these inquiries run side by side and hold up nobody else.
//!
//! ```text
//!  find ──▶ (pool) ──▶ probe each ──▶ (network) ──▶ look for services ──▶ queue
//!   ▲                                    │ in use            │ another program's
//!   └────────────────────────────────────┴───────────────────┘ unless that address was wanted
//! ```
//! A creation has all of its addresses or none: what it leaves when it fails is given back at the end of the queue.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    future::Future,
    pin::{Pin, pin},
    time::Instant,
};

use futures_channel::oneshot;
use futures_util::{FutureExt, StreamExt};
use tracing::{Span, warn};

use super::{
    Controller, World,
    creation::{Asked, Creation, Number, Purpose},
    declare::Declaration,
    round::Ready,
};
use crate::{
    checker::{Checker, Transition},
    command::{Answer, Command, Failure, NewLoadBalancer, Rejected, Request, Terms, Wish},
    errors::Shared,
    idempotency::{Claim, Standing},
    model::{LoadBalancerId, Origin, Vip, Vips},
    ports::{Advertiser, Cause, Pool, PoolError, Probe, Wanted},
    tag::Expected,
};

/// Why an address is set aside.
pub(super) const ANOTHERS: &str = "the address of another program's service";
/// Why an address is not given to a load-balancer that would take any.
pub(super) const NAMED: &str = "named by another load-balancer that is declared";

/// Who waits for an answer, what is taken for granted there, the key that it is asked under, and the span of log lines about it.
pub(super) struct Asker {
    pub(super) expected: Expected,
    pub(super) claim: Option<Claim>,
    pub(super) span: Span,
    pub(super) answer: oneshot::Sender<Result<Answer, Failure>>,
}

impl Asker {
    /// Whoever asked may have gone; the wish stands all the same.
    pub(super) fn answer(self, answer: Result<Answer, Failure>) {
        drop(self.answer.send(answer));
    }
}

/// What an inquiry or a check has found out.
pub struct Learned(Outcome);

enum Outcome {
    /// What the pool had for a creation.
    Acquired(Number, Wanted, Result<Vip, PoolError>),
    /// What a probe of a VIP found.
    Probed(Vip, Result<Probe, Cause>),
    /// Backends that are out, or back.
    Standing(Vec<Transition>),
}

pub(super) type Inquiry = Pin<Box<dyn Future<Output = Learned> + Send>>;

/// How far a creation has come.
enum Progress {
    /// It has all of its VIPs, and may use them.
    Ready(Vips),
    /// It waits for the pool, or for probes of these VIPs.
    Waits(Vec<Vip>),
}

impl<W: World> Controller<W> {
    /// Takes requests in and carries out those that need no probe.
    pub async fn handle(&mut self, requests: Vec<Request>, now: Instant) {
        for Request { wish, terms, span, answer } in requests {
            let Terms { rehearse, expected, key } = terms;
            let mut asker = Asker { expected, claim: None, span, answer };
            match key.filter(|_| !rehearse).map(|keyed| self.claim(keyed)) {
                None => {}
                Some(Ok(Standing::New(claim))) => asker.claim = Some(claim),
                Some(Ok(Standing::Answered(answer))) => {
                    asker.answer(Ok(answer));
                    continue;
                }
                Some(Err(rejected)) => {
                    asker.answer(Err(rejected.into()));
                    continue;
                }
            }
            match wish {
                wish if rehearse => {
                    let rehearsed = self.rehearse(wish, &asker.expected).await;
                    asker.answer(rehearsed);
                }
                Wish::LoadBalancer(command) => self.admit(command, asker, now).await,
                Wish::Peer(command) => {
                    let changed = self.change_peers(command, &asker).await;
                    asker.answer(changed);
                }
                Wish::Declare(all) => self.declare(all, asker, now).await,
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

    /// Finds the VIPs that a command is about; for a creation, finds it some.
    pub(super) async fn admit(&mut self, command: Command, asker: Asker, now: Instant) {
        let id = command.load_balancer();
        if let Command::Create(new) = command {
            if let Err(rejected) = asker.expected.check(|| None) {
                return asker.answer(Err(rejected.into()));
            }
            self.last_creation += 1;
            return self.advance(self.last_creation, Creation::new(new, Purpose::Request(asker)), now).await;
        }
        match self.vips_of(id) {
            Ok(vips) => self.queue.push_back(Ready { command, vips, asker }),
            Err(rejected) => asker.answer(Err(rejected.into())),
        }
    }

    /// Those of a load-balancer that requests may change.
    pub(super) fn vips_of(&self, id: LoadBalancerId) -> Result<Vips, Rejected> {
        match self.state.get(id).map(|load_balancer| (load_balancer.origin, load_balancer.vips)) {
            Some((Origin::File, _)) if self.is_declared => Err(Rejected::OfFile(id)),
            Some((_, vips)) => Ok(vips),
            None => Err(Rejected::UnknownLoadBalancer(id)),
        }
    }

    /// Takes a creation as far as it goes: into the queue, or to where it waits.
    pub(super) async fn advance(&mut self, number: Number, mut creation: Creation, now: Instant) {
        match self.progress(number, &mut creation, now).await {
            Ok(Progress::Ready(vips)) => {
                let Creation { new, purpose, .. } = creation;
                match purpose {
                    Purpose::Request(asker) => {
                        self.queue.push_back(Ready { command: Command::Create(new), vips, asker });
                    }
                    Purpose::Part { declaration, index, .. } => self.part_ready(declaration, index, vips),
                }
            }
            Ok(Progress::Waits(vips)) => {
                for vip in vips {
                    self.waiting.entry(vip).or_default().insert(number);
                }
                self.creations.insert(number, creation);
            }
            Err(failure) => self.refuse(creation.purpose, failure),
        }
    }

    fn refuse(&mut self, purpose: Purpose, failure: Failure) {
        match purpose {
            Purpose::Request(asker) => asker.answer(Err(failure)),
            Purpose::Part { declaration, index, .. } => self.part_failed(declaration, index, failure),
        }
    }

    /// Finds the VIPs that are to come, has the network asked for all of them side by side, and looks for services of other programs at last:
    /// they may have come meanwhile.
    async fn progress(&mut self, number: Number, creation: &mut Creation, now: Instant) -> Result<Progress, Failure> {
        if creation.is_with_pool {
            return Ok(Progress::Waits(Vec::new()));
        }
        loop {
            while let Some(wanted) = creation.next_wanted() {
                if let Some(waits) = self.find(number, creation, wanted, now).await? {
                    return Ok(waits);
                }
            }
            let asked: Vec<Vip> = creation.vips().filter(|vip| self.is_asked_for(*vip)).collect();
            if !asked.is_empty() {
                return Ok(Progress::Waits(asked));
            }
            for vip in creation.vips().collect::<Vec<_>>() {
                if self.is_lost(vip) {
                    creation.leave(vip);
                } else {
                    self.pass_over_served(creation, vip, now).await?;
                }
            }
            if let Some(vips) = creation.all_vips() {
                return Ok(Progress::Ready(vips));
            }
        }
    }

    /// Finds a VIP for a creation, on which there is no service yet. `Some` if it has to wait for it.
    async fn find(
        &mut self,
        number: Number,
        creation: &mut Creation,
        wanted: Wanted,
        now: Instant,
    ) -> Result<Option<Progress>, Failure> {
        if let Some(vip) = wanted.vip() {
            if !creation.purpose.replaces() {
                self.state.check_ports(vip, creation.new.protocol, &creation.new.listen.ranges(), None)?;
            }
            if self.wanted.contains(&vip) {
                return Ok(Some(Progress::Waits(vec![vip])));
            }
            if !self.is_lost(vip) {
                creation.put(wanted, vip);
                return Ok(None);
            }
        }
        let mut avoid = Cow::Borrowed(self.avoid.all());
        if wanted.vip().is_none() {
            for named in self.declaration.iter().flat_map(|declaration| declaration.kept_from(&creation.purpose)) {
                avoid.to_mut().insert(named.address(), NAMED.to_owned());
            }
        }
        let mut acquiring = Box::pin(self.drivers.pool.acquire(wanted, &avoid));
        match (&mut acquiring).now_or_never() {
            Some(found) => self.acquired(creation, wanted, found, now).await.map(|()| None),
            None => {
                self.wanted.extend(wanted.vip());
                creation.is_with_pool = true;
                let learned = move |found| Learned(Outcome::Acquired(number, wanted, found));
                self.inquiries.push(Box::pin(acquiring.map(learned)));
                Ok(Some(Progress::Waits(Vec::new())))
            }
        }
    }

    /// Gives a creation the address that the pool had for it, unless a service is on it already.
    async fn acquired(
        &mut self,
        creation: &mut Creation,
        wanted: Wanted,
        found: Result<Vip, PoolError>,
        now: Instant,
    ) -> Result<(), Failure> {
        let vip = found.map_err(Failure::Pool)?;
        self.acquired.insert(vip, Asked::NotYet);
        creation.put(wanted, vip);
        self.pass_over_served(creation, vip, now).await
    }

    /// Leaves a VIP on which another load-balancer has one of the ports by now, or another program a service.
    async fn pass_over_served(&mut self, creation: &mut Creation, vip: Vip, now: Instant) -> Result<(), Failure> {
        if creation.purpose.replaces() && self.state.holds(vip) {
            return Ok(());
        }
        let NewLoadBalancer { protocol, listen, .. } = &creation.new;
        if let Err(taken) = self.state.check_ports(vip, *protocol, &listen.ranges(), None) {
            return if creation.leave(vip) { Ok(()) } else { Err(taken.into()) };
        }
        let Some(foreign) = self.foreign_service(vip, *protocol, listen).await? else { return Ok(()) };
        if !creation.leave(vip) {
            return Err(Failure::Foreign(foreign));
        }
        self.avoid.set_aside(vip, ANOTHERS.to_owned(), now);
        Ok(())
    }

    /// Whether the network is being asked for the VIP; it is from now on, if it is to be asked at all.
    fn is_asked_for(&mut self, vip: Vip) -> bool {
        let Some(asked) = self.acquired.get_mut(&vip) else { return false };
        if *asked == Asked::NotYet {
            *asked = Asked::Now;
            let probe = self.drivers.advertiser.probe(vip);
            self.inquiries.push(Box::pin(probe.map(move |found| Learned(Outcome::Probed(vip, found)))));
        }
        *asked == Asked::Now
    }

    /// Whether nobody has the VIP: neither a load-balancer nor a creation.
    pub(super) fn is_lost(&self, vip: Vip) -> bool {
        !self.state.holds(vip) && !self.acquired.contains_key(&vip)
    }

    /// Whether a load-balancer has the VIP, or creations do and the network has been asked for it.
    pub(super) fn is_settled(&self, vip: Vip) -> bool {
        self.state.holds(vip) || self.acquired.get(&vip) == Some(&Asked::Free)
    }

    async fn conclude(&mut self, Learned(outcome): Learned, now: Instant) {
        match outcome {
            Outcome::Acquired(number, wanted, found) => self.conclude_acquisition(number, wanted, found, now).await,
            Outcome::Probed(vip, found) => self.conclude_probe(vip, found, now).await,
            Outcome::Standing(transitions) => self.standing_changed(transitions, now).await,
        }
    }

    /// The pool took its time. Others that want the same address had to wait for it, too.
    async fn conclude_acquisition(
        &mut self,
        number: Number,
        wanted: Wanted,
        found: Result<Vip, PoolError>,
        now: Instant,
    ) {
        let named = wanted.vip().filter(|vip| self.wanted.remove(vip));
        match (self.creations.remove(&number), found) {
            (Some(mut creation), found) => {
                creation.is_with_pool = false;
                match self.acquired(&mut creation, wanted, found, now).await {
                    Ok(()) => self.advance(number, creation, now).await,
                    Err(failure) => self.refuse(creation.purpose, failure),
                }
            }
            // It could not have its other VIP.
            (None, Ok(vip)) => drop(self.acquired.insert(vip, Asked::NotYet)),
            (None, Err(_)) => {}
        }
        for (number, creation) in named.map(|vip| self.wakened(vip)).unwrap_or_default() {
            self.advance(number, creation, now).await;
        }
    }

    async fn conclude_probe(&mut self, vip: Vip, found: Result<Probe, Cause>, now: Instant) {
        let waiting = self.wakened(vip);
        match found {
            Ok(Probe::Free) => {
                self.acquired.insert(vip, Asked::Free);
                for (number, creation) in waiting {
                    self.advance(number, creation, now).await;
                }
            }
            Ok(Probe::InUse { holder }) => {
                warn!(%vip, %holder, "address is in use on the network: set aside");
                self.avoid.set_aside(vip, format!("in use on the network by {holder}"), now);
                self.give_back(vip);
                for (number, mut creation) in waiting {
                    if creation.leave(vip) {
                        self.advance(number, creation, now).await;
                    } else {
                        self.refuse(creation.purpose, Failure::AddressInUse { vip, holder: holder.clone() });
                    }
                }
            }
            Err(cause) => {
                let cause = Shared::from(cause);
                for (_, Creation { purpose, .. }) in waiting {
                    let (doing, cause) = (format!("probe {vip}"), cause.clone().into());
                    self.refuse(purpose, Failure::Ask { doing, cause });
                }
                self.give_back(vip);
            }
        }
    }

    /// The creations that wait for the VIP, in their order.
    fn wakened(&mut self, vip: Vip) -> Vec<(Number, Creation)> {
        let numbers = self.waiting.remove(&vip).unwrap_or_default();
        numbers.into_iter().filter_map(|number| self.creations.remove(&number).map(|found| (number, found))).collect()
    }

    /// Gives an address back to the pool.
    pub(super) fn give_back(&mut self, vip: Vip) {
        self.acquired.remove(&vip);
        self.drivers.pool.release(vip);
    }

    /// Gives back the addresses that were acquired and that no creation has any more. What the network is asked for is kept until it has
    /// been, for whoever wants the same.
    pub(super) fn give_back_unused(&mut self) {
        let mut used: BTreeSet<Vip> = self.creations.values().flat_map(Creation::vips).collect();
        used.extend(self.declaration.iter().flat_map(Declaration::vips));
        let is_unused = |(vip, asked): &(&Vip, &Asked)| **asked != Asked::Now && !used.contains(vip);
        let unused: Vec<Vip> = self.acquired.iter().filter(is_unused).map(|(vip, _)| *vip).collect();
        unused.into_iter().for_each(|vip| self.give_back(vip));
    }
}

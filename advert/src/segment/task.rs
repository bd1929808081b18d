// SPDX-License-Identifier: Apache-2.0
//! The task that owns socket and machine. Nobody else speaks the protocol on the adapter for VIPs.
//!
//! ```text
//! Announcer::apply, ::probe ──▶ commands ─┐
//!                 PacketSocket::receive ──┼─▶ Machine ─▶ turn: frames, answers, log lines
//!                     Machine::deadline ──┘
//! ```

use std::{collections::BTreeMap, io, sync::Arc, time::Instant};

use slb_core::{
    events::{Event, Journal},
    model::Vip,
    ports::{Probe, Verdict},
    step::AdvertStep,
};
use tokio::{
    select,
    sync::{mpsc::UnboundedReceiver, oneshot},
    time::sleep_until,
};
use tracing::{info, warn};

use super::{
    groups::Groups,
    machine::{Machine, Output},
    protocol::Heard,
    socket::PacketSocket,
    timing::Timing,
};
use crate::Error;

/// What the task is asked for. An answer that nobody waits for any more is dropped.
pub(super) enum Command {
    /// Carry out steps; one verdict each.
    Apply { steps: Vec<AdvertStep>, answer: oneshot::Sender<Vec<Verdict>> },
    /// Find out whether somebody has the address.
    Probe { vip: Vip, answer: Prober },
    /// Tell of conflicts here.
    Tell(Arc<Journal>),
}

type Prober = oneshot::Sender<Result<Probe, Error>>;

/// The task's state.
pub(super) struct Task {
    socket: PacketSocket,
    machine: Machine,
    /// Those that have to be listened to for the addresses that are probed.
    groups: Groups,
    /// Who waits for which probe.
    probers: BTreeMap<Vip, Vec<Prober>>,
    /// Whether the last frame could not be sent, or hearing failed since: it is logged when this changes.
    faulty: bool,
    /// Where conflicts are told.
    journal: Option<Arc<Journal>>,
}

impl Task {
    pub(super) fn new(socket: PacketSocket, timing: Timing) -> Self {
        let machine = Machine::new(timing, socket.protocol().forms_of_announcement(), Instant::now());
        Self { socket, machine, groups: Groups::default(), probers: BTreeMap::new(), faulty: false, journal: None }
    }

    /// Runs until nobody can send commands any more.
    pub(super) async fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        loop {
            let deadline = self.machine.deadline();
            select! {
                // Cancel-safe: a command is taken only if this arm runs.
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                // Cancel-safe: so is a frame.
                heard = self.socket.receive() => self.hear(heard),
                // Cancel-safe: the deadline is computed anew.
                () = sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => self.turn(),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        if let Err(error) = self.socket.past() {
            self.deaf(error);
        }
        match command {
            Command::Apply { steps, answer } => {
                let (mut works, now) = (false, Instant::now());
                let verdicts = steps.into_iter().map(|step| self.take(step, &mut works, now)).collect();
                self.turn();
                let _ = answer.send(verdicts);
            }
            Command::Probe { vip, answer } => match self.socket.check() {
                Ok(()) => {
                    self.probers.entry(vip).or_default().push(answer);
                    self.groups.join(vip, self.socket.index());
                    self.machine.probe(vip, Instant::now());
                    self.turn();
                }
                Err(error) => {
                    let _ = answer.send(Err(error));
                }
            },
            Command::Tell(journal) => self.journal = Some(journal),
        }
    }

    /// A step that is not applied changes nothing: a VIP that was advertised stays so. That the adapter works is found out once
    /// for all steps.
    fn take(&mut self, step: AdvertStep, works: &mut bool, now: Instant) -> Verdict {
        match step {
            AdvertStep::Advertise(vip) => match if *works { Ok(()) } else { self.socket.check() } {
                Ok(()) => {
                    *works = true;
                    self.machine.advertise(vip, now);
                    Verdict::Applied
                }
                Err(error) => error.verdict(),
            },
            AdvertStep::Withdraw(vip) => {
                self.machine.withdraw(vip);
                Verdict::Applied
            }
        }
    }

    fn hear(&mut self, heard: io::Result<Option<Heard>>) {
        match heard.and_then(|heard| Ok(heard.zip(Some(self.socket.mac()?)))) {
            Ok(Some((heard, own))) => self.machine.hear(heard, own, Instant::now()),
            Ok(None) => {}
            Err(error) => self.deaf(error),
        }
        self.turn();
    }

    /// Does all that is due.
    fn turn(&mut self) {
        self.listen();
        let now = Instant::now();
        while let Some(output) = self.machine.poll(now) {
            self.carry_out(output);
        }
        self.listen();
    }

    fn listen(&mut self) {
        if let Err(error) = self.socket.listen(self.machine.watch()) {
            self.deaf(error);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Probe(vip) => {
                let sent = self.probe(vip);
                if let Err(error) = sent {
                    self.abandon(vip, &error);
                }
            }
            Output::Announce(vip, form) => {
                let sent = self.announce(vip, form);
                self.note(sent);
            }
            Output::Free(vip) => self.answer(vip, || Ok(Probe::Free)),
            Output::InUse(vip, holder) => self.answer(vip, || Ok(Probe::InUse { holder: holder.to_string() })),
            Output::Conflict { vip, holder, claims } => {
                warn!(
                    %vip, adapter = self.socket.adapter(), %holder, claims,
                    "another host claims a VIP that is advertised here; the VIP is defended and kept",
                );
                if let Some(journal) = &self.journal {
                    journal.tell(Event::Conflict { vip, holder: holder.to_string() });
                }
            }
        }
    }

    fn probe(&self, vip: Vip) -> io::Result<()> {
        let packets = self.socket.protocol().probe(self.socket.mac()?, vip);
        packets.iter().try_for_each(|packet| self.socket.send(packet))
    }

    fn announce(&self, vip: Vip, form: usize) -> io::Result<()> {
        let packets = self.socket.protocol().announcement(self.socket.mac()?, vip);
        packets.get(form).map_or(Ok(()), |packet| self.socket.send(packet))
    }

    /// Who cannot hear cannot find an address free.
    fn deaf(&mut self, error: io::Error) {
        let probed: Vec<Vip> = self.probers.keys().copied().collect();
        for vip in probed {
            self.abandon(vip, &error);
        }
        self.note(Err(error));
    }

    fn abandon(&mut self, vip: Vip, error: &io::Error) {
        self.machine.abandon(vip);
        self.groups.leave(vip);
        for prober in self.probers.remove(&vip).unwrap_or_default() {
            let _ = prober.send(Err(self.socket.failed("probe", again(error))));
        }
    }

    fn answer(&mut self, vip: Vip, result: impl Fn() -> Result<Probe, Error>) {
        self.groups.leave(vip);
        for prober in self.probers.remove(&vip).unwrap_or_default() {
            let _ = prober.send(result());
        }
    }

    /// Logs that the protocol stopped or started to work, not each frame.
    fn note(&mut self, result: io::Result<()>) {
        let (adapter, protocol) = (self.socket.adapter(), self.socket.protocol());
        match &result {
            Ok(()) if self.faulty => info!(adapter, "{protocol} works again"),
            Err(error) if !self.faulty => {
                warn!(adapter, %error, "{protocol} does not work; VIPs are announced again when the link is back");
            }
            Ok(()) | Err(_) => {}
        }
        self.faulty = result.is_err();
    }
}

/// The same error once more: `io::Error` cannot be cloned.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

// SPDX-License-Identifier: Apache-2.0
//! The way to a task that speaks one protocol on an adapter.

use std::{future::Future, sync::Arc};

use slb_core::{
    events::Journal,
    model::Vip,
    ports::{Probe, Verdict},
    step::AdvertStep,
};
use tokio::sync::{
    mpsc::{self, UnboundedSender},
    oneshot,
};

use super::{
    protocol::Protocol,
    socket::PacketSocket,
    task::{Command, Task},
    timing::Timing,
};
use crate::Error;

/// Speaks one protocol on one adapter. A task does the work; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Announcer {
    adapter: String,
    protocol: Protocol,
    commands: UnboundedSender<Command>,
}

impl Announcer {
    /// Opens a packet socket on the adapter and starts the task. Within a tokio runtime.
    pub(super) fn open(adapter: &str, protocol: Protocol, timing: Timing) -> Result<Self, Error> {
        let socket = PacketSocket::open(adapter, protocol)?;
        let (commands, received) = mpsc::unbounded_channel();
        tokio::spawn(Task::new(socket, timing).run(received));
        Ok(Self { adapter: adapter.to_owned(), protocol, commands })
    }

    /// Has it tell of conflicts from now on.
    pub(super) fn tell(&self, journal: Arc<Journal>) {
        // A task that has ended has nothing to tell.
        let _ = self.commands.send(Command::Tell(journal));
    }

    pub(super) fn probe(&self, vip: Vip) -> impl Future<Output = Result<Probe, Error>> + Send + 'static {
        // Weak: a future that is kept does not keep the task.
        let commands = self.commands.downgrade();
        let ended = self.ended();
        async move {
            let (answer, answered) = oneshot::channel();
            // When the task has ended, the command is dropped and its answer with it.
            let _ = commands.upgrade().map(|commands| commands.send(Command::Probe { vip, answer }));
            answered.await.map_err(|_| ended)?
        }
    }

    pub(super) async fn apply(&self, steps: Vec<AdvertStep>) -> Vec<Verdict> {
        let (answer, answered) = oneshot::channel();
        let count = steps.len();
        // As above.
        let _ = self.commands.send(Command::Apply { steps, answer });
        answered.await.unwrap_or_else(|_| (0..count).map(|_| self.ended().verdict()).collect())
    }

    fn ended(&self) -> Error {
        Error::Ended { protocol: self.protocol, adapter: self.adapter.clone() }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Asks backends how they are: [`Checks`] is the core's `Checker`.
//!
//! ```text
//!  controller ── set ──▶ register ── what is new ──▶ engine ──▶ agenda: what is due
//!      ▲                                               │  ▲
//!      │                                               ▼  │ the answer
//!      └── next ─── board ◀── what changed ─────────── connects: TCP, without a task
//!                     │                                ask: a task for each other check that is under way
//!                     └── reports ──▶ readers
//! ```
//! Reading order: `register` (who asks what; pure) – `agenda` (what is due when; pure) – `engine` (one task that owns both the agenda and
//! what is on it) – `alarm` (when it wakes) – `board` (what has been found) – `connects` (connections that only have to stand) – `ask` (the questions, a room each) –
//! `failure` (what an answer can lack).
//!
//! All checks run on one thread of their own, with a runtime of their own: nobody else's work makes them late, and they make nobody late.
//! A check that waits costs a task; one that does not run costs an entry in a heap.

mod agenda;
mod alarm;
mod ask;
mod board;
mod connects;
mod engine;
mod failure;
mod limit;
mod register;

use std::{collections::BTreeMap, io, sync::Arc, thread};

use slb_core::{
    checker::{Beginning, Checker, Reports, Transition, Watch},
    model::LoadBalancerId,
};
use tokio::sync::mpsc::{self, UnboundedSender};

use self::{
    alarm::Alarm,
    ask::Asker,
    board::{Board, Record},
    engine::Engine,
    register::Register,
};

/// Checks backends on a thread of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct Checks {
    register: Register,
    board: Arc<Board>,
    orders: UnboundedSender<Vec<Arc<Record>>>,
}

/// Whether checks may run commands on this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commands {
    /// Such a check fails.
    #[default]
    Refused,
    /// They run as the user of this process, without its environment.
    Allowed,
}

impl Checks {
    /// Starts with nothing to check. Raises the limit of open files to what the process may have, since each check under way takes one.
    ///
    /// # Errors
    /// No thread, or no runtime: the machine is out of memory or of files.
    pub fn start(commands: Commands) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let board = Arc::new(Board::default());
        let (orders, new) = mpsc::unbounded_channel();
        let entered = runtime.enter();
        let engine = Engine::new(Arc::clone(&board), Asker::new(commands), limit::checks_at_a_time())?;
        let alarm = Alarm::new()?;
        drop(entered);
        thread::Builder::new().name("checks".to_owned()).spawn(move || {
            // What runs as a command of a check is not to have privileges of this process that its user has not. Kernels that know
            // none have nothing to clear.
            let _ = rustix::thread::clear_ambient_capability_set();
            // What the runtime spawned wakes each other without a system call; what it blocks on takes one each time.
            let engine = runtime.spawn(engine::run(engine, alarm, new));
            // It does not panic, and nobody aborts it.
            let _ = runtime.block_on(engine);
        })?;
        Ok(Self { register: Register::default(), board, orders })
    }

    /// What the checks have found, for readers.
    #[must_use]
    pub fn reports(&self) -> Arc<dyn Reports> {
        Arc::clone(&self.board) as Arc<dyn Reports>
    }
}

impl Checker for Checks {
    fn set(&mut self, owner: LoadBalancerId, watches: BTreeMap<Watch, Beginning>) {
        let change = self.register.set(owner, watches);
        if change.is_empty() {
            return;
        }
        let begun = self.board.change(change);
        // The engine lives as long as this sender.
        let _ = self.orders.send(begun);
    }

    async fn next(&mut self) -> Vec<Transition> {
        self.board.next().await
    }
}

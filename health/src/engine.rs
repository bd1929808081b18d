// SPDX-License-Identifier: Apache-2.0
//! Asks what is due, and books the answers.

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use slb_core::{checker::LastCheck, health::Health};
use tokio::{
    select,
    sync::{
        Semaphore,
        mpsc::{self, UnboundedReceiver, UnboundedSender},
    },
    time::sleep_until,
};

use crate::{
    agenda::{Agenda, next_in_place, place, together},
    ask::Asker,
    board::{Board, Record},
    failure::Failure,
};

/// What a timer of the runtime can tell apart: what is due within it begins now, rather than late.
const TICK: Duration = Duration::from_millis(1);
/// Answers that are booked before it is looked what is due.
const BATCH: usize = 64;

/// Something that is asked again and again.
struct Job {
    record: Arc<Record>,
    health: Health,
    is_new: bool,
}

/// A moment by both clocks: the one that times are shown by, and the one that does not jump.
#[derive(Clone, Copy)]
struct Moment {
    shown: SystemTime,
    counted: Instant,
}

impl Moment {
    fn now() -> Self {
        Self { shown: SystemTime::now(), counted: Instant::now() }
    }

    /// The moment at which it is so late.
    fn at(self, counted: Instant) -> Self {
        Self { shown: self.shown + (counted - self.counted), counted }
    }
}

/// A check that ended.
struct Done {
    job: Job,
    due: Instant,
    begun: Moment,
    ended: Instant,
    answer: Result<(), Failure>,
}

/// Runs until nobody can order any more.
pub(crate) async fn run(
    mut orders: UnboundedReceiver<Vec<Arc<Record>>>,
    board: Arc<Board>,
    asker: Arc<Asker>,
    at_a_time: usize,
) {
    let beginning = Instant::now();
    let mut agenda = Agenda::new(beginning);
    let slots = Arc::new(Semaphore::new(at_a_time));
    let (done, mut answers) = mpsc::unbounded_channel();
    let mut batch = Vec::with_capacity(BATCH);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    loop {
        select! {
            // Cancel-safe: a message is taken out or not.
            order = orders.recv() => {
                let Some(records) = order else { return };
                let now = Instant::now();
                records.into_iter().for_each(|record| agenda.put_new(now, Job::new(record)));
                agenda.sweep(|job| job.record.has_ended());
            }
            // Cancel-safe: messages are taken out or not. This end has a sender, so it never ends.
            _ = answers.recv_many(&mut batch, BATCH) => {
                for answer in batch.drain(..) {
                    let (at, job) = book(answer, &board, beginning, dice.roll());
                    agenda.put(at, job);
                }
            }
            // Cancel-safe: nothing is lost with a timer that is set anew.
            () = until(agenda.next()) => {
                let now = Moment::now();
                while let Some((due, job)) = agenda.take(now.counted + TICK) {
                    if !job.record.has_ended() {
                        tokio::spawn(check(job, due, now, Arc::clone(&asker), Arc::clone(&slots), done.clone()));
                    }
                }
            }
        }
    }
}

impl Job {
    fn new(record: Arc<Record>) -> Self {
        let health = record.health();
        Self { record, health, is_new: true }
    }
}

/// For as long as nothing is due there is nothing to wait for.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until((due - TICK).into()).await,
        None => pending().await,
    }
}

/// Asks once. The time that it has begins when there is a slot.
async fn check(
    job: Job,
    due: Instant,
    now: Moment,
    asker: Arc<Asker>,
    slots: Arc<Semaphore>,
    done: UnboundedSender<Done>,
) {
    let _slot = slots.acquire().await;
    let begun = now.at(Instant::now());
    let answer = asker.ask(&job.record.watch, begun.counted).await;
    // Who no longer listens has no agenda either.
    let _ = done.send(Done { job, due, begun, ended: Instant::now(), answer });
}

/// Books an answer, and says when to ask again.
fn book(done: Done, board: &Board, beginning: Instant, roll: u32) -> (Instant, Job) {
    let Done { mut job, due, begun, ended, answer } = done;
    let took = ended - begun.counted;
    let timing = job.record.watch.check.timing;
    let turned = job.health.record(answer.is_ok(), timing);
    let error = answer.err().map(|failure| failure.to_string());
    board.book(&job.record, LastCheck { at: begun.shown, took, error }, job.health, turned);
    let mut next = due + job.health.pause(timing, took, roll);
    if std::mem::take(&mut job.is_new) {
        next = next.min(next_in_place(beginning, due, place(&job.record.watch), timing.interval()));
    }
    // What was late is not made up for.
    (together(beginning, next, timing.interval()).max(ended), job)
}

/// Numbers that are random enough for jitter (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }
}

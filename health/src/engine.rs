// SPDX-License-Identifier: Apache-2.0
//! Asks what is due, and books the answers.

use std::{
    io, mem,
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use slb_core::{
    checker::{LastCheck, Watch},
    health::Health,
    model::check::Question,
};
use tokio::{
    select,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
};

use crate::{
    agenda::{Agenda, next_in_place, place, together},
    alarm::Alarm,
    ask::Asker,
    board::{Board, Record},
    connects::{Connects, Ended},
    failure::Failure,
};

/// Answers that are booked before it is looked what is due, and checks that begin before it is looked for answers.
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
    begun: Begun,
    ended: Instant,
    answer: Result<(), Failure>,
}

/// A check under way.
struct Begun {
    job: Job,
    due: Instant,
    begun: Moment,
}

/// What the thread owns.
pub(crate) struct Engine {
    board: Arc<Board>,
    asker: Arc<Asker>,
    agenda: Agenda<Job>,
    connects: Connects<Begun>,
    /// Connections that ended, while they are booked.
    ended: Vec<Ended<Begun>>,
    /// How many more checks can be under way.
    slots: usize,
    beginning: Instant,
    dice: Dice,
}

/// Runs until nobody can order any more.
pub(crate) async fn run(mut engine: Engine, mut alarm: Alarm, mut orders: UnboundedReceiver<Vec<Arc<Record>>>) {
    let (done, mut answers) = mpsc::unbounded_channel();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        alarm.set(engine.next());
        select! {
            // Cancel-safe: a message is taken out or not.
            order = orders.recv() => {
                let Some(records) = order else { return };
                engine.order(records);
            }
            // Cancel-safe: messages are taken out or not. This end has a sender, so it never ends.
            _ = answers.recv_many(&mut batch, BATCH) => {
                for answer in batch.drain(..) {
                    engine.book(answer);
                }
            }
            // Cancel-safe: what is not taken is told again.
            () = engine.connects.ready() => engine.take_ended(Instant::now()),
            // Cancel-safe: says so itself.
            () = alarm.ring() => engine.begin(&done),
        }
    }
}

impl Engine {
    /// With nothing to ask. Within a runtime.
    ///
    /// # Errors
    /// The process has no file left.
    pub(crate) fn new(board: Arc<Board>, asker: Asker, at_a_time: usize) -> io::Result<Self> {
        let beginning = Instant::now();
        Ok(Self {
            board,
            asker: Arc::new(asker),
            agenda: Agenda::new(beginning),
            connects: Connects::new()?,
            ended: Vec::new(),
            slots: at_a_time,
            beginning,
            dice: Dice(0x9e37_79b9_7f4a_7c15),
        })
    }

    fn order(&mut self, records: Vec<Arc<Record>>) {
        let now = Instant::now();
        records.into_iter().for_each(|record| self.agenda.put_new(now, Job::new(record)));
        self.agenda.sweep(|job| job.record.has_ended());
    }

    /// When something is to be done by the clock. What is due begins when there is a slot.
    fn next(&self) -> Option<Instant> {
        let due = self.agenda.next().filter(|_| self.slots > 0);
        due.into_iter().chain(self.connects.deadline()).min()
    }

    /// Asks what is due, as far as there are slots, and not so many at once that answers would wait.
    fn begin(&mut self, done: &UnboundedSender<Done>) {
        let now = Moment::now();
        if self.connects.deadline().is_some_and(|deadline| deadline <= now.counted) {
            self.take_ended(now.counted);
        }
        for _ in 0..BATCH.min(self.slots) {
            let Some((due, job)) = self.agenda.take(now.counted) else { break };
            if job.record.has_ended() {
                continue;
            }
            self.slots -= 1;
            let begun = Begun { job, due, begun: now.at(Instant::now()) };
            match connection_alone(&begun.job.record.watch) {
                Some(to) => self.connect(to, begun),
                None => {
                    tokio::spawn(ask(begun, Arc::clone(&self.asker), done.clone()));
                }
            }
        }
    }

    fn connect(&mut self, to: SocketAddr, begun: Begun) {
        let time = begun.job.record.watch.check.timing.timeout();
        if let Err((begun, answer)) = self.connects.begin(to, begun.begun.counted, time, begun) {
            self.book(begun.done(Instant::now(), answer));
        }
    }

    fn take_ended(&mut self, now: Instant) {
        let mut ended = mem::take(&mut self.ended);
        self.connects.take_ended(now, &mut ended);
        for (begun, answer) in ended.drain(..) {
            self.book(begun.done(now, answer));
        }
        self.ended = ended;
    }

    /// Books an answer, and puts the next check on the agenda.
    fn book(&mut self, done: Done) {
        self.slots += 1;
        let Done { begun: Begun { mut job, due, begun }, ended, answer } = done;
        let took = ended.saturating_duration_since(begun.counted);
        let timing = job.record.watch.check.timing;
        let turned = job.health.record(answer.is_ok(), timing);
        let error = answer.err().map(|failure| failure.to_string());
        self.board.book(&job.record, LastCheck { at: begun.shown, took, error }, job.health, turned);
        let mut next = due + job.health.pause(timing, took, self.dice.roll());
        if mem::take(&mut job.is_new) {
            next = next.min(next_in_place(self.beginning, due, place(&job.record.watch), timing.interval()));
        }
        // What was late is not made up for.
        let at = together(self.beginning, next, timing.interval()).max(ended);
        self.agenda.put(at, job);
    }
}

impl Begun {
    fn done(self, ended: Instant, answer: Result<(), Failure>) -> Done {
        Done { begun: self, ended, answer }
    }
}

/// Where a connection is all that is asked for. One that goes another way than the usual, or begins with something, needs a socket of its own,
/// and so does one to an IPv4 address written as IPv6, which would leave its socket an IPv4 one.
fn connection_alone(watch: &Watch) -> Option<SocketAddr> {
    let check = &*watch.check;
    let to = watch.asked();
    let is_plain = check.question == Question::Tcp
        && check.source.is_none()
        && watch.through.is_none()
        && watch.proxy_protocol.is_none()
        && to.ip().to_canonical() == to.ip();
    is_plain.then_some(to)
}

/// Asks anything else.
async fn ask(begun: Begun, asker: Arc<Asker>, done: UnboundedSender<Done>) {
    let answer = asker.ask(&begun.job.record.watch, begun.begun.counted).await;
    // Who no longer listens has no agenda either.
    let _ = done.send(begun.done(Instant::now(), answer));
}

impl Job {
    fn new(record: Arc<Record>) -> Self {
        let health = record.health();
        Self { record, health, is_new: true }
    }
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

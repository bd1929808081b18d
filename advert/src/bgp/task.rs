// SPDX-License-Identifier: Apache-2.0
//! One task for each peer: connects, talks, and tries again. What happens to one session never touches another.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use slb_core::{model::Vip, peer::Peer, routing::PeerState};
use tokio::{
    net::TcpStream,
    select,
    sync::mpsc::UnboundedReceiver,
    time::{sleep, sleep_until, timeout},
};
use tracing::{info, warn};

use super::{
    connect::connect,
    session::{Ended, Event, Phase, Session, Speaker},
    table::Table,
};

/// How long a peer may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The first pause before another try; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a peer may take nothing of what is to be sent (RFC 9687: at least 8 minutes, and twice the hold time).
const SEND_HOLD: Duration = Duration::from_secs(480);
/// How long a session that is left may take to be rid of its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the task is asked for.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// New routes.
    Announce(Arc<[Vip]>),
    /// Routes no more.
    Withdraw(Arc<[Vip]>),
    /// End the session with these numbers and words, and the task with it.
    Leave((u8, u8), String),
}

/// The task's state.
pub(super) struct Task {
    pub(super) speaker: Speaker,
    pub(super) peer: Peer,
    pub(super) table: Table,
    pub(super) orders: UnboundedReceiver<Order>,
}

/// Why talking ended.
enum Over {
    /// As ordered.
    Left,
    Failed(String),
}

impl Task {
    /// Runs until it is told to leave, or nobody can tell it anything any more.
    pub(super) async fn run(mut self) {
        // The peer has the routes of the process before, and keeps them while this one gets ready.
        let mut restarted = true;
        let mut pause = FIRST_PAUSE;
        loop {
            let address = self.peer.address;
            self.table.note(address, PeerState::Connect, None);
            let connected = select! {
                // Cancel-safe: a connection that nobody waits for is closed.
                connected = timeout(CONNECT_TIMEOUT, connect(&self.peer)) => connected,
                // Cancel-safe: an order is taken only if this arm runs.
                () = left(&mut self.orders) => return,
            };
            let over = match connected {
                Ok(Ok(stream)) => self.talk(stream, &mut restarted, &mut pause).await,
                Ok(Err(error)) => Over::Failed(format!("could not connect: {error}")),
                Err(_) => Over::Failed(format!("could not connect: no answer within {} s", CONNECT_TIMEOUT.as_secs())),
            };
            let Over::Failed(why) = over else { return };
            if self.table.note(address, PeerState::Idle, Some(&why)) {
                warn!(peer = %address, "BGP peer down: {why}");
            }
            select! {
                // Cancel-safe: time is all that passes.
                () = sleep(spread(pause)) => {}
                // Cancel-safe: as above.
                () = left(&mut self.orders) => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn talk(&mut self, stream: TcpStream, restarted: &mut bool, pause: &mut Duration) -> Over {
        let local = match stream.local_addr() {
            Ok(address) => address.ip(),
            Err(error) => return Over::Failed(format!("could not connect: {error}")),
        };
        let mut session = Session::new(self.speaker, self.peer.clone(), local, *restarted, Instant::now());
        let mut outbox = Outbox::default();
        let mut inbox = vec![0; 16 << 10];
        self.table.note(self.peer.address, PeerState::OpenSent, None);
        loop {
            outbox.push(&session.output());
            let deadline = session.deadline().into_iter().chain(outbox.deadline()).min();
            let heard = select! {
                // Cancel-safe: readiness stays.
                ready = stream.readable() => match ready.and_then(|()| stream.try_read(&mut inbox)) {
                    Ok(0) => return Over::Failed("the peer closed the connection".to_owned()),
                    Ok(length) => session.hear(inbox.get(..length).unwrap_or_default(), Instant::now()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Over::Failed(format!("the connection broke: {error}")),
                },
                // Cancel-safe: readiness stays.
                ready = stream.writable(), if !outbox.is_empty() => match ready.and_then(|()| outbox.write(&stream)) {
                    Ok(()) => continue,
                    Err(error) => return Over::Failed(format!("the connection broke: {error}")),
                },
                // Cancel-safe: an order is taken only if this arm runs.
                order = self.orders.recv() => match order {
                    Some(Order::Leave(code, words)) => {
                        session.leave(code, &words);
                        outbox.push(&session.output());
                        outbox.flush(&stream).await;
                        return Over::Left;
                    }
                    // The process ends: the peer keeps the routes, as far as it restarts gracefully.
                    None => return Over::Left,
                    Some(order) => {
                        self.obey(&mut session, &order);
                        continue;
                    }
                },
                // Cancel-safe: the deadline is computed anew.
                () = sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {
                    if outbox.is_stuck() {
                        return Over::Failed("the peer took nothing for minutes (send hold timer, RFC 9687)".to_owned());
                    }
                    session.tick(Instant::now()).map(|()| Vec::new())
                }
            };
            match heard {
                Ok(events) => {
                    for event in events {
                        self.react(&mut session, event, restarted, pause);
                    }
                    if session.phase() == Phase::OpenConfirm {
                        self.table.note(self.peer.address, PeerState::OpenConfirm, None);
                    }
                }
                Err(ended @ (Ended::Said(_) | Ended::Answered { .. })) => {
                    outbox.push(&session.output());
                    outbox.flush(&stream).await;
                    return Over::Failed(ended.to_string());
                }
            }
        }
    }

    fn react(&self, session: &mut Session, event: Event, restarted: &mut bool, pause: &mut Duration) {
        let address = self.peer.address;
        if event == Event::Established {
            *restarted = false;
            *pause = FIRST_PAUSE;
            self.table.note(address, PeerState::Established, None);
            info!("Peer Up Key={address} State=BGP_FSM_ESTABLISHED");
            if let Some(why) = session.mute() {
                self.table.complain(address, why);
                warn!(peer = %address, "no routes are announced to this BGP peer: {why}");
            }
        }
        session.announce(&self.table.routes());
        session.end_of_routes();
    }

    fn obey(&self, session: &mut Session, order: &Order) {
        match order {
            Order::Announce(vips) => session.announce(vips),
            Order::Withdraw(vips) => session.withdraw(vips),
            Order::Leave(..) => {}
        }
    }
}

/// Ends with an order to leave, or when nobody can give one. All others are for a session, which begins with the whole table.
async fn left(orders: &mut UnboundedReceiver<Order>) {
    loop {
        match orders.recv().await {
            Some(Order::Leave(..)) | None => return,
            Some(Order::Announce(_) | Order::Withdraw(_)) => {}
        }
    }
}

/// From three quarters of the pause to all of it, so that many speakers do not try again at the same moment.
fn spread(pause: Duration) -> Duration {
    let chance = RandomState::new().hash_one(()) % 256;
    pause * 3 / 4 + pause / 4 * u32::try_from(chance).unwrap_or_default() / 256
}

/// What is to be sent, and since when nothing of it could be.
#[derive(Default)]
struct Outbox {
    bytes: VecDeque<u8>,
    waiting_since: Option<Instant>,
}

impl Outbox {
    fn push(&mut self, bytes: &[u8]) {
        if self.bytes.is_empty() && !bytes.is_empty() {
            self.waiting_since = Some(Instant::now());
        }
        self.bytes.extend(bytes);
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn deadline(&self) -> Option<Instant> {
        self.waiting_since.map(|since| since + SEND_HOLD)
    }

    fn is_stuck(&self) -> bool {
        self.deadline().is_some_and(|at| at <= Instant::now())
    }

    /// Sends as much as the connection takes.
    fn write(&mut self, stream: &TcpStream) -> io::Result<()> {
        match stream.try_write(self.bytes.as_slices().0) {
            Ok(sent) => {
                self.bytes.drain(..sent);
                self.waiting_since = (!self.bytes.is_empty()).then(Instant::now);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends all of it, if the connection takes it soon. It ends either way.
    async fn flush(&mut self, stream: &TcpStream) {
        let all = async { while !self.is_empty() && stream.writable().await.is_ok() && self.write(stream).is_ok() {} };
        let _ = timeout(LAST_WORDS, all).await;
    }
}

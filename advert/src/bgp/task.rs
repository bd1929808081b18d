// SPDX-License-Identifier: Apache-2.0
//! One task for each peer: connects or waits for the peer to, talks, and tries again. What happens to one session never touches another.

use std::{
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use slb_core::{
    model::Family,
    peer::Peer,
    prefix::Prefix,
    routing::{Agreed, PeerState, Words},
};
use tokio::{
    net::TcpStream,
    select,
    sync::mpsc::UnboundedReceiver,
    time::{sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::{
    collision::{Origin, Other, Stays, resolve},
    connect::{accept, connect},
    conversation::Conversation,
    notification::Notification,
    session::{Event, Phase, Speaker},
    table::Table,
};

/// How long a peer may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The first pause before another try; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What the task is asked for.
#[derive(Debug)]
pub(super) enum Order {
    /// New routes.
    Announce(Arc<[Prefix]>),
    /// Routes no more.
    Withdraw(Arc<[Prefix]>),
    /// The peer has connected.
    Incoming(TcpStream),
    /// Ask the peer to prefer other ways.
    Drain,
    /// End the session with words for the peer's operator, and begin none.
    Down(Words),
    /// Announce as before, over a new session if need be.
    ComeBack,
    /// End the session with these numbers and words, and the task with it.
    Leave((u8, u8), String),
}

/// The task's state.
pub(super) struct Task {
    speaker: Speaker,
    peer: Peer,
    table: Table,
    orders: UnboundedReceiver<Order>,
    /// The peer has the routes of the process before, and keeps them while this one gets ready.
    restarted: bool,
    /// Whether the peer is asked to prefer other ways.
    draining: bool,
    /// Whether there is to be no session.
    is_down: bool,
    /// Before the next try.
    pause: Duration,
    /// When that is.
    try_at: Option<Instant>,
    connecting: Option<Connecting>,
    /// The connection that counts.
    current: Option<Conversation>,
    /// Another one, until it is clear which of the two stays.
    rival: Option<Conversation>,
}

type Connecting = Pin<Box<dyn Future<Output = Result<TcpStream, String>> + Send>>;

/// What the task waits for.
enum Happened {
    Current(Result<Vec<Event>, String>),
    Rival(Result<Vec<Event>, String>),
    Connected(Result<TcpStream, String>),
    TryAgain,
    Ordered(Option<Order>),
}

impl Task {
    pub(super) fn new(speaker: Speaker, peer: Peer, table: Table, orders: UnboundedReceiver<Order>) -> Self {
        Self {
            speaker,
            peer,
            table,
            orders,
            restarted: true,
            draining: false,
            is_down: false,
            pause: FIRST_PAUSE,
            try_at: None,
            connecting: None,
            current: None,
            rival: None,
        }
    }

    /// Runs until it is told to leave, or nobody can tell it anything any more.
    pub(super) async fn run(mut self) {
        self.set_out();
        loop {
            match self.next().await {
                Happened::Current(heard) => match heard {
                    Ok(events) => self.react(events).await,
                    Err(why) => self.lost(why).await,
                },
                Happened::Rival(Ok(events)) => {
                    // What is heard on the rival is news of the rival alone: it is looked at as if it were the one that counts.
                    std::mem::swap(&mut self.current, &mut self.rival);
                    self.react(events).await;
                    self.put_the_further_first();
                }
                Happened::Rival(Err(why)) => {
                    debug!(peer = %self.peer.address, "another BGP connection ended: {why}");
                    if let Some(rival) = self.rival.take() {
                        rival.last_words().await;
                    }
                }
                Happened::Connected(Ok(stream)) => self.begin(Origin::Ours, stream).await,
                Happened::Connected(Err(why)) => {
                    if self.current.is_none() {
                        self.rest(&why);
                    }
                }
                Happened::TryAgain => self.connect(),
                Happened::Ordered(Some(Order::Announce(routes))) => {
                    self.each(|talk| talk.session.announce(&routes));
                    self.complain(&routes);
                }
                Happened::Ordered(Some(Order::Withdraw(routes))) => self.each(|talk| talk.session.withdraw(&routes)),
                Happened::Ordered(Some(Order::Incoming(stream))) => match accept(&stream, &self.peer) {
                    Ok(()) => self.begin(Origin::Theirs, stream).await,
                    Err(error) => debug!(peer = %self.peer.address, "a connection was gone at once: {error}"),
                },
                Happened::Ordered(Some(Order::Drain)) => self.drain(true),
                Happened::Ordered(Some(Order::Down(words))) => {
                    self.is_down = true;
                    (self.connecting, self.try_at) = (None, None);
                    self.leave(Notification::ADMINISTRATIVE_SHUTDOWN, words.as_str()).await;
                    self.down(PeerState::Idle, "slb is shut down: see /bgp/shutdown");
                }
                Happened::Ordered(Some(Order::ComeBack)) => {
                    self.drain(false);
                    if std::mem::take(&mut self.is_down) {
                        self.pause = FIRST_PAUSE;
                        self.set_out();
                    }
                }
                Happened::Ordered(Some(Order::Leave(code, words))) => return self.leave(code, &words).await,
                // The process ends: the peer keeps the routes, as far as it restarts gracefully.
                Happened::Ordered(None) => return,
            }
        }
    }

    async fn next(&mut self) -> Happened {
        let try_at = self.try_at;
        select! {
            // Cancel-safe, both: says so itself.
            heard = hear(&mut self.current), if self.current.is_some() => Happened::Current(heard),
            heard = hear(&mut self.rival), if self.rival.is_some() => Happened::Rival(heard),
            // Cancel-safe: the task keeps the future.
            connected = finish(&mut self.connecting), if self.connecting.is_some() => {
                self.connecting = None;
                Happened::Connected(connected)
            }
            // Cancel-safe: made anew from the deadline each time.
            () = sleep_until(try_at.unwrap_or_else(Instant::now).into()), if try_at.is_some() => Happened::TryAgain,
            // Cancel-safe: an order stays in the channel until it is returned.
            order = self.orders.recv() => Happened::Ordered(order),
        }
    }

    /// Connects, or waits for the peer to.
    fn set_out(&mut self) {
        if self.peer.settings.passive() {
            self.note(PeerState::Active);
        } else {
            self.connect();
        }
    }

    async fn leave(&mut self, code: (u8, u8), words: &str) {
        for conversation in self.current.take().into_iter().chain(self.rival.take()) {
            conversation.leave(code, words).await;
        }
    }

    /// All routes are announced again, with other attributes.
    fn drain(&mut self, draining: bool) {
        self.draining = draining;
        self.each(|talk| talk.session.drain(draining));
        self.send_all();
    }

    fn connect(&mut self) {
        self.note(PeerState::Connect);
        self.table.attempt(self.peer.address);
        self.try_at = None;
        let peer = self.peer.clone();
        self.connecting = Some(Box::pin(async move {
            match timeout(CONNECT_TIMEOUT, connect(&peer)).await {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(error)) => Err(format!("could not connect: {error}")),
                Err(_) => Err(format!("could not connect: no answer within {} s", CONNECT_TIMEOUT.as_secs())),
            }
        }));
    }

    /// There is a connection, maybe beside another.
    async fn begin(&mut self, origin: Origin, stream: TcpStream) {
        if self.is_down {
            return;
        }
        let begun =
            Conversation::begin(origin, stream, self.speaker, self.peer.clone(), self.table.clone(), self.restarted);
        let mut conversation = match begun {
            Ok(conversation) => conversation,
            Err(error) if self.current.is_none() && origin == Origin::Ours => {
                return self.rest(&format!("could not connect: {error}"));
            }
            Err(_) => return,
        };
        conversation.session.drain(self.draining);
        self.try_at = None;
        match &self.current {
            None => {
                self.current = Some(conversation);
                self.note(PeerState::OpenSent);
            }
            // One more of the same end: the newer one counts.
            Some(_) => {
                if let Some(old) = self.rival.replace(conversation) {
                    old.leave(Notification::COLLISION, "").await;
                }
            }
        }
    }

    /// Does what follows from what the peer said on the connection that counts.
    async fn react(&mut self, events: Vec<Event>) {
        for event in events {
            let Some(conversation) = &mut self.current else { return };
            match event {
                Event::Met => {
                    if self.rival.is_none() {
                        self.note(PeerState::OpenConfirm);
                    } else if !self.stays().await {
                        return;
                    }
                }
                Event::Established => {
                    self.restarted = false;
                    self.pause = FIRST_PAUSE;
                    self.connecting = None;
                    let agreed = conversation.session.agreed();
                    if let Some(rival) = self.rival.take() {
                        rival.leave(Notification::COLLISION, "").await;
                    }
                    self.up(agreed);
                    self.send_all();
                }
                Event::Refresh => self.send_all(),
            }
        }
    }

    /// The peer has said on the one that counts who it is: one of two has to go, if it is known on which. Whether this one stays.
    async fn stays(&mut self) -> bool {
        let Some((this, rival)) = self.current.as_ref().zip(self.rival.as_ref()) else { return true };
        let Some(identity) = this.session.identity() else { return true };
        let other = Other { origin: rival.origin, phase: rival.session.phase() };
        let verdict = resolve(self.speaker, identity, this.origin, other);
        let goes = match verdict {
            Stays::Both => None,
            Stays::This => self.rival.take(),
            Stays::Other => std::mem::replace(&mut self.current, self.rival.take()),
        };
        if let Some(goes) = goes {
            debug!(peer = %self.peer.address, "of two BGP connections one is closed: {:?}", goes.origin);
            // A peer that has restarted gave up the one that stood, and is told nothing on it: it could take that for an end of the
            // session, and drop its routes (RFC 4724, section 4.2).
            if verdict == Stays::Other || other.phase != Phase::Established {
                goes.leave(Notification::COLLISION, "").await;
            }
        }
        // Not the phase of this one: it may be a message further.
        match verdict {
            Stays::This | Stays::Both => self.note(PeerState::OpenConfirm),
            Stays::Other => self.state().into_iter().for_each(|state| self.note(state)),
        }
        verdict != Stays::Other
    }

    fn put_the_further_first(&mut self) {
        let is_up =
            |talk: &Option<Conversation>| talk.as_ref().is_some_and(|talk| talk.session.phase() == Phase::Established);
        if self.current.is_none() || is_up(&self.rival) {
            std::mem::swap(&mut self.current, &mut self.rival);
        }
    }

    fn up(&self, agreed: Option<Agreed>) {
        let address = self.peer.address;
        self.note(PeerState::Established);
        self.table.agree(address, agreed);
        info!("Peer Up Key={address} State=BGP_FSM_ESTABLISHED");
    }

    /// Says which of the routes the peer is not told of, and why.
    fn complain(&self, routes: &[Prefix]) {
        let Some(conversation) = &self.current else { return };
        for family in [Family::Ipv4, Family::Ipv6] {
            let there_are = || routes.iter().any(|route| route.family() == family);
            if let Some(why) = conversation.session.mute(family)
                && there_are()
                && self.table.complain(self.peer.address, why)
            {
                warn!(peer = %self.peer.address, "no {family} routes are announced to this BGP peer: {why}");
            }
        }
    }

    fn send_all(&mut self) {
        let routes = self.table.routes();
        if let Some(conversation) = &mut self.current {
            conversation.session.announce(&routes);
            conversation.session.end_of_routes();
        }
        self.complain(&routes);
    }

    /// Does something with every connection; those that are not established take no routes.
    fn each(&mut self, mut work: impl FnMut(&mut Conversation)) {
        self.current.iter_mut().chain(&mut self.rival).for_each(&mut work);
    }

    /// The connection that counts is over.
    async fn lost(&mut self, why: String) {
        if let Some(conversation) = std::mem::replace(&mut self.current, self.rival.take()) {
            conversation.last_words().await;
        }
        if let Some(state) = self.state() {
            self.down(state, &why);
        } else if self.connecting.is_some() {
            self.down(PeerState::Connect, &why);
        } else {
            self.rest(&why);
        }
    }

    /// Waits before another try, or for the peer.
    fn rest(&mut self, why: &str) {
        if self.peer.settings.passive() {
            return self.down(PeerState::Active, why);
        }
        self.down(PeerState::Idle, why);
        self.try_at = Some(Instant::now() + spread(self.pause));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn down(&self, state: PeerState, why: &str) {
        if self.table.note(self.peer.address, state, Some(why)) {
            warn!(peer = %self.peer.address, "BGP peer down: {why}");
        }
    }

    fn note(&self, state: PeerState) {
        self.table.note(self.peer.address, state, None);
    }

    /// How far the connection that counts has come.
    fn state(&self) -> Option<PeerState> {
        let conversation = self.current.as_ref()?;
        Some(match conversation.session.phase() {
            Phase::OpenSent => PeerState::OpenSent,
            Phase::OpenConfirm => PeerState::OpenConfirm,
            Phase::Established => PeerState::Established,
        })
    }
}

/// What is heard next, if somebody talks.
async fn hear(conversation: &mut Option<Conversation>) -> Result<Vec<Event>, String> {
    match conversation {
        Some(conversation) => conversation.next().await,
        None => std::future::pending().await,
    }
}

/// What becomes of connecting, if somebody does.
async fn finish(connecting: &mut Option<Connecting>) -> Result<TcpStream, String> {
    match connecting {
        Some(connecting) => connecting.await,
        None => std::future::pending().await,
    }
}

/// From three quarters of the pause to all of it, so that many speakers do not try again at the same moment.
fn spread(pause: Duration) -> Duration {
    let chance = RandomState::new().hash_one(()) % 256;
    pause * 3 / 4 + pause / 4 * u32::try_from(chance).unwrap_or_default() / 256
}

// SPDX-License-Identifier: Apache-2.0
//! UDP: who sends for the first time gets a backend, and a socket of its own towards it, by which answers are known as its own; both are kept
//! until nothing has been sent for a while. With `onePacket` each datagram gets a backend, and answers find their way the same.
//!
//! Datagrams that do not fit are dropped, as everywhere on their way.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use slb_core::model::Target;
use socket2::SockRef;
use tokio::{
    net::UdpSocket,
    sync::Notify,
    task::consume_budget,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    clock::Clock,
    service::{Lease, Service},
    traffic::Traffic,
};

/// No datagram is longer (RFC 768).
const LONGEST: usize = 65_535;
/// How often what is over is forgotten.
const SWEEP: Duration = Duration::from_secs(1);
/// How long to wait when the socket itself fails.
const FAILED: Duration = Duration::from_millis(100);

/// How long it is remembered that a client's backend refused.
const REFUSED: Duration = Duration::from_secs(10);

thread_local! {
    /// Of each worker: no datagram stays in it while others are waited for.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; LONGEST]);
}

/// A client, and the backend that it has; with `onePacket` it may have several.
type Key = (SocketAddr, Option<Target>);

/// Each is held by its own task alone, so that it is over when that ends.
type Sessions = BTreeMap<Key, Weak<Session>>;

/// Nobody listens there.
#[derive(Debug)]
struct Refused;

/// What a client has with a backend.
#[derive(Debug)]
struct Session {
    client: SocketAddr,
    /// Towards the backend.
    back: UdpSocket,
    /// Where clients send to. It may go before the session does.
    front: Weak<UdpSocket>,
    lease: Lease,
    clock: Clock,
    /// Whose hosts have said, before, that nobody listens there.
    refused: Vec<Target>,
    /// Whether this one's has.
    is_refused: AtomicBool,
    /// The client has moved on.
    left: Notify,
}

/// Takes what clients send, for as long as it is not dropped; sessions end with their backends, or in silence.
pub async fn serve(front: Arc<UdpSocket>, service: Arc<Service>, limit: Duration) {
    let mut sessions = Sessions::new();
    let mut sweeps = interval(SWEEP);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        consume_budget().await;
        tokio::select! {
            // Cancel-safe: nothing is taken before it is ready.
            ready = front.readable() => {
                if ready.is_err() || receive(&front, &service, &mut sessions, limit).is_err() {
                    sleep(FAILED).await;
                }
            }
            // Cancel-safe: says so itself.
            _ = sweeps.tick(), if !sessions.is_empty() => sessions.retain(|_, session| session.strong_count() > 0),
        }
    }
}

/// One datagram, if there is one.
fn receive(front: &Arc<UdpSocket>, service: &Arc<Service>, sessions: &mut Sessions, limit: Duration) -> io::Result<()> {
    BUFFER.with_borrow_mut(|buffer| {
        let (length, client) = match front.try_recv_from(buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let datagram = buffer.get(..length).unwrap_or_default();
        let known = |sessions: &Sessions, key: &Key| {
            sessions.get(key).and_then(Weak::upgrade).filter(|session| !session.lease.is_gone())
        };
        let is_one_packet = service.settings().one_packet;
        let mut refused = Vec::new();
        if !is_one_packet && let Some(session) = known(sessions, &(client, None)) {
            if session.send(datagram).is_ok() {
                return Ok(());
            }
            refused = session.refused_so_far();
            sessions.remove(&(client, None));
        }
        // Those that refused are asked again once all have.
        let lease = |refused: &[Target]| service.lease(client, refused).or_else(|| service.lease(client, &[]));
        while let Some(lease) = lease(&refused) {
            let target = lease.target();
            let is_last_chance = refused.contains(&target);
            lease.each(Traffic::connection);
            let key = (client, is_one_packet.then_some(target));
            let session = match known(sessions, &key) {
                Some(session) => session,
                None => {
                    // Without room for a socket the datagram is lost.
                    let Ok(session) = Session::open(client, front, lease, refused.clone()) else { return Ok(()) };
                    let session = Arc::new(session);
                    sessions.insert(key, Arc::downgrade(&session));
                    tokio::spawn(Arc::clone(&session).answer(limit));
                    session
                }
            };
            if session.send(datagram).is_ok() || is_last_chance {
                break;
            }
            sessions.remove(&key);
            refused.push(target);
        }
        Ok(())
    })
}

impl Session {
    fn open(client: SocketAddr, front: &Arc<UdpSocket>, lease: Lease, refused: Vec<Target>) -> io::Result<Self> {
        let to = lease.address();
        let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let back = std::net::UdpSocket::bind(SocketAddr::new(any, 0))?;
        back.connect(to)?;
        back.set_nonblocking(true)?;
        let back = UdpSocket::from_std(back)?;
        let (clock, is_refused, left) = (Clock::start(), AtomicBool::new(false), Notify::new());
        Ok(Self { client, back, front: Arc::downgrade(front), lease, clock, refused, is_refused, left })
    }

    /// From the client to the backend. What does not get through otherwise is lost.
    ///
    /// # Errors
    /// The backend's host has said, of what was sent before, that nobody listens there; nothing is sent then.
    fn send(&self, datagram: &[u8]) -> Result<(), Refused> {
        if self.is_refused.load(Relaxed) {
            return Err(Refused);
        }
        self.clock.touch();
        // The runtime does not know of a new socket that it is writable until it has waited for it.
        match SockRef::from(&self.back).send(datagram) {
            Ok(_) => self.lease.each(|traffic| traffic.datagram_in(datagram.len())),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                self.left.notify_one();
                return Err(Refused);
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Whom the client's next datagram is not for: this backend and those before it.
    fn refused_so_far(&self) -> Vec<Target> {
        self.refused.iter().copied().chain([self.lease.target()]).collect()
    }

    /// From the backend to the client, until the end of the session.
    async fn answer(self: Arc<Self>, limit: Duration) {
        let gone = self.lease.gone();
        tokio::select! {
            // Cancel-safe, all: what is dropped is not used any more.
            () = self.pass_on() => {}
            () = self.clock.silence(limit) => return,
            () = gone => return,
            () = self.left.notified() => return,
        }
        // Who sends again is sent elsewhere, also where the scheduler would choose this one again.
        if self.is_refused.load(Relaxed) {
            sleep(REFUSED.min(limit)).await;
        }
    }

    /// Ends when the backend's host says that nobody listens there; mostly it is the next [`send`](Self::send) that hears of it.
    async fn pass_on(&self) {
        loop {
            consume_budget().await;
            if self.back.readable().await.is_err() {
                return;
            }
            let received = BUFFER.with_borrow_mut(|buffer| {
                let length = self.back.try_recv(buffer)?;
                let datagram = buffer.get(..length).unwrap_or_default();
                self.clock.touch();
                let front = self.front.upgrade().ok_or(ErrorKind::NotConnected)?;
                if front.try_send_to(datagram, self.client).is_ok() {
                    self.lease.each(|traffic| traffic.datagram_out(length));
                }
                io::Result::Ok(())
            });
            match received {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    self.is_refused.store(true, Relaxed);
                    return;
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    }
}

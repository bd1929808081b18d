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
    sync::{Arc, Weak},
    time::Duration,
};

use slb_core::model::Target;
use socket2::SockRef;
use tokio::{
    net::UdpSocket,
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

thread_local! {
    /// Of each worker: no datagram stays in it while others are waited for.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; LONGEST]);
}

/// A client, and the backend that it has; with `onePacket` it may have several.
type Key = (SocketAddr, Option<Target>);

/// Each is held by its own task alone, so that it is over when that ends.
type Sessions = BTreeMap<Key, Weak<Session>>;

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
}

/// Takes what clients send, for as long as it is not dropped; sessions end with their backends, or in silence.
pub async fn serve(front: UdpSocket, service: Arc<Service>, limit: Duration) {
    let front = Arc::new(front);
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
        if !is_one_packet && let Some(session) = known(sessions, &(client, None)) {
            session.send(datagram);
            return Ok(());
        }
        let Some(lease) = service.lease(client, &[]) else { return Ok(()) };
        lease.each(Traffic::connection);
        let key = (client, is_one_packet.then(|| lease.target()));
        let session = match known(sessions, &key) {
            Some(session) => session,
            None => {
                // Without room for a socket the datagram is lost.
                let Ok(session) = Session::open(client, front, lease) else { return Ok(()) };
                let session = Arc::new(session);
                sessions.insert(key, Arc::downgrade(&session));
                tokio::spawn(Arc::clone(&session).answer(limit));
                session
            }
        };
        session.send(datagram);
        Ok(())
    })
}

impl Session {
    fn open(client: SocketAddr, front: &Arc<UdpSocket>, lease: Lease) -> io::Result<Self> {
        let to = lease.address();
        let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let back = std::net::UdpSocket::bind(SocketAddr::new(any, 0))?;
        back.connect(to)?;
        back.set_nonblocking(true)?;
        let back = UdpSocket::from_std(back)?;
        Ok(Self { client, back, front: Arc::downgrade(front), lease, clock: Clock::start() })
    }

    /// From the client to the backend.
    fn send(&self, datagram: &[u8]) {
        self.clock.touch();
        // The runtime does not know of a new socket that it is writable until it has waited for it.
        if SockRef::from(&self.back).send(datagram).is_ok() {
            self.lease.each(|traffic| traffic.datagram_in(datagram.len()));
        }
    }

    /// From the backend to the client, until the end of the session.
    async fn answer(self: Arc<Self>, limit: Duration) {
        let gone = self.lease.gone();
        tokio::select! {
            // Cancel-safe, all: what is dropped is not used any more.
            () = self.pass_on() => {}
            () = self.clock.silence(limit) => {}
            () = gone => {}
        }
    }

    /// Ends when the backend's host says that nobody listens there: whoever sends next is sent elsewhere.
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
            if received.is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
                return;
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! UDP: who sends for the first time gets a backend, and a socket of its own towards it, by which answers are known as its own; both are kept
//! until nothing has been sent for a while. With `onePacket` each datagram gets a backend, and answers find their way the same.
//!
//! Datagrams that do not fit are dropped, as everywhere on their way.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::net::{RecvFlags, recv};
use slb_core::model::Target;
use socket2::SockRef;
use tokio::{
    io::Interest,
    net::UdpSocket,
    task::consume_budget,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    room::Room,
    service::{Lease, Service},
    sessions::Seat,
    source,
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

/// What a backend's host refuses is an error of the socket, and nothing to read.
const READABLE_OR_ERROR: Interest = Interest::READABLE.add(Interest::ERROR);

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
    /// Towards the backend. Closed before the seat is free.
    back: UdpSocket,
    /// Where clients send to. It may go before the session does.
    front: Weak<UdpSocket>,
    lease: Lease,
    seat: Seat,
    /// Whose hosts have said, before, that nobody listens there.
    refused: Vec<Target>,
    /// Whether this one's has.
    is_refused: AtomicBool,
}

/// Takes what clients send, for as long as it is not dropped; sessions end with their backends, or in silence.
pub async fn serve(front: Arc<UdpSocket>, service: Arc<Service>, room: Arc<Room>, limit: Duration) {
    // The socket's own.
    let _own = room.place(1).await;
    let mut sessions = Sessions::new();
    let mut sweeps = interval(SWEEP);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        consume_budget().await;
        tokio::select! {
            // Cancel-safe: nothing is taken before it is ready.
            ready = front.readable() => {
                if ready.is_err() || receive(&front, &service, &room, &mut sessions, limit).is_err() {
                    sleep(FAILED).await;
                }
            }
            // Cancel-safe: says so itself.
            _ = sweeps.tick(), if !sessions.is_empty() => sessions.retain(|_, session| session.strong_count() > 0),
        }
    }
}

/// One datagram, if there is one.
fn receive(
    front: &Arc<UdpSocket>,
    service: &Arc<Service>,
    room: &Arc<Room>,
    sessions: &mut Sessions,
    limit: Duration,
) -> io::Result<()> {
    BUFFER.with_borrow_mut(|buffer| {
        let (length, client) = match front.try_recv_from(buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let datagram = buffer.get(..length).unwrap_or_default();
        let known = |sessions: &Sessions, key: &Key| {
            sessions
                .get(key)
                .and_then(Weak::upgrade)
                .filter(|session| !session.lease.is_gone() && !session.seat.is_over())
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
            let (target, to) = (lease.target(), lease.address());
            let is_last_chance = refused.contains(&target);
            lease.each(Traffic::connection);
            let key = (client, is_one_packet.then_some(target));
            let session = match known(sessions, &key) {
                Some(session) => session,
                None => {
                    // Without room for a session the datagram is lost.
                    let Some(seat) = room.seat() else { return Ok(()) };
                    match Session::open(client, front, lease, seat, refused.clone()) {
                        Ok(session) => {
                            let session = Arc::new(session);
                            sessions.insert(key, Arc::downgrade(&session));
                            tokio::spawn(Arc::clone(&session).answer(limit));
                            session
                        }
                        Err(error) if error.kind() == ErrorKind::ConnectionRefused && !is_last_chance => {
                            refused.push(target);
                            continue;
                        }
                        Err(error) => {
                            room.tell_unconnected(to, &error);
                            return Ok(());
                        }
                    }
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
    fn open(
        client: SocketAddr,
        front: &Arc<UdpSocket>,
        lease: Lease,
        seat: Seat,
        refused: Vec<Target>,
    ) -> io::Result<Self> {
        let to = lease.address();
        let back = connect(source::datagrams(lease.shown(client), to)?, to)?;
        let (back, front) = (UdpSocket::from_std(back)?, Arc::downgrade(front));
        Ok(Self { client, back, front, lease, seat, refused, is_refused: AtomicBool::new(false) })
    }

    /// From the client to the backend. What does not get through otherwise is lost.
    ///
    /// # Errors
    /// The backend's host has said, of what was sent before, that nobody listens there; nothing is sent then.
    fn send(&self, datagram: &[u8]) -> Result<(), Refused> {
        if self.is_refused.load(Relaxed) {
            self.seat.leave();
            return Err(Refused);
        }
        self.seat.clock().touch();
        // The runtime does not know of a new socket that it is writable until it has waited for it.
        match SockRef::from(&self.back).send(datagram) {
            Ok(_) => self.lease.each(|traffic| traffic.datagram_in(datagram.len())),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                self.seat.leave();
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
            () = self.seat.clock().silence(limit) => return,
            () = gone => return,
            () = self.seat.left() => return,
        }
        // Who sends again is sent elsewhere, also where the scheduler would choose this one again.
        if self.is_refused.load(Relaxed) {
            tokio::select! {
                // Cancel-safe, both: what is dropped is not used any more.
                () = sleep(REFUSED.min(limit)) => {}
                () = self.seat.left() => {}
            }
        }
    }

    /// Ends when the backend's host says that nobody listens there, unless it is the next [`send`](Self::send) that hears of it.
    async fn pass_on(&self) {
        loop {
            consume_budget().await;
            let Ok(ready) = self.back.ready(READABLE_OR_ERROR).await else { return };
            // One at a time: try_io() takes no two.
            let interest = if ready.is_readable() { Interest::READABLE } else { Interest::ERROR };
            let received = BUFFER.with_borrow_mut(|buffer| {
                let received = || Ok(recv(&self.back, &mut buffer[..], RecvFlags::empty())?);
                let (length, _) = self.back.try_io(interest, received)?;
                let datagram = buffer.get(..length).unwrap_or_default();
                self.seat.clock().touch();
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

/// Where nobody listens on a port of this host's own range, the socket may have got that port itself, and would have itself at its other end.
fn connect(socket: std::net::UdpSocket, to: SocketAddr) -> io::Result<std::net::UdpSocket> {
    socket.connect(to)?;
    if socket.local_addr()? == to { Err(ErrorKind::ConnectionRefused.into()) } else { Ok(socket) }
}

#[cfg(test)]
mod tests {
    use slb_core::model::{BackendSettings, Endpoint, Port, Protocol, ServiceSettings};

    use super::*;
    use crate::balance::Method;

    fn port(at: SocketAddr) -> Port {
        Port::try_from(i64::from(at.port())).unwrap()
    }

    /// Also if the client never sends again.
    #[tokio::test]
    async fn a_refusal_is_heard_of_at_once() {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let client = front.local_addr().unwrap();
        let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let endpoint =
            Endpoint { protocol: Protocol::Udp, ..Endpoint::tcp("127.0.0.1".parse().unwrap(), port(client)) };
        let service =
            Arc::new(Service::new(endpoint, Method::Rr, ServiceSettings::default(), tokio::sync::mpsc::channel(1).0));
        let target = Target { ip: dead.ip().try_into().unwrap(), port: Some(port(dead)) };
        service.put(target, BackendSettings::default());
        let (lease, seat) = (service.lease(client, &[]).unwrap(), Arc::new(Room::new(2, 2)).seat().unwrap());
        let session = Session::open(client, &Arc::new(front), lease, seat, Vec::new()).unwrap();
        assert!(session.send(b"?").is_ok());
        session.pass_on().await;
        assert!(session.send(b"?").is_err());
    }

    #[test]
    fn nobody_is_connected_to_oneself() {
        let socket = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (one, other) = (socket(), socket());
        let at = one.local_addr().unwrap();
        assert!(connect(other, at).is_ok());
        assert_eq!(connect(one, at).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}

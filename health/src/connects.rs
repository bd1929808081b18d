// SPDX-License-Identifier: Apache-2.0
//! Connections that are over as soon as they stand, which is all that most checks of TCP ask for.
//!
//! ```text
//!         ┌──────────────────────── dissolved: reset ◀───────────┐
//!         ▼                                                      │ it stands
//!  idle socket ── connect(2) ──▶ under way ── an event, or its time is over ──▶ refused or late: closed
//! ```
//! A socket that connected is used again: connect(2) to `AF_UNSPEC` resets the connection and frees the port, and leaves the socket as it was
//! when it was new, and known to epoll. So a check is two system calls, where a socket of its own takes seven.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    fd::OwnedFd,
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, connect, connect_unspec, socket_with, sockopt},
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::failure::Failure;

/// Sockets of a family that are kept for the next checks, at most. More than that stand at the same time only when much is late.
const IDLE: usize = 128;
/// Events that are taken at a time.
const EVENTS: usize = 128;

/// Connections under way, each with what it is for.
pub(crate) struct Connects<T> {
    /// Has all sockets, and is itself a file of the runtime's.
    epoll: AsyncFd<OwnedFd>,
    under_way: BTreeMap<u64, Connect<T>>,
    /// When the time of each is over, and its socket's number.
    deadlines: BTreeSet<(Instant, u64)>,
    idle_ipv4: Vec<Socket>,
    idle_ipv6: Vec<Socket>,
    sockets: u64,
}

/// A socket that is known to epoll, by a number that no other ever had: a socket may outlast its end for a moment, in a child that has
/// not executed yet.
struct Socket {
    file: OwnedFd,
    number: u64,
}

struct Connect<T> {
    socket: Socket,
    to: SocketAddr,
    deadline: Instant,
    time: Duration,
    what: T,
}

/// What became of a connection, and what it was for.
pub(crate) type Ended<T> = (T, Result<(), Failure>);

impl<T> Connects<T> {
    /// None so far. Within a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        #[expect(deprecated, reason = "what its successor has callers promise, an `OwnedFd` keeps by itself")]
        let epoll = AsyncFd::with_interest(epoll::create(CreateFlags::CLOEXEC)?, Interest::READABLE)?;
        Ok(Self {
            epoll,
            under_way: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            idle_ipv4: Vec::new(),
            idle_ipv6: Vec::new(),
            sockets: 0,
        })
    }

    /// Begins one, which has a time from `begun` on. Fails if it can be said at once that there will be none.
    pub(crate) fn begin(&mut self, to: SocketAddr, begun: Instant, time: Duration, what: T) -> Result<(), Ended<T>> {
        let socket = match self.connect(to) {
            Ok(socket) => socket,
            Err(failure) => return Err((what, Err(failure))),
        };
        let (deadline, number) = (begun + time, socket.number);
        self.deadlines.insert((deadline, number));
        self.under_way.insert(number, Connect { socket, to, deadline, time, what });
        Ok(())
    }

    /// When the time of the first is over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Waits until something may have ended. Cancel-safe: whoever waits again is told again, until it has been taken.
    pub(crate) async fn ready(&self) {
        match self.epoll.readable().await {
            // What comes from here on is told anew.
            Ok(mut ready) => ready.clear_ready(),
            // The runtime ends.
            Err(_) => pending().await,
        }
    }

    /// Takes those that have ended. One that stands is not late, whenever it is looked at.
    pub(crate) fn take_ended(&mut self, now: Instant, ended: &mut Vec<Ended<T>>) {
        loop {
            let before = ended.len();
            let mut events = [MaybeUninit::uninit(); EVENTS];
            // It does not wait, so no signal interrupts it.
            let Ok((events, _)) = epoll::wait(self.epoll.get_ref(), &mut events, Some(&Timespec::default())) else {
                break;
            };
            let are_all = events.len() < EVENTS;
            ended.extend(events.iter().filter_map(|event| self.end(*event)));
            // A socket that is dissolved has an event of its own, which had better not wake the thread. Others may wait behind many of them.
            if are_all && ended.len() == before {
                break;
            }
        }
        while let Some(late) = self.deadlines.first().filter(|(deadline, _)| *deadline <= now).copied() {
            self.deadlines.remove(&late);
            if let Some(connect) = self.under_way.remove(&late.1) {
                ended.push((connect.what, Err(Failure::Silence(connect.time))));
            }
        }
    }

    fn connect(&mut self, to: SocketAddr) -> Result<Socket, Failure> {
        let socket = match self.idle(to).pop() {
            Some(socket) => socket,
            None => self.open(to)?,
        };
        match connect(&socket.file, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(Failure::to("connect")(error)),
        }
    }

    fn open(&mut self, to: SocketAddr) -> Result<Socket, Failure> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let file = socket_with(family, SocketType::STREAM, flags, None).map_err(Failure::to("open a socket"))?;
        // A connection that is closed is reset, too.
        sockopt::set_socket_linger(&file, Some(Duration::ZERO)).map_err(Failure::to("set up a socket"))?;
        self.sockets += 1;
        let number = self.sockets;
        epoll::add(self.epoll.get_ref(), &file, EventData::new_u64(number), EventFlags::OUT | EventFlags::ET)
            .map_err(Failure::to("set up a socket"))?;
        Ok(Socket { file, number })
    }

    /// What an event means; nothing, if its socket is idle.
    fn end(&mut self, event: Event) -> Option<Ended<T>> {
        let Connect { socket, to, deadline, what, .. } = self.under_way.remove(&event.data.u64())?;
        self.deadlines.remove(&(deadline, socket.number));
        let Event { flags, .. } = event;
        if flags.intersects(EventFlags::ERR | EventFlags::HUP)
            && let Err(error) = sockopt::socket_error(&socket.file).and_then(|error| error)
        {
            return Some((what, Err(Failure::to("connect")(error))));
        }
        let idle = self.idle(to);
        if idle.len() < IDLE && connect_unspec(&socket.file).is_ok() {
            idle.push(socket);
        }
        Some((what, Ok(())))
    }

    fn idle(&mut self, to: SocketAddr) -> &mut Vec<Socket> {
        if to.is_ipv4() { &mut self.idle_ipv4 } else { &mut self.idle_ipv6 }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpSocket},
    };

    use super::*;

    const TIME: Duration = Duration::from_secs(60);

    async fn end<T>(connects: &mut Connects<T>) -> Vec<Ended<T>> {
        let mut ended = Vec::new();
        while ended.is_empty() {
            connects.ready().await;
            connects.take_ended(Instant::now(), &mut ended);
        }
        ended
    }

    #[tokio::test]
    async fn a_socket_that_connected_meets_others_after_it() {
        let mut connects = Connects::new().unwrap();
        for address in [Ipv4Addr::LOCALHOST.into(), IpAddr::from(Ipv6Addr::LOCALHOST)] {
            let one = TcpListener::bind((address, 0)).await.unwrap();
            let other = TcpListener::bind((address, 0)).await.unwrap();
            let mut ports = BTreeSet::new();
            for listener in [&one, &other, &one] {
                connects.begin(listener.local_addr().unwrap(), Instant::now(), TIME, ()).unwrap();
                assert!(matches!(end(&mut connects).await[..], [((), Ok(()))]));
                // Its end is a reset, so no port waits.
                let (mut connection, from) = listener.accept().await.unwrap();
                assert_eq!(connection.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
                ports.insert(from.port());
            }
            assert_eq!(ports.len(), 3);
            let gone = one.local_addr().unwrap();
            drop(one);
            for (to, stands) in [(gone, false), (other.local_addr().unwrap(), true)] {
                connects.begin(to, Instant::now(), TIME, ()).unwrap();
                assert_eq!(end(&mut connects).await[0].1.is_ok(), stands);
            }
        }
        // A socket of each family, and another one after the failure.
        assert_eq!(connects.sockets, 4);
        assert_eq!(connects.deadline(), None);
    }

    #[tokio::test]
    async fn whoever_stands_behind_many_that_are_over_is_not_late_either() {
        let mut connects = Connects::new().unwrap();
        let mut ended = Vec::new();
        let addresses = [Ipv4Addr::LOCALHOST.into(), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let listeners = addresses.map(|address| std::net::TcpListener::bind((address, 0)).unwrap());
        let begun = Instant::now();
        for listener in &listeners {
            for _ in 0..IDLE {
                connects.begin(listener.local_addr().unwrap(), begun, TIME, ()).unwrap();
            }
            // What is accepted stands.
            (0..IDLE).for_each(|_| drop(listener.accept().unwrap()));
        }
        connects.take_ended(begun, &mut ended);
        assert_eq!(ended.len(), 2 * IDLE);
        ended.clear();
        connects.begin(listeners[0].local_addr().unwrap(), begun, TIME, ()).unwrap();
        listeners[0].accept().unwrap();
        connects.take_ended(begun + TIME, &mut ended);
        assert!(matches!(ended[..], [((), Ok(()))]), "{ended:?}");
    }

    #[tokio::test]
    async fn whoever_stands_is_not_late_and_whoever_is_silent_is() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let to = listener.local_addr().unwrap();
        let mut connects = Connects::new().unwrap();
        let begun = Instant::now();
        // Nobody accepts: the queue has room for two, and a SYN beyond is dropped.
        for each in 0..3 {
            connects.begin(to, begun, TIME, each).unwrap();
        }
        let mut ended = Vec::new();
        while ended.len() < 2 {
            connects.ready().await;
            connects.take_ended(begun, &mut ended);
        }
        assert!(matches!(ended[..], [(0, Ok(())), (1, Ok(()))]));
        assert_eq!(connects.deadline(), Some(begun + TIME));
        let stands = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        connects.begin(stands.local_addr().unwrap(), begun, TIME, 3).unwrap();
        connects.ready().await;
        ended.clear();
        connects.take_ended(begun + TIME, &mut ended);
        assert!(matches!(ended[..], [(3, Ok(())), (2, Err(Failure::Silence(TIME)))]));
        assert_eq!(connects.deadline(), None);
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Room for connections. Each takes files, of which a process may open so many: whoever relays more than that starves the API, the store and
//! health checks. So connections have a share, and the rest of slb has what is left.
//!
//! TCP clients beyond the bound wait in the backlog. A listener waits for a place once a client is there, and before it accepts that one. Were
//! it the other way round, each listener on each worker would keep a place while nobody comes; were clients accepted first, each would
//! hold a file beyond the bound, and nobody else who listens there could serve them. Places go to listeners in the order in which they ask.
//!
//! UDP has no backlog: see [`sessions`](crate::sessions). Each session takes a port of this host's own as well, of which there are far fewer.

use std::{
    fs,
    future::pending,
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use crate::sessions::Sessions;

/// At least so many files are for the rest of slb, unless that is more than half: 512 connections of the API, 256 sockets that health
/// checks keep, checks under way, what workers themselves need.
const FOR_OTHERS: u64 = 1024;
/// No process has use for more, and it is a number on every machine.
const MOST: u64 = 1 << 28;
/// The ports that sockets get which ask for none (`ip_local_port_range`, ip(7)).
const PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// How often the same is told.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// How the files of this process are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Files for connections and for what they come to: two for each of TCP, one for a UDP session and for a socket that listens.
    pub connections: usize,
    /// Pipes that each worker may have; each takes two files.
    pub pipes: usize,
}

impl Shares {
    /// Of so many files. An eighth of what is not the others' is for pipes: bytes that no pipe is left for are copied.
    pub fn of(files: u64, workers: NonZeroUsize) -> Self {
        let files = files.min(MOST);
        let left = files - (files / 8).max(FOR_OTHERS).min(files / 2);
        let of_pipes = left / 8;
        let number = |files: u64| usize::try_from(files).unwrap_or(usize::MAX);
        Self { connections: number(left - of_pipes), pipes: number(of_pipes / 2) / workers }
    }
}

/// How many files this process may open. The usual limit is 1,024 for the sake of select(2), which nobody here calls; it is raised as far as
/// this process may.
pub fn files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    // No limit is what `None` says.
    if raised { maximum } else { current }.unwrap_or(u64::MAX)
}

/// How many ports this host gives to sockets that ask for none.
pub fn ports() -> usize {
    // Where that is hidden, what runs out is told.
    fs::read_to_string(PORTS).ok().and_then(|range| in_range(&range)).unwrap_or(usize::MAX)
}

fn in_range(range: &str) -> Option<usize> {
    let (first, last) = range.trim().split_once(char::is_whitespace)?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.trim().parse().ok()?);
    Some((last + 1).saturating_sub(first))
}

/// The bound of the process. What takes a place has it until it is dropped, after its files.
#[derive(Debug)]
pub struct Room {
    places: usize,
    ports: usize,
    free: Arc<Semaphore>,
    pub(crate) sessions: Mutex<Sessions>,
    full_told: Told,
    ports_told: Told,
    failed_told: Told,
    address_told: Told,
    silent_told: Told,
}

/// When something was told last.
#[derive(Debug, Default)]
struct Told(Mutex<Option<Instant>>);

impl Told {
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= TELL_AGAIN);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

impl Room {
    /// For so many files, on a host that has so many ports.
    pub fn new(places: usize, ports: usize) -> Self {
        Self {
            places,
            ports,
            free: Arc::new(Semaphore::new(places)),
            sessions: Mutex::default(),
            full_told: Told::default(),
            ports_told: Told::default(),
            failed_told: Told::default(),
            address_told: Told::default(),
            silent_told: Told::default(),
        }
    }

    /// So many sockets may listen, so that others have room as well.
    pub fn half(&self) -> usize {
        self.places / 2
    }

    /// So many UDP sessions may there be. Their clients need not even exist: they leave half of the files to others; and half of the ports
    /// to a successor, whose sessions begin while answers to this process are still under way.
    pub fn most_sessions(&self) -> usize {
        self.half().min(self.ports / 2)
    }

    /// Room for so many files, once there is.
    pub async fn place(&self, files: u32) -> OwnedSemaphorePermit {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_many_owned(files) {
            return place;
        }
        self.tell_full();
        match Arc::clone(&self.free).acquire_many_owned(files).await {
            Ok(place) => place,
            // It is never closed.
            Err(_) => pending().await,
        }
    }

    /// Room for one file, if there is. It is to be [given back](Self::give_back).
    pub fn take(&self) -> bool {
        self.free.try_acquire().map(tokio::sync::SemaphorePermit::forget).is_ok()
    }

    /// One file is closed for which room was [taken](Self::take).
    pub fn give_back(&self) {
        self.free.add_permits(1);
    }

    /// Tells that connections have all that they may have.
    pub fn tell_full(&self) {
        if self.full_told.is_due() {
            let files = self.places;
            warn!(
                files,
                "connections have all the files that they may have: TCP clients wait until others go, new UDP clients take the place of \
                 those who have been silent longest. For more, raise the limit of open files (LimitNOFILE= of the unit, ulimit -n)"
            );
        }
    }

    /// Tells that there are as many UDP sessions as may be.
    pub fn tell_most_sessions(&self) {
        if self.half() <= self.ports / 2 {
            self.tell_full();
        } else if self.ports_told.is_due() {
            let sessions = self.most_sessions();
            warn!(
                sessions,
                "UDP clients have all the ports that they may have: new ones take the place of those who have been silent longest. For more, widen \
                 net.ipv4.ip_local_port_range and start slb anew"
            );
        }
    }

    /// Tells of what the process or its host has run out of.
    pub fn tell_failed(&self, error: &io::Error) {
        if self.failed_told.is_due() {
            warn!(
                %error,
                "there is no room for another connection: clients wait, or are reset. Of open files there may be more with LimitNOFILE= of the unit, \
                 ulimit -n or fs.file-max, of ports of this host's own with net.ipv4.ip_local_port_range"
            );
        }
    }
}

impl Room {
    /// Tells why a backend could not be connected to, unless it is one that was taken away meanwhile.
    pub fn tell_unconnected(&self, to: SocketAddr, error: &io::Error) {
        if error.kind() == ErrorKind::AddrNotAvailable && lacks_address(to) {
            if self.address_told.is_due() {
                let backend = to.ip();
                warn!(%backend, "this host has no address from which to reach it: give it one of that family, or remove such backends");
            }
        } else if is_out_of_room(error) {
            self.tell_failed(error);
        } else if error.kind() != ErrorKind::ConnectionAborted && self.silent_told.is_due() {
            warn!(backend = %to, %error, "could not connect to a backend: clients go on to another one, if there is one; a health check takes it out");
        }
    }
}

/// TCP says the same where no port is left (`__inet_hash_connect`), while UDP has its port before it looks for an address.
fn lacks_address(to: SocketAddr) -> bool {
    let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = UdpSocket::bind(SocketAddr::new(any, 0)).and_then(|socket| socket.connect(to));
    probe.is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM; and no port or address of this host's own that is free, which TCP and UDP put differently. It is
/// nobody else's fault.
pub fn is_out_of_room(error: &io::Error) -> bool {
    let of_files = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    let of_ports = [Errno::ADDRNOTAVAIL, Errno::ADDRINUSE, Errno::AGAIN];
    of_files.into_iter().chain(of_ports).any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Nobody's share is another's, and connections have most of it but where there is little.
        #[test]
        fn shares_leave_something_to_everybody(files in prop_oneof![8..5000u64, any::<u64>()], workers in 1..256usize) {
            let Shares { connections, pipes } = Shares::of(files, NonZeroUsize::new(workers).unwrap());
            let files = files.min(MOST);
            let for_others = files - u64::try_from(connections + 2 * pipes * workers).unwrap();
            prop_assert!(for_others >= FOR_OTHERS.min(files / 2));
            prop_assert!(u64::try_from(connections).unwrap() >= files * 3 / 8);
        }
    }

    #[test]
    fn ports_are_counted_as_the_kernel_writes_them() {
        assert_eq!(in_range("32768\t60999\n"), Some(28_232));
        assert_eq!(in_range("2\t1\n"), Some(0));
        assert_eq!(in_range(""), None);
        assert!(ports() > 0);
    }

    #[test]
    fn where_there_is_an_address_it_is_ports_that_ran_out() {
        assert!(!lacks_address(([127, 0, 0, 1], 1).into()));
    }

    #[tokio::test]
    async fn places_go_to_who_asked_first() {
        let room = Room::new(2, 0);
        let place = room.place(2).await;
        let mut first = std::pin::pin!(room.place(2));
        assert!(polled(&mut first).await.is_none());
        assert!(!room.take());
        drop(place);
        assert!(!room.take(), "who waits comes before who does not");
        let place = polled(&mut first).await.unwrap();
        drop(place);
        assert!(room.take());
        room.give_back();
    }

    /// What it has come to when it is polled once.
    async fn polled<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Listeners outlive the process that opened them: a server hands them over to its successor, systemd to a server.
//!
//! ```text
//!  this server                                      successor
//!  SIGUSR2: API and controller end, the store is
//!  closed; what is relayed goes on, and clients
//!  are taken as ever
//!  starts it, with the listeners ─────────────────▶ takes them; start, first reconcile
//!  takes nobody any more      ◀───────────── ready
//!  go ────────────────────────────────────────────▶ takes clients, serves the API
//!  closes the listeners, relays until all is over
//! ```
//! A successor that ends before it is ready, or takes too long, is none: this server starts anew within its process, with the listeners
//! and the data plane that it has. So only one of the two has the store, and takes clients, at any time; and every listener is always open
//! somewhere, with whoever waits in it.
//!
//! `channel` is what the two speak by, `predecessor` the end of the successor, `successor` that of the server before.

mod channel;
mod predecessor;
mod successor;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::{AsFd, BorrowedFd},
};

use listenfd::ListenFd;
use slb_proxy::{Inherited, Proxy};
use socket2::Socket;
use tracing::warn;

pub use self::{predecessor::Predecessor, successor::to_successor};
use crate::alone::Alone;

/// What was there before a server starts. All that is left in it is closed with it.
#[derive(Debug, Default)]
pub struct Inheritance {
    sockets: Vec<Socket>,
    /// Who handed it over, and waits.
    pub predecessor: Option<Predecessor>,
    /// Of a server in this process.
    pub proxy: Option<Proxy>,
}

/// What outlives a server that stopped for a successor.
#[derive(Debug)]
pub struct Estate {
    /// Where the API listens.
    pub api: TcpListener,
    /// That nobody else changes this host.
    pub alone: Option<Alone>,
    /// Unless IPVS balances.
    pub proxy: Option<Proxy>,
}

impl Inheritance {
    /// What systemd, or another server, has given to this process. To be called before there are other threads.
    ///
    /// # Errors
    /// A server started this process, and does not hand over anything.
    pub fn receive() -> io::Result<Self> {
        let mut sockets = of_systemd();
        let predecessor = match Predecessor::of_this_process()? {
            Some((predecessor, more)) => {
                sockets.extend(more.into_iter().map(Socket::from));
                Some(predecessor)
            }
            None => None,
        };
        Ok(Self { sockets, predecessor, proxy: None })
    }

    /// A listener at exactly this address.
    pub fn listener(&mut self, at: SocketAddr) -> Option<TcpListener> {
        let is_it = |socket: &Socket| {
            socket.local_addr().is_ok_and(|address| address.as_socket() == Some(at))
                && socket.is_listener().is_ok_and(|is_listener| is_listener)
                && socket.set_nonblocking(true).is_ok()
        };
        self.take(is_it).map(TcpListener::from)
    }

    /// The claim to this host.
    pub fn alone(&mut self) -> Option<Alone> {
        self.take(Alone::is_claim).map(Alone::from)
    }

    /// What clients of load-balancers come to. Sockets of other kinds are closed, and told.
    pub fn for_clients(&mut self) -> Inherited {
        let (inherited, others) = Inherited::sort(self.sockets.drain(..));
        for socket in others {
            let at = socket.local_addr().ok().and_then(|address| address.as_socket());
            tell_unclaimed(at.map_or_else(|| "not of IP".to_owned(), |at| at.to_string()));
        }
        inherited
    }

    fn take(&mut self, is_it: impl FnMut(&Socket) -> bool) -> Option<Socket> {
        let position = self.sockets.iter().position(is_it)?;
        Some(self.sockets.swap_remove(position))
    }
}

/// Whether a successor may be started; says why not.
pub fn is_possible() -> bool {
    let is_first = std::process::id() == 1;
    if is_first {
        warn!("SIGUSR2 has no effect: this is process 1, and all others of the container would end with it");
    }
    !is_first
}

/// A socket that was given to this process, and that it has closed.
pub fn tell_unclaimed(socket: impl ToString) {
    warn!(
        socket = socket.to_string(),
        "closed a socket that was handed over: neither the API nor a load-balancer has that address and port"
    );
}

/// sd_listen_fds(3).
fn of_systemd() -> Vec<Socket> {
    let mut given = ListenFd::from_env();
    let mut sockets = Vec::new();
    for number in 0..given.len() {
        let tcp = given.take_tcp_listener(number).ok().flatten().map(Socket::from);
        match tcp.or_else(|| given.take_udp_socket(number).ok().flatten().map(Socket::from)) {
            Some(socket) => sockets.push(socket),
            None => tell_unusable(number),
        }
    }
    sockets
}

fn tell_unusable(number: usize) {
    warn!(number, "a descriptor that was handed over (LISTEN_FDS) is neither of TCP nor of UDP: it is not used");
}

impl Estate {
    /// All that is handed over.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let of_clients = self.proxy.iter().flat_map(Proxy::sockets);
        [self.api.as_fd()].into_iter().chain(self.alone.as_ref().map(AsFd::as_fd)).chain(of_clients).collect()
    }
}

/// For a server in the same process.
impl From<Estate> for Inheritance {
    fn from(estate: Estate) -> Self {
        let Estate { api, alone, proxy } = estate;
        let sockets = [Socket::from(api)].into_iter().chain(alone.map(Socket::from)).collect();
        Self { sockets, predecessor: None, proxy }
    }
}

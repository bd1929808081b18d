// SPDX-License-Identifier: Apache-2.0
//! Where clients of a service come in: its sockets, and what takes clients from them, each on a worker.

use std::{
    io,
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use slb_core::model::{Endpoint, Protocol};
use socket2::Socket;
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::UdpSocket,
    runtime::Handle,
    task::JoinHandle,
};

use crate::{
    proxy::Options,
    relay::Patience,
    room::Room,
    service::Service,
    socket::{self, Binding},
    tcp::{self, Times},
    udp,
};

/// Sockets that clients come to. Nobody is taken before [`open`](Self::open), nor after [`shut`](Self::shut): clients wait in the sockets.
#[derive(Debug)]
pub struct Entrance {
    doors: Vec<Door>,
    acceptors: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
enum Door {
    Tcp(Arc<AsyncFd<TcpListener>>),
    Udp(Arc<UdpSocket>),
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.get_ref().as_fd(),
            Self::Udp(socket) => socket.as_fd(),
        }
    }
}

impl Entrance {
    /// A socket for each worker. All or none: the kernel gives each one its share of clients from the moment that it is there.
    ///
    /// # Errors
    /// Those of bind(2) and listen(2).
    pub fn bind(endpoint: Endpoint, binding: Binding, workers: &[Handle]) -> io::Result<Self> {
        let bind = || match endpoint.protocol {
            Protocol::Udp => socket::receive(endpoint, binding).map(Socket::from),
            Protocol::Tcp | Protocol::Sctp => socket::listen(endpoint, binding).map(Socket::from),
        };
        let sockets = workers.iter().map(|_| bind()).collect::<Result<_, _>>()?;
        Self::over(endpoint, sockets, workers)
    }

    /// Sockets that are there, however many: each of them belongs to a worker, and no other is opened, since the kernel would send clients to
    /// it as well. Workers for which there is none share a TCP listener; a UDP client is known to one worker only, so there they go without.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn over(endpoint: Endpoint, mut sockets: Vec<Socket>, workers: &[Handle]) -> io::Result<Self> {
        if endpoint.protocol != Protocol::Udp {
            for number in 0..workers.len().saturating_sub(sockets.len()) {
                let shared = sockets.get(number).map(Socket::try_clone).transpose()?;
                sockets.extend(shared);
            }
        }
        let doors = sockets.into_iter().zip(workers.iter().cycle()).map(|(socket, worker)| {
            let _within = worker.enter();
            Ok(match endpoint.protocol {
                Protocol::Udp => Door::Udp(Arc::new(UdpSocket::from_std(socket.into())?)),
                Protocol::Tcp | Protocol::Sctp => Door::Tcp(Arc::new(listener(socket.into())?)),
            })
        });
        Ok(Self { doors: doors.collect::<io::Result<_>>()?, acceptors: Vec::new() })
    }

    /// Takes clients, unless it does already.
    pub fn open(&mut self, service: &Arc<Service>, room: &Arc<Room>, options: &Options, workers: &[Handle]) {
        if !self.acceptors.is_empty() {
            return;
        }
        let Options { connect_timeout, tcp_timeout, tcp_fin_timeout, udp_timeout, .. } = *options;
        let patience = Patience { open: tcp_timeout, half_closed: tcp_fin_timeout };
        let times = Times { connect: connect_timeout, patience };
        let on_each = self.doors.iter().zip(workers.iter().cycle()).map(|(door, worker)| {
            let (service, room) = (Arc::clone(service), Arc::clone(room));
            match door {
                Door::Tcp(listener) => worker.spawn(tcp::accept(Arc::clone(listener), service, room, times)),
                Door::Udp(socket) => worker.spawn(udp::serve(Arc::clone(socket), service, room, udp_timeout)),
            }
        });
        self.acceptors = on_each.collect();
    }

    /// Takes nobody any more. Its sockets stay, and so does what was taken; answers to UDP clients go out by them.
    pub async fn shut(&mut self) {
        self.acceptors.iter().for_each(JoinHandle::abort);
        for acceptor in self.acceptors.drain(..) {
            // It was cancelled.
            drop(acceptor.await);
        }
    }

    /// What clients come to.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.doors.iter().map(AsFd::as_fd)
    }
}

fn listener(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    #[expect(deprecated, reason = "what its successor has callers promise, a `TcpListener` keeps by itself")]
    AsyncFd::with_interest(listener, Interest::READABLE)
}

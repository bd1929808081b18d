// SPDX-License-Identifier: Apache-2.0
//! Where peers connect to. Who is no peer is told so and left; a peer with a password is heard only if it signs (TCP-MD5), which the
//! kernel checks by the keys of the listening socket.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use slb_core::peer::Peer;
use slb_ffi::tcp;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tracing::{debug, warn};

use super::{connect::TIME_TO_LIVE, notification::Notification, wire};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;
/// The pause after a failure, such as too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// A place where peers of one address family connect to.
#[derive(Debug)]
pub struct Listener {
    at: SocketAddr,
    socket: Socket,
}

impl Listener {
    /// Takes the place. Whoever connects is refused until it [`begin`](Self::begin)s: a connection that stands before there is a key
    /// would be one that nobody has signed.
    ///
    /// # Errors
    /// The kernel's: the address is in use, or not one of this host.
    pub fn open(at: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(at), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        if at.is_ipv6() {
            // Keys are by family; the other has a listener of its own.
            socket.set_only_v6(true)?;
            socket.set_unicast_hops_v6(TIME_TO_LIVE)?;
        } else {
            socket.set_ttl_v4(TIME_TO_LIVE)?;
        }
        socket.set_reuse_address(true)?;
        socket.bind(&at.into())?;
        Ok(Self { at, socket })
    }

    /// The place.
    pub(super) fn at(&self) -> SocketAddr {
        self.at
    }

    /// Whether this peer could connect to it.
    pub(super) fn hears(&self, peer: &Peer) -> bool {
        self.at.is_ipv4() == peer.address.address().is_ipv4()
    }

    /// Has the peer sign with its password, or with none.
    ///
    /// # Errors
    /// The kernel has no TCP-MD5.
    pub(super) fn expect(&self, peer: &Peer) -> io::Result<()> {
        let address = peer.address.address();
        match &peer.password {
            Some(password) => tcp::sign(&self.socket, address, password.expose().as_bytes()),
            None => {
                self.forget(address);
                Ok(())
            }
        }
    }

    /// Forgets the key of a peer; that there was none is fine.
    pub(super) fn forget(&self, address: IpAddr) {
        if self.at.is_ipv4() == address.is_ipv4() {
            let _ = tcp::sign(&self.socket, address, &[]);
        }
    }

    /// Accepts connections for ever. `take` gives back those of nobody that is known.
    pub(super) async fn run(socket: Socket, take: impl Fn(IpAddr, TcpStream) -> Result<(), TcpStream>) {
        let listener = match TcpListener::from_std(socket.into()) {
            Ok(listener) => listener,
            Err(error) => return warn!("BGP peers are not listened for: {error}"),
        };
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    let from = from.ip().to_canonical();
                    if let Err(stream) = take(from, stream) {
                        debug!("a BGP connection from {from}, which is no peer, is refused");
                        // A new connection takes these few bytes at once.
                        let rejected = Notification::new(Notification::CONNECTION_REJECTED, []);
                        let _ = stream.try_write(&wire::notification(&rejected));
                    }
                }
                Err(error) => {
                    warn!("a BGP connection could not be accepted: {error}");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Lets peers connect. Another handle of the socket, to accept from.
    ///
    /// # Errors
    /// Somebody else listens there by now; too many open files.
    pub(super) fn begin(&self) -> io::Result<Socket> {
        self.socket.listen(BACKLOG)?;
        self.socket.try_clone()
    }
}

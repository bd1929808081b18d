// SPDX-License-Identifier: Apache-2.0
//! Sockets that were open before this process, by where clients come to them. Whoever connected before, and was not accepted yet, waits in
//! them, so none is closed that is still wanted.

use std::{collections::BTreeMap, net::SocketAddr};

use slb_core::model::{Endpoint, Port, Protocol, Vip};
use socket2::{Socket, Type};

use crate::socket::prepare_client;

/// Sockets that are known by their own addresses.
#[derive(Debug, Default)]
pub struct Inherited(BTreeMap<Endpoint, Vec<Socket>>);

impl Inherited {
    /// Those that clients can come to: TCP sockets that listen, and UDP sockets that are not connected. The others are given back.
    pub fn sort(sockets: impl IntoIterator<Item = Socket>) -> (Self, Vec<Socket>) {
        let mut inherited = Self::default();
        let mut others = Vec::new();
        for socket in sockets {
            match endpoint(&socket) {
                Some(endpoint) => inherited.keep(endpoint, [socket]),
                None => others.push(socket),
            }
        }
        (inherited, others)
    }

    /// Holds these for the endpoint as well.
    pub(crate) fn keep(&mut self, endpoint: Endpoint, sockets: impl IntoIterator<Item = Socket>) {
        self.0.entry(endpoint).or_default().extend(sockets);
    }

    /// Whether there are any for the endpoint.
    pub(crate) fn has(&self, endpoint: Endpoint) -> bool {
        self.0.contains_key(&endpoint)
    }

    /// All that there are for the endpoint, set up as this process does it.
    pub(crate) fn take(&mut self, endpoint: Endpoint) -> Vec<Socket> {
        let sockets = self.0.remove(&endpoint).unwrap_or_default();
        if endpoint.protocol != Protocol::Udp {
            sockets.iter().for_each(prepare_client);
        }
        sockets
    }

    /// Closes them all, and says which they were.
    pub fn close(self) -> Vec<Endpoint> {
        self.0.into_keys().collect()
    }
}

fn endpoint(socket: &Socket) -> Option<Endpoint> {
    let at: SocketAddr = socket.local_addr().ok()?.as_socket()?;
    let protocol = match socket.r#type().ok()? {
        Type::STREAM if socket.is_listener().ok()? => Protocol::Tcp,
        Type::DGRAM if socket.peer_addr().is_err() => Protocol::Udp,
        _ => return None,
    };
    // Neither takes clients as a blocking socket, nor is to be a program's that this one starts.
    socket.set_nonblocking(true).ok()?;
    socket.set_cloexec(true).ok()?;
    let vip = Vip::try_from(at.ip()).ok()?;
    Some(Endpoint { vip, port: Port::try_from(i64::from(at.port())).ok()?, protocol })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn what_clients_come_to_is_known_by_its_address() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(at).unwrap();
        let connected = TcpStream::connect(at).unwrap();
        let asking = UdpSocket::bind("127.0.0.1:0").unwrap();
        asking.connect(at).unwrap();
        let anywhere = TcpListener::bind("0.0.0.0:0").unwrap();
        let again = tcp.try_clone().unwrap();
        let sockets: [Socket; 6] =
            [tcp.into(), udp.into(), connected.into(), asking.into(), anywhere.into(), again.into()];
        let (mut inherited, others) = Inherited::sort(sockets);
        assert_eq!(others.len(), 3, "{others:?}");
        let port = Port::try_from(i64::from(at.port())).unwrap();
        let vip = at.ip().try_into().unwrap();
        assert_eq!(inherited.take(Endpoint::tcp(vip, port)).len(), 2);
        let udp = Endpoint { vip, port, protocol: Protocol::Udp };
        assert!(inherited.has(udp));
        assert_eq!(inherited.close(), [udp]);
        assert!(UdpSocket::bind(at).is_ok(), "it is closed");
    }
}

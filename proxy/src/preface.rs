// SPDX-License-Identifier: Apache-2.0
//! What a backend gets before all else, if it is to learn who its client is: a header of the PROXY protocol, and in one piece with it what
//! the client has sent by then.

use std::{
    io::{self, ErrorKind, Read},
    net::SocketAddr,
};

use slb_core::{model::ProxyProtocol, proxy_header};
use socket2::SockRef;
use tokio::net::TcpStream;

/// Of the client's own, at most so much goes with the header: about as much as a new connection may send at once (RFC 6928).
const WITH_IT: usize = 14 * 1024;

/// Sends it; how much of that was the client's own. Whoever lets the backend speak first does not have to wait for the client.
///
/// # Errors
/// One of the two connections broke off.
pub async fn send(
    version: ProxyProtocol,
    from: SocketAddr,
    client: &TcpStream,
    backend: &TcpStream,
) -> io::Result<u64> {
    let mut bytes = proxy_header::relayed(version, from, client.local_addr()?);
    let header = bytes.len();
    bytes.resize(header + WITH_IT, 0);
    let room = bytes.get_mut(header..).unwrap_or_default();
    // The runtime may not know yet that there is something.
    let there = match (&*SockRef::from(client)).read(room) {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    bytes.truncate(header + there);
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        backend.writable().await?;
        match backend.try_write(rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(u64::try_from(there).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Both ends of a connection.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (here, there) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (here.unwrap(), there.unwrap().0)
    }

    #[tokio::test]
    async fn what_the_client_has_sent_by_then_goes_with_it() {
        let (mut user, client) = pair().await;
        let (backend, mut server) = pair().await;
        let from = user.local_addr().unwrap();
        let header = proxy_header::relayed(ProxyProtocol::V2, from, client.local_addr().unwrap());
        let mut buffer = [0; 100];
        assert_eq!(send(ProxyProtocol::V2, from, &client, &backend).await.unwrap(), 0);
        let length = server.read(&mut buffer).await.unwrap();
        assert_eq!(buffer[..length], header, "nobody waits for the client");
        user.write_all(b"hello").await.unwrap();
        client.readable().await.unwrap();
        assert_eq!(send(ProxyProtocol::V2, from, &client, &backend).await.unwrap(), 5);
        let length = server.read(&mut buffer).await.unwrap();
        assert_eq!(buffer[..length], [header.as_slice(), b"hello"].concat(), "in one piece");
    }

    /// Its reset must not look like an orderly end to who reads on.
    #[tokio::test]
    async fn a_client_that_broke_off_is_an_error() {
        let (user, client) = pair().await;
        let (backend, _server) = pair().await;
        let from = user.local_addr().unwrap();
        user.set_zero_linger().unwrap();
        drop(user);
        client.readable().await.unwrap();
        let sent = send(ProxyProtocol::V1, from, &client, &backend).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

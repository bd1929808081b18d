// SPDX-License-Identifier: Apache-2.0
//! Backends that are told who their clients are, through the driver, with real sockets on loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::SocketAddr, num::NonZeroUsize};

use slb_core::{
    model::{BackendSettings, Endpoint, Port, ProxyProtocol, ServiceSettings, Target},
    ports::{Dataplane, Verdict},
    statistics::Statistics,
    step::DataplaneStep::{self, AddBackend, AddService, SetService},
};
use slb_proxy::{Options, Proxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::yield_now,
};

fn speaking(version: Option<ProxyProtocol>) -> ServiceSettings {
    ServiceSettings { proxy_protocol: version, ..ServiceSettings::default() }
}

/// A port that nobody has.
fn endpoint(vip: &str) -> Endpoint {
    let free = std::net::TcpListener::bind((vip, 0)).unwrap().local_addr().unwrap().port();
    Endpoint::tcp(vip.parse().unwrap(), Port::try_from(i64::from(free)).unwrap())
}

async fn backend(at: &str) -> (TcpListener, Target) {
    let listener = TcpListener::bind((at, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let port = Port::try_from(i64::from(address.port())).ok();
    (listener, Target { ip: address.ip().try_into().unwrap(), port })
}

async fn serving(at: Endpoint, version: ProxyProtocol, targets: &[Target]) -> Proxy {
    let workers = NonZeroUsize::new(2).unwrap();
    let mut proxy = Proxy::start(Options { workers, ..Options::default() }).unwrap();
    let mut steps = vec![AddService(at.into(), speaking(Some(version)))];
    steps.extend(targets.iter().map(|target| AddBackend(at.into(), *target, BackendSettings::default())));
    apply(&mut proxy, &steps).await;
    proxy
}

async fn apply(proxy: &mut Proxy, steps: &[DataplaneStep]) {
    let verdicts = proxy.apply(steps).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Applied)), "{verdicts:?}");
}

async fn connect(at: Endpoint) -> (TcpStream, SocketAddr) {
    let client = TcpStream::connect((at.vip.address(), at.port.get())).await.unwrap();
    let from = client.local_addr().unwrap();
    (client, from)
}

/// All that the next connection to a backend brings, and the answer `yes`.
async fn all(listener: &TcpListener) -> Vec<u8> {
    let (mut server, _) = listener.accept().await.unwrap();
    let mut said = Vec::new();
    server.read_to_end(&mut said).await.unwrap();
    server.write_all(b"yes").await.unwrap();
    said
}

/// Says something, and hears the answer.
async fn ask(mut client: TcpStream, question: &[u8]) -> String {
    client.write_all(question).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_client_is_the_first_thing_that_a_backend_learns() {
    let at = endpoint("127.0.0.111");
    let (listener, target) = backend("127.0.0.1").await;
    let mut proxy = serving(at, ProxyProtocol::V1, &[target]).await;
    let (client, from) = connect(at).await;
    let (answer, said) = tokio::join!(ask(client, b"hello"), all(&listener));
    assert_eq!(answer, "yes");
    let header = format!("PROXY TCP4 127.0.0.1 127.0.0.111 {} {}\r\n", from.port(), at.port);
    assert_eq!(String::from_utf8(said).unwrap(), format!("{header}hello"));
    // What the client has sent is counted, and no more.
    loop {
        let reading = proxy.meter().read().await.unwrap();
        let count = &reading.services[&at.into()].backends[&target];
        if count.connections.active == 0 {
            assert_eq!((count.traffic.total.bytes_in, count.traffic.total.bytes_out), (5, 3));
            break;
        }
        yield_now().await;
    }
    // It can be changed while it serves.
    apply(&mut proxy, &[SetService(at.into(), speaking(None))]).await;
    let (client, _) = connect(at).await;
    let (answer, said) = tokio::join!(ask(client, b"hello"), all(&listener));
    assert_eq!((answer.as_str(), said.as_slice()), ("yes", &b"hello"[..]));
}

/// Half of what is new on the wire: ports follow the addresses, in network order.
#[tokio::test]
async fn ipv6_is_told_in_binary() {
    let at = endpoint("::1");
    let (listener, target) = backend("::1").await;
    let _proxy = serving(at, ProxyProtocol::V2, &[target]).await;
    let (client, from) = connect(at).await;
    let (answer, said) = tokio::join!(ask(client, b""), all(&listener));
    assert_eq!(answer, "yes");
    let loopback = std::net::Ipv6Addr::LOCALHOST.octets();
    let ports = [from.port().to_be_bytes(), at.port.get().to_be_bytes()].concat();
    let header = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24"[..], &loopback, &loopback, &ports].concat();
    assert_eq!(said, header);
}

/// A server that greets, as those of mail do, must not have to wait for its client.
#[tokio::test]
async fn a_backend_may_speak_first() {
    let at = endpoint("127.0.0.112");
    let (listener, target) = backend("127.0.0.1").await;
    let _proxy = serving(at, ProxyProtocol::V1, &[target]).await;
    let (mut client, from) = connect(at).await;
    let (mut server, _) = listener.accept().await.unwrap();
    let header = format!("PROXY TCP4 127.0.0.1 127.0.0.112 {} {}\r\n", from.port(), at.port);
    let mut read = vec![0; header.len()];
    server.read_exact(&mut read).await.unwrap();
    assert_eq!(String::from_utf8(read).unwrap(), header);
    server.write_all(b"220 ready").await.unwrap();
    let mut greeting = [0; 9];
    client.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 ready");
}

#[tokio::test]
async fn who_follows_a_dead_backend_is_told_all_of_it() {
    let at = endpoint("127.0.0.113");
    let (closed, dead) = backend("127.0.0.1").await;
    drop(closed);
    let (listener, alive) = backend("127.0.0.1").await;
    // The newest comes first.
    let _proxy = serving(at, ProxyProtocol::V1, &[alive, dead]).await;
    for _ in 0..2 {
        let (client, from) = connect(at).await;
        let much = vec![b'x'; 200_000];
        let (answer, said) = tokio::join!(ask(client, &much), all(&listener));
        assert_eq!(answer, "yes");
        let header = format!("PROXY TCP4 127.0.0.1 127.0.0.113 {} {}\r\n", from.port(), at.port);
        assert!(said == [header.as_bytes(), &much].concat(), "{} bytes", said.len());
    }
}

// SPDX-License-Identifier: Apache-2.0
//! One proxy goes on for another, with its sockets and however many workers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{io::ErrorKind, num::NonZeroUsize};

use slb_core::{
    model::{BackendSettings, Endpoint, Port, Protocol, ServiceSettings, Target},
    ports::{Dataplane, Verdict},
    step::DataplaneStep::{AddBackend, AddService, RemoveService},
};
use slb_proxy::{Inherited, Options, Proxy};
use socket2::Socket;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

fn proxy(workers: usize) -> Proxy {
    let workers = NonZeroUsize::new(workers).unwrap();
    Proxy::start(Options { workers, ..Options::default() }).unwrap()
}

fn endpoint(vip: &str, protocol: Protocol) -> Endpoint {
    let free = std::net::TcpListener::bind((vip, 0)).unwrap().local_addr().unwrap().port();
    Endpoint { vip: vip.parse().unwrap(), port: Port::try_from(i64::from(free)).unwrap(), protocol }
}

fn target(at: std::net::SocketAddr) -> Target {
    Target { ip: at.ip().try_into().unwrap(), port: Port::try_from(i64::from(at.port())).ok() }
}

async fn serve(proxy: &mut Proxy, at: Endpoint, target: Target) {
    let steps =
        [AddService(at.into(), ServiceSettings::default()), AddBackend(at.into(), target, BackendSettings::default())];
    let verdicts = proxy.apply(&steps).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Applied)), "{verdicts:?}");
}

/// What another process would be given.
fn handed_over(proxy: &Proxy) -> Inherited {
    let sockets = proxy.sockets().into_iter().map(|socket| Socket::from(socket.try_clone_to_owned().unwrap()));
    let (inherited, others) = Inherited::sort(sockets);
    assert!(others.is_empty(), "{others:?}");
    inherited
}

async fn echo() -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target(listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = client.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    target
}

async fn connect(at: Endpoint) -> TcpStream {
    TcpStream::connect((at.vip.address(), at.port.get())).await.unwrap()
}

async fn say(stream: &mut TcpStream) {
    stream.write_all(b"here").await.unwrap();
    let mut said = [0; 4];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"here");
}

/// The kernel spreads connections over all sockets that there are, so each of them has to be accepted from.
#[tokio::test]
async fn any_number_of_workers_goes_on_for_any_other() {
    let target = echo().await;
    for (before, after) in [(1, 1), (1, 3), (3, 1), (2, 3)] {
        let at = endpoint("127.0.0.95", Protocol::Tcp);
        let mut old = proxy(before);
        serve(&mut old, at, target).await;
        let mut long = connect(at).await;
        say(&mut long).await;

        let mut new = proxy(after);
        new.inherit(handed_over(&old));
        assert!(!new.exists(at.into()).await.unwrap(), "it is no other program's");
        serve(&mut new, at, target).await;
        old.shut().await;
        let mut waiting = Vec::new();
        for _ in 0..20 {
            waiting.push(connect(at).await);
        }
        new.open();
        let retired = tokio::spawn(old.retire());
        for client in &mut waiting {
            say(client).await;
        }
        say(&mut connect(at).await).await;
        say(&mut long).await;
        assert!(!retired.is_finished());
        drop(long);
        retired.await.unwrap();

        drop(new);
        assert!(TcpStream::connect((at.vip.address(), at.port.get())).await.is_err(), "nobody has it open");
    }
}

/// A client is older than what is set up of the socket that it waits in, as with one that systemd listens on. It has to know that there is more to come.
#[tokio::test]
async fn who_waited_already_is_treated_like_others() {
    let at = endpoint("127.0.0.99", Protocol::Tcp);
    let listener = std::net::TcpListener::bind((at.vip.address(), at.port.get())).unwrap();
    let mut client = connect(at).await;
    let mut proxy = proxy(1);
    proxy.inherit(Inherited::sort([Socket::from(listener)]).0);
    serve(&mut proxy, at, echo().await).await;
    proxy.open();
    say(&mut client).await;
    drop(proxy);
    assert_eq!(client.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// A handover that comes to nothing.
#[tokio::test]
async fn who_waits_is_taken_when_it_is_opened_again() {
    let target = echo().await;
    let at = endpoint("127.0.0.96", Protocol::Tcp);
    let mut proxy = proxy(2);
    serve(&mut proxy, at, target).await;
    proxy.shut().await;
    let mut client = connect(at).await;
    proxy.open();
    proxy.open();
    say(&mut client).await;
    let removed = proxy.apply(&[RemoveService(at.into())]).await;
    assert!(matches!(removed[..], [Verdict::Applied]), "{removed:?}");
    assert!(TcpStream::connect((at.vip.address(), at.port.get())).await.is_err());
}

#[tokio::test]
async fn what_no_service_asks_for_is_closed() {
    let at = endpoint("127.0.0.97", Protocol::Tcp);
    let mut old = proxy(1);
    serve(&mut old, at, echo().await).await;
    let mut new = proxy(1);
    new.inherit(handed_over(&old));
    drop(old);
    new.open();
    assert!(TcpStream::connect((at.vip.address(), at.port.get())).await.is_ok(), "it waits");
    assert_eq!(new.close_unclaimed(), [at]);
    assert!(TcpStream::connect((at.vip.address(), at.port.get())).await.is_err());
}

/// The answer to a question that the old one passed on, while the new one takes the next.
#[tokio::test]
async fn answers_under_way_reach_their_clients() {
    let backend = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = endpoint("127.0.0.98", Protocol::Udp);
    let mut old = proxy(2);
    serve(&mut old, at, target(backend.local_addr().unwrap())).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect((at.vip.address(), at.port.get())).await.unwrap();
    client.send(b"first").await.unwrap();
    let mut datagram = [0; 16];
    let (_, first) = backend.recv_from(&mut datagram).await.unwrap();

    let mut new = proxy(1);
    new.inherit(handed_over(&old));
    serve(&mut new, at, target(backend.local_addr().unwrap())).await;
    old.shut().await;
    client.send(b"second").await.unwrap();
    new.open();
    let _retired = tokio::spawn(old.retire());
    let (length, second) = backend.recv_from(&mut datagram).await.unwrap();
    assert_eq!(&datagram[..length], b"second");
    assert_ne!(first, second, "it is another process's");
    for (to, word) in [(first, &b"one"[..]), (second, b"two")] {
        backend.send_to(word, to).await.unwrap();
        let length = client.recv(&mut datagram).await.unwrap();
        assert_eq!(&datagram[..length], word);
    }
}

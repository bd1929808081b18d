// SPDX-License-Identifier: Apache-2.0
//! Connections through the driver, with real sockets on loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{io::ErrorKind, num::NonZeroUsize, time::Duration};

use slb_core::{
    model::{
        BackendSettings, Encapsulation, Endpoint, Forwarding, Mark, Port, Protocol, Scheduler, ServiceSettings,
        SourceNat, Target, VirtualService, Weight,
    },
    ports::{Dataplane, Denied, Verdict},
    statistics::{ServiceCount, Statistics},
    step::DataplaneStep::{self, AddBackend, AddService, RemoveBackend, RemoveService, SetBackend},
};
use slb_proxy::{Options, Proxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::yield_now,
    time::{sleep, timeout},
};

fn proxy() -> Proxy {
    let options = Options { workers: NonZeroUsize::new(2).unwrap(), ..Options::default() };
    Proxy::start(options).unwrap()
}

/// A port that nobody has.
fn endpoint(vip: &str) -> Endpoint {
    let free = std::net::TcpListener::bind((vip, 0)).unwrap().local_addr().unwrap().port();
    Endpoint::tcp(vip.parse().unwrap(), Port::try_from(i64::from(free)).unwrap())
}

fn target(listener: &TcpListener) -> Target {
    let at = listener.local_addr().unwrap();
    Target { ip: at.ip().try_into().unwrap(), port: Port::try_from(i64::from(at.port())).ok() }
}

async fn backend() -> (TcpListener, Target) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target(&listener);
    (listener, target)
}

/// Says its name, and then whatever it is told.
async fn echo(name: &'static str) -> Target {
    let (listener, target) = backend().await;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                client.write_all(name.as_bytes()).await.unwrap();
                let (mut read, mut write) = client.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    target
}

async fn apply(proxy: &mut Proxy, steps: &[DataplaneStep]) {
    let verdicts = proxy.apply(steps).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Applied)), "{verdicts:?}");
}

fn add(at: Endpoint, target: Target) -> DataplaneStep {
    AddBackend(at.into(), target, BackendSettings::default())
}

fn weighing(at: Endpoint, target: Target, weight: u16) -> DataplaneStep {
    SetBackend(at.into(), target, BackendSettings { weight: Weight::from(weight), ..BackendSettings::default() })
}

async fn serving(at: Endpoint, targets: &[Target]) -> Proxy {
    let mut proxy = proxy();
    let mut steps = vec![AddService(at.into(), ServiceSettings::default())];
    steps.extend(targets.iter().map(|target| add(at, *target)));
    apply(&mut proxy, &steps).await;
    proxy
}

async fn connect(at: Endpoint) -> TcpStream {
    TcpStream::connect((at.vip.address(), at.port.get())).await.unwrap()
}

/// Everything until the end of the connection, after closing the own direction.
async fn all(mut stream: TcpStream) -> String {
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    said
}

async fn who(at: Endpoint) -> String {
    all(connect(at).await).await
}

/// The reset may be there before connecting has ended.
async fn is_refused(at: Endpoint) -> bool {
    let said = match TcpStream::connect((at.vip.address(), at.port.get())).await {
        Ok(mut stream) => stream.read(&mut [0]).await,
        Err(error) => Err(error),
    };
    said.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

/// What is counted of a connection is counted once it is over, which the client sees a moment before.
async fn counted(proxy: &mut Proxy, at: Endpoint, is_so: impl Fn(&ServiceCount) -> bool) -> ServiceCount {
    loop {
        let reading = proxy.meter().read().await.unwrap();
        let count = &reading.services[&at.into()];
        if is_so(count) {
            return count.clone();
        }
        yield_now().await;
    }
}

#[tokio::test]
async fn clients_go_round_and_are_counted() {
    let at = endpoint("127.0.0.85");
    let targets = [echo("a").await, echo("b").await];
    let mut proxy = serving(at, &targets).await;
    let first = who(at).await;
    let second = who(at).await;
    assert_eq!([first.as_str(), second.as_str()], ["a", "b"], "in the order in which they were added");
    let mut third = connect(at).await;
    third.write_all(b"hello").await.unwrap();
    assert_eq!(all(third).await, "ahello");
    let done = |count: &ServiceCount| count.backends.values().all(|each| each.connections.active == 0);
    let count = counted(&mut proxy, at, done).await;
    let total = count.traffic.total;
    assert_eq!((total.connections, total.bytes_in, total.bytes_out), (3, 5, 8));
    assert_eq!(count.backends[&targets[1]].traffic.total.connections, 1);
    assert_eq!(count.backends[&targets[0]].traffic.total.bytes_out, 7);
}

/// A client that has said all waits for its answer.
#[tokio::test]
async fn half_close_is_carried_through() {
    let at = endpoint("127.0.0.86");
    let (listener, target) = backend().await;
    let _proxy = serving(at, &[target]).await;
    let client = tokio::spawn(async move {
        let mut client = connect(at).await;
        client.write_all(b"question").await.unwrap();
        all(client).await
    });
    let (mut server, _) = listener.accept().await.unwrap();
    let mut question = String::new();
    server.read_to_string(&mut question).await.unwrap();
    server.write_all(b"answer").await.unwrap();
    drop(server);
    assert_eq!((question.as_str(), client.await.unwrap().as_str()), ("question", "answer"));
}

/// It is nobody's fault that nothing was said for longer than a half-closed connection may be silent.
#[tokio::test]
async fn half_close_after_a_silence_is_carried_through() {
    let at = endpoint("127.0.0.102");
    let (listener, target) = backend().await;
    let limit = Duration::from_secs(1);
    let mut proxy = Proxy::start(Options { tcp_fin_timeout: limit, ..Options::default() }).unwrap();
    apply(&mut proxy, &[add_service(at), add(at, target)]).await;
    let client = connect(at).await;
    let (mut server, _) = listener.accept().await.unwrap();
    sleep(limit + Duration::from_millis(100)).await;
    let client = tokio::spawn(all(client));
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    server.write_all(b"bye").await.unwrap();
    drop(server);
    assert_eq!(client.await.unwrap(), "bye");
}

/// More than sockets and pipes hold: nothing is lost or out of order, however slowly it is read.
#[tokio::test]
async fn much_arrives_as_it_was_sent() {
    const MUCH: usize = 32 * 1024 * 1024;
    let at = endpoint("127.0.0.87");
    let _proxy = serving(at, &[echo("").await]).await;
    let (mut read, mut write) = connect(at).await.into_split();
    let sent: Vec<u8> = (0..MUCH).map(|place| (place % 251) as u8).collect();
    let expected = sent.clone();
    let sender = tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    read.read_to_end(&mut received).await.unwrap();
    sender.await.unwrap();
    assert!(received == expected, "{} of {MUCH} bytes", received.len());
}

#[tokio::test]
async fn a_dead_backend_is_passed_over() {
    let at = endpoint("127.0.0.88");
    let (closed, dead) = backend().await;
    drop(closed);
    let mut proxy = serving(at, &[echo("alive").await, dead]).await;
    for _ in 0..4 {
        assert_eq!(who(at).await, "alive");
    }
    let count = counted(&mut proxy, at, |count| count.traffic.total.connections == 4).await;
    assert_eq!(count.backends[&dead].traffic.total.connections, 0);
    apply(&mut proxy, &[RemoveBackend(at.into(), dead)]).await;
    assert_eq!(who(at).await, "alive");
}

#[tokio::test]
async fn nobody_there_resets_clients() {
    let at = endpoint("127.0.0.89");
    let (closed, dead) = backend().await;
    drop(closed);
    let mut proxy = serving(at, &[]).await;
    assert!(is_refused(at).await);
    apply(&mut proxy, &[add(at, dead)]).await;
    assert!(is_refused(at).await);
}

/// A drain: no new connections, and what there is goes on and is counted to its end.
#[tokio::test]
async fn a_weight_of_0_lets_connections_finish() {
    let at = endpoint("127.0.0.90");
    let target = echo("x").await;
    let mut proxy = serving(at, &[target]).await;
    let mut client = connect(at).await;
    assert_eq!(client.read_u8().await.unwrap(), b'x');
    apply(&mut proxy, &[weighing(at, target, 0)]).await;
    assert!(is_refused(at).await);
    let left = proxy.connections(at.into()).await.unwrap()[&target];
    assert_eq!((left.active, left.inactive), (1, 0));
    client.write_all(b"still there").await.unwrap();
    assert_eq!(all(client).await, "still there");
    counted(&mut proxy, at, |count| count.backends[&target].connections.active == 0).await;
    apply(&mut proxy, &[weighing(at, target, 1)]).await;
    assert_eq!(who(at).await, "x");
}

/// As with IPVS and `expire_nodest_conn`.
#[tokio::test]
async fn removal_cuts_connections() {
    let at = endpoint("127.0.0.91");
    let target = echo("x").await;
    let mut proxy = serving(at, &[target]).await;
    for step in [RemoveBackend(at.into(), target), RemoveService(at.into())] {
        let mut client = connect(at).await;
        assert_eq!(client.read_u8().await.unwrap(), b'x');
        apply(&mut proxy, &[step]).await;
        assert_eq!(client.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        apply(&mut proxy, &[add_service(at), add(at, target)]).await;
    }
    apply(&mut proxy, &[RemoveService(at.into())]).await;
    let refused = TcpStream::connect((at.vip.address(), at.port.get())).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

fn add_service(at: Endpoint) -> DataplaneStep {
    AddService(at.into(), ServiceSettings::default())
}

/// One end's reset is the other's.
#[tokio::test]
async fn what_breaks_off_breaks_off_at_the_other_end() {
    let at = endpoint("127.0.0.92");
    let (listener, target) = backend().await;
    let _proxy = serving(at, &[target]).await;
    let mut client = connect(at).await;
    let (server, _) = listener.accept().await.unwrap();
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(client.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// A server that refuses what is being sent to it says so first.
#[tokio::test]
async fn what_was_said_before_a_reset_arrives() {
    let at = endpoint("127.0.0.103");
    let (listener, target) = backend().await;
    let _proxy = serving(at, &[target]).await;
    for _ in 0..50 {
        let (mut read, mut write) = connect(at).await.into_split();
        let sender = tokio::spawn(async move { while write.write_all(&[0; 64 * 1024]).await.is_ok() {} });
        let (mut server, _) = listener.accept().await.unwrap();
        server.read_exact(&mut [0; 1024]).await.unwrap();
        server.write_all(b"too much").await.unwrap();
        // It has not read all, so this resets.
        drop(server);
        let mut said = Vec::new();
        // Of the two that use the connection, one hears of the reset.
        drop(read.read_to_end(&mut said).await);
        assert_eq!(said, b"too much");
        sender.await.unwrap();
    }
}

/// A client has to know that there is more to come.
#[tokio::test]
async fn the_end_of_the_proxy_is_no_orderly_end() {
    let at = endpoint("127.0.0.101");
    let proxy = serving(at, &[echo("x").await]).await;
    let mut client = connect(at).await;
    assert_eq!(client.read_u8().await.unwrap(), b'x');
    drop(proxy);
    assert_eq!(client.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn who_is_silent_for_too_long_is_given_up() {
    let at = endpoint("127.0.0.93");
    let short = Options { tcp_timeout: Duration::from_millis(500), ..Options::default() };
    let mut proxy = Proxy::start(short).unwrap();
    let target = echo("x").await;
    apply(&mut proxy, &[add_service(at), add(at, target)]).await;
    let mut client = connect(at).await;
    assert_eq!(client.read_u8().await.unwrap(), b'x');
    assert_eq!(client.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn the_driver_tells_what_it_has() {
    let at = endpoint("127.0.0.94");
    let target = echo("x").await;
    let service = VirtualService::from(at);
    let mut proxy = proxy();
    assert!(!proxy.exists(service).await.unwrap());
    let other = TcpListener::bind((at.vip.address(), at.port.get())).await.unwrap();
    assert!(proxy.exists(service).await.unwrap(), "another program listens there");
    assert!(matches!(&proxy.apply(&[add_service(at)]).await[..], [Verdict::Retry(_)]));
    drop(other);
    apply(&mut proxy, &[add_service(at), add(at, target)]).await;
    // The same twice.
    apply(&mut proxy, &[add_service(at), add(at, target)]).await;
    let observed = proxy.observe().await.unwrap();
    let view = &observed[&at.into()];
    assert_eq!(view.settings, Some(ServiceSettings::default()));
    assert_eq!(view.backends.listed().get(&target), Some(&Some(BackendSettings::default())));
    assert_eq!(proxy.keys().await.unwrap().len(), 1);
    apply(&mut proxy, &[RemoveService(service), RemoveService(service), RemoveBackend(service, target)]).await;
    assert!(proxy.observe().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_takes_a_kernel_is_named_with_a_reason() {
    let at = endpoint("127.0.0.95");
    let target = echo("x").await;
    let mut proxy = serving(at, &[]).await;
    let by = |forwarding| AddBackend(at.into(), target, BackendSettings { forwarding, ..BackendSettings::default() });
    let sctp = Endpoint { protocol: Protocol::Sctp, ..at };
    let elsewhere = Endpoint { vip: "192.0.2.1".parse().unwrap(), ..at };
    let seen = ServiceSettings { source_nat: Some(SourceNat::SameNetwork), ..ServiceSettings::default() };
    let hashed = ServiceSettings { scheduler: Scheduler::Dh, ..ServiceSettings::default() };
    for (step, why) in [
        (by(Forwarding::DirectRoute), "type DR needs IPVS"),
        (by(Forwarding::Local), "type LOCAL needs IPVS"),
        (by(Forwarding::Tunnel(Encapsulation::Ipip)), "type TUN needs IPVS"),
        (AddService(sctp.into(), ServiceSettings::default()), "no sctp"),
        (AddService(VirtualService::Mark(at.vip, Mark::all().next().unwrap()), ServiceSettings::default()), "one port"),
        (AddService(at.into(), hashed), "no scheduler dh"),
        (AddService(at.into(), seen), "sameNetwork needs IPVS"),
    ] {
        let said = proxy.unserved(&step).expect("a reason").to_string();
        assert!(said.contains(why), "{step}: {said}");
    }
    for step in [add_service(at), by(Forwarding::Masquerade), RemoveService(sctp.into())] {
        assert_eq!(proxy.unserved(&step), None, "{step}");
    }
    match &proxy.apply(&[add_service(elsewhere)]).await[..] {
        [Verdict::Refused(cause)] if cause.is::<Denied>() => {
            assert!(cause.to_string().contains("192.0.2.1 is no address of this host"), "{cause}");
        }
        other => panic!("{other:?}"),
    }
}

/// Sends its name back with what it gets.
async fn answering(name: &'static str) -> Target {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2000];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let answer = [name.as_bytes(), &buffer[..length]].concat();
            socket.send_to(&answer, client).await.unwrap();
        }
    });
    Target { ip: at.ip().try_into().unwrap(), port: Port::try_from(i64::from(at.port())).ok() }
}

fn udp_endpoint(vip: &str) -> Endpoint {
    let free = std::net::UdpSocket::bind((vip, 0)).unwrap().local_addr().unwrap().port();
    Endpoint {
        protocol: Protocol::Udp,
        ..Endpoint::tcp(vip.parse().unwrap(), Port::try_from(i64::from(free)).unwrap())
    }
}

async fn client_of(at: Endpoint) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect((at.vip.address(), at.port.get())).await.unwrap();
    client
}

async fn ask(client: &UdpSocket, question: &str) -> String {
    client.send(question.as_bytes()).await.unwrap();
    let mut buffer = [0; 2000];
    let length = client.recv(&mut buffer).await.unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[tokio::test]
async fn a_udp_client_keeps_its_backend_and_others_get_others() {
    let at = udp_endpoint("127.0.0.96");
    let targets = [answering("a").await, answering("b").await];
    let mut proxy = serving(at, &targets).await;
    let [first, second] = [client_of(at).await, client_of(at).await];
    assert_eq!([ask(&first, "1").await, ask(&first, "2").await], ["a1", "a2"]);
    assert_eq!([ask(&second, "3").await, ask(&first, "4").await], ["b3", "a4"]);
    let count = counted(&mut proxy, at, |count| count.traffic.total.packets_out == 4).await;
    let total = count.traffic.total;
    assert_eq!((total.connections, total.packets_in, total.bytes_in, total.bytes_out), (2, 4, 4, 8));
    let left = count.backends[&targets[0]].connections;
    assert_eq!((left.active, left.inactive), (0, 1), "UDP has no active connections in IPVS, either");
    apply(&mut proxy, &[RemoveBackend(at.into(), targets[0])]).await;
    assert_eq!(ask(&first, "5").await, "b5");
}

/// With `sh`, each client is for one backend, dead or not.
#[tokio::test]
async fn udp_clients_of_a_dead_backend_move_on() {
    let dead: Vec<_> = (0..2).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let of = |socket: &std::net::UdpSocket| {
        let at = socket.local_addr().unwrap();
        Target { ip: at.ip().try_into().unwrap(), port: Port::try_from(i64::from(at.port())).ok() }
    };
    let targets = [of(&dead[0]), answering("alive").await, of(&dead[1])];
    drop(dead);
    for (vip, scheduler) in [("127.0.0.99", Scheduler::default()), ("127.0.0.100", Scheduler::Sh)] {
        let at = udp_endpoint(vip);
        let mut proxy = proxy();
        let settings = ServiceSettings { scheduler, ..ServiceSettings::default() };
        apply(&mut proxy, &[AddService(at.into(), settings)]).await;
        apply(&mut proxy, &targets.map(|target| add(at, target))).await;
        for _ in 0..16 {
            let client = client_of(at).await;
            let mut buffer = [0; 2000];
            // What was sent to one that is dead is lost; the client asks again.
            let length = loop {
                client.send(b"?").await.unwrap();
                if let Ok(length) = timeout(Duration::from_millis(20), client.recv(&mut buffer)).await {
                    break length.unwrap();
                }
            };
            assert_eq!(&buffer[..length], b"alive?");
        }
    }
}

#[tokio::test]
async fn one_packet_at_a_time_goes_round() {
    let at = udp_endpoint("127.0.0.97");
    let mut proxy = proxy();
    let settings = ServiceSettings { one_packet: true, ..ServiceSettings::default() };
    let targets = [answering("a").await, answering("b").await];
    apply(&mut proxy, &[AddService(at.into(), settings), add(at, targets[0]), add(at, targets[1])]).await;
    let client = client_of(at).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(ask(&client, "").await);
    }
    assert_eq!(answers, ["a", "b", "a", "b"]);
}

#[tokio::test]
async fn a_silent_udp_client_is_forgotten() {
    let at = udp_endpoint("127.0.0.98");
    let mut proxy = Proxy::start(Options { udp_timeout: Duration::from_millis(50), ..Options::default() }).unwrap();
    let target = answering("a").await;
    apply(&mut proxy, &[add_service(at), add(at, target)]).await;
    let client = client_of(at).await;
    assert_eq!(ask(&client, "1").await, "a1");
    counted(&mut proxy, at, |count| count.backends[&target].connections.inactive == 0).await;
    assert_eq!(ask(&client, "2").await, "a2");
    // The endpoint is free at once.
    apply(&mut proxy, &[RemoveService(at.into()), add_service(at)]).await;
}

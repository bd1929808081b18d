// SPDX-License-Identifier: Apache-2.0
//! Clients that do not behave, a listener that fails, and stops in the middle of things.

use std::{
    future::{pending, ready},
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::AtomicUsize},
};

use axum::routing::get;
use slb_core::{board::Board, command::mailbox};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::Instant,
};

use super::*;

const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const ASK_ONCE: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
const SHORT: Duration = Duration::from_millis(50);
const HOUR: Duration = Duration::from_secs(3600);

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

async fn start(limits: Limits, router: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let done = tokio::spawn(serve_within(limits, listener, router, async { drop(stopped.await) }));
    Server { address, stop, done }
}

impl Server {
    async fn connect(&self, request: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        stream
    }
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

async fn one_answer(stream: &mut TcpStream) {
    let mut text = Vec::new();
    while !text.ends_with(b"hello") {
        assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "the connection ended");
    }
}

/// A handler that says when it has begun, and ends when it is told to.
fn gated() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (says, waits) = (Arc::clone(&begun), Arc::clone(&go));
    let handler = async move || {
        says.notify_one();
        waits.notified().await;
        "hello"
    };
    (Router::new().route("/", get(handler)), begun, go)
}

#[tokio::test]
async fn what_has_begun_is_answered_before_the_server_stops() {
    let (router, begun, go) = gated();
    let server = start(Limits { silence: Duration::ZERO, ..LIMITS }, router).await;
    let mut asking = server.connect(ASK).await;
    begun.notified().await;
    let address = server.address;
    server.stop.send(()).unwrap();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.done.is_finished());
    go.notify_one();
    assert!(rest(&mut asking).await.ends_with("hello"));
    server.done.await.unwrap();
}

#[tokio::test]
async fn what_takes_too_long_is_cut_off_by_a_stop() {
    let (router, begun, _go) = gated();
    let server = start(Limits { grace: SHORT, ..LIMITS }, router).await;
    let mut asking = server.connect(ASK).await;
    begun.notified().await;
    server.stop.send(()).unwrap();
    server.done.await.unwrap();
    assert_eq!(rest(&mut asking).await, "");
}

#[tokio::test]
async fn silent_connections_do_not_hold_up_a_stop() {
    let server = start(Limits { silence: SHORT, headers: HOUR, grace: HOUR, ..LIMITS }, hello()).await;
    let mut idle = server.connect(ASK).await;
    one_answer(&mut idle).await;
    let mut silent = server.connect(b"").await;
    let mut half = server.connect(b"GET / HT").await;
    // Accepted in this order: once this one is answered, the server has all of them.
    let mut last = server.connect(ASK).await;
    one_answer(&mut last).await;
    server.stop.send(()).unwrap();
    server.done.await.unwrap();
    for stream in [&mut idle, &mut silent, &mut half, &mut last] {
        // What has not been read makes it a reset.
        assert_eq!(stream.read(&mut [0]).await.unwrap_or_default(), 0);
    }
}

/// Not even for the moment that silent connections are given.
#[tokio::test]
async fn whoever_follows_events_does_not_hold_up_a_stop() {
    let board = Arc::new(Board::default());
    let router = crate::router(mailbox().0, Arc::clone(&board), crate::Options::default());
    let server = start(Limits { silence: HOUR, headers: HOUR, grace: HOUR, ..LIMITS }, router).await;
    let mut follower = server.connect(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut begun = Vec::new();
    while !String::from_utf8_lossy(&begun).contains("reset") {
        assert_ne!(follower.read_buf(&mut begun).await.unwrap(), 0, "the connection ended");
    }
    server.stop.send(()).unwrap();
    board.journal().close();
    server.done.await.unwrap();
    assert!(rest(&mut follower).await.ends_with("\r\n0\r\n\r\n"), "the stream was cut off");
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_headers_is_let_go() {
    let server = start(Limits { headers: SHORT, ..LIMITS }, hello()).await;
    for request in [&b""[..], b"GET / HTTP/1.1\r\nhost:"] {
        let mut slow = server.connect(request).await;
        assert_eq!(rest(&mut slow).await, "");
    }
    let mut idle = server.connect(ASK).await;
    assert!(rest(&mut idle).await.ends_with("hello"), "then it is let go as well");
}

#[tokio::test]
async fn a_client_that_says_no_more_still_gets_its_answer() {
    let (router, begun, go) = gated();
    let server = start(LIMITS, router).await;
    let mut asking = server.connect(ASK).await;
    begun.notified().await;
    asking.shutdown().await.unwrap();
    tokio::task::yield_now().await;
    go.notify_one();
    assert!(rest(&mut asking).await.ends_with("hello"));
}

#[tokio::test]
async fn a_client_too_many_waits_for_another_to_go() {
    let server = start(Limits { connections: 1, ..LIMITS }, hello()).await;
    let mut first = server.connect(ASK).await;
    one_answer(&mut first).await;
    let mut second = server.connect(ASK_ONCE).await;
    drop(first);
    assert!(rest(&mut second).await.ends_with("hello"));
    for _ in 0..3 {
        assert!(rest(&mut server.connect(ASK_ONCE).await).await.ends_with("hello"), "a place is not given back");
    }
}

/// Fails in the given ways, then lets one client in.
struct Failing {
    errors: Mutex<Vec<i32>>,
    client: Mutex<Option<DuplexStream>>,
    asked: Arc<AtomicUsize>,
}

impl Accept for Failing {
    type Stream = DuplexStream;

    async fn accept(&self) -> io::Result<DuplexStream> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let error = self.errors.lock().unwrap().pop();
        if let Some(errno) = error {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let client = self.client.lock().unwrap().take();
        match client {
            Some(client) => Ok(client),
            None => pending().await,
        }
    }
}

/// EMFILE, ENFILE, ENOBUFS and ENOMEM pass with time; ECONNABORTED is over at once.
#[tokio::test(start_paused = true)]
async fn errors_of_the_listener_end_nothing_and_are_not_retried_at_once() {
    let (mut client, served) = duplex(1024);
    let asked = Arc::new(AtomicUsize::new(0));
    let errors = Mutex::new(vec![errno::ENOMEM, errno::ENOBUFS, errno::ECONNABORTED, errno::ENFILE, errno::EMFILE]);
    let listener = Failing { errors, client: Mutex::new(Some(served)), asked: Arc::clone(&asked) };
    let start = Instant::now();
    tokio::spawn(serve_within(LIMITS, listener, hello(), pending()));
    client.write_all(ASK_ONCE).await.unwrap();
    assert!(rest(&mut client).await.ends_with("hello"));
    assert_eq!(start.elapsed().as_secs(), 4 * PAUSE.as_secs());
    assert!(asked.load(Ordering::Relaxed) < 20);
}

#[tokio::test(start_paused = true)]
async fn who_was_let_in_just_before_a_stop_is_answered() {
    let (mut client, served) = duplex(1024);
    let asked = Arc::new(AtomicUsize::new(0));
    let client_to_come = Mutex::new(Some(served));
    let listener = Failing { errors: Mutex::default(), client: client_to_come, asked: Arc::clone(&asked) };
    let is_in = async move {
        while asked.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
    };
    let (is_stopped, stopped) = oneshot::channel();
    let stop = async move {
        is_in.await;
        is_stopped.send(()).unwrap();
    };
    tokio::spawn(serve_within(LIMITS, listener, hello(), stop));
    stopped.await.unwrap();
    tokio::task::yield_now().await;
    client.write_all(ASK).await.unwrap();
    assert!(rest(&mut client).await.ends_with("hello"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_the_listener_to_recover() {
    let listener =
        Failing { errors: Mutex::new(vec![errno::EMFILE; 1000]), client: Mutex::default(), asked: Arc::default() };
    let start = Instant::now();
    let shutdown = sleep(PAUSE / 2);
    serve_within(LIMITS, listener, hello(), shutdown).await;
    assert!(start.elapsed() < PAUSE);
}

#[tokio::test]
async fn a_server_that_is_stopped_at_once_lets_nobody_in() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    serve(listener, hello(), ready(())).await;
}

/// Numbers of `asm-generic/errno.h`.
mod errno {
    pub const ENOMEM: i32 = 12;
    pub const ENFILE: i32 = 23;
    pub const EMFILE: i32 = 24;
    pub const ECONNABORTED: i32 = 103;
    pub const ENOBUFS: i32 = 105;
}

// SPDX-License-Identifier: Apache-2.0
//! What each question makes of what real servers answer: well, wrong, slowly, half, in garbage, or not at all.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "questions/dns.rs"]
mod dns;
#[path = "questions/exec.rs"]
mod exec;
#[path = "questions/grpc.rs"]
mod grpc;
#[path = "questions/http.rs"]
mod http;
#[path = "questions/https.rs"]
mod https;
#[path = "questions/icmp.rs"]
mod icmp;
#[path = "questions/proxied.rs"]
mod proxied;
#[path = "questions/tcp.rs"]
mod tcp;
#[path = "questions/udp.rs"]
mod udp;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use slb_core::{
    checker::{Beginning, Checker, Known, Watch},
    health::Standing,
    model::{
        LoadBalancerId, ProxyProtocol,
        check::{Address, Check, Question, Timing},
    },
};
use slb_health::{Checks, Commands};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// Nothing that answers at all takes so long.
const PATIENT: Duration = Duration::from_secs(60);
/// For those that do not.
const BRIEF: Duration = Duration::from_millis(50);

/// What comes of a question.
async fn ask(question: Question, to: SocketAddr) -> Result<(), String> {
    ask_within(PATIENT, question, to).await
}

/// What comes of a question, within a time.
async fn ask_within(time: Duration, question: Question, to: SocketAddr) -> Result<(), String> {
    let timing = Timing::every(PATIENT).unwrap().with_timeout(time).unwrap();
    make(Check { question, timing, address: Address::default(), port: None, source: None }, to).await
}

/// What comes of a check. It is made twice: by one who takes the backend to be up, and one who takes it to be down, so that either
/// answer is news.
async fn make(check: Check, to: SocketAddr) -> Result<(), String> {
    make_proxied(None, check, to).await
}

/// The same of a backend that is told who its clients are.
async fn make_proxied(proxy_protocol: Option<ProxyProtocol>, check: Check, to: SocketAddr) -> Result<(), String> {
    let mut doubting = check.clone();
    doubting.timing.rise = 1.try_into().unwrap();
    let down = Known { standing: Standing::Down, since: SystemTime::UNIX_EPOCH };
    let watch = |check| Watch { target: to, check: Arc::new(check), through: None, proxy_protocol };
    let mut checks = Checks::start(Commands::Allowed).unwrap();
    let watches = BTreeMap::from([(watch(check), Beginning::New), (watch(doubting), Beginning::Known(down))]);
    checks.set(LoadBalancerId(Uuid::nil()), watches);
    let news = checks.next().await.remove(0);
    match news.now.standing {
        Standing::Up => Ok(()),
        Standing::Down => Err(news.reason.unwrap()),
    }
}

/// A server that does this with each connection.
async fn serve<F: Future<Output = ()> + Send + 'static>(
    each: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            tokio::spawn(each(connection));
        }
    });
    address
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn contains(answer: Result<(), String>, words: &str) {
    assert!(answer.as_ref().is_err_and(|why| why.contains(words)), "{words}: {answer:?}");
}

// SPDX-License-Identifier: Apache-2.0
//! A client's load, which goes on whatever happens: short requests at a steady rate, each on a connection of its own, and long connections
//! that exchange lines.

use std::{
    io,
    net::SocketAddr,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use slb_lab::Node;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use crate::site::on_a_runtime;

/// Requests in a second, at most.
pub const RATE: u32 = 200;
/// Long connections.
const LONG: u32 = 9;
/// Between two lines on one of them.
const LINES: Duration = Duration::from_millis(50);
/// What a user waits for an answer, from the first packet to the last. The kernel repeats a SYN after one and after three seconds.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A short request that is over.
pub struct Request {
    pub begun: Instant,
    pub took: Duration,
    /// Who answered.
    pub answer: io::Result<String>,
}

impl Request {
    pub fn failed(&self) -> bool {
        self.answer.is_err()
    }

    /// Whether it was answered, after a packet of it had been lost: the kernel sends again after a second.
    pub fn is_late(&self) -> bool {
        self.answer.is_ok() && self.took >= Duration::from_secs(1)
    }
}

/// What a long connection came to.
pub struct Long {
    /// Who answered on it.
    pub who: String,
    pub ended: Instant,
    /// `None`: the client ended it.
    pub error: Option<io::Error>,
}

/// What has happened so far, and what is to happen.
pub struct Load {
    requests: Mutex<Vec<Request>>,
    long: Mutex<Vec<Long>>,
    /// How many long connections have got their first line, or failed.
    ready: watch::Sender<u32>,
    /// When the last of the long connections is to end; they end one after the other until then.
    leave: watch::Sender<Option<(Instant, Duration)>>,
    ended: watch::Sender<bool>,
}

/// Does something under the load of a client; returns when all requests have ended, at most so much later as a user is patient.
pub fn under<T>(client: &Node, to: SocketAddr, work: impl FnOnce(&Load) -> T) -> (T, Load) {
    let load = Load {
        requests: Mutex::default(),
        long: Mutex::default(),
        ready: watch::Sender::new(0),
        leave: watch::Sender::new(None),
        ended: watch::Sender::new(false),
    };
    let done = thread::scope(|scope| {
        scope.spawn(|| client.inside(|| on_a_runtime(run(&load, to))));
        let end = End(&load);
        on_a_runtime(async {
            load.ready.subscribe().wait_for(|ready| *ready == LONG).await.unwrap();
        });
        let done = work(&load);
        drop(end);
        done
    });
    (done, load)
}

/// Ends a load when it is dropped.
struct End<'a>(&'a Load);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.ended.send_replace(true);
    }
}

impl Load {
    pub fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn long(&self) -> MutexGuard<'_, Vec<Long>> {
        self.long.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests of those that began in that time came to something.
    pub fn count(&self, time: Range<Instant>, what: impl Fn(&Request) -> bool) -> usize {
        self.requests().iter().filter(|request| time.contains(&request.begun) && what(request)).count()
    }

    /// Ends the long connections, one after the other, over that time.
    pub fn leave(&self, over: Duration) {
        self.leave.send_replace(Some((Instant::now(), over)));
    }
}

async fn run(load: &Load, to: SocketAddr) {
    tokio::join!(short(load, to), async {
        futures_util::future::join_all((1..=LONG).map(|number| long(load, to, number))).await;
    });
}

/// As many requests as there are to be, whether they are answered or not.
async fn short(load: &Load, to: SocketAddr) {
    use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
    let mut ended = load.ended.subscribe();
    let mut ready = load.ready.subscribe();
    let _ = ready.wait_for(|ready| *ready == LONG).await;
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    // A machine that stood still makes up for nothing: the rate is what failures are counted by.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            // Cancel-safe: each only waits.
            _ = ticks.tick() => under_way.push(request(load, to).boxed_local()),
            Some(()) = under_way.next() => {}
            _ = ended.wait_for(|ended| *ended) => break,
        }
    }
    while under_way.next().await.is_some() {}
}

async fn request(load: &Load, to: SocketAddr) {
    let begun = Instant::now();
    let ask = async {
        let mut stream = TcpStream::connect(to).await?;
        exchange(&mut BufReader::with_capacity(256, &mut stream), "short").await
    };
    let answer = timeout(PATIENCE, ask).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    load.requests().push(Request { begun, took: begun.elapsed(), answer });
}

/// Sends a line and takes the one that comes back. Says from whom.
async fn exchange(stream: &mut BufReader<&mut TcpStream>, line: &str) -> io::Result<String> {
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    match answer.trim_end().split_once(' ') {
        Some((who, rest)) if rest == line => Ok(who.to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{answer:?}"))),
    }
}

async fn long(load: &Load, to: SocketAddr, number: u32) {
    let mut who = String::new();
    // One after the other, so that each backend gets as many.
    let mut ready = load.ready.subscribe();
    let _ = ready.wait_for(|ready| *ready == number - 1).await;
    let result = talk(load, to, number, &mut who).await;
    if who.is_empty() {
        load.ready.send_replace(number);
    }
    load.long().push(Long { who, ended: Instant::now(), error: result.err() });
}

async fn talk(load: &Load, to: SocketAddr, number: u32, who: &mut String) -> io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(256, &mut stream);
    let (mut ended, mut leave) = (load.ended.subscribe(), load.leave.subscribe());
    for line in 1_u64.. {
        let asked = timeout(PATIENCE, exchange(&mut stream, &line.to_string())).await;
        *who = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        if line == 1 {
            load.ready.send_replace(number);
        }
        let left = async {
            let Ok(Some((from, over))) = leave.wait_for(Option::is_some).await.map(|leave| *leave) else { return };
            sleep_until((from + over * number / LONG).into()).await;
        };
        // Cancel-safe: all of them only wait.
        tokio::select! {
            () = sleep(LINES) => {}
            () = left => break,
            _ = ended.wait_for(|ended| *ended) => break,
        }
    }
    Ok(())
}

// SPDX-License-Identifier: Apache-2.0
//! Clients of all kinds, that go on until they are told to stop. Each request is checked byte by byte.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use slb_lab::Dice;

use crate::{
    backend::Id,
    history::{Cause, History},
};

/// Longer than anything that works takes.
const DEADLINE: Duration = Duration::from_secs(30);
/// A datagram may be lost; so long is waited for its answer, so often.
const ANSWER: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 8;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A connection for one small request, and the next one at once.
    Short,
    /// Says all, closes its direction, and reads to the end.
    HalfClosing,
    /// Exchanges something every now and then for seconds.
    Long,
    /// Sends at once what it reads slowly.
    SlowReader,
    /// A socket for some datagrams.
    Datagrams,
}

/// How many of each kind.
pub const CLIENTS: [(Kind, usize); 5] =
    [(Kind::Short, 4), (Kind::HalfClosing, 2), (Kind::Long, 8), (Kind::SlowReader, 3), (Kind::Datagrams, 3)];

/// What they have in common.
#[derive(Debug)]
pub struct Load {
    /// Of both protocols.
    pub vip: SocketAddr,
    pub history: History,
    pub stop: AtomicBool,
    pub tally: Tally,
}

/// What has come of requests.
#[derive(Debug, Default)]
pub struct Tally {
    pub answered: [AtomicU64; CLIENTS.len()],
    /// Their backend was killed.
    pub killed: AtomicU64,
    /// Their backend was removed with its connections.
    pub removed: AtomicU64,
    /// What nothing explains.
    pub failures: std::sync::Mutex<Vec<String>>,
}

impl Tally {
    pub fn fail(&self, what: String) {
        self.failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(what);
    }
}

impl Load {
    /// One client.
    pub fn run(&self, kind: Kind, mut dice: Dice) {
        while !self.stop.load(Ordering::Acquire) {
            let came = Instant::now();
            let mut had = None;
            let done = match kind {
                Kind::Short => self.short(&mut dice, &mut had),
                Kind::HalfClosing => self.half_closing(&mut dice, &mut had),
                Kind::Long => self.long(&mut dice, &mut had),
                Kind::SlowReader => self.slow_reader(&mut dice, &mut had),
                Kind::Datagrams => self.datagrams(&mut dice, &mut had),
            };
            if let Some(id) = had.filter(|id| kind != Kind::Datagrams && !self.history.may_get(*id, came)) {
                self.tally.fail(format!("{kind:?}: got backend {id}, which was drained"));
            }
            let count = match done {
                Ok(()) => &self.tally.answered[kind as usize],
                Err(error) => match self.history.explains(came, had) {
                    Some(Cause::Killed) => &self.tally.killed,
                    Some(Cause::Removed) => &self.tally.removed,
                    None => {
                        self.tally.fail(format!("{kind:?} of {:?} to {had:?}: {error}", came.elapsed()));
                        continue;
                    }
                },
            };
            count.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(dice.roll(20)));
        }
    }

    /// Connects, and is told to whom.
    fn connect(&self, had: &mut Option<Id>) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect_timeout(&self.vip, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let mut id = [0; size_of::<Id>()];
        stream.read_exact(&mut id)?;
        *had = Some(Id::from_be_bytes(id));
        Ok(stream)
    }

    fn short(&self, dice: &mut Dice, had: &mut Option<Id>) -> io::Result<()> {
        exchange(&self.connect(had)?, &words(dice, 2_000))
    }

    fn half_closing(&self, dice: &mut Dice, had: &mut Option<Id>) -> io::Result<()> {
        let said = words(dice, 60_000);
        let mut stream = self.connect(had)?;
        stream.write_all(&said)?;
        stream.shutdown(Shutdown::Write)?;
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard)?;
        same(&said, &heard)
    }

    fn long(&self, dice: &mut Dice, had: &mut Option<Id>) -> io::Result<()> {
        let stream = self.connect(had)?;
        let end = Instant::now() + Duration::from_millis(500 + dice.roll(4_000));
        while Instant::now() < end && !self.stop.load(Ordering::Acquire) {
            exchange(&stream, &words(dice, 500))?;
            thread::sleep(Duration::from_millis(20 + dice.roll(200)));
        }
        Ok(())
    }

    fn slow_reader(&self, dice: &mut Dice, had: &mut Option<Id>) -> io::Result<()> {
        let said = words(dice, 2_000_000);
        let stream = self.connect(had)?;
        let mut heard = Vec::new();
        thread::scope(|scope| {
            let sent = scope.spawn(|| {
                (&stream).write_all(&said)?;
                stream.shutdown(Shutdown::Write)
            });
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match (&stream).read(&mut buffer)? {
                    0 => break,
                    length => heard.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                }
                thread::sleep(Duration::from_millis(10));
            }
            sent.join().unwrap_or_else(|_| Err(io::Error::other("the sender panicked")))
        })?;
        same(&said, &heard)
    }

    /// Who it has may change from one datagram to the next.
    fn datagrams(&self, dice: &mut Dice, had: &mut Option<Id>) -> io::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.vip)?;
        socket.set_read_timeout(Some(ANSWER))?;
        for number in 0..=dice.roll(10) {
            let said = [&number.to_be_bytes(), words(dice, 1_000).as_slice()].concat();
            let answer = (0..ATTEMPTS).find_map(|_| {
                socket.send(&said).ok()?;
                answer_to(&socket, &said)
            });
            *had = Some(answer.ok_or(ErrorKind::TimedOut)?);
        }
        Ok(())
    }
}

/// Who answers; what comes late to an earlier one is passed over.
fn answer_to(socket: &UdpSocket, said: &[u8]) -> Option<Id> {
    let mut buffer = [0; 2048];
    loop {
        let length = socket.recv(&mut buffer).ok()?;
        let (id, heard) = buffer.get(..length)?.split_first_chunk()?;
        if heard == said {
            return Some(Id::from_be_bytes(*id));
        }
    }
}

fn words(dice: &mut Dice, most: u64) -> Vec<u8> {
    let length = 1 + dice.roll(most);
    (0..length).map(|_| dice.roll(256).to_be_bytes()[7]).collect()
}

fn exchange(mut stream: &TcpStream, said: &[u8]) -> io::Result<()> {
    stream.write_all(said)?;
    let mut heard = vec![0; said.len()];
    stream.read_exact(&mut heard)?;
    same(said, &heard)
}

fn same(said: &[u8], heard: &[u8]) -> io::Result<()> {
    if said == heard {
        return Ok(());
    }
    let at = said.iter().zip(heard).position(|(said, heard)| said != heard);
    Err(io::Error::new(ErrorKind::InvalidData, format!("said {}, heard {}, other at {at:?}", said.len(), heard.len())))
}

// SPDX-License-Identifier: Apache-2.0
//! What has happened, in order, for any number of readers. Nobody who tells waits for anybody who reads: the last
//! [`KEPT`] events are kept in memory, from the first reader on, and a reader who falls behind further than that is told to look at everything anew.
//!
//! Numbers count from the start of the process, which has a name of its own: whoever comes back after a restart is told
//! the same.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    pin::Pin,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::SystemTime,
};

use futures_util::Stream;
use uuid::Uuid;

use crate::{
    model::{Backend, BackendId, LoadBalancer, LoadBalancerId, Vip},
    peer::PeerAddress,
    status::News,
};

/// How many events are kept for readers who come back or are slow.
pub const KEPT: usize = 4096;

/// Something that happened. Thousands are kept, so what is large is behind a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A load-balancer is there. Its backends are told of one by one.
    Created(Arc<LoadBalancer>),
    /// Something but its backends has changed, or its removal has begun.
    Changed(Arc<LoadBalancer>),
    /// It is gone, and its backends with it.
    Deleted(LoadBalancerId),
    /// A backend is there.
    BackendAdded(LoadBalancerId, Box<Backend>),
    /// Something of it has changed.
    BackendChanged(LoadBalancerId, Box<Backend>),
    /// It fails its checks.
    BackendDown(LoadBalancerId, BackendId),
    /// It passes them again, or is not checked any more.
    BackendUp(LoadBalancerId, BackendId),
    /// It is gone.
    BackendRemoved(LoadBalancerId, BackendId),
    /// How a load-balancer is doing has changed.
    Status(LoadBalancerId, News),
    /// Another host claims a VIP.
    Conflict {
        /// The address.
        vip: Vip,
        /// Who claims it, for the operator.
        holder: String,
    },
    /// The session with a router is established.
    PeerUp(PeerAddress),
    /// It is not any more.
    PeerDown(PeerAddress),
}

impl Event {
    /// Which load-balancer it is about, if it is about one.
    #[must_use]
    pub fn load_balancer(&self) -> Option<LoadBalancerId> {
        match self {
            Self::Created(is) | Self::Changed(is) => Some(is.id),
            Self::Deleted(id)
            | Self::BackendAdded(id, _)
            | Self::BackendChanged(id, _)
            | Self::BackendDown(id, _)
            | Self::BackendUp(id, _)
            | Self::BackendRemoved(id, _)
            | Self::Status(id, _) => Some(*id),
            Self::Conflict { .. } | Self::PeerUp(_) | Self::PeerDown(_) => None,
        }
    }
}

/// Names an event among those of all starts: `START-NUMBER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId {
    start: Uuid,
    number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start.simple(), self.number)
    }
}

impl FromStr for EventId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let parse = || {
            let (start, number) = text.split_once('-')?;
            Some(Self { start: start.parse().ok()?, number: number.parse().ok()? })
        };
        parse().ok_or(NotAnId)
    }
}

/// No event has such a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no event has such a name")]
pub struct NotAnId;

/// An event with its time.
#[derive(Debug)]
pub struct Entry {
    /// When.
    pub at: SystemTime,
    /// What.
    pub event: Event,
}

/// What a reader hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// What the reader knows is not to be relied on: everything has to be read anew. What happens later is told from here on.
    Reset(EventId),
    /// Something happened.
    Event(EventId, Arc<Entry>),
}

/// Where events are told and read.
#[derive(Debug)]
pub struct Journal {
    start: Uuid,
    clock: fn() -> SystemTime,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    kept: VecDeque<Arc<Entry>>,
    /// How many there have been.
    told: u64,
    readers: u64,
    /// Readers who have read all.
    waiting: BTreeMap<u64, Waker>,
    closed: bool,
}

impl Pages {
    /// The number of the oldest that is kept.
    fn oldest(&self) -> u64 {
        self.told + 1 - self.kept.len() as u64
    }

    fn get(&self, number: u64) -> Option<&Arc<Entry>> {
        let index = number.checked_sub(self.oldest())?;
        self.kept.get(usize::try_from(index).ok()?)
    }
}

/// A journal of a start without a name, at whose time nothing ever changes.
impl Default for Journal {
    fn default() -> Self {
        Self::new(Uuid::nil(), || SystemTime::UNIX_EPOCH)
    }
}

impl Journal {
    /// An empty one; `start` tells this process from all before and after, `clock` the time of day.
    #[must_use]
    pub fn new(start: Uuid, clock: fn() -> SystemTime) -> Self {
        Self { start, clock, pages: Mutex::default() }
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Tells all readers, now and later.
    pub fn tell(&self, event: Event) {
        self.tell_all(self.now(), [event]);
    }

    /// The same of several that happened at that time: asking for it takes longer than telling where the kernel has to be asked.
    pub fn tell_all(&self, at: SystemTime, events: impl IntoIterator<Item = Event>) {
        let waiting = {
            let mut pages = self.pages();
            for event in events {
                pages.told += 1;
                // Nobody can ask for what was told before the first reader.
                if pages.readers == 0 {
                    continue;
                }
                if pages.kept.len() == KEPT {
                    pages.kept.pop_front();
                }
                pages.kept.push_back(Arc::new(Entry { at, event }));
            }
            std::mem::take(&mut pages.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Ends all readers once they have read what there is.
    pub fn close(&self) {
        let waiting = {
            let mut pages = self.pages();
            pages.closed = true;
            std::mem::take(&mut pages.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// What happened after the event `last`, and goes on happening. If that is not known, or nothing was read before, the first
    /// that is heard is a reset.
    #[must_use]
    pub fn read(self: &Arc<Self>, last: Option<EventId>) -> Reader {
        let mut pages = self.pages();
        pages.readers += 1;
        let known = last.filter(|last| last.start == self.start && last.number <= pages.told);
        Reader { journal: Arc::clone(self), key: pages.readers, next: known.map(|last| last.number + 1) }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a journal, at its own pace.
#[derive(Debug)]
pub struct Reader {
    journal: Arc<Journal>,
    key: u64,
    /// The number of the event to read next; `None` if everything has to be read anew first.
    next: Option<u64>,
}

impl Stream for Reader {
    type Item = Heard;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Heard>> {
        let journal = Arc::clone(&self.journal);
        let mut pages = journal.pages();
        let id = |number| EventId { start: journal.start, number };
        let Some(next) = self.next.filter(|next| *next >= pages.oldest()) else {
            self.next = Some(pages.told + 1);
            return Poll::Ready(Some(Heard::Reset(id(pages.told))));
        };
        if let Some(entry) = pages.get(next) {
            self.next = Some(next + 1);
            return Poll::Ready(Some(Heard::Event(id(next), Arc::clone(entry))));
        }
        if pages.closed {
            return Poll::Ready(None);
        }
        pages.waiting.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.journal.pages().waiting.remove(&self.key);
    }
}

// SPDX-License-Identifier: Apache-2.0
//! UDP sessions within the bound. Nobody says when one is over, so beyond the bound the one that has been silent longest makes room, whichever
//! service it is of: with the usual questions and answers it is over, and a client that sends again gets a new one.
//!
//! conntrack drops first what has not been answered. Here a burst of new clients would then push each other out before the answers come.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::{sync::Notify, time::Instant};

use crate::{clock::Clock, room::Room};

/// So many that have made room may still have their files open, which are of the share of the rest of slb meanwhile.
const LEAVING: usize = 64;

/// Those who have a place.
#[derive(Debug, Default)]
pub struct Sessions {
    /// By when they were heard last, as far as that has been looked at; it may have been later.
    by_silence: BTreeMap<Key, Arc<Presence>>,
    next_number: u64,
    /// Who has lost its place, and not left yet.
    leaving: usize,
}

type Key = (Instant, u64);

/// What a session and those who look for room know of each other.
#[derive(Debug)]
struct Presence {
    clock: Clock,
    /// Where it stands in `by_silence`, under whose lock it changes.
    key: Mutex<Key>,
    /// It has no place any more.
    is_over: AtomicBool,
    left: Notify,
}

/// The place of a session. It outlasts the session's file.
#[derive(Debug)]
pub struct Seat {
    room: Arc<Room>,
    presence: Arc<Presence>,
}

impl Presence {
    fn key(&self) -> MutexGuard<'_, Key> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    fn add(&mut self) -> Arc<Presence> {
        let clock = Clock::start();
        let key = (clock.last(), self.next_number);
        self.next_number += 1;
        let presence =
            Arc::new(Presence { clock, key: Mutex::new(key), is_over: AtomicBool::new(false), left: Notify::new() });
        self.by_silence.insert(key, Arc::clone(&presence));
        presence
    }

    /// Takes the place from who has been silent longest; `false` if nobody has one, or too many have not left yet.
    fn make_room(&mut self) -> bool {
        if self.leaving >= LEAVING {
            return false;
        }
        let Some(silent) = self.take_longest_silent() else { return false };
        self.leaving += 1;
        silent.is_over.store(true, Relaxed);
        silent.left.notify_one();
        true
    }

    /// Whoever was heard since it was looked at goes back to where it belongs: so that costs no more than there were datagrams.
    fn take_longest_silent(&mut self) -> Option<Arc<Presence>> {
        loop {
            let ((looked_at, number), presence) = self.by_silence.pop_first()?;
            let last = presence.clock.last();
            if last <= looked_at {
                return Some(presence);
            }
            *presence.key() = (last, number);
            self.by_silence.insert((last, number), presence);
        }
    }
}

impl Room {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new session; `None` where nobody can make room.
    pub fn seat(self: &Arc<Self>) -> Option<Seat> {
        let mut sessions = self.sessions();
        let is_most = sessions.by_silence.len() >= self.most_sessions();
        if is_most || !self.take() {
            if is_most {
                self.tell_most_sessions();
            } else {
                self.tell_full();
            }
            if !sessions.make_room() {
                return None;
            }
        }
        Some(Seat { room: Arc::clone(self), presence: sessions.add() })
    }
}

impl Seat {
    /// When its session was heard last.
    pub fn clock(&self) -> &Clock {
        &self.presence.clock
    }

    /// Whether somebody else has the place now.
    pub fn is_over(&self) -> bool {
        self.presence.is_over.load(Relaxed)
    }

    /// The session is to end.
    pub fn leave(&self) {
        self.presence.left.notify_one();
    }

    /// Ends when the session is to.
    pub async fn left(&self) {
        self.presence.left.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut sessions = self.room.sessions();
        let key = *self.presence.key();
        if sessions.by_silence.remove(&key).is_some() {
            self.room.give_back();
        } else {
            sessions.leaving -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    fn paused<T>(story: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(story)
    }

    #[test]
    fn half_is_left_to_others_and_who_leaves_makes_room() {
        paused(async {
            let room = Arc::new(Room::new(6, usize::MAX));
            let seats: Vec<Seat> = (0..3).filter_map(|_| room.seat()).collect();
            assert_eq!(seats.len(), 3);
            let fourth = room.seat().unwrap();
            assert!(seats[0].is_over(), "the first has been silent longest");
            seats[0].left().await;
            drop((seats, fourth));
            let all = room.place(6).await;
            assert!(room.seat().is_none(), "TCP connections are not cut for datagrams");
            drop(all);
            assert!(room.seat().is_some());
        });
    }

    /// Each has a port, too, and a successor as many.
    #[test]
    fn there_are_no_more_than_ports_for_them() {
        paused(async {
            let room = Arc::new(Room::new(100, 4));
            let seats: Vec<Seat> = (0..3).filter_map(|_| room.seat()).collect();
            assert_eq!([0, 1, 2].map(|number: usize| seats[number].is_over()), [true, false, false]);
        });
    }

    /// Files of those who have not left yet are not the bound's.
    #[test]
    fn not_all_can_be_leaving() {
        paused(async {
            let room = Arc::new(Room::new(4, usize::MAX));
            let mut seats: Vec<Seat> = (0..2 + LEAVING).map(|_| room.seat().unwrap()).collect();
            assert!(room.seat().is_none());
            assert_eq!(seats.iter().filter(|seat| seat.is_over()).count(), LEAVING);
            drop(seats.remove(0));
            assert!(room.seat().is_some());
        });
    }

    proptest! {
        /// Beside a list of who was heard when.
        #[test]
        fn who_has_been_silent_longest_makes_room(steps in prop::collection::vec((0..3u8, any::<prop::sample::Index>()), 1..100)) {
            const MANY: usize = 5;
            paused(async {
                let room = Arc::new(Room::new(2 * MANY, usize::MAX));
                let mut heard: Vec<Seat> = Vec::new();
                for (step, which) in steps {
                    advance(Duration::from_millis(1)).await;
                    match step {
                        0 if !heard.is_empty() => drop(heard.remove(which.index(heard.len()))),
                        1 if !heard.is_empty() => {
                            let seat = heard.remove(which.index(heard.len()));
                            seat.clock().touch();
                            heard.push(seat);
                        }
                        _ => {
                            let is_full = heard.len() == MANY;
                            heard.push(room.seat().unwrap());
                            let over: Vec<bool> = heard.iter().map(Seat::is_over).collect();
                            assert!(!over[1..].contains(&true), "{over:?}");
                            assert_eq!(over[0], is_full);
                            heard.retain(|seat| !seat.is_over());
                        }
                    }
                }
                drop(heard);
                assert!((0..2 * MANY).all(|_| room.take()) && !room.take(), "all is given back");
            });
        }
    }
}

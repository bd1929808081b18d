// SPDX-License-Identifier: Apache-2.0
//! The book of keys: those of requests that are being carried out, and those of requests that were granted. What is written into it and
//! struck out is written to the store in the same transaction as the change; at rest it does not change.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Digest, Kept, Key, Keyed};
use crate::{
    command::{Answer, Rejected},
    model::Time,
};

/// How long a key counts: longer than whoever asks again goes on to.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// The most keys. More are kept only if one round has granted more.
pub const MOST_KEYS: usize = 4_096;
/// The most load-balancers and backends in what was answered: ten thousand with ten each, and others. At about 30 bytes on disk, some megabytes.
/// More are kept only if the newest request alone has more.
pub const MOST_OBJECTS: usize = 131_072;

/// All keys.
#[derive(Debug, Default)]
pub struct Book {
    kept: BTreeMap<Key, Arc<Kept>>,
    /// The same, the oldest first.
    by_age: BTreeSet<(Time, Key)>,
    objects: usize,
    running: Running,
}

type Running = Arc<Mutex<BTreeMap<Key, Digest>>>;

/// What is to be done with a request.
#[derive(Debug)]
pub enum Standing {
    /// It is to be carried out.
    New(Claim),
    /// It has been, with this answer.
    Answered(Answer),
}

/// A key in use: nobody else gets it before this goes.
#[derive(Debug)]
pub struct Claim {
    keyed: Keyed,
    running: Running,
}

impl Claim {
    /// The request that has it.
    #[must_use]
    pub fn keyed(&self) -> &Keyed {
        &self.keyed
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.keyed.key);
    }
}

impl Book {
    /// What the store holds.
    #[must_use]
    pub fn restore(kept: Vec<Arc<Kept>>) -> Self {
        let mut book = Self::default();
        kept.into_iter().for_each(|kept| book.put(kept));
        book
    }

    /// Takes the key for a request, unless it has had it and was granted.
    ///
    /// # Errors
    /// The key is another request's, or in use.
    pub fn claim(&self, keyed: Keyed, now: Time) -> Result<Standing, Rejected> {
        let mut running = lock(&self.running);
        let kept = self.kept.get(&keyed.key).filter(|kept| !is_outdated(kept.at, now));
        let in_use = running.get(&keyed.key).copied();
        if in_use.or(kept.map(|kept| kept.keyed.request)).is_some_and(|request| request != keyed.request) {
            return Err(Rejected::KeyOfAnother);
        }
        if in_use.is_some() {
            return Err(Rejected::KeyInUse);
        }
        if let Some(kept) = kept {
            return Ok(Standing::Answered(kept.made.answer()));
        }
        running.insert(keyed.key.clone(), keyed.request);
        drop(running);
        Ok(Standing::New(Claim { keyed, running: Arc::clone(&self.running) }))
    }

    /// The keys that are to go when these are kept: those that count no longer, and the oldest if there are too many. If none are kept, no more
    /// than have to.
    #[must_use]
    pub fn outdated<'a>(&self, incoming: impl IntoIterator<Item = &'a Kept>, now: Time) -> Vec<Key> {
        let (mut keys, mut objects) = (0, 0);
        for kept in incoming {
            (keys, objects) = (keys + 1, objects + kept.made.objects());
        }
        let is_bound = keys > 0;
        (keys, objects) = (keys + self.kept.len(), objects + self.objects);
        let mut outdated = Vec::new();
        for (at, key) in &self.by_age {
            if !is_outdated(*at, now) && !(is_bound && (keys > MOST_KEYS || objects > MOST_OBJECTS)) {
                break;
            }
            (keys, objects) = (keys - 1, objects - self.kept.get(key).map_or(0, |kept| kept.made.objects()));
            outdated.push(key.clone());
        }
        outdated
    }

    /// Keeps what has been committed.
    pub fn put(&mut self, kept: Arc<Kept>) {
        let key = kept.keyed.key.clone();
        self.remove(&key);
        self.objects += kept.made.objects();
        self.by_age.insert((kept.at, key.clone()));
        self.kept.insert(key, kept);
    }

    /// Keeps it no longer.
    pub fn remove(&mut self, key: &Key) {
        if let Some(kept) = self.kept.remove(key) {
            self.by_age.remove(&(kept.at, key.clone()));
            self.objects -= kept.made.objects();
        }
    }
}

fn is_outdated(at: Time, now: Time) -> bool {
    now.since(at) >= LONGEST
}

fn lock(running: &Running) -> MutexGuard<'_, BTreeMap<Key, Digest>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

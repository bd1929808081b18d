// SPDX-License-Identifier: Apache-2.0
//! What was done to backends and when, and so which failures of clients are none of slb's.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::backend::Id;

/// Grows for as long as the soak lasts.
#[derive(Debug, Default)]
pub struct History {
    /// What was killed, or removed with its connections.
    losses: Mutex<Vec<Loss>>,
    /// From when on nobody new may get them.
    drained: Mutex<BTreeMap<Id, Instant>>,
}

/// How clients lose their backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It dies.
    Killed,
    /// Who deletes it has its connections cut.
    Removed,
}

#[derive(Debug)]
struct Loss {
    of: Id,
    cause: Cause,
    /// `None` while it goes on.
    to: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl History {
    /// Takes a backend away from its clients.
    pub fn lose<T>(&self, of: Id, cause: Cause, work: impl FnOnce() -> T) -> T {
        let index = {
            let mut losses = lock(&self.losses);
            losses.push(Loss { of, cause, to: None });
            losses.len() - 1
        };
        let done = work();
        if let Some(loss) = lock(&self.losses).get_mut(index) {
            loss.to = Some(Instant::now());
        }
        done
    }

    /// slb has said that it sends nobody there any more.
    pub fn drain(&self, of: Id) {
        lock(&self.drained).insert(of, Instant::now());
    }

    /// Whether a client that came then may have got this backend.
    pub fn may_get(&self, of: Id, came: Instant) -> bool {
        lock(&self.drained).get(&of).is_none_or(|drained| came <= *drained)
    }

    /// How a client that came then and has failed now lost its backend; one that does not know whom it had, any that went meanwhile.
    pub fn explains(&self, came: Instant, had: Option<Id>) -> Option<Cause> {
        let losses = lock(&self.losses);
        let loss = losses.iter().find(|loss| match had {
            Some(id) => loss.of == id,
            None => loss.to.is_none_or(|to| to >= came),
        });
        loss.map(|loss| loss.cause)
    }
}

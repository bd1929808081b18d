// SPDX-License-Identifier: Apache-2.0
//! Keys of requests that may be asked again: what is written of them goes into the transaction of the change, so that a crash keeps both
//! or neither. What ages is struck out by the next transaction, never by itself.

use std::sync::Arc;

use super::{Controller, World, admission::Asker};
use crate::{
    command::{Answer, Rejected},
    idempotency::{Kept, Keyed, Made, Standing},
    model::LoadBalancer,
    ports::Write,
};

impl<W: World> Controller<W> {
    /// What is to be done with a request under that key.
    pub(super) fn claim(&self, keyed: Keyed) -> Result<Standing, Rejected> {
        self.keys.claim(keyed, self.time())
    }

    /// Remembers that a request was granted, if it has a key. The load-balancer that the answer is about is this one, where it is one.
    pub(super) fn keep(&self, asker: &Asker, answer: &Answer, about: Option<&LoadBalancer>) -> Option<Write> {
        let keyed = asker.claim.as_ref()?.keyed().clone();
        let made = Made::of(answer, about)?;
        Some(Write::Keep(Arc::new(Kept { keyed, at: self.time(), made })))
    }

    /// The writes, after those that strike out what does not count any more.
    pub(super) fn with_outdated(&self, writes: Vec<Write>) -> Vec<Write> {
        let incoming =
            writes.iter().filter_map(|write| if let Write::Keep(kept) = write { Some(&**kept) } else { None });
        let mut all: Vec<Write> = self.keys.outdated(incoming, self.time()).into_iter().map(Write::Forget).collect();
        all.extend(writes);
        all
    }
}

/// Forgets that a request was granted: it is undone in the same transaction, and may be asked again.
pub(super) fn forget(asker: &Asker) -> Vec<Write> {
    asker.claim.iter().map(|claim| Write::Forget(claim.keyed().key.clone())).collect()
}

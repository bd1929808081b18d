// SPDX-License-Identifier: Apache-2.0
//! The marks by which backends are asked for a VIP.

use std::collections::{BTreeMap, BTreeSet};

use super::{BackendId, Mark};

/// The marks by which the backends of a load-balancer are asked for a VIP.
///
/// One that is needed no more stays until another backend needs it or the load-balancer goes: so whatever is in the kernel by that mark is
/// known to be slb's, after a crash as well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CheckMarks(BTreeMap<BackendId, Mark>);

impl CheckMarks {
    /// The backend's.
    #[must_use]
    pub fn of(&self, backend: BackendId) -> Option<Mark> {
        self.0.get(&backend).copied()
    }

    /// Each with the backend that has it, or had it last.
    pub fn all(&self) -> impl Iterator<Item = (BackendId, Mark)> {
        self.0.iter().map(|(backend, mark)| (*backend, *mark))
    }

    /// Whether no backend has ever been asked for a VIP.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same with one for each of these backends: those that others do not need any more, then fresh ones. `None` if there are too few.
    #[must_use]
    pub fn for_all(&self, backends: &BTreeSet<BackendId>, mut fresh: impl FnMut() -> Option<Mark>) -> Option<Self> {
        let mut marks = self.0.clone();
        let mut free = self.0.iter().filter(|(holder, _)| !backends.contains(holder));
        for backend in backends.iter().filter(|backend| !self.0.contains_key(backend)) {
            let mark = match free.next() {
                Some((holder, mark)) => {
                    marks.remove(holder);
                    *mark
                }
                None => fresh()?,
            };
            marks.insert(*backend, mark);
        }
        Some(Self(marks))
    }

    /// The same with those that only the others have.
    #[must_use]
    pub fn with_those_of(&self, others: &Self) -> Self {
        let own: BTreeSet<Mark> = self.0.values().copied().collect();
        let added = others.all().filter(|(_, mark)| !own.contains(mark));
        Self(self.all().chain(added.filter(|(backend, _)| !self.0.contains_key(backend))).collect())
    }
}

/// A backend has one mark.
impl FromIterator<(BackendId, Mark)> for CheckMarks {
    fn from_iter<T: IntoIterator<Item = (BackendId, Mark)>>(marks: T) -> Self {
        Self(marks.into_iter().collect())
    }
}

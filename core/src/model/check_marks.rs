// SPDX-License-Identifier: Apache-2.0
//! The marks by which backends are asked for a VIP.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{BackendId, Mark};

/// The marks by which the backends of a load-balancer are asked for a VIP.
///
/// One that is needed no more stays until another backend needs it or the load-balancer goes: so whatever is in the kernel by that mark is
/// known to be slb's, after a crash as well. Most load-balancers have none, which takes no more than a pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CheckMarks(Option<Arc<BTreeMap<BackendId, Mark>>>);

impl CheckMarks {
    /// Of a load-balancer whose backends have never been asked for a VIP.
    pub const NONE: Self = Self(None);

    /// The backend's.
    #[must_use]
    pub fn of(&self, backend: BackendId) -> Option<Mark> {
        self.0.as_ref()?.get(&backend).copied()
    }

    /// Each with the backend that has it, or had it last.
    pub fn all(&self) -> impl Iterator<Item = (BackendId, Mark)> {
        self.0.iter().flat_map(|marks| marks.iter()).map(|(backend, mark)| (*backend, *mark))
    }

    /// Whether no backend has ever been asked for a VIP.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The same with one for each of these backends: those that others do not need any more, then fresh ones. `None` if there are too few.
    #[must_use]
    pub fn for_all(&self, backends: &BTreeSet<BackendId>, mut fresh: impl FnMut() -> Option<Mark>) -> Option<Self> {
        let mut marks: BTreeMap<BackendId, Mark> = self.all().collect();
        let mut free = self.all().filter(|(holder, _)| !backends.contains(holder));
        for backend in backends.iter().filter(|backend| self.of(**backend).is_none()) {
            let mark = match free.next() {
                Some((holder, mark)) => {
                    marks.remove(&holder);
                    mark
                }
                None => fresh()?,
            };
            marks.insert(*backend, mark);
        }
        Some(marks.into_iter().collect())
    }

    /// The same with those that only the others have.
    #[must_use]
    pub fn with_those_of(&self, others: &Self) -> Self {
        let own: BTreeSet<Mark> = self.all().map(|(_, mark)| mark).collect();
        let added = others.all().filter(|(_, mark)| !own.contains(mark));
        self.all().chain(added.filter(|(backend, _)| self.of(*backend).is_none())).collect()
    }
}

/// A backend has one mark.
impl FromIterator<(BackendId, Mark)> for CheckMarks {
    fn from_iter<T: IntoIterator<Item = (BackendId, Mark)>>(marks: T) -> Self {
        let marks: BTreeMap<BackendId, Mark> = marks.into_iter().collect();
        Self((!marks.is_empty()).then(|| Arc::new(marks)))
    }
}

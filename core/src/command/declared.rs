// SPDX-License-Identifier: Apache-2.0
//! Many load-balancers asked for at once.

use std::{collections::BTreeSet, fmt};

use super::NewLoadBalancer;
use crate::model::{LoadBalancerId, Origin, Target};

/// Load-balancers that are to be there: all of them, or nothing has changed.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// What else there is to be.
    pub extent: Extent,
    /// In the order of the answer.
    pub load_balancers: Vec<NewLoadBalancer>,
    /// Which of their ids are not new: they have to be there.
    pub known: BTreeSet<LoadBalancerId>,
}

/// What a declaration says of load-balancers that are not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// It is all that the configuration file has: what is of the file and not in it goes.
    File,
    /// It is all that requests have asked for: what is of them and not in it goes.
    Requests,
    /// Nothing. All in it are new.
    More,
}

impl Extent {
    /// Who has asked for what is made.
    #[must_use]
    pub fn origin(self) -> Origin {
        match self {
            Self::File => Origin::File,
            Self::Requests | Self::More => Origin::Api,
        }
    }

    /// Whether it speaks for load-balancers of that origin. Without a file, those that one had before are the requests'.
    #[must_use]
    pub fn covers(self, origin: Origin, has_file: bool) -> bool {
        match self {
            Self::File => origin == Origin::File,
            Self::Requests => origin == Origin::Api || !has_file,
            Self::More => false,
        }
    }
}

impl Declaration {
    /// All that the configuration file has.
    #[must_use]
    pub fn of_file(load_balancers: Vec<NewLoadBalancer>) -> Self {
        Self { extent: Extent::File, load_balancers, known: BTreeSet::new() }
    }

    /// These beside what there is.
    #[must_use]
    pub fn more(load_balancers: Vec<NewLoadBalancer>) -> Self {
        Self { extent: Extent::More, load_balancers, known: BTreeSet::new() }
    }
}

/// What became of load-balancers that were declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many were made.
    pub created: usize,
    /// How many are not as they were.
    pub changed: usize,
    /// How many were declared before, and are gone or on their way.
    pub removed: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { created, changed, removed } = self;
        write!(f, "{created} created, {changed} changed, {removed} deleted")
    }
}

impl NewLoadBalancer {
    /// Where its backends and its fallback listen.
    pub fn targets(&self) -> impl Iterator<Item = Target> {
        let backends = self.backends.iter().flatten().map(|backend| backend.target);
        backends.chain(self.fallback.map(|fallback| fallback.target))
    }
}

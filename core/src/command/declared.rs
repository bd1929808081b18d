// SPDX-License-Identifier: Apache-2.0
//! What the configuration file asks for.

use std::fmt;

use super::NewLoadBalancer;
use crate::model::Target;

/// All load-balancers that the file has, and no others: those that it had before and has no more are to go.
#[derive(Clone, Debug)]
pub struct Declaration(pub Vec<NewLoadBalancer>);

/// What became of load-balancers that the file declares.
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

// SPDX-License-Identifier: Apache-2.0
//! Tags of what is asked for: the same for as long as nobody changes it, whatever becomes of it. Pure.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    str::FromStr,
};

use crate::{
    command::{Command, Rejected},
    model::{Backend, Drain, LoadBalancer},
    state::State,
};

/// Tells what was asked for from what was asked for before. What checks find, what is counted and when a drain was over are no part of
/// it. Over a restart it is the same; another version of slb may have others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u64);

impl Tag {
    /// That of a load-balancer, with its backends.
    #[must_use]
    pub fn of(load_balancer: &LoadBalancer) -> Self {
        Self::made(|hasher| hash(load_balancer, hasher))
    }

    /// That of a load-balancer's backends.
    #[must_use]
    pub fn of_backends(load_balancer: &LoadBalancer) -> Self {
        Self::made(|hasher| load_balancer.backends().iter().for_each(|backend| hash_backend(backend, hasher)))
    }

    /// That of one backend.
    #[must_use]
    pub fn of_backend(backend: &Backend) -> Self {
        Self::made(|hasher| hash_backend(backend, hasher))
    }

    /// That of these load-balancers, in this order.
    #[must_use]
    pub fn of_all<'a>(all: impl IntoIterator<Item = &'a LoadBalancer>) -> Self {
        Self::made(|hasher| all.into_iter().for_each(|load_balancer| hash(load_balancer, hasher)))
    }

    /// That of what a command changes. `None` if there is no such thing yet.
    #[must_use]
    pub fn of_subject(command: &Command, state: &State) -> Option<Self> {
        let load_balancer = state.get(command.load_balancer())?;
        match command {
            Command::Create(_) => None,
            Command::Update(..) | Command::Delete(_) | Command::Drain(_, None, _) | Command::Undrain(_, None) => {
                Some(Self::of(load_balancer))
            }
            Command::AddBackends(..) | Command::ReplaceBackends(..) => Some(Self::of_backends(load_balancer)),
            Command::UpdateBackend(_, backend, _)
            | Command::RemoveBackend(_, backend)
            | Command::Drain(_, Some(backend), _)
            | Command::Undrain(_, Some(backend)) => load_balancer.backend(*backend).map(Self::of_backend),
        }
    }

    /// That of the list of all there is; `None` before the first was ever made.
    #[must_use]
    pub fn of_list(state: &State) -> Option<Self> {
        let mut all: Vec<&LoadBalancer> = state.load_balancers().map(|each| &**each).collect();
        all.sort_unstable_by_key(|each| each.serial);
        (state.last_serial() > 0).then(|| Self::of_all(all))
    }

    fn made(hash: impl FnOnce(&mut DefaultHasher)) -> Self {
        let mut hasher = DefaultHasher::new();
        hash(&mut hasher);
        Self(hasher.finish())
    }
}

fn hash(load_balancer: &LoadBalancer, hasher: &mut DefaultHasher) {
    let LoadBalancer { id, serial: _, name, vips, port, marked, protocol, backends, phase, .. } = load_balancer;
    let LoadBalancer { advertise, source_nat, service, check, origin, extras: _, .. } = load_balancer;
    let (fallback, drain) = (load_balancer.fallback(), load_balancer.drain());
    let ports = marked.as_ref().map(|marked| &marked.ports);
    (id, name, vips, port, ports, protocol, backends.is_some(), phase).hash(hasher);
    (advertise, source_nat, service, check, fallback, drained(drain.as_ref()), origin).hash(hasher);
    load_balancer.backends().iter().for_each(|backend| hash_backend(backend, hasher));
}

fn hash_backend(backend: &Backend, hasher: &mut DefaultHasher) {
    let Backend { id, target, .. } = backend;
    (id, target, backend.settings(), backend.check(), drained(backend.condition().drain.as_ref())).hash(hasher);
}

/// What was asked for of a drain.
fn drained(drain: Option<&Drain>) -> impl Hash {
    drain.map(|Drain { since, deadline, then, done: _ }| (since, deadline, then))
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Of another form, it is no tag of slb's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no tag of slb's")]
pub struct NoTag;

impl FromStr for Tag {
    type Err = NoTag;

    fn from_str(text: &str) -> Result<Self, NoTag> {
        let number = u64::from_str_radix(text, 16).map_err(|_| NoTag)?;
        if Self(number).to_string() == text { Ok(Self(number)) } else { Err(NoTag) }
    }
}

/// Some tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// Of whatever is there.
    Any,
    /// These.
    Of(Vec<Tag>),
}

impl Tags {
    fn have(&self, current: Option<Tag>) -> bool {
        match self {
            Self::Any => current.is_some(),
            Self::Of(tags) => current.is_some_and(|current| tags.contains(&current)),
        }
    }
}

/// What whoever asks takes for granted (RFC 9110 section 13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// `If-Match`: its tag is one of these.
    pub is: Option<Tags>,
    /// `If-None-Match`: its tag is none of these.
    pub is_not: Option<Tags>,
}

impl Expected {
    /// Whether something else is there than was expected.
    #[must_use]
    pub fn is_other(&self, current: Option<Tag>) -> bool {
        self.is.as_ref().is_some_and(|tags| !tags.have(current))
    }

    /// Whether what was not expected is there.
    #[must_use]
    pub fn is_known(&self, current: Option<Tag>) -> bool {
        self.is_not.as_ref().is_some_and(|tags| tags.have(current))
    }

    /// Whether something is as expected; its tag is asked for only if anything is expected.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self, current: impl FnOnce() -> Option<Tag>) -> Result<(), Rejected> {
        if *self == Self::default() {
            return Ok(());
        }
        let current = current();
        if self.is_other(current) || self.is_known(current) { Err(Rejected::NotAsExpected) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;

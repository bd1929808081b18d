// SPDX-License-Identifier: Apache-2.0
//! Requests that may be asked again (draft-ietf-httpapi-idempotency-key-header): under a key that its client has chosen, a request is
//! carried out once, and asked again it gets the answer of the first time. Pure; the [`Book`] knows all keys.
//!
//! ```text
//!  unknown ──claim──▶ in use ──commit──▶ kept ──▶ outdated, and unknown again
//!     ▲                 │ refused, failed            after a day, or pushed out by newer ones
//!     └─────────────────┘ and undone
//! ```

mod book;

use std::sync::Arc;

use crate::{
    command::{Answer, Tally},
    model::{Backend, CheckMarks, Invalid, LoadBalancer, Time},
    peer::Peer,
};

pub use self::book::{Book, Claim, LONGEST, MOST_KEYS, MOST_OBJECTS, Standing};

/// What a client calls a request: 1 to 255 visible ASCII characters but `"` and `\`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The longest, in characters.
    pub const MAX: usize = 255;

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Key {
    type Error = Invalid;

    fn try_from(text: &str) -> Result<Self, Invalid> {
        let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if (1..=Self::MAX).contains(&text.len()) && text.bytes().all(fits) {
            return Ok(Self(text.into()));
        }
        Err(Invalid(format!("must be 1 to {} visible ASCII characters without \" and \\", Self::MAX)))
    }
}

/// SHA-256 of all that makes a request what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// A request and what its client calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// What it is called.
    pub key: Key,
    /// What it is.
    pub request: Digest,
}

/// A request that was granted, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The request.
    pub keyed: Keyed,
    /// When it was granted.
    pub at: Time,
    /// What came of it.
    pub made: Made,
}

/// What came of a request, as it was then. Shared with the desired state for as long as nobody changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// A load-balancer.
    LoadBalancer(Arc<LoadBalancer>),
    /// The only backend of this load-balancer; it had others, too.
    Backend(Arc<LoadBalancer>),
    /// The backends of this load-balancer; it had others, too.
    Backends(Arc<LoadBalancer>),
    /// Load-balancers, in the order of the request.
    Declared(Tally, Vec<Arc<LoadBalancer>>),
    /// A peer, without its password.
    Peer(Peer),
}

impl Made {
    /// What there is to keep of an answer; the load-balancer that it is about is this one, where it is one. `None` if there is nothing to be
    /// answered again.
    #[must_use]
    pub fn of(answer: &Answer, about: Option<&LoadBalancer>) -> Option<Self> {
        let with = |backends: &[Backend]| {
            let (backends, check_marks) = (Some(backends.into()), CheckMarks::default());
            Some(Arc::new(LoadBalancer { backends, ..about?.clone() }.with_check_marks(check_marks)))
        };
        match answer {
            Answer::LoadBalancer(load_balancer) => Some(Self::LoadBalancer(Arc::clone(load_balancer))),
            Answer::Backend(backend) => with(std::slice::from_ref(backend)).map(Self::Backend),
            Answer::Backends(backends) => with(backends).map(Self::Backends),
            Answer::Declared(tally, all) => Some(Self::Declared(*tally, all.clone())),
            Answer::Peer(peer) => Some(Self::Peer(peer.clone())),
            Answer::Gone | Answer::Rehearsed(_) => None,
        }
    }

    /// The answer that it was kept of.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self {
            Self::LoadBalancer(load_balancer) => Answer::LoadBalancer(Arc::clone(load_balancer)),
            Self::Backend(of) => of.backends().first().map_or(Answer::Gone, |backend| Answer::Backend(backend.clone())),
            Self::Backends(of) => Answer::Backends(of.backends().to_vec()),
            Self::Declared(tally, all) => Answer::Declared(*tally, all.clone()),
            Self::Peer(peer) => Answer::Peer(peer.clone()),
        }
    }

    /// The load-balancers, whole or not.
    #[must_use]
    pub fn load_balancers(&self) -> &[Arc<LoadBalancer>] {
        match self {
            Self::LoadBalancer(one) | Self::Backend(one) | Self::Backends(one) => std::slice::from_ref(one),
            Self::Declared(_, all) => all,
            Self::Peer(_) => &[],
        }
    }

    /// How many load-balancers and backends there are in it.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.load_balancers().iter().map(|each| 1 + each.backends().len()).sum()
    }
}

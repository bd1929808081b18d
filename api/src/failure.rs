// SPDX-License-Identifier: Apache-2.0
//! What the core refuses or fails to do, as problems.
//!
//! | the core says | status |
//! | --- | --- |
//! | unknown load-balancer, unknown backend, unknown peer | 404 |
//! | right in itself, but it contradicts what is there: taken, exists, unfit on this host, immutable, of the file, being deleted, in use, foreign; a key in use | 409 |
//! | not as the request expects it | 412 |
//! | wrong whatever is there: a backend that is the VIP, what only another data plane can do, another request's key | 422 |
//! | a step failed and will fail again | 500 |
//! | the provider of addresses failed | 502 |
//! | it may pass: no address or mark left, a question that was not answered (no link), a step that may succeed later, the store, stopping | 503 |
//! | no room on the disk | 507 |

use std::{error::Error, io};

use slb_core::{
    command::{Failure, Rejected},
    errors::Chain,
    model::Invalid,
    ports::{Cause, Denied, Lacking, PoolError, Unserved},
};

use crate::problem::{Kind, Members, Problem};

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        let detail = rejected.to_string();
        let taken_by = |kind: Kind, by: String| {
            Self::with(kind, detail.clone(), Members { taken_by: Some(by), ..Members::default() })
        };
        match rejected {
            Rejected::UnknownLoadBalancer(_) => Self::new(Kind::UnknownLoadBalancer, detail),
            Rejected::UnknownBackend { .. } => Self::new(Kind::UnknownBackend, detail),
            Rejected::EndpointTaken { by, .. } => taken_by(Kind::EndpointTaken, by.to_string()),
            Rejected::NotAsExpected => Self::new(Kind::NotAsExpected, detail),
            Rejected::KeyInUse => Self::new(Kind::KeyInUse, detail),
            Rejected::KeyOfAnother => Self::new(Kind::KeyOfAnother, detail),
            Rejected::NoMark => Self::new(Kind::MarksExhausted, detail),
            Rejected::BackendExists { by, .. } => taken_by(Kind::BackendExists, by.to_string()),
            Rejected::BackendIsFallback(_) => Self::new(Kind::BackendExists, detail),
            Rejected::BackendIsVip(_) => Self::invalid_at("#/ip", &Invalid(detail)),
            Rejected::Unfit { why, .. } => {
                Self::with(Kind::BackendUnfit, detail, Members { field: Some(why.field()), ..Members::default() })
            }
            Rejected::Discord(discord) => {
                Self::with(Kind::SettingsDiscord, detail, Members { field: Some(discord.field), ..Members::default() })
            }
            Rejected::NoRouting => Self::new(Kind::NoBgp, detail),
            Rejected::PeersElsewhere(_) => Self::new(Kind::PeersElsewhere, detail),
            Rejected::PeerExists(_) => Self::new(Kind::PeerExists, detail),
            Rejected::UnknownPeer(_) => Self::new(Kind::UnknownPeer, detail),
            Rejected::PeerIsAnOption(_) => Self::new(Kind::PeerIsAnOption, detail),
            Rejected::OfFile(_) => Self::new(Kind::OfFile, detail),
            Rejected::Deleting(_) => Self::new(Kind::BeingDeleted, detail),
            Rejected::Immutable { field, .. } => Self::fixed(field, detail),
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let detail = failure.to_string();
        match failure {
            Failure::Rejected(rejected) => rejected.into(),
            Failure::Pool(error) => error.into(),
            Failure::AddressInUse { holder, .. } => {
                Self::with(Kind::AddressInUse, detail, Members { taken_by: Some(holder), ..Members::default() })
            }
            Failure::Foreign(_) => Self::new(Kind::ForeignService, detail),
            Failure::Ask { cause, .. } => caused(Kind::SystemUnreadable, &detail, &cause, Members::default()),
            Failure::Store(cause) => {
                let kind = if is_out_of_room(&*cause) { Kind::StoreFull } else { Kind::StoreFailed };
                caused(kind, &detail, &cause, Members::default())
            }
            Failure::Step { step, may_pass, undone, cause } => caused(
                match &cause {
                    cause if cause.is::<Lacking>() => Kind::Unsupported,
                    cause if cause.is::<Unserved>() || cause.is::<Denied>() => Kind::Unserved,
                    _ if may_pass => Kind::StepFailed,
                    _ => Kind::StepRefused,
                },
                &detail,
                &cause,
                Members { step: Some(step.to_string()), undone: Some(undone), ..Members::default() },
            ),
            Failure::Declared { why, .. } => (*why).into(),
            Failure::Unforeseen => Self::new(Kind::Unforeseen, detail),
            Failure::Stopping => Self::new(Kind::Stopping, detail),
        }
    }
}

impl From<PoolError> for Problem {
    fn from(error: PoolError) -> Self {
        let detail = error.to_string();
        match error {
            PoolError::Outside { .. } | PoolError::OtherFamily { .. } => Self::new(Kind::AddressOutsideRange, detail),
            PoolError::Unavailable { .. } => Self::new(Kind::AddressUnavailable, detail),
            PoolError::Exhausted { .. } => Self::new(Kind::PoolExhausted, detail),
            PoolError::Provider(cause) => caused(Kind::ProviderFailed, &detail, &cause, Members::default()),
        }
    }
}

/// A problem with its causes: in the detail for people, as `cause` for programs.
fn caused(kind: Kind, detail: &str, cause: &Cause, members: Members) -> Problem {
    let cause = Chain(&**cause).to_string();
    Problem::with(kind, format!("{detail}: {cause}"), Members { cause: Some(cause), ..members })
}

fn is_out_of_room(error: &(dyn Error + 'static)) -> bool {
    let room = |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref().is_some_and(room) {
            return true;
        }
        next = error.source();
    }
    false
}

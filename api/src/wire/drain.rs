// SPDX-License-Identifier: Apache-2.0
//! How something is drained, as it is shown.

use serde::Serialize;
use slb_core::{
    drain::Left,
    model::{Drain, Then},
};

use crate::observed::Time;

#[derive(Serialize)]
pub(crate) struct DrainView {
    since: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<Time>,
    then: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<LeftView>,
}

/// What it waits for, in the words of `/statistics`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeftView {
    active_connections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    inactive_connections: Option<u64>,
    persistent_connections: u64,
}

impl DrainView {
    /// With what it waits for, if that is known.
    pub(crate) fn waiting(drain: Drain, left: Option<Left>) -> Self {
        let left = left.map(|Left { active, inactive, persistent }| LeftView {
            active_connections: active,
            inactive_connections: inactive,
            persistent_connections: persistent,
        });
        Self { left, ..Self::from(drain) }
    }
}

impl From<Drain> for DrainView {
    fn from(Drain { since, deadline, then, done }: Drain) -> Self {
        let show = |at: slb_core::model::Time| Time(at.into());
        Self {
            since: show(since),
            deadline: deadline.map(show),
            then: match then {
                Then::Stay => "stay",
                Then::Delete => "delete",
            },
            done: done.map(show),
            left: None,
        }
    }
}

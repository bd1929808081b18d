// SPDX-License-Identifier: Apache-2.0
//! How something is drained, as it is shown.

use serde::Serialize;
use slb_core::model::{Drain, Then};

use crate::observed::Time;

#[derive(Serialize)]
pub(crate) struct DrainView {
    since: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<Time>,
    then: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<Time>,
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
        }
    }
}

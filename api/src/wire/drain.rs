// SPDX-License-Identifier: Apache-2.0
//! How something is drained, as it is shown.

use serde::Serialize;
use slb_core::model::{Drain, Then, Time};

use crate::observed::time;

#[derive(Serialize)]
pub(crate) struct DrainView {
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
    then: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<String>,
}

impl From<Drain> for DrainView {
    fn from(Drain { since, deadline, then, done }: Drain) -> Self {
        let show = |at: Time| time(at.into());
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

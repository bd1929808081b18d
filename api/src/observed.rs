// SPDX-License-Identifier: Apache-2.0
//! How load-balancers and backends are doing, as it is shown beside what they are asked to be.

use std::time::SystemTime;

use serde::Serialize;
use slb_core::status::{BackendStatus, Condition, Health, Status};

/// A time as it is shown: RFC 3339, in UTC, to the second.
pub(crate) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

#[derive(Serialize)]
struct ConditionView<'a> {
    is: bool,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

impl<'a> From<&'a Condition> for ConditionView<'a> {
    fn from(condition: &'a Condition) -> Self {
        Self { is: condition.holds(), since: time(condition.since), why: condition.why_not.as_deref() }
    }
}

/// `observed` of a load-balancer.
#[derive(Serialize)]
pub(crate) struct LoadBalancerObserved<'a> {
    programmed: ConditionView<'a>,
    advertised: ConditionView<'a>,
}

impl<'a> From<&'a Status> for LoadBalancerObserved<'a> {
    fn from(status: &'a Status) -> Self {
        Self { programmed: (&status.programmed).into(), advertised: (&status.advertised).into() }
    }
}

/// `observed` of a backend.
#[derive(Serialize)]
pub(crate) struct BackendObserved<'a> {
    programmed: ConditionView<'a>,
    health: &'static str,
}

impl<'a> From<&'a BackendStatus> for BackendObserved<'a> {
    fn from(status: &'a BackendStatus) -> Self {
        let health = match status.health {
            Health::Unknown => "unknown",
        };
        Self { programmed: (&status.programmed).into(), health }
    }
}

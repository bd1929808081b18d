// SPDX-License-Identifier: Apache-2.0
//! What is written of what has become of backends. Times are in milliseconds since 1970.

use serde::{Deserialize, Serialize};
use slb_core::model::{Condition, Drain, Then, Time};

#[derive(Default, Serialize, Deserialize)]
pub(super) struct ConditionV3 {
    down: Option<u64>,
    back: Option<u64>,
    drain: Option<DrainV3>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct DrainV3 {
    since: u64,
    deadline: Option<u64>,
    then: ThenV3,
    done: Option<u64>,
}

/// Written by number, in this order.
#[derive(Serialize, Deserialize)]
enum ThenV3 {
    Stay,
    Delete,
}

impl From<Condition> for ConditionV3 {
    fn from(Condition { down, back, drain }: Condition) -> Self {
        Self { down: down.map(Time::millis), back: back.map(Time::millis), drain: drain.map(DrainV3::from) }
    }
}

impl From<ConditionV3> for Condition {
    fn from(ConditionV3 { down, back, drain }: ConditionV3) -> Self {
        Self { down: down.map(Time::from_millis), back: back.map(Time::from_millis), drain: drain.map(Drain::from) }
    }
}

impl From<Drain> for DrainV3 {
    fn from(Drain { since, deadline, then, done }: Drain) -> Self {
        let then = match then {
            Then::Stay => ThenV3::Stay,
            Then::Delete => ThenV3::Delete,
        };
        Self { since: since.millis(), deadline: deadline.map(Time::millis), then, done: done.map(Time::millis) }
    }
}

impl From<DrainV3> for Drain {
    fn from(DrainV3 { since, deadline, then, done }: DrainV3) -> Self {
        let then = match then {
            ThenV3::Stay => Then::Stay,
            ThenV3::Delete => Then::Delete,
        };
        let time = Time::from_millis;
        Self { since: time(since), deadline: deadline.map(time), then, done: done.map(time) }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! How load-balancers and backends are doing, as it is shown beside what they are asked to be.

use std::{
    ptr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};
use slb_core::{
    board::Seen,
    checker::Reports,
    drain::Left,
    model::{Backend, Target, Vip},
    status::{Condition, VipStatus},
};

/// A time as it is shown: RFC 3339, in UTC, to the second. Lists are full of them.
#[derive(Clone, Copy)]
pub(crate) struct Time(pub(crate) SystemTime);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_seconds(self.0))
    }
}

#[derive(Serialize)]
struct ConditionView<'a> {
    is: bool,
    since: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

impl<'a> From<&'a Condition> for ConditionView<'a> {
    fn from(condition: &'a Condition) -> Self {
        Self { is: condition.holds(), since: Time(condition.since), why: condition.why_not.as_deref() }
    }
}

/// What is known of a load-balancer, to be shown with it.
#[derive(Clone, Copy)]
pub(crate) struct Observer<'a> {
    pub(crate) seen: &'a Seen,
    pub(crate) reports: Option<&'a Arc<dyn Reports>>,
}

/// `observed` of a load-balancer.
#[derive(Serialize)]
pub(crate) struct LoadBalancerObserved<'a> {
    programmed: ConditionView<'a>,
    advertised: ConditionView<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    panics: bool,
    /// Each for itself, if there are two.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vips: Vec<VipObserved<'a>>,
}

#[derive(Serialize)]
struct VipObserved<'a> {
    eip: Vip,
    programmed: ConditionView<'a>,
    advertised: ConditionView<'a>,
}

impl<'a> VipObserved<'a> {
    fn new(eip: Vip, VipStatus { programmed, advertised }: &'a VipStatus) -> Self {
        Self { eip, programmed: programmed.into(), advertised: advertised.into() }
    }
}

/// `observed` of a backend.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BackendObserved<'a> {
    programmed: ConditionView<'a>,
    health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_since: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_check: Option<LastCheckView>,
}

#[derive(Serialize)]
struct LastCheckView {
    at: Time,
    took: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'a> Observer<'a> {
    /// How the load-balancer is doing as a whole.
    pub(crate) fn whole(self) -> LoadBalancerObserved<'a> {
        let vips = self.seen.load_balancer.vips;
        let each = || vips.into_iter().zip(self.seen.status.vips()).map(|(vip, status)| VipObserved::new(vip, status));
        LoadBalancerObserved {
            programmed: self.seen.status.programmed().into(),
            advertised: self.seen.status.advertised().into(),
            panics: self.seen.load_balancer.panics(),
            vips: if vips.second().is_some() { each().collect() } else { Vec::new() },
        }
    }

    /// What a drain of a backend of it, or of the whole, waits for.
    pub(crate) fn left(self, target: Option<Target>) -> Option<Left> {
        self.seen.left(target)
    }

    /// How a backend of it is doing.
    pub(crate) fn backend(self, backend: &Backend) -> Option<BackendObserved<'a>> {
        // Who asks again under a key is shown what there was, of which some may have gone.
        let there_are = self.seen.load_balancer.backends();
        if !there_are.as_ptr_range().contains(&ptr::from_ref(backend)) {
            there_are.iter().find(|each| each.id == backend.id)?;
        }
        let status = self.seen.status.backend(backend.id)?;
        let watch = self.seen.load_balancer.watch(backend);
        let report = self.reports.zip(watch.as_ref()).and_then(|(reports, watch)| reports.report(watch));
        let (health, since) = match (&watch, backend.condition().down) {
            (None, _) => ("unknown", None),
            (Some(_), Some(down)) => ("down", Some(down.into())),
            (Some(_), None) => ("up", report.as_ref().map(|report| report.now.since)),
        };
        let last_check = report.and_then(|report| report.last).map(|last| LastCheckView {
            at: Time(last.at),
            took: humantime::format_duration(round(last.took)).to_string(),
            error: last.error,
        });
        Some(BackendObserved {
            programmed: (&status.programmed).into(),
            health,
            health_since: since.map(Time),
            last_check,
        })
    }
}

/// To microseconds.
fn round(took: Duration) -> Duration {
    Duration::from_micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}

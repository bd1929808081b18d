// SPDX-License-Identifier: Apache-2.0
//! How what is asked for is doing: whether the kernel has it, whether the network is told of it, since when, and why not.
//!
//! The controller [reports](Report) what it found after each look and each change; the board keeps a [`Status`] of each
//! load-balancer, which knows since when. It is not remembered over a restart: then everything begins anew.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use crate::model::{Backend, BackendId, LoadBalancer, Vip};

/// Something that holds, or the reason why it does not.
pub type Finding = Result<(), Arc<str>>;

/// What the controller found out of a load-balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How each of its VIPs is doing, in their order.
    pub vips: Vec<VipReport>,
    /// Which of its backends get connections.
    pub backends: Vec<(BackendId, Finding)>,
}

/// What the controller found out of a load-balancer on one of its VIPs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipReport {
    /// Which.
    pub vip: Vip,
    /// The kernel balances connections to it.
    pub programmed: Finding,
    /// The network is told of it.
    pub advertised: Finding,
}

/// Something that has held, or has not, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Since when it holds, or does not.
    pub since: SystemTime,
    /// Why it does not hold; `None` if it does.
    pub why_not: Option<Arc<str>>,
}

impl Condition {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.why_not.is_none()
    }

    fn new(finding: Finding, now: SystemTime) -> Self {
        Self { since: now, why_not: finding.err() }
    }

    fn not_yet(now: SystemTime) -> Self {
        Self::new(Err("nothing has been done yet".into()), now)
    }

    /// The same with what was found now: whoever goes on holding, or not holding, does so since the same time.
    fn now(&self, finding: Finding, now: SystemTime) -> Self {
        let found = Self::new(finding, now);
        if found.holds() == self.holds() { Self { since: self.since, ..found } } else { found }
    }
}

/// How a backend is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendStatus {
    /// Whether the kernel has it as asked for.
    pub programmed: Condition,
}

/// How a load-balancer is doing on one of its VIPs: which one that is, their order says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipStatus {
    /// Whether the kernel balances connections to it.
    pub programmed: Condition,
    /// Whether the network is told of it.
    pub advertised: Condition,
}

impl VipStatus {
    fn new(now: SystemTime) -> Self {
        Self { programmed: Condition::not_yet(now), advertised: Condition::not_yet(now) }
    }

    fn next(&self, report: Option<&VipReport>, now: SystemTime) -> Self {
        let Some(report) = report else { return self.clone() };
        Self {
            programmed: self.programmed.now(report.programmed.clone(), now),
            advertised: self.advertised.now(report.advertised.clone(), now),
        }
    }
}

/// How a load-balancer is doing. It does not say which it is, so that many that are doing alike can share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    first: VipStatus,
    second: Option<Box<VipStatus>>,
    backends: Backends,
}

/// How the backends of a load-balancer are doing. Most of the time there is one thing to say of all of them, whichever they are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Backends {
    /// The same of all; `None` if there are none.
    Alike(Option<BackendStatus>),
    /// Of each, in the order of the ids.
    Each(Box<[(BackendId, BackendStatus)]>),
}

impl Backends {
    fn of(mut all: Vec<(BackendId, BackendStatus)>) -> Self {
        let is_alike = all.windows(2).all(|two| matches!(two, [(_, one), (_, other)] if one == other));
        if is_alike {
            return Self::Alike(all.pop().map(|(_, status)| status));
        }
        all.sort_unstable_by_key(|(id, _)| *id);
        Self::Each(all.into())
    }

    /// Of one of them.
    fn get(&self, id: BackendId) -> Option<&BackendStatus> {
        match self {
            Self::Alike(all) => all.as_ref(),
            Self::Each(each) => {
                let at = each.binary_search_by_key(&id, |(id, _)| *id).ok()?;
                each.get(at).map(|(_, status)| status)
            }
        }
    }
}

/// What has changed from one status to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The kernel has the load-balancer now, or the backend of it.
    Programmed(Option<BackendId>),
    /// It has not, or for another reason.
    Failed(Option<BackendId>, Arc<str>),
    /// The network is told of the VIP now.
    Advertised(Vip),
    /// It is told of it no more.
    Withdrawn(Vip, Arc<str>),
}

impl Status {
    /// Of a load-balancer that nothing has been done about yet.
    #[must_use]
    pub fn new(load_balancer: &LoadBalancer, now: SystemTime) -> Self {
        let second = load_balancer.vips.second().map(|_| Box::new(VipStatus::new(now)));
        let first = VipStatus::new(now);
        let none = Self { first, second, backends: Backends::Alike(None) };
        none.with_backends_of(&[], load_balancer.backends(), now)
    }

    /// How each of its VIPs is doing, in their order.
    pub fn vips(&self) -> impl Iterator<Item = &VipStatus> {
        std::iter::once(&self.first).chain(self.second.as_deref())
    }

    /// Whether the kernel balances connections to it, on all of its VIPs.
    #[must_use]
    pub fn programmed(&self) -> &Condition {
        worse(&self.first.programmed, self.second.as_ref().map(|second| &second.programmed))
    }

    /// Whether the network is told of all of its VIPs.
    #[must_use]
    pub fn advertised(&self) -> &Condition {
        worse(&self.first.advertised, self.second.as_ref().map(|second| &second.advertised))
    }

    /// The same for the backends that there are now; there were those before.
    #[must_use]
    pub fn with_backends_of(&self, before: &[Backend], after: &[Backend], now: SystemTime) -> Self {
        let known: BTreeSet<BackendId> = before.iter().map(|backend| backend.id).collect();
        let of = |Backend { id, .. }: &Backend| {
            let status = self.backend(*id).filter(|_| known.contains(id)).cloned();
            (*id, status.unwrap_or_else(|| BackendStatus { programmed: Condition::not_yet(now) }))
        };
        let backends = Backends::of(after.iter().map(of).collect());
        Self { first: self.first.clone(), second: self.second.clone(), backends }
    }

    /// A backend of the load-balancer. To be asked of its backends alone: where all are alike, it is not known which they are.
    #[must_use]
    pub fn backend(&self, id: BackendId) -> Option<&BackendStatus> {
        self.backends.get(id)
    }

    /// The next status, and what is new in it. Nothing if nothing is.
    #[must_use]
    pub fn next(&self, report: &Report, now: SystemTime) -> Option<(Self, Vec<News>)> {
        let backend = |(id, finding): &(BackendId, Finding)| {
            let before = self.backend(*id)?;
            Some((*id, BackendStatus { programmed: before.programmed.now(finding.clone(), now) }))
        };
        let next = Self {
            first: self.first.next(report.vips.first(), now),
            second: self.second.as_ref().map(|second| Box::new(second.next(report.vips.get(1), now))),
            backends: Backends::of(report.backends.iter().filter_map(backend).collect()),
        };
        (next != *self).then(|| {
            let news = next.news_since(self, report);
            (next, news)
        })
    }

    fn news_since(&self, before: &Self, report: &Report) -> Vec<News> {
        let programmed = |of: Option<BackendId>, is: &Condition, was: Option<&Condition>| match &is.why_not {
            _ if was.is_some_and(|was| was.why_not == is.why_not) => None,
            Some(why) => Some(News::Failed(of, Arc::clone(why))),
            None => Some(News::Programmed(of)),
        };
        let backends = report.backends.iter().filter_map(|(id, _)| {
            let [is, was] = [self, before].map(|status| status.backend(*id).map(|status| &status.programmed));
            programmed(Some(*id), is?, was)
        });
        let of_vips = report.vips.iter().zip(self.vips().zip(before.vips()));
        let advertised = of_vips.filter_map(|(VipReport { vip, .. }, (is, was))| {
            match (&is.advertised.why_not, was.advertised.holds()) {
                (None, false) => Some(News::Advertised(*vip)),
                (Some(why), true) => Some(News::Withdrawn(*vip, Arc::clone(why))),
                (None, true) | (Some(_), false) => None,
            }
        });
        programmed(None, self.programmed(), Some(before.programmed()))
            .into_iter()
            .chain(backends)
            .chain(advertised)
            .collect()
    }
}

/// Both together: they hold since the later one does; or they do not since the earlier one does not, for its reason.
fn worse<'a>(one: &'a Condition, other: Option<&'a Condition>) -> &'a Condition {
    let Some(other) = other else { return one };
    let is_other = match (one.holds(), other.holds()) {
        (true, true) => other.since > one.since,
        (false, false) => other.since < one.since,
        (holds, _) => holds,
    };
    if is_other { other } else { one }
}

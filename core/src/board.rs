// SPDX-License-Identifier: Apache-2.0
//! The desired state as readers see it, and how it is doing. The controller posts, any number of readers look; nobody waits for a
//! driver. Whatever is posted is told in the [journal](Journal), in the same order: what a reader hears of has been posted.

mod difference;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use crate::{
    checker::Reports,
    declared::FileReport,
    drain::{ByBackend, Left},
    events::{Event, Journal},
    model::{LoadBalancer, LoadBalancerId, Target},
    routing::Routing,
    statistics::Statistics,
    status::{Report, Status},
    tag::Tag,
};

/// What has been committed, for readers.
#[derive(Debug, Default)]
pub struct Board {
    posted: RwLock<Posted>,
    ready: AtomicBool,
    routing: OnceLock<Arc<dyn Routing>>,
    statistics: OnceLock<Arc<dyn Statistics>>,
    reports: OnceLock<Arc<dyn Reports>>,
    file: RwLock<Option<FileReport>>,
    journal: Arc<Journal>,
}

/// A load-balancer, and how it is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// As it was asked for.
    pub load_balancer: Arc<LoadBalancer>,
    /// As it is.
    pub status: Arc<Status>,
    /// While something of it is drained, its connections when they were counted last; afterwards, those that were left.
    pub connections: Option<Arc<ByBackend>>,
}

impl Seen {
    /// What a drain of one of its backends, or of the whole, waits for, if that is known.
    #[must_use]
    pub fn left(&self, target: Option<Target>) -> Option<Left> {
        let connections = self.connections.as_deref()?;
        Some(Left::of(connections, self.load_balancer.protocol, target))
    }
}

/// Most of what is [`Seen`].
#[derive(Debug)]
struct Shown {
    load_balancer: Arc<LoadBalancer>,
    status: Arc<Status>,
}

#[derive(Debug, Default)]
struct Posted {
    by_id: BTreeMap<LoadBalancerId, Shown>,
    /// Of those few of which something is drained, or has been.
    connections: BTreeMap<LoadBalancerId, Arc<ByBackend>>,
    /// The last one that was made: of many that begin together, or are programmed together, there is one.
    status: Option<Arc<Status>>,
    used: bool,
    /// That of the list, once somebody has asked for it and until the next change.
    tag: OnceLock<Tag>,
}

impl Board {
    /// An empty one, whose changes are told in the journal.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        Self { journal: Arc::new(journal), ..Self::default() }
    }

    /// Every load-balancer in the order of creation; `None` if there has never been one, which the original's API tells apart from
    /// an empty list.
    #[must_use]
    pub fn list(&self) -> Option<Vec<Seen>> {
        let mut all: Vec<Seen> = {
            let posted = self.posted.read().unwrap_or_else(PoisonError::into_inner);
            posted.used.then(|| posted.by_id.iter().map(|(id, shown)| posted.seen(*id, shown)).collect())?
        };
        all.sort_by_cached_key(|seen| seen.load_balancer.serial);
        Some(all)
    }

    /// The tag of the list; `None` if there has never been one. Who takes both takes the tag first: should the list have changed in between, it is
    /// known by a tag that counts no longer.
    #[must_use]
    pub fn tag(&self) -> Option<Tag> {
        let posted = self.posted.read().unwrap_or_else(PoisonError::into_inner);
        posted.used.then(|| *posted.tag.get_or_init(|| posted.list_tag()))
    }

    /// The load-balancer of that name.
    #[must_use]
    pub fn get(&self, id: LoadBalancerId) -> Option<Arc<LoadBalancer>> {
        self.look(id).map(|seen| seen.load_balancer)
    }

    /// The load-balancer of that name, and how it is doing.
    #[must_use]
    pub fn look(&self, id: LoadBalancerId) -> Option<Seen> {
        let posted = self.posted.read().unwrap_or_else(PoisonError::into_inner);
        posted.by_id.get(&id).map(|shown| posted.seen(id, shown))
    }

    /// What has been told of what was posted.
    #[must_use]
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Whether the kernel has been brought to the desired state once since the start.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// What announces routes; `None` where VIPs are announced otherwise.
    #[must_use]
    pub fn routing(&self) -> Option<&Arc<dyn Routing>> {
        self.routing.get()
    }

    /// Says what announces routes, once.
    pub fn post_routing(&self, routing: Arc<dyn Routing>) {
        self.routing.get_or_init(|| routing);
    }

    /// Says whether there has ever been a load-balancer.
    pub fn post_used(&self, used: bool) {
        self.posted.write().unwrap_or_else(PoisonError::into_inner).used = used;
    }

    /// What counts, if anything does.
    #[must_use]
    pub fn statistics(&self) -> Option<&Arc<dyn Statistics>> {
        self.statistics.get()
    }

    /// Says what counts, once.
    pub fn post_statistics(&self, statistics: Arc<dyn Statistics>) {
        self.statistics.get_or_init(|| statistics);
    }

    /// What checks have found, if anything checks.
    #[must_use]
    pub fn reports(&self) -> Option<&Arc<dyn Reports>> {
        self.reports.get()
    }

    /// Says what checks backends, once.
    pub fn post_reports(&self, reports: Arc<dyn Reports>) {
        self.reports.get_or_init(|| reports);
    }

    /// How the configuration file is doing, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<FileReport> {
        self.file.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says how the configuration file is doing.
    pub fn post_file(&self, report: FileReport) {
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = Some(report);
    }

    /// Posts the load-balancers that were there before the start, which is no news.
    pub fn restore(&self, load_balancers: Vec<Arc<LoadBalancer>>) {
        let mut posted = self.posted.write().unwrap_or_else(PoisonError::into_inner);
        let now = self.journal.now();
        let seen = |load_balancer: Arc<LoadBalancer>| {
            let status = posted.shared(Status::new(&load_balancer, now));
            (load_balancer.id, Shown { load_balancer, status })
        };
        let mut all: BTreeMap<_, _> = load_balancers.into_iter().map(seen).collect();
        posted.used |= !all.is_empty();
        posted.by_id.append(&mut all);
    }

    /// Posts a load-balancer over whatever stood there under its id.
    pub fn post(&self, load_balancer: Arc<LoadBalancer>) {
        let mut posted = self.posted.write().unwrap_or_else(PoisonError::into_inner);
        let before = posted.by_id.get(&load_balancer.id);
        let status = match before {
            Some(Shown { load_balancer: before, status }) if before.backends == load_balancer.backends => {
                Arc::clone(status)
            }
            Some(Shown { load_balancer: before, status }) => {
                let (before, after) = (before.backends(), load_balancer.backends());
                Arc::new(status.with_backends_of(before, after, self.journal.now()))
            }
            None => Arc::new(Status::new(&load_balancer, self.journal.now())),
        };
        let events = difference::between(before.map(|seen| &*seen.load_balancer), &load_balancer);
        if !load_balancer.has_drain() {
            posted.connections.remove(&load_balancer.id);
        }
        posted.put(Shown { load_balancer, status });
        if !events.is_empty() {
            self.journal.tell_all(self.journal.now(), events);
        }
    }

    /// Posts how a load-balancer is doing. Without one of that name it means nothing.
    pub fn report(&self, id: LoadBalancerId, report: Report) {
        self.report_at(self.journal.now(), id, report);
    }

    /// The same of what was found at that time.
    pub fn report_at(&self, now: SystemTime, id: LoadBalancerId, report: Report) {
        let mut posted = self.posted.write().unwrap_or_else(PoisonError::into_inner);
        let next = posted.by_id.get(&id).and_then(|seen| seen.status.next(&report, now));
        if let Some((next, news)) = next {
            let status = posted.shared(next);
            posted.by_id.entry(id).and_modify(|seen| seen.status = status);
            self.journal.tell_all(now, news.into_iter().map(|news| Event::Status(id, news)));
        }
    }

    /// Posts the connections of a load-balancer of which something is drained.
    pub fn post_connections(&self, id: LoadBalancerId, connections: Arc<ByBackend>) {
        let mut posted = self.posted.write().unwrap_or_else(PoisonError::into_inner);
        if posted.by_id.contains_key(&id) {
            posted.connections.insert(id, connections);
        }
    }

    /// Takes a load-balancer down.
    pub fn remove(&self, id: LoadBalancerId) {
        let mut posted = self.posted.write().unwrap_or_else(PoisonError::into_inner);
        posted.connections.remove(&id);
        if posted.by_id.remove(&id).is_some() {
            posted.tag.take();
            self.journal.tell(Event::Deleted(id));
        }
    }

    /// Says that the kernel is as desired.
    pub fn post_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }
}

impl Posted {
    fn put(&mut self, shown: Shown) {
        self.used = true;
        self.tag.take();
        self.by_id.insert(shown.load_balancer.id, shown);
    }

    fn seen(&self, id: LoadBalancerId, shown: &Shown) -> Seen {
        let Shown { load_balancer, status } = shown;
        let connections = self.connections.get(&id).cloned();
        Seen { load_balancer: Arc::clone(load_balancer), status: Arc::clone(status), connections }
    }

    fn shared(&mut self, status: Status) -> Arc<Status> {
        let last = self.status.take().filter(|last| **last == status);
        Arc::clone(self.status.insert(last.unwrap_or_else(|| Arc::new(status))))
    }

    fn list_tag(&self) -> Tag {
        let mut all: Vec<&LoadBalancer> = self.by_id.values().map(|seen| &*seen.load_balancer).collect();
        all.sort_unstable_by_key(|each| each.serial);
        Tag::of_all(all)
    }
}

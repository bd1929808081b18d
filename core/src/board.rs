// SPDX-License-Identifier: Apache-2.0
//! The desired state as readers see it. The controller posts, any number of readers look; nobody waits for a driver.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    model::{LoadBalancer, LoadBalancerId},
    routing::Routing,
};

/// What has been committed, for readers.
#[derive(Debug, Default)]
pub struct Board {
    posted: RwLock<Posted>,
    ready: AtomicBool,
    routing: OnceLock<Arc<dyn Routing>>,
}

#[derive(Debug, Default)]
struct Posted {
    in_order: BTreeMap<u64, Arc<LoadBalancer>>,
    serials: BTreeMap<LoadBalancerId, u64>,
    used: bool,
}

impl Board {
    /// Every load-balancer in the order of creation; `None` if there has never been one, which the original's API tells apart from
    /// an empty list.
    #[must_use]
    pub fn list(&self) -> Option<Vec<Arc<LoadBalancer>>> {
        let posted = self.posted.read().unwrap_or_else(PoisonError::into_inner);
        posted.used.then(|| posted.in_order.values().cloned().collect())
    }

    /// The load-balancer of that name.
    #[must_use]
    pub fn get(&self, id: LoadBalancerId) -> Option<Arc<LoadBalancer>> {
        let posted = self.posted.read().unwrap_or_else(PoisonError::into_inner);
        posted.serials.get(&id).and_then(|serial| posted.in_order.get(serial)).cloned()
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

    /// Posts a load-balancer over whatever stood there under its id.
    pub fn post(&self, load_balancer: Arc<LoadBalancer>) {
        let mut posted = self.posted.write().unwrap_or_else(PoisonError::into_inner);
        posted.used = true;
        posted.serials.insert(load_balancer.id, load_balancer.serial);
        posted.in_order.insert(load_balancer.serial, load_balancer);
    }

    /// Takes a load-balancer down.
    pub fn remove(&self, id: LoadBalancerId) {
        let mut posted = self.posted.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(serial) = posted.serials.remove(&id) {
            posted.in_order.remove(&serial);
        }
    }

    /// Says that the kernel is as desired.
    pub fn post_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }
}

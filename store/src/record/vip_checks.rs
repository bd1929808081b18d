// SPDX-License-Identifier: Apache-2.0
//! What is written of checks that ask backends for a VIP.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};
use slb_core::model::{
    Backend, BackendId, CheckMarks, Invalid, LoadBalancer, Mark,
    check::{Address, Check, HealthCheck},
};
use uuid::Uuid;

/// Which checks they are, and the marks that they need or have needed.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct VipChecksV5 {
    /// The load-balancer's own.
    of_all: bool,
    /// Those that backends have instead, by the backend's id.
    of_backends: Vec<[u8; 16]>,
    /// By the backend's id.
    marks: Vec<([u8; 16], u32)>,
}

impl From<&LoadBalancer> for VipChecksV5 {
    fn from(load_balancer: &LoadBalancer) -> Self {
        let asks = |check: Option<&Arc<HealthCheck>>| check.is_some_and(|check| check.check.address == Address::Vip);
        let own = load_balancer.backends().iter().filter(|backend| asks(backend.check()));
        let marks = load_balancer.check_marks().all();
        Self {
            of_all: asks(load_balancer.check.as_ref()),
            of_backends: own.map(|backend| backend.id.0.into_bytes()).collect(),
            marks: marks.map(|(backend, mark)| (backend.0.into_bytes(), mark.get())).collect(),
        }
    }
}

impl VipChecksV5 {
    /// The load-balancer with them.
    pub(super) fn put_in(self, load_balancer: LoadBalancer) -> Result<LoadBalancer, Invalid> {
        let Self { of_all, of_backends, marks } = self;
        let check = if of_all { load_balancer.check.map(asking_for_vip) } else { load_balancer.check };
        let asked: BTreeSet<BackendId> = of_backends.into_iter().map(id).collect();
        let put = |backend: &Backend| match backend.check() {
            Some(check) if asked.contains(&backend.id) => {
                backend.clone().with_check(Some(asking_for_vip(Arc::clone(check))))
            }
            _ => backend.clone(),
        };
        let backends = match load_balancer.backends {
            Some(backends) if !asked.is_empty() => Some(backends.iter().map(put).collect()),
            other => other,
        };
        let marks = marks.into_iter().map(|(backend, mark)| Ok((id(backend), Mark::try_from(mark)?)));
        let check_marks = marks.collect::<Result<CheckMarks, Invalid>>()?;
        Ok(LoadBalancer { check, backends, ..load_balancer }.with_check_marks(check_marks))
    }
}

fn id(bytes: [u8; 16]) -> BackendId {
    BackendId(Uuid::from_bytes(bytes))
}

fn asking_for_vip(check: Arc<HealthCheck>) -> Arc<HealthCheck> {
    let HealthCheck { check, reaction } = &*check;
    let check = Check { address: Address::Vip, ..Check::clone(check) };
    Arc::new(HealthCheck { check: Arc::new(check), reaction: *reaction })
}

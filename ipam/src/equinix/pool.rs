// SPDX-License-Identifier: Apache-2.0
//! The pool: whoever asks waits for the provider, and nobody else does.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::IpAddr,
    sync::Arc,
};

use slb_core::{
    model::{Family, Vip},
    ports::{Pool, PoolError, Wanted},
};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{client::Client, desk::Desk, settings::Place};

/// A pool of elastic IPs, reserved when they are wanted.
///
/// An address that is asked for by name has to be one that the operator has reserved: it is used, and never released.
#[derive(Debug)]
pub struct Equinix {
    desk: Arc<Desk>,
    sweeper: Option<JoinHandle<()>>,
}

impl Equinix {
    /// A pool of a project's addresses at a place, for the one owner of this id on a device. Releases nothing before it knows what is held.
    #[must_use]
    pub fn new(client: Client, project: Uuid, place: Place, owner: Uuid, device: Uuid) -> Self {
        Self { desk: Arc::new(Desk::new(client, project, place, owner, device)), sweeper: None }
    }
}

impl Drop for Equinix {
    fn drop(&mut self) {
        if let Some(sweeper) = &self.sweeper {
            sweeper.abort();
        }
    }
}

impl Pool for Equinix {
    /// From now on, whatever the owner has reserved and does not hold is released. Within a tokio runtime.
    fn restore(&mut self, held: BTreeSet<Vip>, _: Vec<Vip>) {
        self.desk.open(held);
        self.sweeper = Some(tokio::spawn(Arc::clone(&self.desk).keep_clean()));
    }

    fn acquire(
        &mut self,
        wanted: Wanted,
        avoid: &BTreeMap<IpAddr, String>,
    ) -> impl Future<Output = Result<Vip, PoolError>> + Send + 'static {
        let desk = Arc::clone(&self.desk);
        let avoid = avoid.clone();
        async move {
            match wanted {
                Wanted::Vip(wanted) => desk.take(wanted, avoid).await,
                Wanted::Any | Wanted::Of(Family::Ipv4) => desk.reserve(avoid).await,
                Wanted::Of(family @ Family::Ipv6) => Err(PoolError::OtherFamily {
                    family,
                    pool: "of Equinix Metal, which is asked for IPv4 only".to_owned(),
                }),
            }
        }
    }

    fn trial(&self) -> Option<Self> {
        None
    }

    fn release(&mut self, vip: Vip) {
        self.desk.release(vip);
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Takes everything that slb owns out of the kernel and puts its settings back. The desired state stays in the store, so that
//! a later start brings it all back.

use std::{collections::BTreeMap, time::Instant};

use tracing::info;

use super::{Controller, World, converge::Failed};
use crate::{
    errors::Chain,
    model::LoadBalancerId,
    plan::Scope,
    ports::{Cause, Host, SettingChange, Store, Write},
};

impl<W: World> Controller<W> {
    /// Removes services, addresses and source NAT, then restores settings that still have the value that slb gave them. Goes on
    /// after a failure. To be called instead of running, not while running.
    ///
    /// # Errors
    /// One line for each thing that could not be taken away or restored.
    pub async fn clean_up(mut self, now: Instant) -> Result<(), Vec<String>> {
        if let Err(cause) = self.observe(now).await {
            return Err(vec![format!("could not read the state of the kernel: {}", Chain(&*cause))]);
        }
        let ids: Vec<LoadBalancerId> = self.state.load_balancers().map(|load_balancer| load_balancer.id).collect();
        for id in ids {
            drop(self.state.mark_deleting(id));
        }
        let failed: BTreeMap<_, Failed> = self.converge(&Scope::All, now).await;
        let mut left: Vec<String> = failed.into_values().map(|failed| failed.describe()).collect();
        for change in std::mem::take(&mut self.originals).into_values() {
            let name = change.name.clone();
            if let Err(cause) = self.restore_setting(change).await {
                left.push(format!("could not restore {name}: {}", Chain(&*cause)));
            }
        }
        if left.is_empty() { Ok(()) } else { Err(left) }
    }

    async fn restore_setting(&mut self, change: SettingChange) -> Result<(), Cause> {
        let SettingChange { name, from, to } = change;
        if self.drivers.host.get(&name).await? == to {
            self.drivers.host.set(&name, &from).await?;
            info!(setting = name, from = to, to = from, "restored");
        }
        self.drivers.store.commit(vec![Write::Restored(name)]).await
    }
}

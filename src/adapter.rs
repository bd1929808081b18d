// SPDX-License-Identifier: Apache-2.0
//! The adapter of the last run, if it was another one.

use slb_core::{
    model::Vip,
    ports::{Cause, Host, Snapshot, Store, Verdict, Write},
    step::HostStep,
};
use slb_host::Linux;
use slb_store::Redb;

use crate::run::Fatal;

/// A server that was started on another adapter before left its VIPs there: they are taken off before any is bound here.
///
/// # Errors
/// They cannot be taken off, or the adapter cannot be written down.
pub async fn change(store: &mut Redb, snapshot: &Snapshot, adapter: &str) -> Result<(), Fatal> {
    let before = match snapshot.adapter.as_deref() {
        Some(before) if before == adapter => return Ok(()),
        before => before,
    };
    if let Some(before) = before {
        let vips = snapshot.load_balancers.iter().flat_map(|load_balancer| load_balancer.vips);
        leave(before, vips).await.map_err(|cause| Fatal::Leave { adapter: before.to_owned(), cause })?;
    }
    store.commit(vec![Write::Adapter(adapter.to_owned())]).await.map_err(Fatal::Records)
}

async fn leave(adapter: &str, vips: impl Iterator<Item = Vip>) -> Result<(), Cause> {
    let mut host = Linux::new(adapter)?;
    let bound = host.observe().await?.bound;
    let steps: Vec<HostStep> = vips.filter(|vip| bound.contains(vip)).map(HostStep::Unbind).collect();
    for verdict in host.apply(&steps).await {
        match verdict {
            Verdict::Applied => {}
            Verdict::Retry(cause) | Verdict::Refused(cause) => return Err(cause),
        }
    }
    Ok(())
}

// SPDX-License-Identifier: Apache-2.0
//! What a server before this one has left on the host, and this one has no use for: VIPs on another adapter, and rules of IPVS.

use std::collections::BTreeSet;

use slb_core::{
    model::Vip,
    observed::HostView,
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
    apply(&mut host, vips.filter(|vip| bound.contains(vip)).map(HostStep::Unbind).collect()).await
}

/// Takes the source NAT and the marks of VIPs away, which nobody looks after where connections are relayed.
///
/// # Errors
/// The host cannot be read, or does not let them go.
pub async fn leave_rules(snapshot: &Snapshot, adapter: &str) -> Result<(), Cause> {
    let mut host = Linux::new(adapter)?;
    let HostView { source_nat, mut marks, .. } = host.observe().await?;
    let vips: BTreeSet<Vip> = snapshot.load_balancers.iter().flat_map(|load_balancer| load_balancer.vips).collect();
    let translated = vips.iter().filter(|vip| source_nat.contains_key(vip)).copied().map(HostStep::DisableSourceNat);
    let marked = vips.iter().filter_map(|vip| marks.remove(vip)).flatten().map(HostStep::Unmark);
    apply(&mut host, translated.chain(marked).collect()).await
}

async fn apply(host: &mut Linux, steps: Vec<HostStep>) -> Result<(), Cause> {
    for verdict in host.apply(&steps).await {
        match verdict {
            Verdict::Applied => {}
            Verdict::Retry(cause) | Verdict::Refused(cause) => return Err(cause),
        }
    }
    Ok(())
}

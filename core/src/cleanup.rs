// SPDX-License-Identifier: Apache-2.0
//! Takes everything that slb owns out of the kernel and puts the kernel's settings back. The load-balancers stay in the store:
//! a later start brings them all back.

use tracing::info;

use crate::{
    errors::Chain,
    model::Time,
    plan::{Observed, Scope, plan},
    ports::{Cause, Dataplane, Host, SettingChange, Settings, Snapshot, Store, Verdict, Write},
    state::State,
    step::{DataplaneStep, HostStep, Step},
};

/// What goes, goes at any time.
const WHENEVER: Time = Time::FIRST;

/// Removes services, addresses and source NAT, then restores the settings that still have the value that slb gave them. Goes on
/// after a failure. Without a data plane there are no services. Once nothing is left, the store says so: whoever starts next need not take
/// care of what was there. No server may be running on the same store.
///
/// # Errors
/// One line for each thing that could not be taken away or restored.
pub async fn clean_up(
    store: &mut impl Store,
    host: &mut impl Host,
    mut dataplane: Option<&mut impl Dataplane>,
    snapshot: Snapshot,
) -> Result<(), Vec<String>> {
    let mut state = State::restore(snapshot.load_balancers, snapshot.last_serial).map_err(|bad| vec![line(&bad)])?;
    let ids: Vec<_> = state.load_balancers().map(|load_balancer| load_balancer.id).collect();
    for id in ids {
        state.mark_deleting(id).map_err(|bad| vec![line(&bad)])?;
    }
    let read = |cause: Cause| vec![format!("could not read the state of the kernel: {}", Chain(&*cause))];
    let mut observed = Observed { host: host.observe().await.map_err(read)?, ..Observed::default() };
    if let Some(dataplane) = &mut dataplane {
        observed.services = dataplane.observe().await.map_err(read)?;
    }
    let mut left = Vec::new();
    for steps in plan(&state, &observed, &Scope::All, WHENEVER).into_values() {
        let (on_host, on_dataplane) = split(&steps);
        let mut verdicts = host.apply(&on_host).await;
        if let Some(dataplane) = &mut dataplane {
            verdicts.extend(dataplane.apply(&on_dataplane).await);
        }
        for (step, verdict) in steps.iter().zip(verdicts) {
            match verdict {
                Verdict::Applied => info!(%step, "done"),
                Verdict::Retry(cause) | Verdict::Refused(cause) => {
                    left.push(format!("could not {step}: {}", Chain(&*cause)));
                }
            }
        }
    }
    for change in snapshot.originals.into_values() {
        let name = change.name.clone();
        if let Err(cause) = restore(store, host, dataplane.as_deref_mut(), change).await {
            left.push(format!("could not restore {name}: {}", Chain(&*cause)));
        }
    }
    if left.is_empty()
        && let Err(cause) = store.commit(vec![Write::NoAdapter]).await
    {
        left.push(format!("could not write down that nothing is left: {}", Chain(&*cause)));
    }
    if left.is_empty() { Ok(()) } else { Err(left) }
}

/// The steps of one stage are all for one driver.
fn split(steps: &[Step]) -> (Vec<HostStep>, Vec<DataplaneStep>) {
    let (mut host, mut dataplane) = (Vec::new(), Vec::new());
    for step in steps {
        match *step {
            Step::Host(step) => host.push(step),
            Step::Dataplane(step) => dataplane.push(step),
            Step::Advert(_) => {}
        }
    }
    (host, dataplane)
}

async fn restore(
    store: &mut impl Store,
    host: &mut impl Host,
    dataplane: Option<&mut impl Dataplane>,
    change: SettingChange,
) -> Result<(), Cause> {
    put_back(host, &change).await?;
    if let Some(dataplane) = dataplane {
        put_back(dataplane, &change).await?;
    }
    store.commit(vec![Write::Restored(change.name)]).await
}

async fn put_back(driver: &mut impl Settings, SettingChange { name, from, to }: &SettingChange) -> Result<(), Cause> {
    if driver.get(name).await? == *to {
        driver.set(name, from).await?;
        info!(setting = name, from = to, to = from, "restored");
    }
    Ok(())
}

fn line(error: &(dyn std::error::Error + 'static)) -> String {
    Chain(error).to_string()
}

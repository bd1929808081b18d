// SPDX-License-Identifier: Apache-2.0
//! `slb cleanup`: takes everything that slb owns out of the kernel.

use std::path::Path;

use slb_core::{cleanup::clean_up, ports::Store};
use slb_dataplane::Ipvs;
use slb_host::Linux;
use slb_store::Redb;
use tracing::{error, info};

use crate::{
    alone::Alone,
    run::{Fatal, block_on},
};

/// Cleans up after the server that kept its state in the state directory.
///
/// # Errors
/// A server is still running, or something could not be taken away or restored.
pub fn all(state_dir: &Path) -> Result<(), Fatal> {
    if !Redb::is_in(state_dir).map_err(Fatal::Store)? {
        info!("nothing to clean up: slb has kept nothing in {}", state_dir.display());
        return Ok(());
    }
    let alone = Alone::claim();
    block_on(async {
        let mut store = match Redb::open(state_dir) {
            Ok(store) => store,
            Err(error) => return Err(alone.err().map_or(Fatal::Store(error), Fatal::NotAlone)),
        };
        let snapshot = store.load().await.map_err(Fatal::Records)?;
        let Some(adapter) = snapshot.adapter.clone() else {
            info!(
                "nothing to clean up: slb has changed nothing on this host, or it was cleaned up already; the load-balancers stay in {} \
                 for the next start, delete it to forget them",
                state_dir.display()
            );
            return Ok(());
        };
        // Only who changes this host must not meet a server that does.
        let _alone = alone.map_err(Fatal::NotAlone)?;
        let mut host = Linux::new(&adapter).map_err(Fatal::Host)?;
        let mut dataplane = match Ipvs::open().await {
            Ok(ipvs) => Some(ipvs),
            Err(slb_dataplane::Error::NoIpvs(_)) => None,
            Err(error) => return Err(Fatal::Ipvs(error)),
        };
        match clean_up(&mut store, &mut host, dataplane.as_mut(), snapshot).await {
            Ok(()) => {
                info!("clean: the load-balancers stay in {} for the next start", state_dir.display());
                Ok(())
            }
            Err(left) => {
                left.iter().for_each(|left| error!("{left}"));
                Err(Fatal::Cleanup(left.len()))
            }
        }
    })
}

// SPDX-License-Identifier: Apache-2.0
//! Keeps the daemon's table in line: connects, puts right what is not as it should be, passes changes on, and tries again.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use slb_core::{errors::Chain, routing::PeerStatus};
use tokio::{
    select,
    sync::mpsc::UnboundedReceiver,
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::{info, warn};

use super::{
    Daemon,
    board::{Board, established},
    client::{Client, Error},
    path::{Attributes, Change, Form, difference},
    status::status,
};

/// The pause before another try. A daemon that restarts is back within seconds, and its peers are without routes until then.
const PAUSE: Duration = Duration::from_secs(1);
/// The daemon is asked for its peers this often, which also tells whether it is still there.
const PEERS_INTERVAL: Duration = Duration::from_secs(10);
/// Its table is compared this often: somebody may have taken a route away.
const TABLE_INTERVAL: Duration = Duration::from_secs(60);

/// The task's state.
pub(super) struct Task {
    pub(super) daemon: Daemon,
    pub(super) form: Form,
    pub(super) attributes: Attributes,
    pub(super) board: Board,
    pub(super) began: SystemTime,
    pub(super) changes: UnboundedReceiver<Vec<Change>>,
}

impl Task {
    /// Runs until there is no handle any more.
    pub(super) async fn run(mut self) {
        loop {
            let Err(error) = self.serve().await else { return };
            let why = format!("GoBGP at {}: {}", self.daemon, Chain(&error));
            if self.board.complain(&why) {
                warn!("VIPs are not announced by {why}");
            }
            // The board has what is asked for meanwhile.
            let asked = async { while self.changes.recv().await.is_some() {} };
            select! {
                // Cancel-safe: time is all that passes.
                () = sleep(PAUSE) => {}
                // Cancel-safe: what was taken is on the board.
                () = asked => return,
            }
        }
    }

    /// Serves one connection for as long as it lasts. `Ok` if there is no handle any more.
    async fn serve(&mut self) -> Result<(), Error> {
        let mut client = Client::connect(self.daemon).await?;
        let mut events = client.events().await?;
        self.align(&mut client).await?;
        info!("announcing by GoBGP at {} (version {} of its API)", self.daemon, client.version());
        self.ask_for_peers(&mut client).await?;
        let [mut peers, mut table] = [PEERS_INTERVAL, TABLE_INTERVAL].map(|period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.reset();
            ticks
        });
        loop {
            select! {
                // Cancel-safe: a change is taken only if this arm runs.
                changed = self.changes.recv() => {
                    let Some(mut changes) = changed else { return Ok(()) };
                    while let Ok(more) = self.changes.try_recv() {
                        changes.extend(more);
                    }
                    client.write(&changes, &self.form).await?;
                }
                // Cancel-safe: an event that is not taken stays in the stream.
                event = events.message() => match event {
                    Ok(Some(_)) => self.ask_for_peers(&mut client).await?,
                    Ok(None) => return Err(Error::Gone),
                    Err(status) => return Err(Error::Call { doing: "stay connected", status }),
                },
                // Cancel-safe, both: ticks are kept by the interval.
                _ = peers.tick() => self.ask_for_peers(&mut client).await?,
                _ = table.tick() => self.align(&mut client).await?,
            }
        }
    }

    /// Gives the daemon what it lacks of the routes, and takes back what an earlier process left.
    async fn align(&mut self, client: &mut Client) -> Result<(), Error> {
        let is: BTreeMap<_, _> = client.own(&self.form).await?.into_iter().collect();
        // Changes that wait are on the board: told again after a newer one they would undo it for a moment.
        while self.changes.try_recv().is_ok() {}
        let changes = difference(&is, &self.board.routes().into_iter().collect());
        if changes.is_empty() {
            return Ok(());
        }
        client.write(&changes, &self.form).await?;
        // Not before: a daemon that refuses them is asked every second.
        info!(changes = changes.len(), "brought the table of GoBGP at {} in line", self.daemon);
        Ok(())
    }

    async fn ask_for_peers(&self, client: &mut Client) -> Result<(), Error> {
        let routes = self.board.routes().len();
        let peers = client.peers().await?;
        let status = |peer| status(peer, self.began, &self.attributes, routes);
        let mut peers: Vec<PeerStatus> = peers.into_iter().filter_map(status).collect();
        peers.sort_by_key(|status| status.peer.address);
        let is = established(&peers);
        let was = established(&self.board.note(peers));
        for address in is.difference(&was) {
            info!("Peer Up Key={address} State=BGP_FSM_ESTABLISHED");
        }
        for address in was.difference(&is) {
            warn!(peer = %address, "BGP peer down");
        }
        Ok(())
    }
}

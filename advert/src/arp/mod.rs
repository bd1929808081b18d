// SPDX-License-Identifier: Apache-2.0
//! Tells an Ethernet segment by ARP where a VIP lives (RFC 826, RFC 5227).
//!
//! The kernel answers requests for a VIP, since the VIP is bound to the adapter. What it does not do is done here: find out whether
//! an address is free, tell the neighbours when a VIP moved here, tell them again for those who missed it, and notice when
//! another host claims it.
//!
//! Reading order: `frame` (the codec) – `timing` (how often, how fast) – `machine` (who is told what and when; pure), with
//! `agenda` (what is due) and `pace` (bursts) – `filter` (what may wake the process) – `socket` (the packet socket; the one file with
//! `unsafe`) – `task` (joins them, and owns them).
//!
//! The adapter may be whatever carries Ethernet: a card, a VLAN, a bridge, a bond. An adapter that belongs to a bridge or bond is not
//! it: name the bridge or bond. It may go down and up, change its hardware address, or be removed and made anew under the same name:
//! the next [`AdvertStep::Advertise`] finds it again, and every frame carries the hardware address of its moment.
//!
//! Another adapter of this host on the same segment counts as another host, as it does for the neighbours: the settings `arp_ignore` and
//! `arp_announce` keep it from speaking for the VIP.
//!
//! At rest there is one timer per VIP, its refresh; with [`Timing::refresh_interval`] zero there is none.

mod agenda;
mod filter;
pub mod frame;
mod machine;
mod pace;
mod socket;
mod task;
pub mod timing;

use std::{future::Future, sync::Arc};

use slb_core::{
    events::Journal,
    model::Vip,
    ports::{Advertiser, Cause, Probe, Verdict},
    step::AdvertStep,
};
use tokio::sync::{
    mpsc::{self, UnboundedSender},
    oneshot,
};

pub use self::timing::Timing;
use self::{
    socket::PacketSocket,
    task::{Command, Task},
};
use crate::Error;

/// Advertises VIPs by ARP on one adapter. A task does the work; it ends when this is dropped.
#[derive(Debug)]
pub struct Arp {
    adapter: String,
    commands: UnboundedSender<Command>,
}

impl Arp {
    /// Opens a packet socket on the adapter, in the network namespace of the calling thread, and starts the task. Nothing is sent
    /// before there is something to say. Needs the capability `CAP_NET_RAW`.
    ///
    /// # Errors
    /// Each variant of [`Error`] but `NoLink` and `Ended`: the adapter may be down.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(adapter: &str, timing: Timing) -> Result<Self, Error> {
        let socket = PacketSocket::open(adapter)?;
        let (commands, received) = mpsc::unbounded_channel();
        tokio::spawn(Task::new(socket, timing).run(received));
        Ok(Self { adapter: adapter.to_owned(), commands })
    }

    /// Has it tell of conflicts from now on.
    pub fn tell(&self, journal: Arc<Journal>) {
        // A task that has ended has nothing to tell.
        let _ = self.commands.send(Command::Tell(journal));
    }
}

impl Advertiser for Arp {
    /// Takes 0.6 s if the address is free, as long as the first answer if it is not. An adapter without a link is an error: nobody
    /// could answer. Probes for the same address at the same time share one answer.
    fn probe(&self, vip: Vip) -> impl Future<Output = Result<Probe, Cause>> + Send + 'static {
        // Weak: a future that is kept does not keep the task.
        let commands = self.commands.downgrade();
        let ended = Error::Ended { adapter: self.adapter.clone() };
        async move {
            let (answer, answered) = oneshot::channel();
            // When the task has ended, the command is dropped and its answer with it.
            let _ = commands.upgrade().map(|commands| commands.send(Command::Probe { vip, answer }));
            Ok(answered.await.map_err(|_| ended)??)
        }
    }

    /// Answers when the first announcements are on their way; those of many VIPs are spread out. [`Verdict::Retry`] when the
    /// adapter is away or has no link. After a withdrawal was answered, nothing is sent for that VIP.
    async fn apply(&mut self, steps: &[AdvertStep]) -> Vec<Verdict> {
        let (answer, answered) = oneshot::channel();
        // As above.
        let _ = self.commands.send(Command::Apply { steps: steps.to_vec(), answer });
        let ended = || Error::Ended { adapter: self.adapter.clone() }.verdict();
        answered.await.unwrap_or_else(|_| steps.iter().map(|_| ended()).collect())
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Tells an Ethernet segment where a VIP lives: by ARP for IPv4 (RFC 826, RFC 5227), by neighbour discovery for IPv6 (RFC 4861, RFC
//! 4862).
//!
//! The kernel answers requests for a VIP, since the VIP is bound to the adapter. What it does not do is done here: find out whether
//! an address is free, tell the neighbours when a VIP moved here, tell them again for those who missed it, and notice when
//! another host claims it. The same is done for both families; what differs is in [`arp`](crate::arp) and [`ndp`](crate::ndp).
//!
//! Reading order: `protocol` (what is said) – `timing` (how often, how fast) – `machine` (who is told what and when; pure), with
//! `agenda` (what is due) and `pace` (bursts) – `socket` (the packet socket) – `task` (joins them, and owns them; one for each family).
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
mod announcer;
mod groups;
pub(crate) mod instruction;
mod mac;
mod machine;
mod pace;
mod protocol;
mod socket;
mod task;
pub mod timing;

use std::{collections::BTreeMap, future::Future, sync::Arc};

use slb_core::{
    events::Journal,
    model::{Family, Vip},
    ports::{Advertiser, Cause, Probe, Verdict},
    step::AdvertStep,
};

use self::announcer::Announcer;
pub(crate) use self::protocol::{Heard, Packet};
pub use self::{mac::Mac, protocol::Protocol, timing::Timing};
use crate::Error;

/// Advertises VIPs on one adapter.
#[derive(Debug)]
pub struct Segment {
    adapter: String,
    timing: Timing,
    announcers: BTreeMap<Family, Announcer>,
}

impl Segment {
    /// Opens a packet socket on the adapter, in the network namespace of the calling thread, and starts the task that speaks ARP. Nothing is
    /// sent before there is something to say. Needs the capability `CAP_NET_RAW`.
    ///
    /// # Errors
    /// Each variant of [`Error`] but `NoLink`, `Unspoken` and `Ended`: the adapter may be down.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(adapter: &str, timing: Timing) -> Result<Self, Error> {
        let segment = Self { adapter: adapter.to_owned(), timing, announcers: BTreeMap::new() };
        segment.with(Family::Ipv4)
    }

    /// The same for VIPs of IPv6, too, with a socket and a task of their own.
    ///
    /// # Errors
    /// As with [`open`](Self::open).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn with_ipv6(self) -> Result<Self, Error> {
        self.with(Family::Ipv6)
    }

    /// Has it tell of conflicts from now on.
    pub fn tell(&self, journal: &Arc<Journal>) {
        self.announcers.values().for_each(|announcer| announcer.tell(Arc::clone(journal)));
    }

    fn with(mut self, family: Family) -> Result<Self, Error> {
        let announcer = Announcer::open(&self.adapter, Protocol::of(family), self.timing.clone())?;
        self.announcers.insert(family, announcer);
        Ok(self)
    }

    fn unspoken(&self, family: Family) -> Error {
        Error::Unspoken { family, adapter: self.adapter.clone() }
    }
}

impl Advertiser for Segment {
    /// Takes 0.6 s if the address is free, as long as the first answer if it is not. An adapter without a link is an error: nobody
    /// could answer. Probes for the same address at the same time share one answer.
    fn probe(&self, vip: Vip) -> impl Future<Output = Result<Probe, Cause>> + Send + 'static {
        let found = self.announcers.get(&vip.family()).ok_or_else(|| self.unspoken(vip.family()));
        let probe = found.map(|announcer| announcer.probe(vip));
        async move { Ok(probe?.await?) }
    }

    /// Answers when the first announcements are on their way; those of many VIPs are spread out. [`Verdict::Retry`] when the
    /// adapter is away or has no link. After a withdrawal was answered, nothing is sent for that VIP.
    async fn apply(&mut self, steps: &[AdvertStep]) -> Vec<Verdict> {
        let mut verdicts: BTreeMap<Family, std::vec::IntoIter<Verdict>> = BTreeMap::new();
        for (family, announcer) in &self.announcers {
            let own: Vec<AdvertStep> = steps.iter().copied().filter(|step| step.vip().family() == *family).collect();
            if !own.is_empty() {
                verdicts.insert(*family, announcer.apply(own).await.into_iter());
            }
        }
        let mut verdict = |step: &AdvertStep| {
            let family = step.vip().family();
            verdicts.get_mut(&family).and_then(Iterator::next).unwrap_or_else(|| self.unspoken(family).verdict())
        };
        steps.iter().map(&mut verdict).collect()
    }
}

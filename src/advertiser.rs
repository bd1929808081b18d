// SPDX-License-Identifier: Apache-2.0
//! How this server tells the network of its VIPs: by ARP and neighbour discovery or by BGP, as the operator chose.

use std::{
    future::{Future, ready},
    sync::Arc,
};

use futures_util::future::Either;
use slb_advert::{
    Segment, Timing,
    bgp::{Bgp, Listener},
    gobgp::{Beginning, Gobgp},
};
use slb_core::{
    events::Journal,
    model::Vip,
    ports::{Advertiser, Cause, Probe, Verdict},
    routing::Routing,
    step::AdvertStep,
};

use crate::{config::Announce, run::Fatal};

/// The advertiser that was chosen.
pub enum Advert {
    /// To nobody.
    Nobody,
    /// On the segment of the adapter.
    Segment(Segment),
    /// To routers.
    Bgp(Bgp),
    /// To the routers of a GoBGP.
    Gobgp(Gobgp),
}

impl Advert {
    /// Opens what was chosen; BGP peers may connect to the listeners. Nobody is connected to yet: [`Begin`] does that.
    ///
    /// # Errors
    /// ARP is not to be had on the adapter, or the listeners are not.
    pub fn open(
        announce: &Announce,
        adapter: &str,
        has_ipv6: bool,
        listeners: Vec<Listener>,
    ) -> Result<(Self, Begin), Fatal> {
        Ok(match announce {
            Announce::Nobody => (Self::Nobody, Begin::Nobody),
            Announce::Arp { interval, probe_interval } => {
                let timing = Timing {
                    refresh_interval: interval.unwrap_or_default(),
                    probe_interval: *probe_interval,
                    ..Timing::default()
                };
                let segment = Segment::open(adapter, timing);
                let segment = if has_ipv6 { segment.and_then(Segment::with_ipv6) } else { segment };
                (Self::Segment(segment.map_err(Fatal::Segment)?), Begin::Nobody)
            }
            Announce::Bgp { speaker, peering } => {
                let bgp = Bgp::new(*speaker, peering.defaults.clone(), peering.aggregation);
                for listener in listeners {
                    bgp.listen(listener).map_err(Fatal::Bgp)?;
                }
                peering.peers.iter().for_each(|peer| bgp.add_peer(peer.clone()));
                (Self::Bgp(bgp.clone()), Begin::Bgp(bgp))
            }
            Announce::Gobgp { daemon, node, attributes, aggregation } => {
                let (gobgp, beginning) = Gobgp::new(*daemon, *node, attributes.clone(), *aggregation);
                (Self::Gobgp(gobgp.clone()), Begin::Gobgp(gobgp, beginning))
            }
        })
    }

    /// Has it tell of what the network does, from now on.
    pub fn tell(&self, journal: &Arc<Journal>) {
        let journal = Arc::clone(journal);
        match self {
            Self::Nobody => {}
            Self::Segment(segment) => segment.tell(&journal),
            Self::Bgp(bgp) => bgp.tell(journal),
            Self::Gobgp(gobgp) => gobgp.tell(journal),
        }
    }

    /// What announces routes, if anything does.
    pub fn routing(&self) -> Option<Arc<dyn Routing>> {
        match self {
            Self::Nobody | Self::Segment(_) => None,
            Self::Bgp(bgp) => Some(Arc::new(bgp.clone())),
            Self::Gobgp(gobgp) => Some(Arc::new(gobgp.clone())),
        }
    }
}

/// Who is to be connected to once the routes of a start have been applied.
pub enum Begin {
    /// Nobody.
    Nobody,
    /// Peers.
    Bgp(Bgp),
    /// A GoBGP.
    Gobgp(Gobgp, Beginning),
}

impl Begin {
    /// Connects.
    pub fn begin(self) {
        match self {
            Self::Nobody => {}
            Self::Bgp(bgp) => bgp.begin(),
            Self::Gobgp(gobgp, beginning) => gobgp.begin(beginning),
        }
    }
}

impl Advertiser for Advert {
    fn announces(&self) -> bool {
        !matches!(self, Self::Nobody)
    }

    fn probe(&self, vip: Vip) -> impl Future<Output = Result<Probe, Cause>> + Send + 'static {
        match self {
            Self::Nobody => Either::Left(Either::Left(ready(Ok(Probe::Free)))),
            Self::Segment(segment) => Either::Left(Either::Right(segment.probe(vip))),
            Self::Bgp(bgp) => Either::Right(Either::Left(bgp.probe(vip))),
            Self::Gobgp(gobgp) => Either::Right(Either::Right(gobgp.probe(vip))),
        }
    }

    async fn apply(&mut self, steps: &[AdvertStep]) -> Vec<Verdict> {
        match self {
            Self::Nobody => steps.iter().map(|_| Verdict::Applied).collect(),
            Self::Segment(segment) => segment.apply(steps).await,
            Self::Bgp(bgp) => bgp.apply(steps).await,
            Self::Gobgp(gobgp) => gobgp.apply(steps).await,
        }
    }
}

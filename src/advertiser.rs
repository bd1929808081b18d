// SPDX-License-Identifier: Apache-2.0
//! How this server tells the network of its VIPs: by ARP or by BGP, as the operator chose.

use std::future::Future;

use futures_util::future::Either;
use slb_advert::{
    Arp, Timing,
    bgp::{Bgp, Listener},
};
use slb_core::{
    model::Vip,
    ports::{Advertiser, Cause, Probe, Verdict},
    step::AdvertStep,
};

use crate::{config::Announce, run::Fatal};

/// The advertiser that was chosen.
pub enum Advert {
    /// On the segment of the adapter.
    Arp(Arp),
    /// To routers.
    Bgp(Bgp),
}

impl Advert {
    /// Opens what was chosen; BGP peers may connect to the listeners. Peers are not connected to yet: [`Bgp::begin`].
    ///
    /// # Errors
    /// ARP is not to be had on the adapter, or the listeners are not.
    pub fn open(announce: &Announce, adapter: &str, listeners: Vec<Listener>) -> Result<Self, Fatal> {
        Ok(match announce {
            Announce::Arp { interval, probe_interval } => {
                let timing = Timing {
                    refresh_interval: interval.unwrap_or_default(),
                    probe_interval: *probe_interval,
                    ..Timing::default()
                };
                Self::Arp(Arp::open(adapter, timing).map_err(Fatal::Arp)?)
            }
            Announce::Bgp { speaker, peers, defaults, aggregation, .. } => {
                let bgp = Bgp::new(*speaker, defaults.clone(), *aggregation);
                for listener in listeners {
                    bgp.listen(listener).map_err(Fatal::Bgp)?;
                }
                peers.iter().for_each(|peer| bgp.add_peer(peer.clone()));
                Self::Bgp(bgp)
            }
        })
    }

    /// A handle of the speaker, if there is one.
    pub fn bgp(&self) -> Option<Bgp> {
        match self {
            Self::Arp(_) => None,
            Self::Bgp(bgp) => Some(bgp.clone()),
        }
    }
}

impl Advertiser for Advert {
    fn probe(&self, vip: Vip) -> impl Future<Output = Result<Probe, Cause>> + Send + 'static {
        match self {
            Self::Arp(arp) => Either::Left(arp.probe(vip)),
            Self::Bgp(bgp) => Either::Right(bgp.probe(vip)),
        }
    }

    async fn apply(&mut self, steps: &[AdvertStep]) -> Vec<Verdict> {
        match self {
            Self::Arp(arp) => arp.apply(steps).await,
            Self::Bgp(bgp) => bgp.apply(steps).await,
        }
    }
}

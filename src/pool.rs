// SPDX-License-Identifier: Apache-2.0
//! Where this server's VIPs come from: ranges of the operator's, or a provider, which also knows who is to be told of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    future::Future,
    net::IpAddr,
};

use futures_util::future::Either;
use slb_advert::bgp::Speaker;
use slb_core::{
    model::{Family, Vip},
    peer::{Peer, PeerAddress, PeerSettings},
    ports::{self, PoolError, Wanted},
    uplink::Uplink,
};
use slb_ipam::{
    Ranges,
    equinix::{Client, Equinix, Timing, Which, locate},
};
use tracing::warn;
use uuid::Uuid;

use crate::{
    config::{Announce, Metal, Peering, Vips},
    run::Fatal,
};

/// What the machine is called.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// The pool that was chosen.
pub enum Pool {
    /// Of the operator's own networks.
    Ranges(Ranges),
    /// Of Equinix Metal.
    Equinix(Equinix),
}

/// What was chosen.
pub struct Opened {
    /// Where VIPs come from.
    pub pool: Pool,
    /// How the network learns of them.
    pub announce: Announce,
    /// What the provider says of this machine, if there is one.
    pub uplink: Option<Uplink>,
}

/// Opens what was chosen. What a provider hands out belongs to the `owner`. May wait for a provider for as long as it takes, unless it
/// has said what is needed at a start before.
///
/// # Errors
/// This machine does not know its name, or whom to trust.
pub async fn open(vips: Vips, owner: Uuid, last: Option<&Uplink>) -> Result<Opened, Fatal> {
    match vips {
        Vips::Own { ranges, announce } => Ok(Opened { pool: Pool::Ranges(ranges), announce, uplink: None }),
        Vips::Metal(metal) => open_metal(metal, owner, last).await,
    }
}

async fn open_metal(metal: Metal, owner: Uuid, last: Option<&Uplink>) -> Result<Opened, Fatal> {
    let Metal { api, token, project, place, device, peering } = metal;
    let which = match device {
        Some(id) => Which::Id(id),
        None => Which::Hostname(fs::read_to_string(HOSTNAME).map_err(Fatal::Hostname)?.trim().to_owned()),
    };
    if api.is_plain() {
        warn!("--metalApiUrl {api}: without TLS everybody on the way can read the token");
    }
    let client = Client::new(api, token, Timing::default()).map_err(Fatal::Metal)?;
    let uplink = locate(&client, project, &which, last).await;
    let pool = Pool::Equinix(Equinix::new(client, project, place, owner, uplink.device));
    Ok(Opened { pool, announce: announce(&uplink, peering), uplink: Some(uplink) })
}

/// What the operator says about a router counts more than what the provider does.
fn announce(uplink: &Uplink, peering: Peering) -> Announce {
    let Uplink { asn, address, peers, .. } = uplink;
    // The routers take sessions from this address alone.
    let own = PeerAddress::try_from(IpAddr::V4(*address)).ok();
    let told = |peer: &Peer| Peer { settings: PeerSettings { source: own, ..peer.settings.clone() }, ..peer.clone() };
    let all = peers.iter().map(told).chain(peering.peers).map(|peer| (peer.address, peer));
    let peers = all.collect::<BTreeMap<_, _>>().into_values().collect();
    Announce::Bgp { speaker: Speaker::new(asn.get(), *address), peering: Peering { peers, ..peering } }
}

impl Pool {
    /// Whether it may hand out addresses of IPv6.
    pub fn has_ipv6(&self) -> bool {
        match self {
            Self::Ranges(ranges) => ranges.has(Family::Ipv6),
            Self::Equinix(_) => false,
        }
    }
}

impl ports::Pool for Pool {
    fn restore(&mut self, held: BTreeSet<Vip>, released: Vec<Vip>) {
        match self {
            Self::Ranges(ranges) => ranges.restore(held, released),
            Self::Equinix(equinix) => equinix.restore(held, released),
        }
    }

    fn acquire(
        &mut self,
        wanted: Wanted,
        avoid: &BTreeMap<IpAddr, String>,
    ) -> impl Future<Output = Result<Vip, PoolError>> + Send + 'static {
        match self {
            Self::Ranges(ranges) => Either::Left(ranges.acquire(wanted, avoid)),
            Self::Equinix(equinix) => Either::Right(equinix.acquire(wanted, avoid)),
        }
    }

    fn trial(&self) -> Option<Self> {
        match self {
            Self::Ranges(ranges) => ranges.trial().map(Self::Ranges),
            Self::Equinix(equinix) => equinix.trial().map(Self::Equinix),
        }
    }

    fn release(&mut self, vip: Vip) {
        match self {
            Self::Ranges(ranges) => ranges.release(vip),
            Self::Equinix(equinix) => equinix.release(vip),
        }
    }
}

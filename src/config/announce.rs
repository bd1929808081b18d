// SPDX-License-Identifier: Apache-2.0
//! How the network learns of VIPs.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use slb_advert::{
    bgp::{PeerSettings, Speaker},
    gobgp::Daemon,
};

use super::{BadOption, duration::parse};
use crate::args::Given;

/// A switch or host that missed the first announcements learns of a VIP after this long at the latest.
const DEFAULT_ARP_INTERVAL: Duration = Duration::from_secs(60);
/// Three probes take 0.6 s; see `slb_advert::arp::timing` for why this is shorter than RFC 5227 has it.
const DEFAULT_ARP_PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// More often would be a flood.
const SHORTEST_ARP_INTERVAL: Duration = Duration::from_secs(1);
/// Hosts on a wired segment answer within about this time.
const SHORTEST_ARP_PROBE_INTERVAL: Duration = Duration::from_millis(1);

/// How the network learns of VIPs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announce {
    /// By gratuitous ARP, on the adapter's segment.
    Arp {
        /// How often a VIP is announced again; `None` for never.
        interval: Option<Duration>,
        /// The pause between probes.
        probe_interval: Duration,
    },
    /// By BGP, to routers.
    Bgp {
        /// Who slb is.
        speaker: Speaker,
        /// Who is told.
        peers: Vec<PeerSettings>,
    },
    /// By a GoBGP that runs already, to its peers.
    Gobgp {
        /// Where its API listens.
        daemon: Daemon,
        /// Tells the routes of this host from those of others that use the same daemon.
        node: Ipv4Addr,
    },
}

impl Announce {
    pub(super) fn from_given(given: &Given) -> Result<Self, BadOption> {
        match (given.arp.unwrap_or_default(), given.bgp.unwrap_or_default()) {
            (true, false) => Self::arp(given),
            (false, true) => match &given.gobgp {
                Some(daemon) => Self::gobgp(daemon, given),
                None => Self::bgp(given),
            },
            (true, true) => Err(BadOption("--arp and --bgp exclude each other: choose one".to_owned())),
            (false, false) => Err(BadOption("say how to announce VIPs: add --arp or --bgp".to_owned())),
        }
    }

    fn arp(given: &Given) -> Result<Self, BadOption> {
        let is_for_bgp = given.bgp_as.is_some() || given.bgp_router_id.is_some() || !given.bgp_peer.is_empty();
        if is_for_bgp || given.gobgp.is_some() {
            return Err(BadOption(
                "--bgpAs, --bgpRouterId, --bgpPeer and --gobgp go with --bgp, not with --arp".to_owned(),
            ));
        }
        Ok(Self::Arp {
            interval: match parse("arpInterval", given.arp_interval.clone())? {
                None => Some(DEFAULT_ARP_INTERVAL),
                Some(time) if time.is.is_zero() => None,
                Some(time) => Some(time.within(SHORTEST_ARP_INTERVAL)?),
            },
            probe_interval: parse("arpProbeInterval", given.arp_probe_interval.clone())?
                .map_or(Ok(DEFAULT_ARP_PROBE_INTERVAL), |time| time.within(SHORTEST_ARP_PROBE_INTERVAL))?,
        })
    }

    fn gobgp(daemon: &str, given: &Given) -> Result<Self, BadOption> {
        if given.bgp_as.is_some() || !given.bgp_peer.is_empty() {
            return Err(BadOption(
                "--bgpAs and --bgpPeer do not go with --gobgp: GoBGP has its own AS number and peers".to_owned(),
            ));
        }
        let daemon = daemon.parse().map_err(|error| BadOption(format!("--gobgp {daemon}: {error}")))?;
        Ok(Self::Gobgp { daemon, node: given.bgp_router_id.unwrap_or(Ipv4Addr::UNSPECIFIED) })
    }

    fn bgp(given: &Given) -> Result<Self, BadOption> {
        let asn = given.bgp_as.filter(|asn| *asn > 0);
        let asn = asn.ok_or_else(|| BadOption("--bgpAs is missing: the own AS number, like 65000".to_owned()))?;
        let router_id = given.bgp_router_id.filter(|id| !id.is_unspecified()).ok_or_else(|| {
            BadOption("--bgpRouterId is missing: an IPv4 address of this host, like 10.0.0.1".to_owned())
        })?;
        Ok(Self::Bgp { speaker: Speaker { asn, router_id }, peers: peers(given)? })
    }
}

/// The routers that are named one by one.
pub(super) fn peers(given: &Given) -> Result<Vec<PeerSettings>, BadOption> {
    let mut peers = BTreeMap::new();
    for text in &given.bgp_peer {
        // Not the text: there may be a password in it.
        let peer: PeerSettings = text.parse().map_err(|error| BadOption(format!("--bgpPeer: {error}")))?;
        let address = peer.address;
        if peers.insert(address, peer).is_some() {
            return Err(BadOption(format!("--bgpPeer: {address} is there twice")));
        }
    }
    Ok(peers.into_values().collect())
}

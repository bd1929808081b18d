// SPDX-License-Identifier: Apache-2.0
//! How the network learns of VIPs.

use std::{net::SocketAddr, time::Duration};

use slb_advert::bgp::Speaker;
use slb_core::{
    peer::{Peer, PeerSettings},
    prefix::PrefixLength,
};

use super::{BadOption, duration::parse, peers};
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
        /// How long the networks are as which VIPs are announced.
        aggregation: PrefixLength,
        /// Where peers may connect to.
        listen: Vec<SocketAddr>,
        /// Who is told.
        peers: Vec<Peer>,
        /// What is asked for of all of them, and of those that are added later.
        defaults: PeerSettings,
    },
}

impl Announce {
    pub(super) fn from_given(given: &Given) -> Result<Self, BadOption> {
        match (given.arp.unwrap_or_default(), given.bgp.unwrap_or_default()) {
            (true, false) => Self::arp(given),
            (false, true) => Self::bgp(given),
            (true, true) => Err(BadOption("--arp and --bgp exclude each other: choose one".to_owned())),
            (false, false) => Err(BadOption("say how to announce VIPs: add --arp or --bgp".to_owned())),
        }
    }

    fn arp(given: &Given) -> Result<Self, BadOption> {
        if let Some(option) = option_of_bgp(given) {
            return Err(BadOption(format!("--{option} goes with --bgp, not with --arp")));
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

    fn bgp(given: &Given) -> Result<Self, BadOption> {
        let asn = given.bgp_as.filter(|asn| *asn > 0);
        let asn = asn.ok_or_else(|| BadOption("--bgpAs is missing: the own AS number, like 65000".to_owned()))?;
        let router_id = given.bgp_router_id.filter(|id| !id.is_unspecified()).ok_or_else(|| {
            BadOption("--bgpRouterId is missing: an IPv4 address of this host, like 10.0.0.1".to_owned())
        })?;
        Ok(Self::Bgp {
            speaker: Speaker { asn, router_id },
            aggregation: given
                .bgp_aggregation
                .map_or(Ok(PrefixLength::HOST), PrefixLength::try_from)
                .map_err(|error| BadOption(format!("--bgpAggregation: {error}")))?,
            listen: peers::listen(given)?,
            peers: peers::peers(given)?,
            defaults: peers::settings(given)?,
        })
    }
}

/// An option that was given and means nothing without BGP.
fn option_of_bgp(given: &Given) -> Option<&'static str> {
    let options = [
        ("bgpAs", given.bgp_as.is_some()),
        ("bgpRouterId", given.bgp_router_id.is_some()),
        ("bgpPeer", !given.bgp_peer.is_empty()),
        ("bgpAggregation", given.bgp_aggregation.is_some()),
        ("bgpListen", !given.bgp_listen.is_empty()),
        ("bgpPassive", given.bgp_passive.is_some()),
        ("bgpHoldTime", given.bgp_hold_time.is_some()),
        ("bgpRestartTime", given.bgp_restart_time.is_some()),
        ("bgpSource", given.bgp_source.is_some()),
        ("bgpGtsm", given.bgp_gtsm.is_some()),
        ("bgpNextHop", given.bgp_next_hop.is_some()),
        ("bgpMed", given.bgp_med.is_some()),
        ("bgpLocalPref", given.bgp_local_pref.is_some()),
        ("bgpPrepend", given.bgp_prepend.is_some()),
        ("bgpCommunity", !given.bgp_community.is_empty()),
    ];
    options.into_iter().find(|(_, is_given)| *is_given).map(|(option, _)| option)
}

// SPDX-License-Identifier: Apache-2.0
//! How the network learns of VIPs.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use slb_advert::{
    bgp::Speaker,
    gobgp::{Attributes, Daemon},
};
use slb_core::{peer::NextHop, prefix::Aggregation};

use super::{
    BadOption,
    duration::parse,
    peers::{self, Peering},
};
use crate::args::Given;

/// A switch or host that missed the first announcements learns of a VIP after this long at the latest.
const DEFAULT_ARP_INTERVAL: Duration = Duration::from_secs(60);
/// Three probes take 0.6 s; see `slb_advert::segment::timing` for why this is shorter than RFC 5227 has it.
const DEFAULT_ARP_PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// More often would be a flood.
const SHORTEST_ARP_INTERVAL: Duration = Duration::from_secs(1);
/// Hosts on a wired segment answer within about this time.
const SHORTEST_ARP_PROBE_INTERVAL: Duration = Duration::from_millis(1);

/// How the network learns of VIPs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announce {
    /// Not at all: VIPs are the loopback adapter's.
    Nobody,
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
        /// Who is told, and how.
        peering: Peering,
    },
    /// By a GoBGP that runs already, to its peers.
    Gobgp {
        /// Where its API listens.
        daemon: Daemon,
        /// Tells the routes of this host from those of others that use the same daemon.
        node: Ipv4Addr,
        /// What goes with the routes.
        attributes: Attributes,
        /// How long the networks are as which VIPs are announced.
        aggregation: Aggregation,
    },
}

impl Announce {
    pub(super) fn from_given(given: &Given, is_loopback: bool) -> Result<Self, BadOption> {
        match (given.arp.unwrap_or_default(), given.bgp.unwrap_or_default()) {
            (true, false) => Self::arp(given),
            (false, true) => match &given.gobgp {
                Some(daemon) => Self::gobgp(daemon, given),
                None => Self::bgp(given),
            },
            (true, true) => Err(BadOption("--arp and --bgp exclude each other: choose one".to_owned())),
            (false, false) if is_loopback => Ok(Self::Nobody),
            (false, false) => Err(BadOption(
                "say how to announce VIPs: add --arp, to hosts on the adapter's network, or --bgp, to routers"
                    .to_owned(),
            )),
        }
    }

    fn arp(given: &Given) -> Result<Self, BadOption> {
        if let Some(option) = options_of_bgp(given).next() {
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

    fn gobgp(daemon: &str, given: &Given) -> Result<Self, BadOption> {
        let others = [
            "bgpRouterId",
            "bgpAggregation",
            "bgpAggregationIpv6",
            "bgpNextHop",
            "bgpNextHopIpv6",
            "bgpMed",
            "bgpLocalPref",
            "bgpCommunity",
            "gobgp",
        ];
        if let Some(option) = options_of_bgp(given).find(|option| !others.contains(option)) {
            return Err(BadOption(format!(
                "--{option} does not go with --gobgp: GoBGP has its own AS number and peers"
            )));
        }
        let next_hop = match given.bgp_next_hop {
            Some(IpAddr::V6(address)) => {
                return Err(BadOption(format!(
                    "--bgpNextHop {address}: through GoBGP it is an address of IPv4; see --bgpNextHopIpv6"
                )));
            }
            Some(IpAddr::V4(address)) => Some(address),
            None => None,
        };
        let settings = peers::settings(given)?;
        Ok(Self::Gobgp {
            daemon: daemon.parse().map_err(|error| BadOption(format!("--gobgp {daemon}: {error}")))?,
            node: given.bgp_router_id.unwrap_or(Ipv4Addr::UNSPECIFIED),
            attributes: Attributes {
                next_hop,
                next_hop_ipv6: next_hop_ipv6(given)?,
                med: settings.med,
                local_pref: settings.local_pref,
                communities: settings.communities.unwrap_or_default(),
            },
            aggregation: peers::aggregation(given)?,
        })
    }

    fn bgp(given: &Given) -> Result<Self, BadOption> {
        let asn = given.bgp_as.filter(|asn| *asn > 0);
        let asn = asn.ok_or_else(|| BadOption("--bgpAs is missing: the own AS number, like 65000".to_owned()))?;
        let router_id = given.bgp_router_id.filter(|id| !id.is_unspecified()).ok_or_else(|| {
            BadOption("--bgpRouterId is missing: an IPv4 address of this host, like 10.0.0.1".to_owned())
        })?;
        let speaker = Speaker { asn, router_id, next_hop_ipv6: next_hop_ipv6(given)? };
        Ok(Self::Bgp { speaker, peering: Peering::from_given(given)? })
    }
}

/// Where routers send packets to VIPs of IPv6.
pub(super) fn next_hop_ipv6(given: &Given) -> Result<Option<Ipv6Addr>, BadOption> {
    let next_hop = given.bgp_next_hop_ipv6.map(|address| NextHop::try_from(IpAddr::V6(address)).map(|_| address));
    next_hop.transpose().map_err(|error| BadOption(format!("--bgpNextHopIpv6: {error}")))
}

/// The options that were given and mean nothing without BGP.
fn options_of_bgp(given: &Given) -> impl Iterator<Item = &'static str> {
    let options = [
        ("bgpAs", given.bgp_as.is_some()),
        ("bgpRouterId", given.bgp_router_id.is_some()),
        ("bgpPeer", !given.bgp_peer.is_empty()),
        ("bgpAggregation", given.bgp_aggregation.is_some()),
        ("bgpAggregationIpv6", given.bgp_aggregation_ipv6.is_some()),
        ("bgpListen", !given.bgp_listen.is_empty()),
        ("bgpPassive", given.bgp_passive.is_some()),
        ("bgpHoldTime", given.bgp_hold_time.is_some()),
        ("bgpRestartTime", given.bgp_restart_time.is_some()),
        ("bgpSource", given.bgp_source.is_some()),
        ("bgpGtsm", given.bgp_gtsm.is_some()),
        ("bgpNextHop", given.bgp_next_hop.is_some()),
        ("bgpNextHopIpv6", given.bgp_next_hop_ipv6.is_some()),
        ("bgpMed", given.bgp_med.is_some()),
        ("bgpLocalPref", given.bgp_local_pref.is_some()),
        ("bgpPrepend", given.bgp_prepend.is_some()),
        ("bgpCommunity", !given.bgp_community.is_empty()),
        ("gobgp", given.gobgp.is_some()),
    ];
    options.into_iter().filter(|(_, is_given)| *is_given).map(|(option, _)| option)
}

// SPDX-License-Identifier: Apache-2.0
//! Which BGP peers there are from the start, and what is asked for of all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::{IpAddr, SocketAddr},
};

use slb_core::{
    model::Family,
    peer::{Communities, Community, HoldTime, NextHop, Peer, PeerAddress, PeerSettings, Prepend, RestartTime},
    prefix::Aggregation,
};

use super::{BadOption, duration::parse};
use crate::args::Given;

/// The port of BGP.
const PORT: u16 = 179;

/// Who is told of VIPs, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peering {
    /// How long the networks are as which VIPs are announced.
    pub aggregation: Aggregation,
    /// Where peers may connect to.
    pub listen: Vec<SocketAddr>,
    /// Who is told, by address.
    pub peers: Vec<Peer>,
    /// What is asked for of all of them, and of those that are added later.
    pub defaults: PeerSettings,
}

impl Peering {
    pub(super) fn from_given(given: &Given) -> Result<Self, BadOption> {
        Ok(Self {
            aggregation: aggregation(given)?,
            listen: listen(given)?,
            peers: peers(given)?,
            defaults: settings(given)?,
        })
    }
}

/// How long the networks are as which VIPs are announced.
pub(super) fn aggregation(given: &Given) -> Result<Aggregation, BadOption> {
    let with = |aggregation: Aggregation, family, length: Option<u8>, option| match length {
        Some(length) => aggregation.with(family, length).map_err(bad(option)),
        None => Ok(aggregation),
    };
    let ipv4 = with(Aggregation::NONE, Family::Ipv4, given.bgp_aggregation, "bgpAggregation")?;
    with(ipv4, Family::Ipv6, given.bgp_aggregation_ipv6, "bgpAggregationIpv6")
}

fn peers(given: &Given) -> Result<Vec<Peer>, BadOption> {
    let mut peers = BTreeMap::new();
    for text in &given.bgp_peer {
        // Not the text: there may be a password in it.
        let peer: Peer = text.parse().map_err(bad("bgpPeer"))?;
        let address = peer.address;
        if peers.insert(address, peer).is_some() {
            return Err(BadOption(format!("--bgpPeer: {address} is there twice")));
        }
    }
    Ok(peers.into_values().collect())
}

fn listen(given: &Given) -> Result<Vec<SocketAddr>, BadOption> {
    let parse = |text: &String| {
        let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let address = bracketed.unwrap_or(text).parse().map(|ip: IpAddr| SocketAddr::new(ip, PORT));
        let at = address.or_else(|_| text.parse::<SocketAddr>()).ok().filter(|at| at.port() > 0);
        at.ok_or_else(|| BadOption(format!("--bgpListen {text}: write IP or IP:PORT, like 10.0.0.1 or [fd00::1]:179")))
    };
    let all = given.bgp_listen.iter().map(parse).collect::<Result<BTreeSet<_>, _>>()?;
    if all.is_empty() && given.bgp_passive == Some(true) {
        return Err(BadOption(
            "--bgpPassive needs --bgpListen: somewhere for peers to connect to, like 0.0.0.0".to_owned(),
        ));
    }
    Ok(all.into_iter().collect())
}

/// What is asked for of all peers, unless of one itself.
pub(super) fn settings(given: &Given) -> Result<PeerSettings, BadOption> {
    let hold_time = parse("bgpHoldTime", given.bgp_hold_time.clone())?;
    let restart_time = parse("bgpRestartTime", given.bgp_restart_time.clone())?;
    let communities = given.bgp_community.iter().map(|text| text.parse::<Community>());
    let communities = communities.collect::<Result<Vec<_>, _>>().map_err(bad("bgpCommunity"))?;
    Ok(PeerSettings {
        port: None,
        passive: given.bgp_passive,
        source: optional("bgpSource", given.bgp_source, PeerAddress::try_from)?,
        hold_time: optional("bgpHoldTime", hold_time, |time| HoldTime::try_from(time.is))?,
        gtsm: given.bgp_gtsm,
        restart_time: optional("bgpRestartTime", restart_time, |time| RestartTime::try_from(time.is))?,
        next_hop: optional("bgpNextHop", given.bgp_next_hop, NextHop::try_from)?,
        med: given.bgp_med,
        local_pref: given.bgp_local_pref,
        prepend: optional("bgpPrepend", given.bgp_prepend, |count| Prepend::try_from(i64::from(count)))?,
        communities: Some(Communities::try_from_iter(communities).map_err(bad("bgpCommunity"))?),
    })
}

fn optional<T, U, E: Display>(
    option: &'static str,
    given: Option<T>,
    read: impl FnOnce(T) -> Result<U, E>,
) -> Result<Option<U>, BadOption> {
    given.map(read).transpose().map_err(bad(option))
}

fn bad<E: Display>(option: &'static str) -> impl Fn(E) -> BadOption {
    move |error| BadOption(format!("--{option}: {error}"))
}

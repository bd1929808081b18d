// SPDX-License-Identifier: Apache-2.0
//! What a peer looks like on the wire: as it is asked for, and as it is shown.

use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;
use slb_core::{
    peer::{NextHop, Peer, PeerAddress, PeerSettings},
    routing::{Agreed, Messages, PeerState, PeerStatus},
};

use crate::{
    fields::Fields,
    read::{
        asn, communities, flag, hold_time, next_hop, password, peer_address, port, prepend, restart_time, source, u32,
    },
    wire::FromFields,
};

/// What cannot be asked for.
const OBSERVED: [&str; 8] =
    ["state", "since", "timesEstablished", "connectionAttempts", "lastError", "routesAnnounced", "session", "messages"];

/// A peer as it is shown: how it is doing, then what was asked for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PeerView {
    address: IpAddr,
    r#as: u32,
    state: &'static str,
    since: String,
    times_established: u64,
    connection_attempts: u64,
    last_error: Option<String>,
    routes_announced: usize,
    session: Option<SessionView>,
    messages: TrafficView,
    port: u16,
    passive: bool,
    source: Option<IpAddr>,
    hold_time: String,
    gtsm: bool,
    restart_time: String,
    next_hop: Option<IpAddr>,
    med: Option<u32>,
    local_pref: u32,
    prepend: u8,
    communities: Vec<String>,
}

/// What was agreed upon.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionView {
    local_address: IpAddr,
    router_id: Ipv4Addr,
    hold_time: String,
    four_octet_as: bool,
    graceful_restart: bool,
    next_hop: Option<IpAddr>,
    next_hop_ipv6: Option<IpAddr>,
}

impl From<Agreed> for SessionView {
    fn from(agreed: Agreed) -> Self {
        Self {
            local_address: agreed.local_address,
            router_id: agreed.router_id,
            hold_time: seconds(agreed.hold_time.as_secs()),
            four_octet_as: agreed.four_octet_as,
            graceful_restart: agreed.graceful_restart,
            next_hop: agreed.next_hop,
            next_hop_ipv6: agreed.next_hop_ipv6,
        }
    }
}

#[derive(Serialize)]
struct TrafficView {
    sent: MessagesView,
    received: MessagesView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessagesView {
    open: u64,
    update: u64,
    notification: u64,
    keepalive: u64,
    route_refresh: u64,
}

impl From<Messages> for MessagesView {
    fn from(Messages { open, update, notification, keepalive, route_refresh }: Messages) -> Self {
        Self { open, update, notification, keepalive, route_refresh }
    }
}

impl From<PeerStatus> for PeerView {
    fn from(status: PeerStatus) -> Self {
        let PeerStatus { peer, state, since, times_established, connection_attempts, last_error, .. } = status;
        let settings = &peer.settings;
        Self {
            address: peer.address.address(),
            r#as: peer.asn.get(),
            state: match state {
                PeerState::Idle => "idle",
                PeerState::Connect => "connect",
                PeerState::Active => "active",
                PeerState::OpenSent => "openSent",
                PeerState::OpenConfirm => "openConfirm",
                PeerState::Established => "established",
            },
            since: humantime::format_rfc3339_seconds(since).to_string(),
            times_established,
            connection_attempts,
            last_error,
            routes_announced: status.routes_announced,
            session: status.session.map(SessionView::from),
            messages: TrafficView { sent: status.traffic.sent.into(), received: status.traffic.received.into() },
            port: settings.port(),
            passive: settings.passive(),
            source: settings.source.map(PeerAddress::address),
            hold_time: seconds(settings.hold_time().seconds()),
            gtsm: settings.gtsm(),
            restart_time: seconds(settings.restart_time().seconds()),
            next_hop: settings.next_hop.map(NextHop::address),
            med: settings.med,
            local_pref: settings.local_pref(),
            prepend: settings.prepend().get(),
            communities: settings.communities().map(|community| community.to_string()).collect(),
        }
    }
}

fn seconds(count: impl Into<u64>) -> String {
    format!("{}s", count.into())
}

impl FromFields for Peer {
    fn from_fields(mut fields: Fields<'_>) -> Option<Self> {
        let address = fields.required("address", peer_address);
        let asn = fields.required("as", asn);
        let password = fields.optional("password", password);
        let settings = PeerSettings {
            port: fields.optional("port", port),
            passive: fields.optional("passive", flag),
            source: fields.nullable("source", |node| source(node, address)),
            hold_time: fields.optional("holdTime", hold_time),
            gtsm: fields.optional("gtsm", flag),
            restart_time: fields.optional("restartTime", restart_time),
            next_hop: fields.nullable("nextHop", next_hop),
            med: fields.nullable("med", u32),
            local_pref: fields.optional("localPref", u32),
            prepend: fields.optional("prepend", prepend),
            communities: fields.optional("communities", communities),
        };
        for field in OBSERVED {
            fields.refuse(field, "is set by the server");
        }
        fields.finish();
        Some(Self { address: address?, asn: asn?, password, settings })
    }
}

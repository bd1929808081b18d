// SPDX-License-Identifier: Apache-2.0
//! What a peer looks like on the wire: as it is asked for, and as it is shown.

use std::net::IpAddr;

use serde::Serialize;
use slb_core::{
    peer::{NextHop, Peer, PeerAddress, PeerSettings},
    routing::{PeerState, PeerStatus},
};

use crate::{
    fields::Fields,
    read::{
        asn, communities, flag, hold_time, next_hop, password, peer_address, port, prepend, restart_time, source, u32,
    },
    wire::FromFields,
};

/// A peer as it is shown: how it is doing, then what was asked for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PeerView {
    address: IpAddr,
    r#as: u32,
    state: &'static str,
    since: String,
    times_established: u64,
    last_error: Option<String>,
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

impl From<PeerStatus> for PeerView {
    fn from(status: PeerStatus) -> Self {
        let PeerStatus { peer, state, since, times_established, last_error } = status;
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
            last_error,
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

fn seconds(count: u16) -> String {
    format!("{count}s")
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
        for field in ["state", "since", "timesEstablished", "lastError"] {
            fields.refuse(field, "is set by the server");
        }
        fields.finish();
        Some(Self { address: address?, asn: asn?, password, settings })
    }
}

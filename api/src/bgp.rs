// SPDX-License-Identifier: Apache-2.0
//! `/bgp/peers` and `/bgp/routes`: how routers are doing, and what they are told. Without BGP there are none.

use std::net::IpAddr;

use axum::{extract::State, response::Response};
use serde::Serialize;
use slb_core::routing::{PeerState, PeerStatus};

use crate::{Api, reply};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PeerView {
    address: IpAddr,
    r#as: u32,
    state: &'static str,
    since: String,
    times_established: u64,
    last_error: Option<String>,
}

impl From<PeerStatus> for PeerView {
    fn from(status: PeerStatus) -> Self {
        Self {
            address: status.address,
            r#as: status.asn,
            state: match status.state {
                PeerState::Idle => "idle",
                PeerState::Connect => "connect",
                PeerState::OpenSent => "openSent",
                PeerState::OpenConfirm => "openConfirm",
                PeerState::Established => "established",
            },
            since: humantime::format_rfc3339_seconds(status.since).to_string(),
            times_established: status.times_established,
            last_error: status.last_error,
        }
    }
}

#[derive(Serialize)]
struct RouteView {
    prefix: String,
}

/// How each peer is doing.
pub(crate) async fn peers(State(api): State<Api>) -> Response {
    let peers = api.board.routing().map(|routing| routing.peers()).unwrap_or_default();
    reply::ok(&peers.into_iter().map(PeerView::from).collect::<Vec<_>>())
}

/// What every peer is told.
pub(crate) async fn routes(State(api): State<Api>) -> Response {
    let vips = api.board.routing().map(|routing| routing.routes()).unwrap_or_default();
    reply::ok(&vips.into_iter().map(|vip| RouteView { prefix: format!("{vip}/32") }).collect::<Vec<_>>())
}

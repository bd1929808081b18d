// SPDX-License-Identifier: Apache-2.0
//! `/bgp/peers`, `/bgp/peers/{address}` and `/bgp/routes`: which routers are told, how they are doing, and what they are told. Without
//! BGP there are none.

use std::net::IpAddr;

use axum::{extract::State, response::Response};
use serde::Serialize;
use slb_core::{
    command::{Answer, PeerCommand, Rejected},
    peer::{Peer, PeerAddress},
    routing::{PeerState, PeerStatus},
};

use crate::{
    Api,
    extract::{PeerPath, Wish},
    fields::Fields,
    problem::{Kind, Problem},
    read::{asn, password, peer_address},
    reply,
    wire::FromFields,
};

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
pub(crate) async fn peers(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(reply::ok(&statuses(&api)?.into_iter().map(PeerView::from).collect::<Vec<_>>()))
}

/// One of them.
pub(crate) async fn peer(State(api): State<Api>, PeerPath(address): PeerPath) -> Result<Response, Problem> {
    Ok(reply::ok(&known(&api, address)?))
}

/// One more.
pub(crate) async fn add(State(api): State<Api>, Wish(wish): Wish<Peer>) -> Result<Response, Problem> {
    match api.mailbox.ask(PeerCommand::Add(wish)).await? {
        Answer::Peer(address) => Ok(reply::created(&format!("/bgp/peers/{address}"), &known(&api, address)?)),
        Answer::LoadBalancer(_) | Answer::Backend(_) | Answer::Gone => Err(reply::contradiction()),
    }
}

/// One less.
pub(crate) async fn remove(State(api): State<Api>, PeerPath(address): PeerPath) -> Result<Response, Problem> {
    match api.mailbox.ask(PeerCommand::Remove(address)).await? {
        Answer::Gone => Ok(reply::gone()),
        Answer::LoadBalancer(_) | Answer::Backend(_) | Answer::Peer(_) => Err(reply::contradiction()),
    }
}

fn statuses(api: &Api) -> Result<Vec<PeerStatus>, Problem> {
    let Some(routing) = api.board.routing() else { return Ok(Vec::new()) };
    routing.trouble().map_or_else(|| Ok(routing.peers()), |why| Err(Problem::new(Kind::DaemonAway, why)))
}

fn known(api: &Api, address: PeerAddress) -> Result<PeerView, Problem> {
    let found = statuses(api)?.into_iter().find(|peer| peer.address == address.address());
    found.map(PeerView::from).ok_or_else(|| Rejected::UnknownPeer(address).into())
}

impl FromFields for Peer {
    fn from_fields(mut fields: Fields<'_>) -> Option<Self> {
        let address = fields.required("address", peer_address);
        let asn = fields.required("as", asn);
        let password = fields.optional("password", password);
        for field in ["state", "since", "timesEstablished", "lastError"] {
            fields.refuse(field, "is set by the server");
        }
        fields.finish();
        Some(Self { address: address?, asn: asn?, password })
    }
}

/// What every peer is told.
pub(crate) async fn routes(State(api): State<Api>) -> Response {
    let vips = api.board.routing().map(|routing| routing.routes()).unwrap_or_default();
    reply::ok(&vips.into_iter().map(|vip| RouteView { prefix: format!("{vip}/32") }).collect::<Vec<_>>())
}

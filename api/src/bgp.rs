// SPDX-License-Identifier: Apache-2.0
//! `/bgp/peers`, `/bgp/peers/{address}` and `/bgp/routes`: which routers are told, how they are doing, and what they are told. Without
//! BGP there are none.

use std::time::SystemTime;

use axum::{extract::State, http::Uri, response::Response};
use serde::Serialize;
use slb_core::{
    command::{Answer, PeerCommand, Rejected, Terms},
    peer::{Peer, PeerAddress},
    routing::PeerStatus,
};

use crate::{
    Api,
    extract::{OnTerms, PeerPath, Wish},
    peer::PeerView,
    plan,
    problem::{Kind, Problem},
    query, reply,
};

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
pub(crate) async fn add(
    State(api): State<Api>,
    OnTerms(terms, Wish(wish)): OnTerms<Wish<Peer>>,
) -> Result<Response, Problem> {
    let answer = terms.ask(&api, PeerCommand::Add(wish)).await?;
    let Answer::Peer(added) = answer else { return plan::or_contradiction(answer) };
    let place = format!("/bgp/peers/{}", added.address);
    // Who asks again for one that is gone by now, or is another one, hears what it was.
    let is_added = |peer: &Peer| added.clone().or(&peer.settings) == Peer { password: None, ..peer.clone() };
    let status = statuses(&api)?.into_iter().find(|status| is_added(&status.peer));
    let status = status.unwrap_or_else(|| PeerStatus::new(added, SystemTime::now()));
    Ok(reply::created(&place, &PeerView::from(status)))
}

/// One less.
pub(crate) async fn remove(State(api): State<Api>, PeerPath(address): PeerPath, uri: Uri) -> Result<Response, Problem> {
    let terms = Terms { rehearse: query::rehearses(&uri)?, ..Terms::default() };
    let answer = api.mailbox.ask_on(terms, PeerCommand::Remove(address)).await?;
    let Answer::Gone = answer else { return plan::or_contradiction(answer) };
    Ok(reply::gone())
}

fn statuses(api: &Api) -> Result<Vec<PeerStatus>, Problem> {
    let Some(routing) = api.board.routing() else { return Ok(Vec::new()) };
    routing.trouble().map_or_else(|| Ok(routing.peers()), |why| Err(Problem::new(Kind::DaemonAway, why)))
}

fn known(api: &Api, address: PeerAddress) -> Result<PeerView, Problem> {
    let found = statuses(api)?.into_iter().find(|status| status.peer.address == address);
    found.map(PeerView::from).ok_or_else(|| Rejected::UnknownPeer(address).into())
}

/// What every peer is told.
pub(crate) async fn routes(State(api): State<Api>) -> Response {
    let prefixes = api.board.routing().map(|routing| routing.routes()).unwrap_or_default();
    reply::ok(&prefixes.into_iter().map(|prefix| RouteView { prefix: prefix.to_string() }).collect::<Vec<_>>())
}

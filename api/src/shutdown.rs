// SPDX-License-Identifier: Apache-2.0
//! `/bgp/shutdown`: asks all routers to prefer other ways, then ends the sessions; or takes that back. Nothing of it is durable, so it
//! goes to the speaker and not to the controller.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, http::Uri, response::Response};
use serde::Serialize;
use slb_core::{
    command::Rejected,
    routing::{Routing, Shutdown, ShutdownStatus, rehearsal},
};

use crate::{
    Api,
    extract::Wish,
    fields::Fields,
    plan,
    problem::Problem,
    query,
    read::{shutdown_time, words},
    reply,
    wire::FromFields,
};

/// Enough for routers of a site to find other ways.
const DEFAULT_TIME: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct ShutdownView {
    state: &'static str,
    ends: Option<String>,
    words: Option<String>,
}

impl From<Option<ShutdownStatus>> for ShutdownView {
    fn from(status: Option<ShutdownStatus>) -> Self {
        match status {
            None => Self { state: "off", ends: None, words: None },
            Some(ShutdownStatus { ends, is_down, words }) => Self {
                state: if is_down { "down" } else { "draining" },
                ends: Some(humantime::format_rfc3339_seconds(ends).to_string()),
                words: Some(words.as_str().to_owned()),
            },
        }
    }
}

impl FromFields for Shutdown {
    fn from_fields(mut fields: Fields<'_>) -> Option<Self> {
        let after = fields.optional("after", shutdown_time).unwrap_or(DEFAULT_TIME);
        let words = fields.optional("words", words).unwrap_or_default();
        for field in ["state", "ends"] {
            fields.refuse(field, "is set by the server");
        }
        fields.finish();
        Some(Self { after, words })
    }
}

/// Whether it was asked for, and how far it has come.
pub(crate) async fn show(State(api): State<Api>) -> Response {
    reply::ok(&ShutdownView::from(api.board.routing().and_then(|routing| routing.shutdown())))
}

/// Asks for it.
pub(crate) async fn ask(State(api): State<Api>, uri: Uri, Wish(shutdown): Wish<Shutdown>) -> Result<Response, Problem> {
    let rehearse = query::rehearses(&uri)?;
    let routing = speaker(&api)?;
    if rehearse {
        return Ok(plan::of_routes(rehearsal::shutting_down(&*routing, shutdown.after)));
    }
    routing.shut_down(shutdown);
    Ok(reply::ok(&ShutdownView::from(routing.shutdown())))
}

/// Takes it back.
pub(crate) async fn take_back(State(api): State<Api>, uri: Uri) -> Result<Response, Problem> {
    let rehearse = query::rehearses(&uri)?;
    let routing = speaker(&api)?;
    if rehearse {
        return Ok(plan::of_routes(rehearsal::coming_back(&*routing)));
    }
    routing.come_back();
    Ok(reply::gone())
}

fn speaker(api: &Api) -> Result<Arc<dyn Routing>, Problem> {
    let routing = api.board.routing().cloned().ok_or(Rejected::NoRouting)?;
    match routing.peers_belong_to() {
        Some(owner) => Err(Rejected::PeersElsewhere(owner).into()),
        None => Ok(routing),
    }
}

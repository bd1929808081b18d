// SPDX-License-Identifier: Apache-2.0
//! `/healthz`, `/readyz`, and what tells a visitor where to look: `/`, `/openapi.yaml`.

use axum::{extract::State, response::Response};
use serde::Serialize;

use crate::{
    Api, DataplaneName,
    problem::{Kind, Problem},
    reply,
};

/// The description of this API.
pub(crate) const OPENAPI: &str = include_str!("../../openapi.yaml");

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

#[derive(Serialize)]
struct Welcome {
    name: &'static str,
    version: &'static str,
    dataplane: DataplaneName,
    links: Links,
}

#[derive(Serialize)]
struct Links {
    loadbalancers: &'static str,
    statistics: &'static str,
    events: &'static str,
    health: &'static str,
    readiness: &'static str,
    description: &'static str,
}

/// The process serves requests.
pub(crate) async fn health() -> Response {
    reply::ok(&Status { status: "ok" })
}

/// The kernel has been brought to the desired state once since the start, and what the configuration file says was carried out or refused.
pub(crate) async fn readiness(State(api): State<Api>) -> Result<Response, Problem> {
    if !api.board.is_ready() {
        Err(Problem::new(Kind::NotReady, "the kernel is being brought to the desired state for the first time"))
    } else if api.board.file().is_some_and(|file| file.is_pending()) {
        Err(Problem::new(Kind::NotReady, "what the configuration file says is being carried out for the first time"))
    } else {
        Ok(reply::ok(&Status { status: "ready" }))
    }
}

/// What this is and where to go on.
pub(crate) async fn welcome(State(api): State<Api>) -> Response {
    reply::ok(&Welcome {
        name: "slb",
        version: env!("CARGO_PKG_VERSION"),
        dataplane: api.options.dataplane,
        links: Links {
            loadbalancers: "/loadbalancers",
            statistics: "/statistics",
            events: "/events",
            health: "/healthz",
            readiness: "/readyz",
            description: "/openapi.yaml",
        },
    })
}

/// The description of this API (RFC 9512 for the media type).
pub(crate) async fn description() -> Response {
    reply::typed("application/yaml", OPENAPI)
}

// SPDX-License-Identifier: Apache-2.0
//! `/loadbalancer/{uuid}/drain`, `…/undrain`, and the same of a backend.

use axum::{
    extract::State,
    http::{StatusCode, Uri},
    response::Response,
};
use slb_core::{
    command::{Answer, Command, DrainWish},
    model::{BackendId, LoadBalancerId, Then},
};

use crate::{
    Api,
    extract::{BackendPath, Bodiless, LoadBalancerPath},
    loadbalancers::{observer, seen},
    problem::Problem,
    query, reply,
    wire::{BackendView, LoadBalancerView},
};

/// No new connections to any backend; those that there are may finish.
pub(crate) async fn drain(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    uri: Uri,
    _: Bodiless,
) -> Result<Response, Problem> {
    let deadline = query::time(&uri, "deadline")?.flatten();
    begin(&api, id, None, DrainWish { deadline, then: Then::Stay }).await
}

/// New connections again.
pub(crate) async fn undrain(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    uri: Uri,
) -> Result<Response, Problem> {
    query::nothing(&uri)?;
    carry_out(&api, Command::Undrain(id, None), id).await
}

/// No new connections to a backend; those that there are may finish.
pub(crate) async fn drain_backend(
    State(api): State<Api>,
    BackendPath(id, backend): BackendPath,
    uri: Uri,
    _: Bodiless,
) -> Result<Response, Problem> {
    let deadline = query::time(&uri, "deadline")?.flatten();
    begin(&api, id, Some(backend), DrainWish { deadline, then: Then::Stay }).await
}

/// New connections to a backend again.
pub(crate) async fn undrain_backend(
    State(api): State<Api>,
    BackendPath(id, backend): BackendPath,
    uri: Uri,
) -> Result<Response, Problem> {
    query::nothing(&uri)?;
    carry_out(&api, Command::Undrain(id, Some(backend)), id).await
}

/// Begins a drain: 202, since it goes on after the answer.
pub(crate) async fn begin(
    api: &Api,
    id: LoadBalancerId,
    backend: Option<BackendId>,
    wish: DrainWish,
) -> Result<Response, Problem> {
    let mut response = carry_out(api, Command::Drain(id, backend, wish), id).await?;
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

async fn carry_out(api: &Api, command: Command, id: LoadBalancerId) -> Result<Response, Problem> {
    let answer = api.mailbox.ask(command).await?;
    let seen = seen(api, id).ok();
    let observer = seen.as_ref().map(|seen| observer(api, seen));
    match answer {
        Answer::LoadBalancer(load_balancer) => Ok(reply::ok(&LoadBalancerView::observed(&load_balancer, observer))),
        Answer::Backend(backend) => Ok(reply::ok(&BackendView::observed(&backend, observer))),
        Answer::Backends(_) | Answer::Peer(_) | Answer::Gone | Answer::Declared(..) => Err(reply::contradiction()),
    }
}

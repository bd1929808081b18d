// SPDX-License-Identifier: Apache-2.0
//! `/loadbalancer/{uuid}/drain`, `…/undrain`, and the same of a backend.

use axum::{extract::State, http::StatusCode, response::Response};
use slb_core::{
    command::{Answer, Command, DrainWish},
    model::{BackendId, LoadBalancerId, Then},
};

use crate::{
    Api,
    extract::{BackendPath, Bodiless, LoadBalancerPath},
    loadbalancers::{observer, seen},
    plan,
    problem::Problem,
    reply,
    terms::Terms,
    wire::{BackendView, LoadBalancerView},
};

/// No new connections to any backend; those that there are may finish.
pub(crate) async fn drain(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    terms: Terms,
    _: Bodiless,
) -> Result<Response, Problem> {
    let deadline = terms.time.flatten();
    begin(&api, terms, id, None, DrainWish { deadline, then: Then::Stay }).await
}

/// New connections again.
pub(crate) async fn undrain(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    terms: Terms,
) -> Result<Response, Problem> {
    carry_out(&api, terms, Command::Undrain(id, None), id).await
}

/// No new connections to a backend; those that there are may finish.
pub(crate) async fn drain_backend(
    State(api): State<Api>,
    BackendPath(id, backend): BackendPath,
    terms: Terms,
    _: Bodiless,
) -> Result<Response, Problem> {
    let deadline = terms.time.flatten();
    begin(&api, terms, id, Some(backend), DrainWish { deadline, then: Then::Stay }).await
}

/// New connections to a backend again.
pub(crate) async fn undrain_backend(
    State(api): State<Api>,
    BackendPath(id, backend): BackendPath,
    terms: Terms,
) -> Result<Response, Problem> {
    carry_out(&api, terms, Command::Undrain(id, Some(backend)), id).await
}

/// Begins a drain: 202, since it goes on after the answer.
pub(crate) async fn begin(
    api: &Api,
    terms: Terms,
    id: LoadBalancerId,
    backend: Option<BackendId>,
    wish: DrainWish,
) -> Result<Response, Problem> {
    let begins = !terms.rehearses();
    let mut response = carry_out(api, terms, Command::Drain(id, backend, wish), id).await?;
    if begins {
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    Ok(response)
}

async fn carry_out(api: &Api, terms: Terms, command: Command, id: LoadBalancerId) -> Result<Response, Problem> {
    let answer = terms.ask(api, command).await?;
    let seen = seen(api, id).ok();
    let observer = seen.as_ref().map(|seen| observer(api, seen));
    match answer {
        Answer::LoadBalancer(load_balancer) => Ok(reply::ok(&LoadBalancerView::observed(&load_balancer, observer))),
        Answer::Backend(backend) => Ok(reply::ok(&BackendView::observed(&backend, observer))),
        other
        @ (Answer::Backends(_) | Answer::Peer(_) | Answer::Gone | Answer::Declared(..) | Answer::Rehearsed(_)) => {
            plan::or_contradiction(other)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What a change would do, as it is shown.

use std::net::IpAddr;

use axum::response::Response;
use serde::Serialize;
use slb_core::{
    command::Answer,
    model::Vip,
    plan::Stage,
    rehearsal::Rehearsed,
    routing::rehearsal::{RouteStep, Told},
    step::Step,
};

use crate::{problem::Problem, reply};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlanView {
    dry_run: bool,
    created: usize,
    changed: usize,
    deleted: usize,
    /// They may be others in earnest.
    tentative: Vec<Vip>,
    steps: Vec<StepView>,
}

#[derive(Serialize)]
struct StepView {
    stage: &'static str,
    eip: IpAddr,
    step: String,
}

impl From<Rehearsed> for PlanView {
    fn from(Rehearsed { steps, routes, tally, tentative }: Rehearsed) -> Self {
        Self {
            dry_run: true,
            created: tally.created,
            changed: tally.changed,
            deleted: tally.removed,
            tentative: tentative.into_iter().collect(),
            steps: steps.iter().map(StepView::from).chain(routes.iter().map(StepView::from)).collect(),
        }
    }
}

impl From<&Step> for StepView {
    fn from(step: &Step) -> Self {
        Self { stage: name(step.stage()), eip: step.vip().address(), step: step.to_string() }
    }
}

impl From<&RouteStep> for StepView {
    fn from(step: &RouteStep) -> Self {
        let stage = match step.told {
            Told::Advertise | Told::GracefulShutdown => Stage::Advertise,
            Told::Withdraw(_) => Stage::Withdraw,
        };
        Self { stage: name(stage), eip: step.route.first(), step: step.to_string() }
    }
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Withdraw => "withdraw",
        Stage::Unbind => "unbind",
        Stage::RemoveService => "removeService",
        Stage::EnableSourceNat | Stage::Prepare => "enableSourceNat",
        Stage::Program => "program",
        Stage::Prune => "prune",
        Stage::Mark => "mark",
        Stage::Bind => "bind",
        Stage::Advertise => "advertise",
        Stage::DisableSourceNat => "disableSourceNat",
    }
}

/// What routers would be told.
pub(crate) fn of_routes(routes: Vec<RouteStep>) -> Response {
    reply::ok(&PlanView::from(Rehearsed { routes, ..Rehearsed::default() }))
}

/// Any answer but the one that is the question's own: the plan, or a contradiction.
pub(crate) fn or_contradiction(answer: Answer) -> Result<Response, Problem> {
    match answer {
        Answer::Rehearsed(rehearsed) => Ok(reply::ok(&PlanView::from(rehearsed))),
        Answer::LoadBalancer(_)
        | Answer::Backend(_)
        | Answer::Backends(_)
        | Answer::Peer(_)
        | Answer::Declared(..)
        | Answer::Gone => Err(reply::contradiction()),
    }
}

// SPDX-License-Identifier: Apache-2.0
//! `/loadbalancer`, `/loadbalancers`, `/loadbalancer/{uuid}`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, http::HeaderMap, response::Response};
use slb_core::{
    board::Seen,
    command::{Answer, Command, DrainWish, Failure, LoadBalancerChange, NewLoadBalancer, Rejected},
    model::{Backend, Invalid, LoadBalancer, LoadBalancerId, Phase, Target, Then, check::HealthCheck},
    tag::Tag,
};

use crate::{
    Api,
    backends::wanted,
    drain,
    expected::{self, tagged},
    extract::{LoadBalancerPath, OnTerms, Wish},
    observed::Observer,
    pieces::{self, Pieces},
    plan,
    problem::{Kind, Members, Problem},
    reply,
    terms::Terms,
    wire::{BackendEdit, LoadBalancerEdit, LoadBalancerView, LoadBalancerWish, Partial, Whole},
};

/// All, in the order they were created; null before the first was ever created.
pub(crate) async fn list(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    let tag = api.board.tag();
    expected::show(&headers, tag, || match api.board.list() {
        Some(all) => {
            let write = move |piece: &mut Vec<u8>, seen: Seen| {
                pieces::write(piece, &LoadBalancerView::observed(&seen.load_balancer, Some(observer(&api, &seen))));
            };
            reply::typed("application/json", Pieces::of(all.into_iter(), write).into_body())
        }
        None => reply::ok(&()),
    })
}

/// One of them.
pub(crate) async fn show(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let seen = seen(&api, id)?;
    let shown = || reply::ok(&LoadBalancerView::observed(&seen.load_balancer, Some(observer(&api, &seen))));
    expected::show(&headers, Some(Tag::of(&seen.load_balancer)), shown)
}

/// A new one, with the backends it starts with.
pub(crate) async fn create(
    State(api): State<Api>,
    OnTerms(terms, Wish(wish)): OnTerms<Wish<LoadBalancerWish>>,
) -> Result<Response, Problem> {
    let targets: Vec<Target> = wish.backends.iter().map(|backend| backend.target).collect();
    let fallback = wish.fallback.map(|fallback| fallback.target);
    let new = asked(&api, "#", wish)?;
    let answer = ask(&api, terms, Command::Create(new), fallback, &targets).await?;
    let Answer::LoadBalancer(load_balancer) = answer else { return plan::or_contradiction(answer) };
    let place = format!("/loadbalancer/{}", load_balancer.id);
    let seen = seen(&api, load_balancer.id).ok();
    let observer = seen.as_ref().map(|seen| observer(&api, seen));
    let created = reply::created(&place, &LoadBalancerView::observed(&load_balancer, observer));
    Ok(tagged(created, Tag::of(&load_balancer)))
}

/// The whole object as it was shown, with what can be changed changed.
pub(crate) async fn replace(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    terms: Terms,
    Wish(Whole(edit)): Wish<Whole<LoadBalancerEdit>>,
) -> Result<Response, Problem> {
    change(&api, id, terms, edit).await
}

/// Part of the object.
pub(crate) async fn update(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    terms: Terms,
    Wish(Partial(edit)): Wish<Partial<LoadBalancerEdit>>,
) -> Result<Response, Problem> {
    change(&api, id, terms, edit).await
}

/// Stops balancing and gives the address back; after a drain if `?drain` is said.
pub(crate) async fn delete(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    terms: Terms,
) -> Result<Response, Problem> {
    if let Some(deadline) = terms.time {
        return drain::begin(&api, terms, id, None, DrainWish { deadline, then: Then::Delete }).await;
    }
    let answer = terms.ask(&api, Command::Delete(id)).await?;
    let Answer::Gone = answer else { return plan::or_contradiction(answer) };
    Ok(reply::gone())
}

/// The load-balancer that is asked for at this pointer of the body.
pub(crate) fn asked(api: &Api, at: &str, wish: LoadBalancerWish) -> Result<NewLoadBalancer, Problem> {
    let targets: Vec<Target> = wish.backends.iter().map(|backend| backend.target).collect();
    check_distinct(&format!("{at}/backends"), &targets)?;
    let backends = wanted(api, &wish.backends)?;
    check_commands(api, &wish.check)?;
    Ok(wish.into_new(backends))
}

/// The load-balancer as readers see it.
pub(crate) fn known(api: &Api, id: LoadBalancerId) -> Result<Arc<LoadBalancer>, Problem> {
    seen(api, id).map(|seen| seen.load_balancer)
}

/// The same with how it is doing.
pub(crate) fn seen(api: &Api, id: LoadBalancerId) -> Result<Seen, Problem> {
    api.board.look(id).ok_or_else(|| Rejected::UnknownLoadBalancer(id).into())
}

/// What is known of it, to be shown with it.
pub(crate) fn observer<'a>(api: &'a Api, seen: &'a Seen) -> Observer<'a> {
    Observer { seen, reports: api.board.reports() }
}

/// A command is run only where that is allowed.
pub(crate) fn check_commands<'a>(
    api: &Api,
    checks: impl IntoIterator<Item = &'a Arc<HealthCheck>>,
) -> Result<(), Problem> {
    if !api.options.commands && checks.into_iter().any(|check| check.runs_a_command()) {
        let detail =
            "healthCheck of the type exec runs a command on this host; start the server with --allowExecChecks";
        return Err(Problem::with(
            Kind::CommandsOff,
            detail,
            Members { field: Some("healthCheck"), ..Members::default() },
        ));
    }
    Ok(())
}

async fn change(api: &Api, id: LoadBalancerId, terms: Terms, edit: LoadBalancerEdit) -> Result<Response, Problem> {
    check_repeated(&*known(api, id)?, &edit)?;
    check_commands(api, edit.check.iter().flatten())?;
    let fallback = edit.fallback.flatten().map(|fallback| fallback.target);
    let change = LoadBalancerChange {
        name: edit.name,
        advertise: edit.advertise,
        source_nat: edit.source_nat,
        service: edit.service,
        check: edit.check,
        fallback: edit.fallback,
        vip: edit.eip,
        vips: edit.eips,
        port: edit.port,
        ports: edit.ports,
        protocol: edit.protocol,
    };
    let answer = ask(api, terms, Command::Update(id, change), fallback, &[]).await?;
    let Answer::LoadBalancer(load_balancer) = answer else { return plan::or_contradiction(answer) };
    let seen = seen(api, id).ok();
    let observer = seen.as_ref().map(|seen| observer(api, seen));
    let changed = reply::ok(&LoadBalancerView::observed(&load_balancer, observer));
    Ok(tagged(changed, Tag::of(&load_balancer)))
}

/// What no command changes must be what it is. Backends have paths of their own.
fn check_repeated(is: &LoadBalancer, edit: &LoadBalancerEdit) -> Result<(), Problem> {
    if is.phase == Phase::Deleting {
        return Err(Rejected::Deleting(is.id).into());
    }
    if edit.uuid.is_some_and(|uuid| uuid != is.id.0) {
        return Err(Problem::fixed("uuid", format!("uuid is {} for as long as the load-balancer exists", is.id)));
    }
    if edit.status.is_some_and(|status| status != is.phase) {
        return Err(Problem::fixed("status", "status is set by the server; to delete the load-balancer, use DELETE"));
    }
    if edit.backends.as_deref().is_some_and(|backends| !repeat(backends, is.backends())) {
        let detail = format!(
            "backends differ from the {} that are there; add, change and delete them at /loadbalancer/{}/backend",
            is.backends().len(),
            is.id
        );
        return Err(Problem::fixed("backends", detail));
    }
    Ok(())
}

fn repeat(edits: &[BackendEdit], backends: &[Backend]) -> bool {
    edits.len() == backends.len() && edits.iter().zip(backends).all(|(edit, backend)| edit.repeats(backend))
}

/// The same backend twice in the list at this pointer.
pub(crate) fn check_distinct(at: &str, targets: &[Target]) -> Result<(), Problem> {
    let mut seen = BTreeMap::new();
    for (index, target) in targets.iter().enumerate() {
        if let Some(first) = seen.insert(target, index) {
            let detail = format!("{at}/{first} and {at}/{index} are both {target}");
            return Err(Problem::new(Kind::BackendExists, detail));
        }
    }
    Ok(())
}

/// Knows that the backends were at this pointer of the body.
pub(crate) fn blamed(at: &str, failure: Failure, targets: &[Target]) -> Problem {
    if let Failure::Rejected(rejected @ Rejected::BackendIsVip(culprit)) = &failure
        && let Some(index) = targets.iter().position(|target| target == culprit)
    {
        return Problem::invalid_at(&format!("{at}/{index}/ip"), &Invalid(rejected.to_string()));
    }
    failure.into()
}

/// Knows that this was the fallback in the body, and of no backend there.
fn blamed_on_fallback(rejected: &Rejected, fallback: Target) -> Option<Problem> {
    let detail = rejected.to_string();
    if let Rejected::BackendIsVip(culprit) = rejected
        && *culprit == fallback
    {
        return Some(Problem::invalid_at("#/fallback/ip", &Invalid(detail)));
    }
    if let Rejected::Unfit { target, .. } = rejected
        && *target == fallback
    {
        return Some(Problem::with(
            Kind::BackendUnfit,
            detail,
            Members { field: Some("fallback"), ..Members::default() },
        ));
    }
    None
}

/// Asks for what may name a fallback beside those backends.
async fn ask(
    api: &Api,
    terms: Terms,
    command: Command,
    fallback: Option<Target>,
    backends: &[Target],
) -> Result<Answer, Problem> {
    let failure = match terms.ask(api, command).await {
        Ok(answer) => return Ok(answer),
        Err(failure) => failure,
    };
    if let Failure::Rejected(rejected) = &failure
        && let Some(fallback) = fallback.filter(|fallback| !backends.contains(fallback))
        && let Some(problem) = blamed_on_fallback(rejected, fallback)
    {
        return Err(problem);
    }
    Err(blamed("#/backends", failure, backends))
}

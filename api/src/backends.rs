// SPDX-License-Identifier: Apache-2.0
//! `/loadbalancer/{uuid}/backend` and `/loadbalancer/{uuid}/backend/{backenduuid}`.

use axum::{extract::State, http::HeaderMap, response::Response};
use slb_core::{
    command::{Answer, Command, DrainWish, Rejected},
    model::{Backend, Invalid, Target, Then},
    tag::Tag,
};

use crate::{
    Api, drain,
    expected::{self, tagged},
    extract::{BackendPath, LoadBalancerPath, OnTerms, OneOrMore, Wish, Wishes},
    loadbalancers::{blamed, check_commands, check_distinct, known, observer, seen},
    plan,
    problem::Problem,
    reply,
    terms::Terms,
    wire::{BackendEdit, BackendView, BackendWish, BackendsView, ListedBackend, Partial, Whole},
};

/// All backends of a load-balancer, in the order they were added.
pub(crate) async fn list(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let seen = seen(&api, id)?;
    let shown = || reply::ok(&BackendsView(Some(seen.load_balancer.backends()), Some(observer(&api, &seen))));
    expected::show(&headers, Some(Tag::of_backends(&seen.load_balancer)), shown)
}

/// One of them.
pub(crate) async fn show(
    State(api): State<Api>,
    BackendPath(id, backend): BackendPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let seen = seen(&api, id)?;
    let found = seen.load_balancer.backend(backend).ok_or(Rejected::UnknownBackend { load_balancer: id, backend })?;
    let shown = || reply::ok(&BackendView::observed(found, Some(observer(&api, &seen))));
    expected::show(&headers, Some(Tag::of_backend(found)), shown)
}

/// One more, or a list of them: all or none.
pub(crate) async fn add(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    OnTerms(terms, wishes): OnTerms<OneOrMore<BackendWish>>,
) -> Result<Response, Problem> {
    let (wishes, alone) = match wishes {
        OneOrMore::One(wish) => (vec![wish], true),
        OneOrMore::More(wishes) => (wishes, false),
    };
    let targets: Vec<Target> = wishes.iter().map(|wish| wish.target).collect();
    check_distinct("#", &targets)?;
    let backends = wanted(&api, &wishes)?;
    let answer = terms.ask(&api, Command::AddBackends(id, backends)).await;
    let answer = answer.map_err(|failure| if alone { failure.into() } else { blamed("#", failure, &targets) })?;
    let Answer::Backends(added) = answer else { return plan::or_contradiction(answer) };
    let place = format!("/loadbalancer/{id}/backend");
    let seen = seen(&api, id).ok();
    let observer = seen.as_ref().map(|seen| observer(&api, seen));
    Ok(match added.as_slice() {
        [backend] if alone => {
            reply::created(&format!("{place}/{}", backend.id), &BackendView::observed(backend, observer))
        }
        all => reply::created(&place, &BackendsView(Some(all), observer)),
    })
}

/// These and no others. One that was there at the same address and port stays, with its id and its connections.
pub(crate) async fn replace_all(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    terms: Terms,
    Wishes(listed): Wishes<ListedBackend>,
) -> Result<Response, Problem> {
    let before = known(&api, id)?;
    let targets: Vec<Target> = listed.iter().map(|each| each.wish.target).collect();
    check_distinct("#", &targets)?;
    for (index, ListedBackend { uuid, wish }) in listed.iter().enumerate() {
        let there = before.backends().iter().find(|backend| backend.target == wish.target);
        if uuid.is_some_and(|uuid| there.is_none_or(|backend| backend.id.0 != uuid)) {
            let why = format!("is not that of the backend {}; leave it out for a new one", wish.target);
            return Err(Problem::invalid_at(&format!("#/{index}/uuid"), &Invalid(why)));
        }
    }
    let backends = wanted(&api, listed.iter().map(|each| &each.wish))?;
    let answer = terms.ask(&api, Command::ReplaceBackends(id, backends)).await;
    let answer = answer.map_err(|failure| blamed("#", failure, &targets))?;
    let Answer::LoadBalancer(after) = answer else { return plan::or_contradiction(answer) };
    let seen = seen(&api, id).ok();
    let observer = seen.as_ref().map(|seen| observer(&api, seen));
    let replaced = reply::ok(&BackendsView(Some(after.backends()), observer));
    Ok(tagged(replaced, Tag::of_backends(&after)))
}

/// The whole object as it was shown, with other settings.
pub(crate) async fn replace(
    State(api): State<Api>,
    path: BackendPath,
    terms: Terms,
    Wish(Whole(edit)): Wish<Whole<BackendEdit>>,
) -> Result<Response, Problem> {
    change(&api, path, terms, edit).await
}

/// Part of the object.
pub(crate) async fn update(
    State(api): State<Api>,
    path: BackendPath,
    terms: Terms,
    Wish(Partial(edit)): Wish<Partial<BackendEdit>>,
) -> Result<Response, Problem> {
    change(&api, path, terms, edit).await
}

/// Sends no more connections there; after a drain if `?drain` is said.
pub(crate) async fn remove(
    State(api): State<Api>,
    BackendPath(id, backend): BackendPath,
    terms: Terms,
) -> Result<Response, Problem> {
    if let Some(deadline) = terms.time {
        return drain::begin(&api, terms, id, Some(backend), DrainWish { deadline, then: Then::Delete }).await;
    }
    let answer = terms.ask(&api, Command::RemoveBackend(id, backend)).await?;
    let Answer::Gone = answer else { return plan::or_contradiction(answer) };
    Ok(reply::gone())
}

/// The backends that a body asks for.
pub(crate) fn wanted<'a>(
    api: &Api,
    wishes: impl IntoIterator<Item = &'a BackendWish>,
) -> Result<Vec<Backend>, Problem> {
    let backends = wishes.into_iter().map(BackendWish::with_new_id).collect::<Result<Vec<_>, _>>();
    let backends = backends.map_err(Rejected::Discord)?;
    check_commands(api, backends.iter().filter_map(|backend| backend.check()))?;
    Ok(backends)
}

async fn change(
    api: &Api,
    BackendPath(id, backend): BackendPath,
    terms: Terms,
    edit: BackendEdit,
) -> Result<Response, Problem> {
    known(api, id)?.backend(backend).ok_or(Rejected::UnknownBackend { load_balancer: id, backend })?;
    if edit.uuid.is_some_and(|uuid| uuid != backend.0) {
        return Err(Problem::fixed("uuid", format!("uuid is {backend} for as long as the backend exists")));
    }
    check_commands(api, edit.change.check.iter().flatten())?;
    let answer = terms.ask(api, Command::UpdateBackend(id, backend, edit.change)).await?;
    let Answer::Backend(backend) = answer else { return plan::or_contradiction(answer) };
    let seen = seen(api, id).ok();
    let changed = reply::ok(&BackendView::observed(&backend, seen.as_ref().map(|seen| observer(api, seen))));
    Ok(tagged(changed, Tag::of_backend(&backend)))
}

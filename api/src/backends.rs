// SPDX-License-Identifier: Apache-2.0
//! `/loadbalancer/{uuid}/backend` and `/loadbalancer/{uuid}/backend/{backenduuid}`.

use axum::{extract::State, response::Response};
use slb_core::{
    board::Seen,
    command::{Answer, Command, Rejected},
    model::{Backend, Invalid, Target},
};

use crate::{
    Api,
    extract::{BackendPath, LoadBalancerPath, OneOrMore, Wish, Wishes},
    loadbalancers::{blamed, check_distinct, known, seen, status},
    problem::Problem,
    reply,
    wire::{BackendEdit, BackendView, BackendWish, BackendsView, ListedBackend, Partial, Whole},
};

/// All backends of a load-balancer, in the order they were added.
pub(crate) async fn list(State(api): State<Api>, LoadBalancerPath(id): LoadBalancerPath) -> Result<Response, Problem> {
    let Seen { load_balancer, status } = seen(&api, id)?;
    Ok(reply::ok(&BackendsView(Some(load_balancer.backends()), Some(&status))))
}

/// One of them.
pub(crate) async fn show(State(api): State<Api>, BackendPath(id, backend): BackendPath) -> Result<Response, Problem> {
    let Seen { load_balancer, status } = seen(&api, id)?;
    let found = load_balancer.backend(backend).ok_or(Rejected::UnknownBackend { load_balancer: id, backend })?;
    Ok(reply::ok(&BackendView::observed(found, status.backend(backend))))
}

/// One more, or a list of them: all or none.
pub(crate) async fn add(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    wishes: OneOrMore<BackendWish>,
) -> Result<Response, Problem> {
    let (wishes, alone) = match wishes {
        OneOrMore::One(wish) => (vec![wish], true),
        OneOrMore::More(wishes) => (wishes, false),
    };
    let targets: Vec<Target> = wishes.iter().map(|wish| wish.target).collect();
    check_distinct("#", &targets)?;
    let backends = wanted(&wishes)?;
    let answer = api.mailbox.ask(Command::AddBackends(id, backends)).await;
    let answer = answer.map_err(|failure| if alone { failure.into() } else { blamed("#", failure, &targets) })?;
    match answer {
        Answer::Backends(added) => {
            let place = format!("/loadbalancer/{id}/backend");
            let status = status(&api, id);
            Ok(match added.as_slice() {
                [backend] if alone => reply::created(
                    &format!("{place}/{}", backend.id),
                    &BackendView::observed(backend, status.as_ref().and_then(|status| status.backend(backend.id))),
                ),
                all => reply::created(&place, &BackendsView(Some(all), status.as_deref())),
            })
        }
        Answer::LoadBalancer(_) | Answer::Backend(_) | Answer::Peer(_) | Answer::Gone => Err(reply::contradiction()),
    }
}

/// These and no others. One that was there at the same address and port stays, with its id and its connections.
pub(crate) async fn replace_all(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
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
    let backends = wanted(listed.iter().map(|each| &each.wish))?;
    let answer = api.mailbox.ask(Command::ReplaceBackends(id, backends)).await;
    match answer.map_err(|failure| blamed("#", failure, &targets))? {
        Answer::LoadBalancer(after) => {
            Ok(reply::ok(&BackendsView(Some(after.backends()), status(&api, id).as_deref())))
        }
        Answer::Backend(_) | Answer::Backends(_) | Answer::Peer(_) | Answer::Gone => Err(reply::contradiction()),
    }
}

/// The whole object as it was shown, with other settings.
pub(crate) async fn replace(
    State(api): State<Api>,
    path: BackendPath,
    Wish(Whole(edit)): Wish<Whole<BackendEdit>>,
) -> Result<Response, Problem> {
    change(&api, path, edit).await
}

/// Part of the object.
pub(crate) async fn update(
    State(api): State<Api>,
    path: BackendPath,
    Wish(Partial(edit)): Wish<Partial<BackendEdit>>,
) -> Result<Response, Problem> {
    change(&api, path, edit).await
}

/// Sends no more connections there.
pub(crate) async fn remove(State(api): State<Api>, BackendPath(id, backend): BackendPath) -> Result<Response, Problem> {
    match api.mailbox.ask(Command::RemoveBackend(id, backend)).await? {
        Answer::Gone => Ok(reply::gone()),
        Answer::LoadBalancer(_) | Answer::Backend(_) | Answer::Backends(_) | Answer::Peer(_) => {
            Err(reply::contradiction())
        }
    }
}

/// The backends that a body asks for.
pub(crate) fn wanted<'a>(wishes: impl IntoIterator<Item = &'a BackendWish>) -> Result<Vec<Backend>, Problem> {
    let backends = wishes.into_iter().map(BackendWish::with_new_id).collect::<Result<_, _>>();
    backends.map_err(|discord| Rejected::Discord(discord).into())
}

async fn change(api: &Api, BackendPath(id, backend): BackendPath, edit: BackendEdit) -> Result<Response, Problem> {
    known(api, id)?.backend(backend).ok_or(Rejected::UnknownBackend { load_balancer: id, backend })?;
    if edit.uuid.is_some_and(|uuid| uuid != backend.0) {
        return Err(Problem::fixed("uuid", format!("uuid is {backend} for as long as the backend exists")));
    }
    match api.mailbox.ask(Command::UpdateBackend(id, backend, edit.change)).await? {
        Answer::Backend(backend) => {
            let status = status(api, id);
            let status = status.as_ref().and_then(|status| status.backend(backend.id));
            Ok(reply::ok(&BackendView::observed(&backend, status)))
        }
        Answer::LoadBalancer(_) | Answer::Backends(_) | Answer::Peer(_) | Answer::Gone => Err(reply::contradiction()),
    }
}

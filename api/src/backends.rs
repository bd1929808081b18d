// SPDX-License-Identifier: Apache-2.0
//! `/loadbalancer/{uuid}/backend` and `/loadbalancer/{uuid}/backend/{backenduuid}`.

use axum::{extract::State, response::Response};
use slb_core::{
    board::Seen,
    command::{Answer, BackendChange, Command, PartialTarget, Rejected},
    model::{Backend, BackendId, Invalid, Target},
};
use uuid::Uuid;

use crate::{
    Api,
    extract::{BackendPath, LoadBalancerPath, Wish, Wishes},
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

/// One more.
pub(crate) async fn add(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    Wish(wish): Wish<BackendWish>,
) -> Result<Response, Problem> {
    match api.mailbox.ask(Command::AddBackend(id, with_new_id(wish))).await? {
        Answer::Backend(backend) => {
            let place = format!("/loadbalancer/{id}/backend/{}", backend.id);
            let status = status(&api, id);
            let status = status.as_ref().and_then(|status| status.backend(backend.id));
            Ok(reply::created(&place, &BackendView::observed(&backend, status)))
        }
        Answer::LoadBalancer(_) | Answer::Peer(_) | Answer::Gone => Err(reply::contradiction()),
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
    let backends = listed.into_iter().map(|each| with_new_id(each.wish)).collect();
    let answer = api.mailbox.ask(Command::ReplaceBackends(id, backends)).await;
    match answer.map_err(|failure| blamed("#", failure, &targets))? {
        Answer::LoadBalancer(after) => {
            Ok(reply::ok(&BackendsView(Some(after.backends()), status(&api, id).as_deref())))
        }
        Answer::Backend(_) | Answer::Peer(_) | Answer::Gone => Err(reply::contradiction()),
    }
}

/// The whole object as it was shown, with another weight.
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
        Answer::LoadBalancer(_) | Answer::Backend(_) | Answer::Peer(_) => Err(reply::contradiction()),
    }
}

/// The backend that a body asks for, under an id that nothing has had.
pub(crate) fn with_new_id(BackendWish { target, settings }: BackendWish) -> Backend {
    Backend { id: BackendId(Uuid::new_v4()), target, settings }
}

async fn change(api: &Api, BackendPath(id, backend): BackendPath, edit: BackendEdit) -> Result<Response, Problem> {
    known(api, id)?.backend(backend).ok_or(Rejected::UnknownBackend { load_balancer: id, backend })?;
    if edit.uuid.is_some_and(|uuid| uuid != backend.0) {
        return Err(Problem::fixed("uuid", format!("uuid is {backend} for as long as the backend exists")));
    }
    let change = BackendChange {
        weight: edit.weight,
        target: PartialTarget { ip: edit.ip, port: edit.port },
        forwarding: edit.forwarding,
    };
    match api.mailbox.ask(Command::UpdateBackend(id, backend, change)).await? {
        Answer::Backend(backend) => {
            let status = status(api, id);
            let status = status.as_ref().and_then(|status| status.backend(backend.id));
            Ok(reply::ok(&BackendView::observed(&backend, status)))
        }
        Answer::LoadBalancer(_) | Answer::Peer(_) | Answer::Gone => Err(reply::contradiction()),
    }
}

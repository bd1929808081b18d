// SPDX-License-Identifier: Apache-2.0
//! `/loadbalancer`, `/loadbalancers`, `/loadbalancer/{uuid}`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, response::Response};
use serde::{Serialize, Serializer};
use slb_core::{
    command::{Answer, Command, Failure, LoadBalancerChange, NewLoadBalancer, Rejected},
    model::{Backend, Invalid, LoadBalancer, LoadBalancerId, Phase, ServiceSettings, Target},
};
use uuid::Uuid;

use crate::{
    Api,
    backends::with_new_id,
    extract::{LoadBalancerPath, Wish},
    problem::{Kind, Problem},
    reply,
    wire::{BackendEdit, LoadBalancerEdit, LoadBalancerView, LoadBalancerWish, Partial, Whole},
};

/// All, in the order they were created; null before the first was ever created.
pub(crate) async fn list(State(api): State<Api>) -> Response {
    reply::ok(&api.board.list().map(List))
}

struct List(Vec<Arc<LoadBalancer>>);

impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|load_balancer| LoadBalancerView::from(&**load_balancer)))
    }
}

/// One of them.
pub(crate) async fn show(State(api): State<Api>, LoadBalancerPath(id): LoadBalancerPath) -> Result<Response, Problem> {
    Ok(reply::ok(&LoadBalancerView::from(&*known(&api, id)?)))
}

/// A new one, with the backends it starts with.
pub(crate) async fn create(State(api): State<Api>, Wish(wish): Wish<LoadBalancerWish>) -> Result<Response, Problem> {
    let targets: Vec<Target> = wish.backends.iter().map(|backend| backend.target).collect();
    check_distinct("#/backends", &targets)?;
    let backends: Vec<Backend> = wish.backends.into_iter().map(with_new_id).collect();
    let new = NewLoadBalancer {
        id: LoadBalancerId(Uuid::new_v4()),
        name: wish.name,
        port: wish.port,
        vip: wish.vip,
        advertise: wish.advertise,
        service: ServiceSettings { scheduler: wish.scheduler },
        backends: (!backends.is_empty()).then_some(backends),
    };
    match api.mailbox.ask(Command::Create(new)).await.map_err(|failure| blamed("#/backends", failure, &targets))? {
        Answer::LoadBalancer(load_balancer) => {
            let place = format!("/loadbalancer/{}", load_balancer.id);
            Ok(reply::created(&place, &LoadBalancerView::from(&*load_balancer)))
        }
        Answer::Backend(_) | Answer::Peer(_) | Answer::Gone => Err(reply::contradiction()),
    }
}

/// The whole object as it was shown, with what can be changed changed.
pub(crate) async fn replace(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    Wish(Whole(edit)): Wish<Whole<LoadBalancerEdit>>,
) -> Result<Response, Problem> {
    change(&api, id, edit).await
}

/// Part of the object.
pub(crate) async fn update(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
    Wish(Partial(edit)): Wish<Partial<LoadBalancerEdit>>,
) -> Result<Response, Problem> {
    change(&api, id, edit).await
}

/// Stops balancing and gives the address back.
pub(crate) async fn delete(
    State(api): State<Api>,
    LoadBalancerPath(id): LoadBalancerPath,
) -> Result<Response, Problem> {
    match api.mailbox.ask(Command::Delete(id)).await? {
        Answer::Gone => Ok(reply::gone()),
        Answer::LoadBalancer(_) | Answer::Backend(_) | Answer::Peer(_) => Err(reply::contradiction()),
    }
}

/// The load-balancer as readers see it.
pub(crate) fn known(api: &Api, id: LoadBalancerId) -> Result<Arc<LoadBalancer>, Problem> {
    api.board.get(id).ok_or_else(|| Rejected::UnknownLoadBalancer(id).into())
}

async fn change(api: &Api, id: LoadBalancerId, edit: LoadBalancerEdit) -> Result<Response, Problem> {
    check_repeated(&*known(api, id)?, &edit)?;
    let change = LoadBalancerChange {
        name: edit.name,
        advertise: edit.advertise,
        scheduler: edit.scheduler,
        vip: edit.eip,
        port: edit.port,
    };
    match api.mailbox.ask(Command::Update(id, change)).await? {
        Answer::LoadBalancer(load_balancer) => Ok(reply::ok(&LoadBalancerView::from(&*load_balancer))),
        Answer::Backend(_) | Answer::Peer(_) | Answer::Gone => Err(reply::contradiction()),
    }
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

// SPDX-License-Identifier: Apache-2.0
//! `/loadbalancers`: many of them in one change, all or none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{extract::State, response::Response};
use serde::{Serialize, Serializer};
use slb_core::{
    command::{Answer, Declaration, Extent, Failure, NewLoadBalancer, Rejected},
    model::{Invalid, LoadBalancer, LoadBalancerId, Target},
};
use uuid::Uuid;

use crate::{
    Api,
    extract::{OnTerms, Wishes, check_some},
    loadbalancers::{asked, observer, seen},
    plan,
    problem::Problem,
    reply,
    terms::Terms,
    wire::{ListedLoadBalancer, LoadBalancerView, LoadBalancerWish},
};

/// Where the list is.
const PLACE: &str = "/loadbalancers";

/// All of these, beside what there is.
pub(crate) async fn create(
    State(api): State<Api>,
    OnTerms(terms, Wishes(wishes)): OnTerms<Wishes<LoadBalancerWish>>,
) -> Result<Response, Problem> {
    check_some(&wishes)?;
    let each = wishes.into_iter().enumerate();
    let load_balancers = each.map(|(index, wish)| new(&api, index, wish)).collect::<Result<Vec<_>, _>>()?;
    let answer = declare(&api, terms, Declaration::more(load_balancers)).await?;
    let Answer::Declared(_, made) = answer else { return plan::or_contradiction(answer) };
    Ok(reply::created(PLACE, &Shown(&api, made)))
}

/// These and no others. Those of the configuration file are no part of it.
pub(crate) async fn replace(
    State(api): State<Api>,
    terms: Terms,
    Wishes(listed): Wishes<ListedLoadBalancer>,
) -> Result<Response, Problem> {
    let known = distinct(&listed)?;
    let each = listed.into_iter().enumerate();
    let load_balancers = each.map(|(index, ListedLoadBalancer { uuid, wish })| {
        let new = new(&api, index, wish)?;
        Ok(NewLoadBalancer { id: uuid.map_or(new.id, LoadBalancerId), ..new })
    });
    let load_balancers = load_balancers.collect::<Result<Vec<_>, Problem>>()?;
    let answer = declare(&api, terms, Declaration { extent: Extent::Requests, load_balancers, known }).await?;
    let Answer::Declared(_, declared) = answer else { return plan::or_contradiction(answer) };
    Ok(reply::ok(&Shown(&api, declared)))
}

/// The ids that are given, once each.
fn distinct(listed: &[ListedLoadBalancer]) -> Result<BTreeSet<LoadBalancerId>, Problem> {
    let mut first: BTreeMap<Uuid, usize> = BTreeMap::new();
    for (index, uuid) in listed.iter().enumerate().filter_map(|(index, each)| Some((index, each.uuid?))) {
        if let Some(first) = first.insert(uuid, index) {
            let why = format!("is that of #/{first} already");
            return Err(Problem::invalid_at(&format!("#/{index}/uuid"), &Invalid(why)));
        }
    }
    Ok(first.into_keys().map(LoadBalancerId).collect())
}

fn new(api: &Api, index: usize, wish: LoadBalancerWish) -> Result<NewLoadBalancer, Problem> {
    let at = format!("#/{index}");
    asked(api, &at, wish).map_err(|problem| problem.within(&at))
}

/// Knows which of them is to blame.
async fn declare(api: &Api, terms: Terms, declaration: Declaration) -> Result<Answer, Problem> {
    let targets: Vec<Vec<Target>> = declaration.load_balancers.iter().map(|each| each.targets().collect()).collect();
    match terms.ask(api, declaration).await {
        Ok(answer) => Ok(answer),
        Err(Failure::Declared { index: Some(index), why }) => {
            let targets = targets.get(index).map_or(&[][..], Vec::as_slice);
            let at = place(index, &why, targets);
            Err(Problem::from(*why).within(&at))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// Which of the load-balancer's backends is to blame, or else the whole.
fn place(index: usize, why: &Failure, targets: &[Target]) -> String {
    if let Failure::Rejected(
        Rejected::BackendIsVip(target) | Rejected::Unfit { target, .. } | Rejected::BackendIsFallback(target),
    ) = why
        && let Some(backend) = targets.iter().position(|each| each == target)
    {
        return format!("#/{index}/backends/{backend}");
    }
    format!("#/{index}")
}

struct Shown<'a>(&'a Api, Vec<Arc<LoadBalancer>>);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(api, all) = self;
        serializer.collect_seq(all.iter().map(|load_balancer| {
            let seen = seen(api, load_balancer.id).ok();
            With(api, load_balancer, seen)
        }))
    }
}

/// A load-balancer and what is known of it, which goes once it is written.
struct With<'a>(&'a Api, &'a LoadBalancer, Option<slb_core::board::Seen>);

impl Serialize for With<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(api, load_balancer, seen) = self;
        let observer = seen.as_ref().map(|seen| observer(api, seen));
        LoadBalancerView::observed(load_balancer, observer).serialize(serializer)
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What has happened between two looks at a load-balancer.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    events::Event,
    model::{Backend, BackendId, Condition, LoadBalancer, LoadBalancerId},
};

/// In the order in which to tell it: what is there is told of before what is on it.
pub(super) fn between(before: Option<&LoadBalancer>, after: &LoadBalancer) -> Vec<Event> {
    // An event is kept for long, and a load-balancer may have many backends.
    let bare = |of: &LoadBalancer| LoadBalancer { backends: None, ..of.clone() };
    let (is, was) = (bare(after), before.map(bare));
    let mut events = match was {
        None => vec![Event::Created(Arc::new(is))],
        Some(was) if was != is => vec![Event::Changed(Arc::new(is))],
        Some(_) => Vec::new(),
    };
    let (was, is) = differing(before.map(LoadBalancer::backends).unwrap_or_default(), after.backends());
    let mut left: BTreeMap<BackendId, &Backend> = was.iter().map(|backend| (backend.id, backend)).collect();
    for backend in is {
        match left.remove(&backend.id) {
            None => events.push(Event::BackendAdded(after.id, Box::new(backend.clone()))),
            Some(before) => events.extend(of_backend(after.id, before, backend)),
        }
    }
    events.extend(left.into_keys().map(|id| Event::BackendRemoved(after.id, id)));
    events
}

/// Its health has events of its own.
fn of_backend(id: LoadBalancerId, was: &Backend, is: &Backend) -> impl Iterator<Item = Event> {
    let asked =
        |of: &Backend| of.clone().with_condition(Condition { drain: of.condition().drain, ..Condition::default() });
    let changed = (asked(was) != asked(is)).then(|| Event::BackendChanged(id, Box::new(is.clone())));
    let turned = match (was.condition().down, is.condition().down) {
        (None, Some(_)) => Some(Event::BackendDown(id, is.id)),
        (Some(_), None) => Some(Event::BackendUp(id, is.id)),
        (None, None) | (Some(_), Some(_)) => None,
    };
    changed.into_iter().chain(turned)
}

/// Both without what they begin and end with alike: of many backends, few change at a time.
fn differing<'a>(mut was: &'a [Backend], mut is: &'a [Backend]) -> (&'a [Backend], &'a [Backend]) {
    while let ([first, was_rest @ ..], [same, is_rest @ ..]) = (was, is)
        && first == same
    {
        (was, is) = (was_rest, is_rest);
    }
    while let ([was_rest @ .., last], [is_rest @ .., same]) = (was, is)
        && last == same
    {
        (was, is) = (was_rest, is_rest);
    }
    (was, is)
}

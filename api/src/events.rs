// SPDX-License-Identifier: Apache-2.0
//! `/events`: everything that happens, as server-sent events (WHATWG HTML, section 9.2).
//!
//! A stream begins with `reset`, unless it goes on where another one ended (`Last-Event-ID`): what the client knows is not to be
//! relied on, and it reads the list anew. The journal keeps nobody's place, so that a client that reads slowly costs no memory; it
//! is told `reset` once it is too far behind.

use std::{convert::Infallible, future::ready, net::IpAddr, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderMap, Uri},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use slb_core::{
    events::{Event, EventId, Heard, Journal},
    model::{BackendId, LoadBalancerId, Vip},
    status::News,
};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    Api,
    observed::Time,
    problem::{Kind, Problem},
    read::parse_uuid,
    reply::to_json,
    wire::{BackendView, LoadBalancerView},
};

/// Clients that follow at a time. They keep their connections, of which there are few.
pub(crate) const STREAMS: usize = 128;

const LAST_EVENT_ID: &str = "last-event-id";

/// The rest of what has happened since the client was here, then all that happens.
pub(crate) async fn follow(State(api): State<Api>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let only = uri.query().map(only).transpose()?.flatten();
    let Ok(place) = Arc::clone(&api.streams).try_acquire_owned() else {
        let detail = format!("{STREAMS} clients follow events; there is room for one more when another goes");
        return Err(Problem::new(Kind::TooManyStreams, detail));
    };
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.parse::<EventId>().ok());
    Ok(Sse::new(stream(Arc::clone(api.board.journal()), last, only, place))
        .keep_alive(KeepAlive::default())
        .into_response())
}

/// The load-balancer that a query names.
fn only(query: &str) -> Result<Option<LoadBalancerId>, Problem> {
    let Some(given) = query.split('&').rev().find_map(|pair| pair.strip_prefix("loadbalancer=")) else {
        return Ok(None);
    };
    let id = parse_uuid(given).ok_or_else(|| {
        Problem::new(Kind::UnknownLoadBalancer, format!("{given:?} is not a UUID, so it names nothing"))
    })?;
    Ok(Some(LoadBalancerId(id)))
}

fn stream(
    journal: Arc<Journal>,
    last: Option<EventId>,
    only: Option<LoadBalancerId>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    let now = Arc::clone(&journal);
    journal.read(last).filter_map(move |heard| {
        // It is given back with the stream.
        let _held = &place;
        ready(match heard {
            Heard::Reset(id) => Some(Ok(told(id, &Told::new("reset", Time(now.now()))))),
            Heard::Event(_, entry) if only.is_some() && entry.event.load_balancer() != only => None,
            Heard::Event(id, entry) => Some(Ok(told(id, &Told::of(&entry.event, Time(entry.at))))),
        })
    })
}

fn told(id: EventId, told: &Told<'_>) -> sse::Event {
    let json = to_json(told);
    // JSON has no line breaks but the last, and is UTF-8.
    let data = String::from_utf8_lossy(json.trim_ascii_end());
    sse::Event::default().event(told.event).id(id.to_string()).data(data)
}

/// An event as it is told: what there is to say of it.
#[derive(Serialize)]
struct Told<'a> {
    event: &'static str,
    time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    loadbalancer: Option<LoadBalancerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<BackendId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is: Option<Is<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eip: Option<Vip>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<IpAddr>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Is<'a> {
    LoadBalancer(LoadBalancerView<'a>),
    Backend(BackendView<'a>),
}

impl<'a> Told<'a> {
    fn new(event: &'static str, time: Time) -> Self {
        Self {
            event,
            time,
            loadbalancer: None,
            backend: None,
            is: None,
            why: None,
            eip: None,
            holder: None,
            peer: None,
        }
    }

    fn of(event: &'a Event, time: Time) -> Self {
        let plain = |name| Self { loadbalancer: event.load_balancer(), ..Self::new(name, time) };
        match event {
            Event::Created(is) => Self { is: Some(Is::LoadBalancer(LoadBalancerView::bare(is))), ..plain("created") },
            Event::Changed(is) => Self { is: Some(Is::LoadBalancer(LoadBalancerView::bare(is))), ..plain("changed") },
            Event::Deleted(_) => plain("deleted"),
            Event::BackendAdded(_, is) => {
                Self { backend: Some(is.id), is: Some(Is::Backend((&**is).into())), ..plain("backendAdded") }
            }
            Event::BackendChanged(_, is) => {
                Self { backend: Some(is.id), is: Some(Is::Backend((&**is).into())), ..plain("backendChanged") }
            }
            Event::BackendDown(_, id) => Self { backend: Some(*id), ..plain("backendDown") },
            Event::BackendUp(_, id) => Self { backend: Some(*id), ..plain("backendUp") },
            Event::BackendRemoved(_, id) => Self { backend: Some(*id), ..plain("backendRemoved") },
            Event::Status(_, News::Programmed(backend)) => Self { backend: *backend, ..plain("programmed") },
            Event::Status(_, News::Failed(backend, why)) => {
                Self { backend: *backend, why: Some(why), ..plain("failed") }
            }
            Event::Status(_, News::Advertised(vip)) => Self { eip: Some(*vip), ..plain("advertised") },
            Event::Status(_, News::Withdrawn(vip, why)) => {
                Self { eip: Some(*vip), why: Some(why), ..plain("withdrawn") }
            }
            Event::Conflict { vip, holder } => Self { eip: Some(*vip), holder: Some(holder), ..plain("conflict") },
            Event::PeerUp(peer) => Self { peer: Some(peer.address()), ..plain("peerUp") },
            Event::PeerDown(peer) => Self { peer: Some(peer.address()), ..plain("peerDown") },
        }
    }
}

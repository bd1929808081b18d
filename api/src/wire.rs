// SPDX-License-Identifier: Apache-2.0
//! What goes over the wire: bodies that are read into wishes, and objects as they are shown.
//!
//! The order of the fields shown is the original's, with new ones after them.

mod backend;
mod drain;
mod fallback;
mod service;
#[cfg(test)]
mod tests;
mod vips;

use std::sync::Arc;

use serde::{Serialize, Serializer};
use slb_core::{
    command::{NewLoadBalancer, ServiceChange, WantedVips},
    model::{
        Advertise, Backend, Fallback, Listen, LoadBalancer, LoadBalancerId, Name, Origin, Phase, Port, PortRange,
        Ports, Protocol, ServiceSettings, SourceNat, Vip, Vips, check::HealthCheck,
    },
};
use uuid::Uuid;

pub(crate) use self::backend::{BackendEdit, BackendView, BackendWish, ListedBackend};
use self::{
    drain::DrainView,
    fallback::{FallbackView, fallback},
    service::{ServiceView, service},
    vips::{VipsView, vips, wanted_vips},
};
use crate::{
    check::{health_check, view::HealthCheckView},
    fields::Fields,
    observed::{LoadBalancerObserved, Observer},
    read::{advertise, name, phase, port, ports, protocol, source_nat, uuid, vip},
};

/// A load-balancer as it is shown.
#[derive(Serialize)]
pub(crate) struct LoadBalancerView<'a> {
    uuid: LoadBalancerId,
    name: &'a str,
    eip: Vip,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<Port>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backends: Option<BackendsView<'a>>,
    status: Phase,
    eips: VipsView,
    advertise: Advertise,
    #[serde(flatten)]
    service: ServiceView,
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<Vec<String>>,
    protocol: Protocol,
    #[serde(rename = "sourceNat")]
    source_nat: SourceNat,
    #[serde(rename = "healthCheck", skip_serializing_if = "Option::is_none")]
    health_check: Option<HealthCheckView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<FallbackView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<DrainView>,
    origin: Origin,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<LoadBalancerObserved<'a>>,
}

impl<'a> From<&'a LoadBalancer> for LoadBalancerView<'a> {
    fn from(load_balancer: &'a LoadBalancer) -> Self {
        Self {
            uuid: load_balancer.id,
            name: load_balancer.name.as_str(),
            eip: load_balancer.vips.first(),
            port: load_balancer.marked.is_none().then_some(load_balancer.port),
            ports: load_balancer
                .marked
                .as_ref()
                .map(|marked| marked.ports.ranges().iter().map(PortRange::to_string).collect()),
            backends: Some(BackendsView(load_balancer.backends.as_deref(), None)),
            status: load_balancer.phase,
            eips: VipsView(load_balancer.vips),
            advertise: load_balancer.advertise,
            protocol: load_balancer.protocol,
            source_nat: load_balancer.source_nat,
            service: load_balancer.service.into(),
            health_check: load_balancer.check.as_deref().map(HealthCheckView::from),
            fallback: load_balancer.fallback().map(FallbackView::from),
            drain: load_balancer.drain().map(DrainView::from),
            origin: load_balancer.origin,
            observed: None,
        }
    }
}

impl<'a> LoadBalancerView<'a> {
    /// With how it is doing.
    pub(crate) fn observed(load_balancer: &'a LoadBalancer, observer: Option<Observer<'a>>) -> Self {
        Self {
            backends: Some(BackendsView(load_balancer.backends.as_deref(), observer)),
            drain: load_balancer.drain().map(|drain| DrainView::waiting(drain, observer.and_then(|by| by.left(None)))),
            observed: observer.map(Observer::whole),
            ..Self::from(load_balancer)
        }
    }

    /// Without its backends.
    pub(crate) fn bare(load_balancer: &'a LoadBalancer) -> Self {
        Self { backends: None, ..Self::from(load_balancer) }
    }
}

/// The backends of a load-balancer, null before the first was added, and how they are doing.
pub(crate) struct BackendsView<'a>(pub(crate) Option<&'a [Backend]>, pub(crate) Option<Observer<'a>>);

impl Serialize for BackendsView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(backends, observer) = *self;
        let view = |backend| BackendView::observed(backend, observer);
        match backends {
            Some(backends) => serializer.collect_seq(backends.iter().map(view)),
            None => serializer.serialize_none(),
        }
    }
}

/// More than ten thousand backends fit into this. In bytes.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;
/// More than ten thousand load-balancers with ten backends each, as they are asked for. In bytes.
pub(crate) const MANY_LIMIT: usize = 16 * BODY_LIMIT;

/// A body that is an object.
pub(crate) trait FromFields: Sized {
    /// How long a list of them may be, in bytes.
    const LIST_LIMIT: usize = BODY_LIMIT;

    /// Takes the fields. `None` means that there are findings, but there may be findings with `Some`, too.
    fn from_fields(fields: Fields<'_>) -> Option<Self>;
}

/// What `POST /loadbalancer` takes.
#[derive(Clone, Debug)]
pub(crate) struct LoadBalancerWish {
    pub(crate) name: Name,
    pub(crate) listen: Listen,
    pub(crate) vips: WantedVips,
    pub(crate) advertise: Advertise,
    pub(crate) protocol: Protocol,
    pub(crate) source_nat: SourceNat,
    pub(crate) service: ServiceSettings,
    pub(crate) check: Option<Arc<HealthCheck>>,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) backends: Vec<BackendWish>,
}

impl FromFields for LoadBalancerWish {
    const LIST_LIMIT: usize = MANY_LIMIT;

    fn from_fields(fields: Fields<'_>) -> Option<Self> {
        Self::read(fields, "backends")
    }
}

/// A load-balancer of the list that `PUT /loadbalancers` takes: as GET shows it, or new.
#[derive(Clone, Debug)]
pub(crate) struct ListedLoadBalancer {
    pub(crate) uuid: Option<Uuid>,
    pub(crate) wish: LoadBalancerWish,
}

impl FromFields for ListedLoadBalancer {
    const LIST_LIMIT: usize = MANY_LIMIT;

    fn from_fields(mut fields: Fields<'_>) -> Option<Self> {
        let uuid = fields.optional("uuid", uuid);
        for shown in ["observed", "drain", "status", "origin"] {
            fields.pass_over(shown);
        }
        let backend = |fields: Fields<'_>| ListedBackend::from_fields(fields).map(|listed| listed.wish);
        Some(Self { uuid, wish: LoadBalancerWish::of(fields, "backends", backend)? })
    }
}

impl LoadBalancerWish {
    /// The same where the list of backends has another name.
    pub(crate) fn read(mut fields: Fields<'_>, backends: &'static str) -> Option<Self> {
        fields.refuse("drain", "is asked for once the load-balancer is there");
        fields.refuse("uuid", "is chosen by the server");
        fields.refuse("status", "is set by the server");
        fields.refuse("origin", "is set by the server");
        fields.refuse("observed", "is set by the server");
        Self::of(fields, backends, BackendWish::from_fields)
    }

    fn of(
        mut fields: Fields<'_>,
        backends: &'static str,
        backend: impl FnMut(Fields<'_>) -> Option<BackendWish>,
    ) -> Option<Self> {
        let name = fields.optional("name", name).or_else(|| Name::try_from(String::new()).ok());
        let listen = listen(&mut fields);
        let vips = wanted_vips(&mut fields);
        let advertise = fields.optional("advertise", advertise).unwrap_or_default();
        let protocol = fields.optional("protocol", protocol).unwrap_or_default();
        let source_nat = fields.optional("sourceNat", source_nat).unwrap_or_default();
        let service = service(&mut fields).of(ServiceSettings::default());
        let check = health_check(&mut fields).flatten().map(Arc::new);
        let fallback = fallback(&mut fields).flatten();
        let backends = fields.list(backends, backend);
        fields.finish();
        let backends = backends.unwrap_or_default();
        Some(Self {
            name: name?,
            listen: listen?,
            vips: vips?,
            advertise,
            protocol,
            source_nat,
            service,
            check,
            fallback,
            backends,
        })
    }
}

impl LoadBalancerWish {
    /// The load-balancer that it asks for, under an id that nothing has had.
    pub(crate) fn into_new(self, backends: Vec<Backend>) -> NewLoadBalancer {
        NewLoadBalancer {
            id: LoadBalancerId(Uuid::new_v4()),
            name: self.name,
            listen: self.listen,
            protocol: self.protocol,
            vips: self.vips,
            advertise: self.advertise,
            source_nat: self.source_nat,
            service: self.service,
            check: self.check,
            fallback: self.fallback,
            backends: (!backends.is_empty()).then_some(backends),
        }
    }
}

/// One port, or several.
fn listen(fields: &mut Fields<'_>) -> Option<Listen> {
    let are_several = fields.has("ports");
    let ports = fields.optional("ports", ports);
    if are_several {
        fields.refuse("port", "is one, and ports are several; give one of the two");
        return ports.map(Listen::Ports);
    }
    fields.required("port", port).map(Listen::Port)
}

/// What PATCH takes: as much of an object as is given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Partial<T>(pub(crate) T);

/// What PUT takes: an object with at least everything that can be changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Whole<T>(pub(crate) T);

/// A load-balancer sent back edited.
#[derive(Clone, Debug)]
pub(crate) struct LoadBalancerEdit {
    pub(crate) uuid: Option<Uuid>,
    pub(crate) name: Option<Name>,
    pub(crate) eip: Option<Vip>,
    pub(crate) eips: Option<Vips>,
    pub(crate) port: Option<Port>,
    pub(crate) ports: Option<Ports>,
    pub(crate) backends: Option<Vec<BackendEdit>>,
    pub(crate) status: Option<Phase>,
    pub(crate) advertise: Option<Advertise>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) source_nat: Option<SourceNat>,
    pub(crate) service: ServiceChange,
    pub(crate) check: Option<Option<Arc<HealthCheck>>>,
    pub(crate) fallback: Option<Option<Fallback>>,
}

impl LoadBalancerEdit {
    fn read(mut fields: Fields<'_>, whole: bool) -> Self {
        let edit = Self {
            uuid: fields.optional("uuid", uuid),
            name: if whole { fields.required("name", name) } else { fields.optional("name", name) },
            eip: fields.optional("eip", vip),
            eips: fields.optional("eips", vips),
            port: fields.optional("port", port),
            ports: fields.optional("ports", ports),
            backends: fields.list("backends", |fields| Some(BackendEdit::read(fields, false))),
            status: fields.optional("status", phase),
            advertise: fields.optional("advertise", advertise),
            protocol: fields.optional("protocol", protocol),
            source_nat: fields.optional("sourceNat", source_nat),
            service: service(&mut fields),
            check: health_check(&mut fields).map(|check| check.map(Arc::new)),
            fallback: fallback(&mut fields),
        };
        fields.pass_over("observed");
        fields.pass_over("drain");
        fields.pass_over("origin");
        fields.finish();
        edit
    }
}

impl FromFields for Whole<LoadBalancerEdit> {
    fn from_fields(fields: Fields<'_>) -> Option<Self> {
        Some(Self(LoadBalancerEdit::read(fields, true)))
    }
}

impl FromFields for Partial<LoadBalancerEdit> {
    fn from_fields(fields: Fields<'_>) -> Option<Self> {
        Some(Self(LoadBalancerEdit::read(fields, false)))
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What goes over the wire: bodies that are read into wishes, and objects as they are shown.
//!
//! The order of the fields shown is the original's, with new ones after them.

#[cfg(test)]
mod tests;

use serde::{Serialize, Serializer};
use slb_core::{
    model::{
        Advertise, Backend, BackendId, BackendIp, BackendSettings, Forwarding, LoadBalancer, LoadBalancerId, Name,
        Phase, Port, Scheduler, Target, Vip, Weight,
    },
    ports::Wanted,
};
use uuid::Uuid;

use crate::{
    fields::Fields,
    read::{advertise, family, forwarding, ip, name, phase, port, scheduler, uuid, vip, weight},
};

/// A load-balancer as it is shown.
#[derive(Serialize)]
pub(crate) struct LoadBalancerView<'a> {
    uuid: LoadBalancerId,
    name: &'a str,
    eip: Vip,
    port: Port,
    #[serde(serialize_with = "backends")]
    backends: Option<&'a [Backend]>,
    status: Phase,
    advertise: Advertise,
    scheduler: Scheduler,
}

impl<'a> From<&'a LoadBalancer> for LoadBalancerView<'a> {
    fn from(load_balancer: &'a LoadBalancer) -> Self {
        Self {
            uuid: load_balancer.id,
            name: load_balancer.name.as_str(),
            eip: load_balancer.endpoint.vip,
            port: load_balancer.endpoint.port,
            backends: load_balancer.backends.as_deref(),
            status: load_balancer.phase,
            advertise: load_balancer.advertise,
            scheduler: load_balancer.service.scheduler,
        }
    }
}

/// A backend as it is shown.
#[derive(Serialize)]
pub(crate) struct BackendView {
    uuid: BackendId,
    ip: BackendIp,
    port: Port,
    r#type: Forwarding,
    weight: Weight,
}

impl From<&Backend> for BackendView {
    fn from(backend: &Backend) -> Self {
        Self {
            uuid: backend.id,
            ip: backend.target.ip,
            port: backend.target.port,
            r#type: backend.settings.forwarding,
            weight: backend.settings.weight,
        }
    }
}

fn backends<S: Serializer>(backends: &Option<&[Backend]>, serializer: S) -> Result<S::Ok, S::Error> {
    match backends {
        Some(backends) => serializer.collect_seq(backends.iter().map(BackendView::from)),
        None => serializer.serialize_none(),
    }
}

/// A body that is an object.
pub(crate) trait FromFields: Sized {
    /// Takes the fields. `None` means that there are findings, but there may be findings with `Some`, too.
    fn from_fields(fields: Fields<'_>) -> Option<Self>;
}

/// What `POST /loadbalancer` takes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadBalancerWish {
    pub(crate) name: Name,
    pub(crate) port: Port,
    pub(crate) vip: Wanted,
    pub(crate) advertise: Advertise,
    pub(crate) scheduler: Scheduler,
    pub(crate) backends: Vec<BackendWish>,
}

impl FromFields for LoadBalancerWish {
    fn from_fields(mut fields: Fields<'_>) -> Option<Self> {
        let name = fields.optional("name", name).or_else(|| Name::try_from(String::new()).ok());
        let port = fields.required("port", port);
        let eip = fields.nullable("eip", vip);
        let family = fields.optional("family", |node| family(node, eip));
        let vip = eip.map(Wanted::Vip).or(family.map(Wanted::Of)).unwrap_or_default();
        let advertise = fields.optional("advertise", advertise).unwrap_or_default();
        let scheduler = fields.optional("scheduler", scheduler).unwrap_or_default();
        let backends = fields.list("backends", BackendWish::from_fields);
        fields.refuse("uuid", "is chosen by the server");
        fields.refuse("status", "is set by the server");
        fields.finish();
        Some(Self { name: name?, port: port?, vip, advertise, scheduler, backends: backends.unwrap_or_default() })
    }
}

/// What `POST /loadbalancer/{uuid}/backend` takes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BackendWish {
    pub(crate) target: Target,
    pub(crate) settings: BackendSettings,
}

impl FromFields for BackendWish {
    fn from_fields(mut fields: Fields<'_>) -> Option<Self> {
        fields.refuse("uuid", "is chosen by the server");
        Self::read(fields)
    }
}

impl BackendWish {
    fn read(mut fields: Fields<'_>) -> Option<Self> {
        let ip = fields.required("ip", ip);
        let port = fields.required("port", port);
        let forwarding = fields.optional("type", forwarding).unwrap_or_default();
        let weight = fields.optional("weight", weight).unwrap_or_default();
        fields.finish();
        Some(Self { target: Target { ip: ip?, port: port? }, settings: BackendSettings { forwarding, weight } })
    }
}

/// A backend of the list that `PUT /loadbalancer/{uuid}/backend` takes: as GET shows it, or new.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListedBackend {
    pub(crate) uuid: Option<Uuid>,
    pub(crate) wish: BackendWish,
}

impl FromFields for ListedBackend {
    fn from_fields(mut fields: Fields<'_>) -> Option<Self> {
        let uuid = fields.optional("uuid", uuid);
        Some(Self { uuid, wish: BackendWish::read(fields)? })
    }
}

/// What PATCH takes: as much of an object as is given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Partial<T>(pub(crate) T);

/// What PUT takes: an object with at least everything that can be changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Whole<T>(pub(crate) T);

/// A load-balancer sent back edited.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadBalancerEdit {
    pub(crate) uuid: Option<Uuid>,
    pub(crate) name: Option<Name>,
    pub(crate) eip: Option<Vip>,
    pub(crate) port: Option<Port>,
    pub(crate) backends: Option<Vec<BackendEdit>>,
    pub(crate) status: Option<Phase>,
    pub(crate) advertise: Option<Advertise>,
    pub(crate) scheduler: Option<Scheduler>,
}

impl LoadBalancerEdit {
    fn read(mut fields: Fields<'_>, whole: bool) -> Self {
        let edit = Self {
            uuid: fields.optional("uuid", uuid),
            name: if whole { fields.required("name", name) } else { fields.optional("name", name) },
            eip: fields.optional("eip", vip),
            port: fields.optional("port", port),
            backends: fields.list("backends", |fields| Some(BackendEdit::read(fields, false))),
            status: fields.optional("status", phase),
            advertise: fields.optional("advertise", advertise),
            scheduler: fields.optional("scheduler", scheduler),
        };
        fields.finish();
        edit
    }
}

/// A backend sent back edited.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BackendEdit {
    pub(crate) uuid: Option<Uuid>,
    pub(crate) ip: Option<BackendIp>,
    pub(crate) port: Option<Port>,
    pub(crate) forwarding: Option<Forwarding>,
    pub(crate) weight: Option<Weight>,
}

impl BackendEdit {
    fn read(mut fields: Fields<'_>, whole: bool) -> Self {
        let edit = Self {
            uuid: fields.optional("uuid", uuid),
            ip: fields.optional("ip", ip),
            port: fields.optional("port", port),
            forwarding: fields.optional("type", forwarding),
            weight: if whole { fields.required("weight", weight) } else { fields.optional("weight", weight) },
        };
        fields.finish();
        edit
    }

    /// Whether nothing in it differs from the backend.
    pub(crate) fn repeats(&self, backend: &Backend) -> bool {
        same(self.uuid, backend.id.0)
            && same(self.ip, backend.target.ip)
            && same(self.port, backend.target.port)
            && same(self.forwarding, backend.settings.forwarding)
            && same(self.weight, backend.settings.weight)
    }
}

fn same<T: PartialEq>(given: Option<T>, is: T) -> bool {
    given.is_none_or(|given| given == is)
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

impl FromFields for Whole<BackendEdit> {
    fn from_fields(fields: Fields<'_>) -> Option<Self> {
        Some(Self(BackendEdit::read(fields, true)))
    }
}

impl FromFields for Partial<BackendEdit> {
    fn from_fields(fields: Fields<'_>) -> Option<Self> {
        Some(Self(BackendEdit::read(fields, false)))
    }
}

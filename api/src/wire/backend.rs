// SPDX-License-Identifier: Apache-2.0
//! Backends on the wire.

use std::sync::Arc;

use serde::Serialize;
use slb_core::{
    command::{BackendChange, PartialTarget},
    model::{
        Backend, BackendId, BackendIp, BackendSettings, Discord, Encapsulation, Forwarding, ForwardingKind, Port,
        Target, Weight,
    },
};
use uuid::Uuid;

use crate::{
    check::{health_check_of_backend, view::HealthCheckView},
    fields::Fields,
    observed::{BackendObserved, Observer},
    read::{forwarding, ip, port, tunnel_name, u32, uuid, weight},
};

use super::{FromFields, Partial, Whole, drain::DrainView};

/// A backend as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BackendView<'a> {
    uuid: BackendId,
    ip: BackendIp,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<Port>,
    r#type: ForwardingKind,
    weight: Weight,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelView>,
    upper_threshold: u32,
    lower_threshold: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check: Option<HealthCheckView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<DrainView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<BackendObserved<'a>>,
}

#[derive(Serialize)]
pub(super) struct TunnelView {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<Port>,
}

impl TunnelView {
    pub(super) fn of(forwarding: Forwarding) -> Option<Self> {
        let encapsulation = forwarding.encapsulation()?;
        Some(Self { r#type: encapsulation.name(), port: encapsulation.port() })
    }
}

impl<'a> From<&'a Backend> for BackendView<'a> {
    fn from(backend: &'a Backend) -> Self {
        let BackendSettings { forwarding, weight, thresholds } = backend.settings();
        Self {
            uuid: backend.id,
            ip: backend.target.ip,
            port: backend.target.port,
            r#type: forwarding.kind(),
            weight,
            tunnel: TunnelView::of(forwarding),
            upper_threshold: thresholds.upper(),
            lower_threshold: thresholds.lower(),
            health_check: backend.check().map(|check| HealthCheckView::of_backend(check)),
            drain: backend.condition().drain.map(DrainView::from),
            observed: None,
        }
    }
}

impl<'a> BackendView<'a> {
    /// With how it is doing.
    pub(crate) fn observed(backend: &'a Backend, observer: Option<Observer<'a>>) -> Self {
        let left = observer.and_then(|observer| observer.left(Some(backend.target)));
        Self {
            drain: backend.condition().drain.map(|drain| DrainView::waiting(drain, left)),
            observed: observer.and_then(|observer| observer.backend(backend)),
            ..Self::from(backend)
        }
    }
}

/// What `POST /loadbalancer/{uuid}/backend` takes.
#[derive(Clone, Debug)]
pub(crate) struct BackendWish {
    pub(crate) target: Target,
    settings: BackendChange,
}

impl FromFields for BackendWish {
    fn from_fields(mut fields: Fields<'_>) -> Option<Self> {
        fields.refuse("uuid", "is chosen by the server");
        fields.refuse("observed", "is set by the server");
        fields.refuse("drain", "is asked for once the backend is there");
        Self::read(fields)
    }
}

impl BackendWish {
    /// One there, and nothing special.
    pub(crate) fn at(target: Target) -> Self {
        Self { target, settings: BackendChange::default() }
    }

    fn read(mut fields: Fields<'_>) -> Option<Self> {
        let ip = fields.required("ip", ip);
        let port = fields.optional("port", port);
        let settings = settings(&mut fields);
        fields.finish();
        Some(Self { target: Target { ip: ip?, port }, settings })
    }

    /// The backend that it asks for, under an id that nothing has had.
    pub(crate) fn with_new_id(&self) -> Result<Backend, Discord> {
        let Self { target, settings } = self;
        let settings = settings.of(BackendSettings::default());
        let settings = settings.map_err(|Discord { field, why }| Discord { field, why: format!("{target}: {why}") })?;
        let check = self.settings.check.clone().flatten();
        Ok(Backend::new(BackendId(Uuid::new_v4()), *target, settings).with_check(check))
    }
}

/// A backend of the list that `PUT /loadbalancer/{uuid}/backend` takes: as GET shows it, or new.
#[derive(Clone, Debug)]
pub(crate) struct ListedBackend {
    pub(crate) uuid: Option<Uuid>,
    pub(crate) wish: BackendWish,
}

impl FromFields for ListedBackend {
    fn from_fields(mut fields: Fields<'_>) -> Option<Self> {
        let uuid = fields.optional("uuid", uuid);
        fields.pass_over("observed");
        fields.pass_over("drain");
        Some(Self { uuid, wish: BackendWish::read(fields)? })
    }
}

/// A backend sent back edited.
#[derive(Clone, Debug)]
pub(crate) struct BackendEdit {
    pub(crate) uuid: Option<Uuid>,
    pub(crate) change: BackendChange,
}

impl BackendEdit {
    /// As much of it as is given; of a `whole` one, the weight must be.
    pub(crate) fn read(mut fields: Fields<'_>, whole: bool) -> Self {
        if whole {
            fields.expect("weight");
        }
        let edit = Self {
            uuid: fields.optional("uuid", uuid),
            change: BackendChange {
                target: PartialTarget { ip: fields.optional("ip", ip), port: fields.optional("port", port) },
                ..settings(&mut fields)
            },
        };
        fields.pass_over("observed");
        fields.pass_over("drain");
        fields.finish();
        edit
    }

    /// Whether nothing in it differs from the backend.
    pub(crate) fn repeats(&self, backend: &Backend) -> bool {
        let PartialTarget { ip, port } = self.change.target;
        self.uuid.is_none_or(|uuid| uuid == backend.id.0)
            && ip.is_none_or(|ip| ip == backend.target.ip)
            && port.is_none_or(|port| Some(port) == backend.target.port)
            && self.change.of(backend.settings()) == Ok(backend.settings())
            && self.change.check.as_ref().is_none_or(|check| check.as_ref() == backend.check())
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

/// The settings among the fields of a backend, as far as they are given.
fn settings(fields: &mut Fields<'_>) -> BackendChange {
    BackendChange {
        weight: fields.optional("weight", weight),
        target: PartialTarget::default(),
        kind: fields.optional("type", forwarding),
        encapsulation: fields.object("tunnel", tunnel).flatten(),
        upper_threshold: fields.optional("upperThreshold", u32),
        lower_threshold: fields.optional("lowerThreshold", u32),
        check: health_check_of_backend(fields).map(|check| check.map(Arc::new)),
    }
}

pub(super) fn tunnel(mut fields: Fields<'_>) -> Option<Encapsulation> {
    let name = fields.required("type", tunnel_name);
    let port = fields.optional("port", port);
    let tunnel = Encapsulation::new(&name?, port).map_err(|invalid| fields.found("type", || invalid.to_string()));
    fields.finish();
    tunnel.ok()
}

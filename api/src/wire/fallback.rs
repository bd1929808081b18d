// SPDX-License-Identifier: Apache-2.0
//! The fallback of a load-balancer on the wire: a backend with nothing to weigh or to check.

use serde::Serialize;
use slb_core::{
    command::BackendChange,
    model::{BackendIp, BackendSettings, Discord, Fallback, ForwardingKind, Port, Target},
};

use super::backend::{TunnelView, tunnel};
use crate::{
    fields::Fields,
    read::{forwarding, ip, port},
};

/// The fallback as it is shown.
#[derive(Serialize)]
pub(crate) struct FallbackView {
    ip: BackendIp,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<Port>,
    r#type: ForwardingKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelView>,
}

impl From<&Fallback> for FallbackView {
    fn from(Fallback { target, settings }: &Fallback) -> Self {
        Self {
            ip: target.ip,
            port: target.port,
            r#type: settings.forwarding.kind(),
            tunnel: TunnelView::of(settings.forwarding),
        }
    }
}

/// The field of a load-balancer: left out, `None`; null, `Some(None)`.
pub(crate) fn fallback(fields: &mut Fields<'_>) -> Option<Option<Fallback>> {
    fields.object("fallback", read)
}

fn read(mut fields: Fields<'_>) -> Option<Fallback> {
    let ip = fields.required("ip", ip);
    let port = fields.optional("port", port);
    let change = BackendChange {
        kind: fields.optional("type", forwarding),
        encapsulation: fields.object("tunnel", tunnel).flatten(),
        ..BackendChange::default()
    };
    let settings = change.of(BackendSettings::default());
    let settings = settings.map_err(|Discord { field, why }| fields.found(field, || why)).ok();
    fields.finish();
    Some(Fallback { target: Target { ip: ip?, port }, settings: settings? })
}

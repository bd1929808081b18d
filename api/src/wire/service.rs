// SPDX-License-Identifier: Apache-2.0
//! How a load-balancer balances, on the wire.

use serde::Serialize;
use slb_core::{
    command::ServiceChange,
    model::{Persistence, ProxyProtocol, Scheduler, ServiceSettings},
};

use crate::{
    fields::Fields,
    read::{flag, granularity, persistence_timeout, proxy_protocol, scheduler, scheduler_flags},
};

/// The settings as they are shown, among the fields of the load-balancer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceView {
    scheduler: Scheduler,
    scheduler_flags: Vec<&'static str>,
    persistence: Option<PersistenceView>,
    one_packet: bool,
    proxy_protocol: Option<&'static str>,
}

#[derive(Serialize)]
struct PersistenceView {
    timeout: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    granularity: Option<u8>,
}

impl From<ServiceSettings> for ServiceView {
    fn from(settings: ServiceSettings) -> Self {
        Self {
            scheduler: settings.scheduler,
            scheduler_flags: settings.flags.names().collect(),
            persistence: settings.persistence.map(|Persistence { timeout, granularity }| PersistenceView {
                timeout: format!("{}s", timeout.seconds()),
                granularity,
            }),
            one_packet: settings.one_packet,
            proxy_protocol: settings.proxy_protocol.map(ProxyProtocol::name),
        }
    }
}

/// The settings among the fields of a load-balancer, as far as they are given.
pub(crate) fn service(fields: &mut Fields<'_>) -> ServiceChange {
    ServiceChange {
        scheduler: fields.optional("scheduler", scheduler),
        flags: fields.optional("schedulerFlags", scheduler_flags),
        persistence: fields.object("persistence", persistence),
        one_packet: fields.optional("onePacket", flag),
        proxy_protocol: fields.optional("proxyProtocol", proxy_protocol),
    }
}

fn persistence(mut fields: Fields<'_>) -> Option<Persistence> {
    let timeout = fields.optional("timeout", persistence_timeout).unwrap_or_default();
    let granularity = fields.optional("granularity", granularity);
    fields.finish();
    Some(Persistence { timeout, granularity })
}

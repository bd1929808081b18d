// SPDX-License-Identifier: Apache-2.0
//! `/statistics` and `/loadbalancer/{uuid}/statistics`: what the kernel counts. However many ask, it is read once a second at most.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde::Serialize;
use slb_core::{
    board::Seen,
    command::Failure,
    model::{BackendId, BackendIp, LoadBalancer, LoadBalancerId, Port},
    statistics::{BackendCount as Counted, Connections, Counters, Counts, Reading},
};

use crate::{Api, extract::LoadBalancerPath, loadbalancers::known, observed::Time, problem::Problem, reply};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CountersView {
    connections: u64,
    packets_in: u64,
    packets_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    per_second: CountsView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CountsView {
    connections: u64,
    packets_in: u64,
    packets_out: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl From<Counts> for CountsView {
    fn from(Counts { connections, packets_in, packets_out, bytes_in, bytes_out }: Counts) -> Self {
        Self { connections, packets_in, packets_out, bytes_in, bytes_out }
    }
}

impl From<Counters> for CountersView {
    fn from(Counters { total, rate }: Counters) -> Self {
        let Counts { connections, packets_in, packets_out, bytes_in, bytes_out } = total;
        Self { connections, packets_in, packets_out, bytes_in, bytes_out, per_second: rate.into() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionsView {
    active_connections: u64,
    inactive_connections: u64,
    persistent_connections: u64,
}

impl FromIterator<Connections> for ConnectionsView {
    fn from_iter<I: IntoIterator<Item = Connections>>(all: I) -> Self {
        let none = Self { active_connections: 0, inactive_connections: 0, persistent_connections: 0 };
        all.into_iter().fold(none, |sum, each| Self {
            active_connections: sum.active_connections + u64::from(each.active),
            inactive_connections: sum.inactive_connections + u64::from(each.inactive),
            persistent_connections: sum.persistent_connections + u64::from(each.persistent),
        })
    }
}

#[derive(Serialize)]
struct LoadBalancerCount {
    uuid: LoadBalancerId,
    time: Time,
    #[serde(flatten)]
    traffic: CountersView,
    #[serde(flatten)]
    connections: ConnectionsView,
    backends: Vec<BackendCount>,
}

#[derive(Serialize)]
struct BackendCount {
    uuid: BackendId,
    ip: BackendIp,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<Port>,
    #[serde(flatten)]
    traffic: CountersView,
    #[serde(flatten)]
    connections: ConnectionsView,
}

impl LoadBalancerCount {
    /// On all of its VIPs together. What is not programmed has counted nothing.
    fn new(load_balancer: &LoadBalancer, reading: &Reading) -> Self {
        let services = || load_balancer.virtual_services().filter_map(|service| reading.services.get(&service.key()));
        let backend = |target| services().filter_map(|service| service.backends.get(target)).copied().sum::<Counted>();
        let backends = load_balancer.backends();
        Self {
            uuid: load_balancer.id,
            time: Time(reading.at),
            traffic: services().map(|service| service.traffic).sum::<Counters>().into(),
            connections: backends.iter().map(|each| backend(&each.target).connections).collect(),
            backends: backends
                .iter()
                .map(|each| {
                    let count = backend(&each.target);
                    BackendCount {
                        uuid: each.id,
                        ip: each.target.ip,
                        port: each.target.port,
                        traffic: count.traffic.into(),
                        connections: [count.connections].into_iter().collect(),
                    }
                })
                .collect(),
        }
    }
}

/// Of all load-balancers, in the order they were created.
pub(crate) async fn all(State(api): State<Api>) -> Result<Response, Problem> {
    let reading = read(&api).await?;
    let seen = api.board.list().unwrap_or_default();
    let count = |seen: &Seen| LoadBalancerCount::new(&seen.load_balancer, &reading);
    Ok(reply::ok(&seen.iter().map(count).collect::<Vec<_>>()))
}

/// Of one.
pub(crate) async fn one(State(api): State<Api>, LoadBalancerPath(id): LoadBalancerPath) -> Result<Response, Problem> {
    let load_balancer = known(&api, id)?;
    let reading = read(&api).await?;
    Ok(reply::ok(&LoadBalancerCount::new(&load_balancer, &reading)))
}

/// Without anything that counts, nothing has been counted.
async fn read(api: &Api) -> Result<Arc<Reading>, Problem> {
    let Some(statistics) = api.board.statistics() else {
        return Ok(Arc::new(Reading { at: api.board.journal().now(), services: std::collections::BTreeMap::new() }));
    };
    let failed = |cause| Failure::Ask { doing: "read the counters of the kernel".to_owned(), cause };
    statistics.read().await.map_err(|error| failed(error.into()).into())
}

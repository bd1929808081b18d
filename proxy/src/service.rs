// SPDX-License-Identifier: Apache-2.0
//! A service as its workers share it: who gets a connection is decided under one lock, so that the turn is one for all workers.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use slb_core::{
    model::{BackendSettings, Endpoint, ProxyProtocol, ServiceKey, ServiceSettings, SourceNat, Target},
    observed::ServiceView,
    statistics::{BackendCount, Connections, ServiceCount},
};
use tokio::sync::{mpsc, watch};

use crate::{
    balance::{Balancer, Destination, Method, Ticket},
    traffic::Traffic,
};

/// Every service there is; readers of counters share it with the driver.
pub type Services = Arc<Mutex<BTreeMap<ServiceKey, Arc<Service>>>>;

/// A backend as connections to it see it.
#[derive(Debug)]
pub struct Backend {
    traffic: Traffic,
    /// How often its connections were cut.
    cuts: watch::Sender<u64>,
}

/// Connections to an endpoint, and who takes them.
#[derive(Debug)]
pub struct Service {
    endpoint: Endpoint,
    balancer: Mutex<Balancer<Arc<Backend>>>,
    traffic: Traffic,
    _alive: mpsc::Sender<Infallible>,
}

/// A connection to a backend, counted until it is dropped.
#[derive(Debug)]
pub struct Lease {
    service: Arc<Service>,
    backend: Arc<Backend>,
    target: Target,
    ticket: Ticket,
    /// Its backend's cuts before it.
    cuts: u64,
    settings: ServiceSettings,
}

impl Backend {
    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Service {
    /// One without backends. It goes, and `alive` with it, once it is removed and its last connection is over.
    pub fn new(endpoint: Endpoint, method: Method, settings: ServiceSettings, alive: mpsc::Sender<Infallible>) -> Self {
        let balancer = Mutex::new(Balancer::new(method, settings));
        Self { endpoint, balancer, traffic: Traffic::default(), _alive: alive }
    }

    /// Where clients connect to.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    fn balancer(&self) -> MutexGuard<'_, Balancer<Arc<Backend>>> {
        self.balancer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was asked for.
    pub fn settings(&self) -> ServiceSettings {
        self.balancer().settings()
    }

    /// Balances otherwise from now on. Where clients' own addresses are not shown any more, nobody brings answers to them back: their
    /// connections are cut.
    pub fn set(&self, method: Method, settings: ServiceSettings) {
        let mut balancer = self.balancer();
        let were_shown = shows_clients(&balancer.settings());
        balancer.set(method, settings);
        if were_shown && !shows_clients(&settings) {
            balancer.destinations().iter().for_each(|destination| destination.handle().cut());
        }
    }

    /// Its backends.
    pub fn targets(&self) -> Vec<Target> {
        self.balancer().destinations().iter().map(Destination::target).collect()
    }

    /// Adds the backend, or changes the one that is there.
    pub fn put(&self, target: Target, settings: BackendSettings) {
        let backend = || Arc::new(Backend { traffic: Traffic::default(), cuts: watch::Sender::new(0) });
        self.balancer().put(target, settings, backend);
    }

    /// Takes the backend out and cuts its connections.
    pub fn remove(&self, target: Target) {
        if let Some(backend) = self.balancer().remove(target) {
            backend.cut();
        }
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.balancer().destinations().iter().for_each(|destination| destination.handle().cut());
    }

    /// A backend for a new connection; those that were tried in vain are passed over.
    pub fn lease(self: &Arc<Self>, client: SocketAddr, tried: &[Target]) -> Option<Lease> {
        let mut balancer = self.balancer();
        let (ticket, target, backend) = balancer.choose(client, Instant::now(), tried)?;
        let (settings, cuts) = (balancer.settings(), *backend.cuts.borrow());
        drop(balancer);
        Some(Lease { service: Arc::clone(self), backend, target, ticket, cuts, settings })
    }

    /// As the plan compares it.
    pub fn view(&self) -> ServiceView {
        let balancer = self.balancer();
        let backends = balancer.destinations().iter().map(|each| (each.target(), Some(each.settings()))).collect();
        ServiceView { settings: Some(balancer.settings()), backends }
    }

    /// The connections of each backend.
    pub fn connections(&self) -> BTreeMap<Target, Connections> {
        self.balancer().connections(Instant::now()).into_iter().collect()
    }

    /// What has been counted.
    pub fn count(&self) -> ServiceCount {
        let connections = self.connections();
        let balancer = self.balancer();
        let backends = balancer.destinations().iter().map(|each| {
            let connections = connections.get(&each.target()).copied().unwrap_or_default();
            (each.target(), BackendCount { traffic: each.handle().traffic.counters(), connections })
        });
        ServiceCount { traffic: self.traffic.counters(), backends: backends.collect() }
    }

    /// Estimates anew how much there is each second.
    pub fn estimate(&self, seconds: f64) {
        self.traffic.estimate(seconds);
        self.balancer().destinations().iter().for_each(|each| each.handle().traffic.estimate(seconds));
    }
}

impl Lease {
    /// The backend.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.target.at(self.service.endpoint.port)
    }

    /// How the backend is told who its client is, if it is.
    pub fn proxy_protocol(&self) -> Option<ProxyProtocol> {
        self.settings.proxy_protocol
    }

    /// The client, if it is in its name that the backend is connected to.
    pub fn shown(&self, client: SocketAddr) -> Option<SocketAddr> {
        shows_clients(&self.settings).then_some(client)
    }

    /// Whether the connection is cut: the backend has been taken out, for instance.
    pub fn is_gone(&self) -> bool {
        *self.backend.cuts.borrow() != self.cuts
    }

    /// Ends when the connection is cut.
    pub fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let (mut cuts, before) = (self.backend.cuts.subscribe(), self.cuts);
        async move { drop(cuts.wait_for(|cuts| *cuts != before).await) }
    }

    /// The connection is established.
    pub fn establish(&mut self) {
        self.service.balancer().establish(&mut self.ticket);
        self.each(Traffic::connection);
    }

    /// Counts, of the backend and of the service.
    pub fn each(&self, count: impl Fn(&Traffic)) {
        count(&self.backend.traffic);
        count(&self.service.traffic);
    }
}

/// Whether backends see clients' own addresses.
fn shows_clients(settings: &ServiceSettings) -> bool {
    settings.source_nat == Some(SourceNat::Never)
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.service.balancer().end(self.ticket, Instant::now());
    }
}

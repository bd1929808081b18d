// SPDX-License-Identifier: Apache-2.0
//! The driver: steps of the core become listeners, and backends behind them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    num::NonZeroUsize,
    sync::{Arc, MutexGuard, PoisonError},
    thread::available_parallelism,
    time::Duration,
};

use slb_core::{
    model::{Endpoint, Protocol, ServiceKey, Target, VirtualService},
    observed,
    ports::{Cause, Dataplane, SettingChange, Settings, Verdict},
    statistics::Connections,
    step::DataplaneStep,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::UdpSocket,
    task::JoinHandle,
};

use crate::{
    meter::{self, Meter},
    relay::Patience,
    room::{self, Room, Shares},
    service::{Service, Services},
    socket::{self, Binding},
    tcp::{self, Times},
    udp, unserved,
    workers::Workers,
};

/// A step that failed, and may succeed later.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot listen on {endpoint}")]
    Listen {
        endpoint: Endpoint,
        #[source]
        source: io::Error,
    },
    #[error(
        "sockets that listen may take {most} files: for {endpoint}, raise the limit of open files (LimitNOFILE= of the unit, ulimit -n)"
    )]
    TooMany { endpoint: Endpoint, most: usize },
    #[error("there is no service {0}")]
    NoService(VirtualService),
}

/// How connections are relayed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that move bytes.
    pub workers: NonZeroUsize,
    /// Whether VIPs are bound after their services are programmed, so that they need not be there before.
    pub binds_vips: bool,
    /// How long connecting to a backend may take before the next one is asked.
    pub connect_timeout: Duration,
    /// How long nothing may be sent on a TCP connection before it is given up.
    pub tcp_timeout: Duration,
    /// The same once one end has closed its direction.
    pub tcp_fin_timeout: Duration,
    /// How long a UDP client is remembered that sends and gets nothing.
    pub udp_timeout: Duration,
}

/// One worker for each core; the time-outs of IPVS; five seconds to connect, as is usual with proxies.
impl Default for Options {
    fn default() -> Self {
        Self {
            workers: available_parallelism().unwrap_or(NonZeroUsize::MIN),
            binds_vips: false,
            connect_timeout: Duration::from_secs(5),
            tcp_timeout: Duration::from_secs(15 * 60),
            tcp_fin_timeout: Duration::from_secs(2 * 60),
            udp_timeout: Duration::from_secs(5 * 60),
        }
    }
}

/// Balances in this process. What it has goes with it.
#[derive(Debug)]
pub struct Proxy {
    services: Services,
    /// What accepts, by service: a task on each worker.
    acceptors: BTreeMap<ServiceKey, Vec<JoinHandle<()>>>,
    options: Options,
    room: Arc<Room>,
    workers: Workers,
}

impl Proxy {
    /// Starts its workers; nothing is listened to yet.
    ///
    /// # Errors
    /// There are no threads or descriptors left.
    pub fn start(options: Options) -> io::Result<Self> {
        let Shares { connections, pipes } = Shares::of(room::files(), options.workers);
        let room = Arc::new(Room::new(connections));
        let workers = Workers::start(options.workers, pipes)?;
        let services = Services::default();
        if let Some(worker) = workers.handles().first() {
            worker.spawn(meter::estimate(Arc::clone(&services)));
        }
        Ok(Self { services, acceptors: BTreeMap::new(), options, room, workers })
    }

    /// Reads what it counts.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter::new(Arc::clone(&self.services))
    }

    fn services(&self) -> MutexGuard<'_, BTreeMap<ServiceKey, Arc<Service>>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn service(&self, service: VirtualService) -> Option<Arc<Service>> {
        self.services().get(&service.key()).map(Arc::clone)
    }

    async fn take(&mut self, step: &DataplaneStep) -> Result<(), Verdict> {
        match *step {
            DataplaneStep::AddService(at, settings) | DataplaneStep::SetService(at, settings) => {
                let endpoint = unserved::endpoint(at).map_err(refused)?;
                let method = unserved::method(&settings).map_err(refused)?;
                unserved::source(&settings).map_err(refused)?;
                match self.service(at) {
                    Some(service) => service.set(method, settings),
                    None => self.listen(endpoint, &Arc::new(Service::new(endpoint, method, settings)))?,
                }
            }
            DataplaneStep::RemoveService(at) => {
                let removed = self.services().remove(&at.key());
                let acceptors = self.acceptors.remove(&at.key()).unwrap_or_default();
                acceptors.iter().for_each(JoinHandle::abort);
                for acceptor in acceptors {
                    // It was cancelled. Its socket is closed now, so the endpoint can be taken again.
                    drop(acceptor.await);
                }
                removed.iter().for_each(|service| service.cut());
            }
            DataplaneStep::AddBackend(at, target, settings) | DataplaneStep::SetBackend(at, target, settings) => {
                unserved::forwarding(&settings).map_err(refused)?;
                let service = self.service(at).ok_or_else(|| Verdict::Retry(Error::NoService(at).into()))?;
                service.put(target, settings);
            }
            DataplaneStep::RemoveBackend(at, target) => {
                if let Some(service) = self.service(at) {
                    service.remove(target);
                }
            }
        }
        Ok(())
    }

    fn listen(&mut self, endpoint: Endpoint, service: &Arc<Service>) -> Result<(), Verdict> {
        let failed = |error: io::Error| match unserved::listening(endpoint, &error) {
            Some(unserved) => refused(unserved),
            None => Verdict::Retry(Error::Listen { endpoint, source: error }.into()),
        };
        // Beside sockets of somebody else, slb would have a part of the clients.
        if socket::is_taken(endpoint) {
            return Err(failed(io::ErrorKind::AddrInUse.into()));
        }
        let (workers, most) = (self.workers.handles(), self.room.half());
        if (self.acceptors.len() + 1) * workers.len() > most {
            return Err(Verdict::Retry(Error::TooMany { endpoint, most }.into()));
        }
        let binding = Binding { is_shared: workers.len() > 1, is_early: self.options.binds_vips };
        let acceptors = match endpoint.protocol {
            Protocol::Udp => self.receive(endpoint, service, binding),
            Protocol::Tcp | Protocol::Sctp => self.accept(endpoint, service, binding),
        };
        let acceptors = acceptors.map_err(failed)?;
        self.services().insert(endpoint.into(), Arc::clone(service));
        self.acceptors.insert(endpoint.into(), acceptors);
        Ok(())
    }
}

/// What runs on each worker. All sockets or none: the kernel gives each one its share of clients from the moment that it is there.
impl Proxy {
    fn accept(&self, endpoint: Endpoint, service: &Arc<Service>, binding: Binding) -> io::Result<Vec<JoinHandle<()>>> {
        let Options { connect_timeout, tcp_timeout, tcp_fin_timeout, .. } = self.options;
        let patience = Patience { open: tcp_timeout, half_closed: tcp_fin_timeout };
        let times = Times { connect: connect_timeout, patience };
        let workers = self.workers.handles();
        let sockets: Vec<_> = workers.iter().map(|_| socket::listen(endpoint, binding)).collect::<Result<_, _>>()?;
        let on_each = workers.iter().zip(sockets).map(|(worker, socket)| {
            let _within = worker.enter();
            #[expect(deprecated, reason = "what its successor has callers promise, a `TcpListener` keeps by itself")]
            let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
            Ok(worker.spawn(tcp::accept(socket, Arc::clone(service), Arc::clone(&self.room), times)))
        });
        on_each.collect()
    }

    fn receive(&self, endpoint: Endpoint, service: &Arc<Service>, binding: Binding) -> io::Result<Vec<JoinHandle<()>>> {
        let limit = self.options.udp_timeout;
        let workers = self.workers.handles();
        let sockets: Vec<_> = workers.iter().map(|_| socket::receive(endpoint, binding)).collect::<Result<_, _>>()?;
        let on_each = workers.iter().zip(sockets).map(|(worker, socket)| {
            let _within = worker.enter();
            let socket = UdpSocket::from_std(socket)?;
            Ok(worker.spawn(udp::serve(socket, Arc::clone(service), Arc::clone(&self.room), limit)))
        });
        on_each.collect()
    }
}

fn refused(unserved: slb_core::ports::Unserved) -> Verdict {
    Verdict::Refused(unserved.into())
}

impl Dataplane for Proxy {
    async fn observe(&mut self) -> Result<observed::Services, Cause> {
        Ok(self.services().iter().map(|(key, service)| (*key, service.view())).collect())
    }

    async fn exists(&mut self, service: VirtualService) -> Result<bool, Cause> {
        Ok(match service {
            VirtualService::Endpoint(endpoint) => socket::is_taken(endpoint),
            VirtualService::Mark(..) => false,
        })
    }

    async fn keys(&mut self) -> Result<BTreeSet<ServiceKey>, Cause> {
        Ok(self.services().keys().copied().collect())
    }

    async fn connections(&mut self, service: VirtualService) -> Result<BTreeMap<Target, Connections>, Cause> {
        Ok(self.service(service).map(|service| service.connections()).unwrap_or_default())
    }

    async fn apply(&mut self, steps: &[DataplaneStep]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(steps.len());
        for step in steps {
            verdicts.push(self.take(step).await.err().unwrap_or(Verdict::Applied));
        }
        verdicts
    }
}

/// It changes no setting of the kernel.
impl Settings for Proxy {
    async fn drifted_settings(&mut self) -> Result<Vec<SettingChange>, Cause> {
        Ok(Vec::new())
    }

    async fn set(&mut self, _name: &str, _value: &str) -> Result<(), Cause> {
        Ok(())
    }

    async fn get(&mut self, _name: &str) -> Result<String, Cause> {
        Ok(String::new())
    }
}

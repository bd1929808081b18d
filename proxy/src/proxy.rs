// SPDX-License-Identifier: Apache-2.0
//! The driver: steps of the core become listeners, and backends behind them.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    io,
    num::NonZeroUsize,
    os::fd::BorrowedFd,
    sync::{Arc, MutexGuard, PoisonError},
    thread::available_parallelism,
    time::Duration,
};

use slb_core::{
    model::{Endpoint, Protocol, ServiceKey, Target, VirtualService},
    observed,
    ports::{Cause, Dataplane, SettingChange, Settings, Unserved, Verdict},
    statistics::Connections,
    step::DataplaneStep,
};
use tokio::{sync::mpsc, time::sleep};

use crate::{
    entrance::Entrance,
    inherited::Inherited,
    meter::{self, Meter},
    room::{self, Room, Shares},
    service::{Service, Services},
    shared::Shared,
    socket::{self, Binding},
    unserved,
    workers::Workers,
};

/// For answers of UDP backends that are under way when another process takes over. Resolvers ask again after five.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

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
    entrances: BTreeMap<ServiceKey, Entrance>,
    /// Sockets of services to come.
    inherited: Inherited,
    /// UDP sockets that the process before this one may still have open.
    shared: Shared,
    /// Whether clients are taken.
    is_open: bool,
    /// Every service has one, and whatever is relayed has its service.
    alive: mpsc::Sender<Infallible>,
    /// Ends with the last of them.
    over: mpsc::Receiver<Infallible>,
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
        let room = Arc::new(Room::new(connections, room::ports()));
        let workers = Workers::start(options.workers, pipes)?;
        let services = Services::default();
        if let Some(worker) = workers.handles().first() {
            worker.spawn(meter::estimate(Arc::clone(&services)));
        }
        let (alive, over) = mpsc::channel(1);
        let (entrances, inherited, shared) = (BTreeMap::new(), Inherited::default(), Shared::default());
        Ok(Self { services, entrances, inherited, shared, is_open: true, alive, over, options, room, workers })
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
                match self.service(at) {
                    Some(service) => {
                        for target in service.targets() {
                            unserved::way_back(&settings, target).map_err(refused)?;
                        }
                        service.set(method, settings);
                    }
                    None => {
                        let service = Service::new(endpoint, method, settings, self.alive.clone());
                        self.listen(endpoint, &Arc::new(service))?;
                    }
                }
            }
            DataplaneStep::RemoveService(at) => {
                let removed = self.services().remove(&at.key());
                if let Some(mut entrance) = self.entrances.remove(&at.key()) {
                    entrance.shut().await;
                    // Its sockets are closed with it, so the endpoint can be taken again, unless somebody else has them open.
                    self.shared.keep(at, entrance.sockets());
                }
                removed.iter().for_each(|service| service.cut());
            }
            DataplaneStep::AddBackend(at, target, settings) | DataplaneStep::SetBackend(at, target, settings) => {
                let service = self.service(at).ok_or_else(|| Verdict::Retry(Error::NoService(at).into()))?;
                unserved::way_back(&service.settings(), target).map_err(refused)?;
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
            Some(denied) => Verdict::Refused(denied.into()),
            None => Verdict::Retry(Error::Listen { endpoint, source: error }.into()),
        };
        let (workers, most) = (self.workers.handles(), self.room.half());
        let inherited = self.inherited.take(endpoint);
        let inherited =
            if inherited.is_empty() { self.shared.take(endpoint) } else { self.shared.note(endpoint, inherited) };
        let entrance = if !inherited.is_empty() {
            Entrance::over(endpoint, inherited, workers)
        } else if socket::is_taken(endpoint) {
            // Beside sockets of somebody else, slb would have a part of the clients.
            Err(io::ErrorKind::AddrInUse.into())
        } else if (self.entrances.len() + 1) * workers.len() > most {
            return Err(Verdict::Retry(Error::TooMany { endpoint, most }.into()));
        } else {
            let binding = Binding { is_shared: workers.len() > 1, is_early: self.options.binds_vips };
            Entrance::bind(endpoint, binding, workers)
        };
        let mut entrance = entrance.map_err(failed)?;
        if self.is_open {
            entrance.open(service, &self.room, &self.options, workers);
        }
        self.services().insert(endpoint.into(), Arc::clone(service));
        self.entrances.insert(endpoint.into(), entrance);
        Ok(())
    }
}

/// Taking over from another process, and giving over to one.
impl Proxy {
    /// Services to come have these sockets; clients wait in them, and in any others, until [`open`](Self::open).
    pub fn inherit(&mut self, inherited: Inherited) {
        self.inherited = inherited;
        self.is_open = false;
    }

    /// Takes clients, unless it does already.
    pub fn open(&mut self) {
        self.is_open = true;
        // The other process may be slower to begin with that.
        self.shared.ends_after(2 * LAST_ANSWERS);
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, entrance) in &mut self.entrances {
            if let Some(service) = services.get(key) {
                entrance.open(service, &self.room, &self.options, self.workers.handles());
            }
        }
    }

    /// Closes inherited sockets that no service has asked for, and says which they were.
    pub fn close_unclaimed(&mut self) -> Vec<Endpoint> {
        std::mem::take(&mut self.inherited).close()
    }

    /// What clients come to, for a process that is to go on with it.
    #[must_use]
    pub fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.entrances.values().flat_map(Entrance::sockets).collect()
    }

    /// Takes nobody any more, until [`open`](Self::open); clients wait. What is relayed goes on.
    pub async fn shut(&mut self) {
        self.is_open = false;
        for entrance in self.entrances.values_mut() {
            entrance.shut().await;
        }
    }

    /// Closes the sockets that clients come to, which another process has now, and ends when nothing is relayed any more. UDP clients are
    /// that process's from now on; answers to what they have asked before still go out for a moment.
    pub async fn retire(mut self) {
        self.shut().await;
        let services = std::mem::take(&mut *self.services());
        let udp: Vec<_> = services.into_values().filter(|each| each.endpoint().protocol == Protocol::Udp).collect();
        self.entrances.retain(|key, _| udp.iter().any(|service| *key == service.endpoint().into()));
        if !udp.is_empty() {
            sleep(LAST_ANSWERS).await;
            udp.iter().for_each(|service| service.cut());
        }
        let Self { entrances, alive, mut over, workers, .. } = self;
        drop((udp, entrances, alive));
        let never = over.recv().await;
        drop((never, workers));
    }
}

fn refused(why: impl Into<Cause>) -> Verdict {
    Verdict::Refused(why.into())
}

impl Dataplane for Proxy {
    async fn observe(&mut self) -> Result<observed::Services, Cause> {
        self.shared.close_if_over();
        Ok(self.services().iter().map(|(key, service)| (*key, service.view())).collect())
    }

    async fn exists(&mut self, service: VirtualService) -> Result<bool, Cause> {
        Ok(match service {
            VirtualService::Endpoint(endpoint) => {
                let is_own = self.inherited.has(endpoint) || self.shared.has(endpoint);
                !is_own && socket::is_taken(endpoint)
            }
            VirtualService::Mark(..) => false,
        })
    }

    async fn keys(&mut self) -> Result<BTreeSet<ServiceKey>, Cause> {
        Ok(self.services().keys().copied().collect())
    }

    async fn connections(&mut self, service: VirtualService) -> Result<BTreeMap<Target, Connections>, Cause> {
        Ok(self.service(service).map(|service| service.connections()).unwrap_or_default())
    }

    fn unserved(&self, step: &DataplaneStep) -> Option<Unserved> {
        unserved::of(step).err()
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

// SPDX-License-Identifier: Apache-2.0
//! A model of the world for tests: a disk and a kernel that survive a crash, and drivers that do not. It is a model and
//! stands for no real driver; the real ones are tested on a real kernel.
//!
//! Every operation passes a point before and one after its effect. A crash is a point from which the future never returns.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future, pending, poll_fn},
    io,
    net::IpAddr,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use crate::{
    checker::{Beginning, Checker, Transition, Watch},
    controller::{Drivers, World},
    model::{
        Backend, BackendSettings, CheckService, Family, Forwarding, LoadBalancer, LoadBalancerId, Phase, ServiceKey,
        Target, Thresholds, Time, Vip, VirtualService,
    },
    observed::{HostView, ServiceView, Services},
    plan::Observed,
    ports::{
        Advertiser, Cause, Dataplane, Host, Pool, PoolError, Probe, SettingChange, Settings, Snapshot, Store, Unserved,
        Verdict, Wanted, Write,
    },
    statistics::Connections,
    step::{AdvertStep, DataplaneStep, HostStep, Step},
};

/// The data plane's setting; all others are the host's.
pub const TIMEOUT: &str = "timeout";

/// What is left when the process is killed.
#[derive(Debug, Default)]
pub struct Remains {
    pub disk: Snapshot,
    pub kernel: Observed,
    pub settings: BTreeMap<String, String>,
    /// What the data plane needs its setting to be.
    pub timeout: Option<String>,
    /// Addresses that answer a probe, with who answers.
    pub neighbours: BTreeMap<Vip, String>,
    /// How often the network has to be asked for an address before it answers.
    pub probe_takes: BTreeMap<Vip, usize>,
    /// Addresses that somebody pays for.
    pub reserved: BTreeSet<Vip>,
    /// How often the pool has to be asked before it answers.
    pub pool_takes: usize,
    /// Points left before the crash; `None` never crashes.
    pub fuse: Option<usize>,
    /// Steps that fail, with whether it may pass.
    pub broken: Vec<(Step, bool)>,
    /// Steps that the data plane can never take.
    pub unserved: Vec<DataplaneStep>,
    /// Whether the disk refuses writes.
    pub disk_full: bool,
    /// Steps carried out, in order.
    pub log: Vec<Step>,
    /// What is checked, with how it began when it was first asked for.
    pub watched: BTreeMap<LoadBalancerId, BTreeMap<Watch, Beginning>>,
    /// What checks have found out.
    pub transitions: Vec<Transition>,
    /// Active connections of backends.
    pub connections: BTreeMap<Target, u32>,
    /// Whether backends may answer from VIPs.
    pub expects_answers_from_vips: bool,
}

/// Shared by the drivers and the test.
#[derive(Clone, Debug, Default)]
pub struct Sim(pub Arc<Mutex<Remains>>);

impl Sim {
    pub fn with<T>(&self, f: impl FnOnce(&mut Remains) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }

    /// Runs to the end, or to the crash: `None`.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..10_000 {
            if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
                return Some(done);
            }
            if self.with(|remains| remains.fuse == Some(0)) {
                return None;
            }
        }
        panic!("it never ends");
    }

    async fn point(&self) {
        let crash = self.with(|remains| match &mut remains.fuse {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        });
        if crash {
            pending().await
        }
    }

    fn drift(&self, name: &str, wish: &str) -> Option<SettingChange> {
        let from = self.with(|remains| remains.settings.get(name).cloned())?;
        (from != wish).then(|| SettingChange { name: name.to_owned(), from, to: wish.to_owned() })
    }

    async fn set(&self, name: &str, value: &str) {
        self.point().await;
        self.with(|remains| remains.settings.insert(name.to_owned(), value.to_owned()));
        self.point().await;
    }

    async fn step(&self, step: Step, effect: impl FnOnce(&mut Observed)) -> Verdict {
        self.point().await;
        let broken = self.with(|remains| remains.broken.iter().find(|(broken, _)| *broken == step).copied());
        let verdict = match broken {
            Some((_, true)) => Verdict::Retry("broken for now".into()),
            Some((_, false)) => Verdict::Refused("broken".into()),
            None => {
                self.with(|remains| {
                    effect(&mut remains.kernel);
                    remains.log.push(step);
                });
                Verdict::Applied
            }
        };
        self.point().await;
        verdict
    }
}

pub struct SimWorld;

impl World for SimWorld {
    type Store = SimStore;
    type Pool = SimPool;
    type Host = SimHost;
    type Dataplane = SimDataplane;
    type Advertiser = SimAdvertiser;
    type Checker = SimChecker;
}

pub fn drivers(sim: &Sim, pool: &[Vip]) -> Drivers<SimWorld> {
    sim.with(|remains| remains.kernel.advertised.clear());
    Drivers {
        store: SimStore(sim.clone()),
        pool: SimPool { sim: sim.clone(), all: pool.to_vec(), held: BTreeSet::new() },
        host: SimHost(sim.clone()),
        dataplane: SimDataplane { sim: sim.clone(), seen: Services::default() },
        advertiser: SimAdvertiser(sim.clone()),
        checker: SimChecker(sim.clone()),
    }
}

pub struct SimStore(Sim);

impl Store for SimStore {
    async fn load(&mut self) -> Result<Snapshot, Cause> {
        Ok(self.0.with(|remains| remains.disk.clone()))
    }

    async fn commit(&mut self, writes: Vec<Write>) -> Result<(), Cause> {
        self.0.point().await;
        if self.0.with(|remains| remains.disk_full) {
            return Err(DiskRefuses(io::ErrorKind::StorageFull.into()).into());
        }
        self.0.with(|remains| writes.into_iter().for_each(|write| write_down(&mut remains.disk, write)));
        self.0.point().await;
        Ok(())
    }
}

/// A store's own error, with the disk's as its source.
#[derive(Debug, thiserror::Error)]
#[error("cannot write")]
struct DiskRefuses(#[source] io::Error);

fn write_down(disk: &mut Snapshot, write: Write) {
    match write {
        Write::Put(load_balancer) => {
            disk.last_serial = disk.last_serial.max(load_balancer.serial);
            disk.load_balancers.retain(|each| each.id != load_balancer.id);
            disk.load_balancers.push(load_balancer);
        }
        Write::Erase(id) => disk.load_balancers.retain(|each| each.id != id),
        Write::Released { vip, serial } => drop(disk.released.insert(vip, serial)),
        Write::Reused(vip) => drop(disk.released.remove(&vip)),
        Write::Original(change) => drop(disk.originals.insert(change.name.clone(), change)),
        Write::Restored(name) => drop(disk.originals.remove(&name)),
        Write::Adapter(name) => disk.adapter = Some(name),
        Write::NoAdapter => disk.adapter = None,
        Write::Uplink(uplink) => disk.uplink = Some(uplink),
        Write::Identity(identity) => disk.identity = Some(identity),
        Write::Peer(peer) => drop(disk.peers.insert(peer.address, peer)),
        Write::NoPeer(address) => drop(disk.peers.remove(&address)),
        Write::Keep(kept) => {
            disk.kept.retain(|each| each.keyed.key != kept.keyed.key);
            disk.kept.push(kept);
        }
        Write::Forget(key) => disk.kept.retain(|each| each.keyed.key != key),
    }
}

/// Its addresses are reserved with a provider.
pub struct SimPool {
    sim: Sim,
    all: Vec<Vip>,
    held: BTreeSet<Vip>,
}

impl SimPool {
    fn take(&mut self, wanted: Wanted, avoid: &BTreeMap<IpAddr, String>) -> Result<Vip, PoolError> {
        let is_meant = |vip: Vip| match wanted {
            Wanted::Vip(wanted) => vip == wanted,
            Wanted::Of(family) => vip.family() == family,
            Wanted::Any => vip.family() == Family::Ipv4,
        };
        let is_free = |vip: &&Vip| !self.held.contains(vip) && !avoid.contains_key(&vip.address());
        let found = self.all.iter().filter(is_free).find(|vip| is_meant(**vip));
        let family = if let Wanted::Of(family) = wanted { family } else { Family::Ipv4 };
        let exhausted = || PoolError::Exhausted { family, pool: "sim".to_owned(), held: 0, avoided: 0 };
        let vip = found.copied().ok_or_else(exhausted)?;
        assert!(self.held.insert(vip));
        Ok(vip)
    }
}

impl Pool for SimPool {
    fn restore(&mut self, held: BTreeSet<Vip>, released: Vec<Vip>) {
        self.sim.with(|remains| remains.reserved.retain(|vip| held.contains(vip)));
        self.held = held;
        self.all.retain(|vip| !released.contains(vip));
        self.all.extend(released);
    }

    fn acquire(
        &mut self,
        wanted: Wanted,
        avoid: &BTreeMap<IpAddr, String>,
    ) -> impl Future<Output = Result<Vip, PoolError>> + Send + 'static {
        let taken = self.take(wanted, avoid);
        let sim = self.sim.clone();
        async move {
            sim.point().await;
            if let Ok(vip) = &taken {
                sim.with(|remains| remains.reserved.insert(*vip));
            }
            for _ in 0..sim.with(|remains| remains.pool_takes) {
                later().await;
                sim.point().await;
            }
            taken
        }
    }

    fn trial(&self) -> Option<Self> {
        Some(Self { sim: Sim::default(), all: self.all.clone(), held: self.held.clone() })
    }

    fn release(&mut self, vip: Vip) {
        assert!(self.held.remove(&vip), "{vip} was not held");
        assert!(self.sim.with(|remains| remains.reserved.remove(&vip)), "{vip} was not reserved");
        self.all.retain(|each| *each != vip);
        self.all.push(vip);
    }
}

/// Ready when it is asked a second time.
async fn later() {
    let mut asked = false;
    poll_fn(|context| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

pub struct SimHost(Sim);

impl Host for SimHost {
    fn expect_answers_from_vips(&mut self) {
        self.0.with(|remains| remains.expects_answers_from_vips = true);
    }

    async fn observe(&mut self) -> Result<HostView, Cause> {
        Ok(self.0.with(|remains| remains.kernel.host.clone()))
    }

    async fn apply(&mut self, steps: &[HostStep]) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for step in steps {
            let step = Step::Host(*step);
            verdicts.push(self.0.step(step, |kernel| kernel.note(&step)).await);
        }
        verdicts
    }
}

impl Settings for SimHost {
    async fn drifted_settings(&mut self) -> Result<Vec<SettingChange>, Cause> {
        Ok(self.0.drift("forward", "1").into_iter().collect())
    }

    async fn set(&mut self, name: &str, value: &str) -> Result<(), Cause> {
        self.0.set(name, value).await;
        Ok(())
    }

    async fn get(&mut self, name: &str) -> Result<String, Cause> {
        Ok(self.0.with(|remains| remains.settings.get(name).filter(|_| name != TIMEOUT).cloned()).unwrap_or_default())
    }
}

pub struct SimDataplane {
    sim: Sim,
    /// As they were read last, if nothing was asked for of them since.
    seen: Services,
}

impl Settings for SimDataplane {
    async fn drifted_settings(&mut self) -> Result<Vec<SettingChange>, Cause> {
        let wish = self.sim.with(|remains| remains.timeout.clone());
        Ok(wish.and_then(|wish| self.sim.drift(TIMEOUT, &wish)).into_iter().collect())
    }

    async fn set(&mut self, name: &str, value: &str) -> Result<(), Cause> {
        self.sim.set(name, value).await;
        Ok(())
    }

    async fn get(&mut self, name: &str) -> Result<String, Cause> {
        Ok(self.sim.with(|remains| remains.settings.get(name).filter(|_| name == TIMEOUT).cloned()).unwrap_or_default())
    }
}

impl Dataplane for SimDataplane {
    async fn observe(&mut self) -> Result<Services, Cause> {
        self.seen = self.sim.with(|remains| remains.kernel.services.clone());
        Ok(self.seen.clone())
    }

    async fn observe_changes(
        &mut self,
        mut each: impl FnMut(ServiceKey, Option<ServiceView>) + Send,
    ) -> Result<(), Cause> {
        let seen = std::mem::take(&mut self.seen);
        for (key, service) in self.observe().await? {
            let is_same = seen.get(&key).is_some_and(|seen| short(seen) == short(&service));
            each(key, (!is_same).then_some(service));
        }
        Ok(())
    }

    async fn exists(&mut self, service: VirtualService) -> Result<bool, Cause> {
        Ok(self.sim.with(|remains| remains.kernel.services.contains_key(&service.key())))
    }

    async fn keys(&mut self) -> Result<BTreeSet<ServiceKey>, Cause> {
        Ok(self.sim.with(|remains| remains.kernel.services.keys().copied().collect()))
    }

    async fn connections(&mut self, service: VirtualService) -> Result<BTreeMap<Target, Connections>, Cause> {
        self.sim.with(|remains| {
            let active = |target: &Target| remains.connections.get(target).copied().unwrap_or_default();
            let of = |target: &Target| (*target, Connections { active: active(target), ..Connections::default() });
            let service = remains.kernel.services.get(&service.key()).ok_or("no such service")?;
            Ok(service.backends.listed().keys().map(of).collect())
        })
    }

    fn unserved(&self, step: &DataplaneStep) -> Option<Unserved> {
        self.sim
            .with(|remains| remains.unserved.contains(step).then(|| Unserved("it takes another data plane".to_owned())))
    }

    async fn apply(&mut self, steps: &[DataplaneStep]) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for step in steps {
            assert!(self.unserved(step).is_none(), "{step}");
            self.seen.remove(&step.service().key());
            if self
                .sim
                .with(|remains| needs_a_service(step) && !remains.kernel.services.contains_key(&step.service().key()))
            {
                verdicts.push(Verdict::Retry("no such service".into()));
                continue;
            }
            let step = Step::Dataplane(*step);
            verdicts.push(self.sim.step(step, |kernel| kernel.note(&step)).await);
        }
        verdicts
    }
}

/// What is seen at a glance: no limits.
fn short(service: &ServiceView) -> ServiceView {
    let limitless = |settings: BackendSettings| BackendSettings { thresholds: Thresholds::default(), ..settings };
    let listed = service.backends.listed();
    let backends = listed.iter().map(|(target, settings)| (*target, settings.map(limitless))).collect();
    ServiceView { settings: service.settings, backends }
}

fn needs_a_service(step: &DataplaneStep) -> bool {
    matches!(step, DataplaneStep::AddBackend(..) | DataplaneStep::SetBackend(..))
}

pub struct SimAdvertiser(Sim);

impl Advertiser for SimAdvertiser {
    fn probe(&self, vip: Vip) -> impl Future<Output = Result<Probe, Cause>> + Send + 'static {
        let sim = self.0.clone();
        async move {
            sim.point().await;
            for _ in 0..sim.with(|remains| remains.probe_takes.get(&vip).copied().unwrap_or_default()) {
                later().await;
            }
            let holder = sim.with(|remains| remains.neighbours.get(&vip).cloned());
            Ok(holder.map_or(Probe::Free, |holder| Probe::InUse { holder }))
        }
    }

    async fn apply(&mut self, steps: &[AdvertStep]) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for step in steps {
            let step = Step::Advert(*step);
            verdicts.push(self.0.step(step, |kernel| kernel.note(&step)).await);
        }
        verdicts
    }
}

pub struct SimChecker(Sim);

impl Checker for SimChecker {
    fn set(&mut self, owner: LoadBalancerId, watches: BTreeMap<Watch, Beginning>) {
        self.0.with(|remains| match watches.is_empty() {
            true => drop(remains.watched.remove(&owner)),
            false => drop(remains.watched.insert(owner, watches)),
        });
    }

    fn next(&mut self) -> impl Future<Output = Vec<Transition>> + Send {
        let sim = self.0.clone();
        poll_fn(move |_| match sim.with(|remains| std::mem::take(&mut remains.transitions)) {
            none if none.is_empty() => Poll::Pending,
            transitions => Poll::Ready(transitions),
        })
    }
}

/// What the kernel holds at a time when it serves exactly these load-balancers, and nothing else.
pub fn served(load_balancers: &[Arc<LoadBalancer>], now: Time) -> Observed {
    let mut kernel = Observed::default();
    let active = load_balancers.iter().filter(|each| each.phase == Phase::Active);
    for (load_balancer, vip) in active.flat_map(|each| each.vips.into_iter().map(move |vip| (each, vip))) {
        kernel.host.bound.insert(vip);
        for rule in load_balancer.mark_rules(vip) {
            kernel.host.marks.entry(vip).or_default().insert(rule);
        }
        if load_balancer.is_to_be_told(vip) {
            kernel.advertised.insert(vip);
        }
        let is_translated =
            |backend: &Backend| backend.serves(vip) && backend.settings().forwarding == Forwarding::Masquerade;
        if load_balancer.backends().iter().any(is_translated)
            || load_balancer.fallback().is_some_and(|it| it.serves(vip))
        {
            kernel.host.source_nat.insert(vip, load_balancer.source_nat);
        }
        let service = kernel.services.entry(load_balancer.virtual_service(vip).key()).or_default();
        service.settings = Some(load_balancer.service_on(vip));
        let programmed = load_balancer.programmed(vip, now).backends;
        programmed.into_iter().for_each(|(target, settings)| service.backends.insert(target, Some(settings)));
        for CheckService { service, backend } in load_balancer.check_services(vip) {
            let Some((target, asked)) = backend else { continue };
            let service = kernel.services.entry(service.key()).or_default();
            service.settings = Some(CheckService::settings());
            service.backends.insert(target, Some(asked));
        }
    }
    kernel
}

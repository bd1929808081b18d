// SPDX-License-Identifier: Apache-2.0
//! The server: checks, wiring, and the main loop.
//!
//! ```text
//!  api (a task) ──▶ mailbox ─┐
//!  addresses, probes ────────┤
//!  host monitor ─────────────┼──▶ main loop ──▶ controller ──▶ drivers
//!  deadline ─────────────────┤
//!  edits of the file (a task) ┤
//!  SIGTERM ──▶ api stops ────┘   and the loop ends when the last request is answered; the data plane stays
//! ```

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::{FutureExt, StreamExt};
use sd_notify::NotifyState;
use slb_api::DataplaneName;
use slb_core::{
    board::Board,
    command::{Mailbox, mailbox},
    controller::{Controller, Drivers, World},
    errors::Chain,
    events::Journal,
    model::{Family, Vip},
    ports::{Cause, Host, HostEvent, Snapshot, Store, Verdict, Write},
    state::Contradiction,
    step::HostStep,
};
use slb_dataplane::Timeouts;
use slb_health::{Checks, Commands};
use slb_host::{Linux, Monitor, Relaying, modules};
use slb_ipam::equinix;
use slb_store::Redb;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::sleep_until,
};
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::{
    advertiser::{Advert, Begin},
    alone::{Alone, NotAlone},
    config::{Announce, Config},
    dataplane::{self, Obstacle, Plane, User, Wanted},
    file::follow::Follower,
    host::Node,
    pool::{self, Opened, Pool},
    preflight::{self, Planned},
};

/// At most this many requests are taken from the mailbox into one round, so that events are not kept waiting.
const BATCH: usize = 512;
/// How long to wait before listening to the host again after listening failed.
const MONITOR_RETRY: Duration = Duration::from_secs(1);

/// Why the server ended, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The checks found something; each finding has been logged.
    #[error("not started; nothing was changed")]
    Preflight,
    /// Another slb is at work.
    #[error(transparent)]
    NotAlone(NotAlone),
    /// The runtime could not be built.
    #[error("could not start the runtime")]
    Runtime(#[source] std::io::Error),
    /// The store could not be opened.
    #[error("could not open the store")]
    Store(#[source] slb_store::Error),
    /// The store could not be read or written.
    #[error("could not use the store")]
    Records(#[source] Cause),
    /// The store contradicts itself.
    #[error("the store is damaged")]
    Contradiction(#[source] Contradiction),
    /// The host could not be talked to.
    #[error("could not prepare the host")]
    Host(#[source] slb_host::Error),
    /// VIPs could not be taken off the adapter of the last run.
    #[error("could not take the VIPs off {adapter}, the adapter of the last run")]
    Leave {
        /// The adapter.
        adapter: String,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// The kernel's settings could not be read, written down or set.
    #[error("could not set the kernel's settings")]
    Settings(#[source] Cause),
    /// The kernel has no IPVS.
    #[error("could not reach IPVS")]
    Ipvs(#[source] slb_dataplane::Error),
    /// The kernel has IPVS, and something else is wrong with it.
    #[error("there is IPVS, but it cannot be used (--dataplane user does without it)")]
    UnusableIpvs(#[source] Box<Self>),
    /// This process would take them down, or not be reached beside them.
    #[error(
        "load-balancers of an earlier server are in IPVS, and this server cannot go on with them ({0}); or run `slb cleanup` as root, \
         after which this server relays them"
    )]
    StayWithIpvs(Obstacle),
    /// This process cannot balance.
    #[error("could not start the user-space data plane")]
    Proxy(#[source] std::io::Error),
    /// What IPVS holds of an earlier server could not be taken away.
    #[error("could not take the load-balancers out of IPVS, where an earlier server put them")]
    LeaveIpvs(#[source] Cause),
    /// Health checks cannot be run.
    #[error("could not prepare health checks")]
    Checks(#[source] std::io::Error),
    /// ARP, or neighbour discovery, is not to be had.
    #[error("could not open the adapter to announce VIPs")]
    Segment(#[source] slb_advert::Error),
    /// BGP peers cannot be listened for.
    #[error("could not listen for BGP peers")]
    Bgp(#[source] std::io::Error),
    /// Equinix Metal cannot be asked.
    #[error("could not prepare to ask Equinix Metal")]
    Metal(#[source] equinix::Error),
    /// The machine has no name.
    #[error("could not read the hostname")]
    Hostname(#[source] std::io::Error),
    /// Signals cannot be received.
    #[error("could not listen for signals")]
    Signals(#[source] std::io::Error),
    /// The API could not be served.
    #[error("could not serve the API")]
    Api(#[source] std::io::Error),
    /// Some things could not be cleaned up; each has been logged.
    #[error("{0} things could not be cleaned up")]
    Cleanup(usize),
}

/// The drivers of a server.
struct Linuxes;

impl World for Linuxes {
    type Store = Redb;
    type Pool = Pool;
    type Host = Node;
    type Dataplane = Plane;
    type Advertiser = Advert;
    type Checker = Checks;
}

/// Runs until SIGTERM or SIGINT. The data plane stays as it is.
///
/// # Errors
/// Why it did not start, or could not go on.
pub fn server(config: Config) -> Result<(), Fatal> {
    block_on(serve(config))
}

/// One thread is enough: the kernel moves the packets, and one task owns the state.
pub fn block_on<T>(work: impl Future<Output = Result<T, Fatal>>) -> Result<T, Fatal> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Fatal::Runtime)?;
    let ended = runtime.block_on(work);
    // The name of a provider that is being looked up in vain must not hold up the end.
    runtime.shutdown_background();
    ended
}

async fn serve(config: Config) -> Result<(), Fatal> {
    info!("Starting the Steel Load-Balancer");
    let mut terminate = Signals::listen()?;
    let checked = preflight::check(&config).await?;
    let changes_host = checked.plane.changes_host();
    let Config { adapter, dataplane, vips, listen, state_dir, reconcile_interval, timeouts, commands, file } = config;
    let follower = file.map(|file| Follower::new(&file, commands)).transpose().map_err(Fatal::Signals)?;
    let mut store = Redb::open(&state_dir).map_err(Fatal::Store)?;
    let snapshot = store.load().await.map_err(Fatal::Records)?;
    let (plane, user) = open_plane(dataplane, checked.plane, timeouts, &snapshot).await?;
    let identity = identity(&mut store, &snapshot).await?;
    info!("API Server will be exposed on [{listen}]");
    let Opened { pool, announce, uplink } = tokio::select! {
        // Neither is asked again.
        opened = pool::open(vips, identity, snapshot.uplink.as_ref()) => opened?,
        () = terminate.next() => return Ok(()),
    };
    if let Some(uplink) = uplink.filter(|uplink| snapshot.uplink.as_ref() != Some(uplink)) {
        store.commit(vec![Write::Uplink(uplink)]).await.map_err(Fatal::Records)?;
    }
    if changes_host {
        change_adapter(&mut store, &snapshot, &adapter).await?;
        if user.is_some() {
            dataplane::leave_ipvs(snapshot.load_balancers.iter()).await.map_err(Fatal::LeaveIpvs)?;
        }
    }
    let has_ipv6 = pool.has_ipv6()
        || snapshot.load_balancers.iter().flat_map(|each| each.vips).any(|vip| vip.family() == Family::Ipv6);
    let host = Linux::new(&adapter).map_err(Fatal::Host)?;
    let host = if has_ipv6 { host.with_ipv6() } else { host };
    let monitor = Monitor::open(&adapter).await.map_err(Fatal::Host)?;
    let listener = TcpListener::from_std(checked.listener).map_err(Fatal::Api)?;
    let board = Arc::new(Board::new(Journal::new(Uuid::new_v4(), SystemTime::now)));
    board.post_statistics(plane.statistics());
    let announce = if changes_host { announce } else { Announce::Nobody };
    let (advertiser, begin) = Advert::open(&announce, &adapter, has_ipv6, checked.bgp)?;
    advertiser.tell(board.journal());
    if let Some(routing) = advertiser.routing() {
        board.post_routing(routing);
    }
    let checks = Checks::start(if commands { Commands::Allowed } else { Commands::Refused }).map_err(Fatal::Checks)?;
    board.post_reports(checks.reports());
    let drivers: Drivers<Linuxes> = Drivers {
        store,
        pool,
        host: match &user {
            None => Node::Forwarding(host),
            Some(user) if user.binds_vips => Node::Relaying(Relaying::binding(host)),
            Some(_) => Node::Relaying(Relaying::bound()),
        },
        dataplane: plane,
        advertiser,
        checker: checks,
    };
    let name = drivers.dataplane.name();
    let mut controller = Controller::new(drivers, snapshot, Arc::clone(&board), reconcile_interval, Instant::now())
        .map_err(Fatal::Contradiction)?;
    controller.settle_settings().await.map_err(Fatal::Settings)?;
    if user.is_none() {
        tell_settings(has_ipv6);
    }
    let options = slb_api::Options { commands, dataplane: name, ..slb_api::Options::default() };
    Server { controller, monitor, adapter, follower, _alone: checked.alone }
        .run(listener, board, begin, terminate, options)
        .await
}

/// What was planned, or this process where the kernel turns out not to have IPVS and may do without. What goes with it is said once.
async fn open_plane(
    wanted: Wanted,
    planned: Planned,
    timeouts: Timeouts,
    before: &Snapshot,
) -> Result<(Plane, Option<User>), Fatal> {
    let user = match planned {
        Planned::User(user) => user,
        Planned::Ipvs(source_nat) => match dataplane::ipvs(&source_nat).await {
            Ok(ipvs) => return Ok((Plane::Ipvs(ipvs.with_timeouts(timeouts)), None)),
            Err(fatal) if wanted.gives_up_ipvs(modules::load_ipvs().await.map_err(Fatal::Host)?) => {
                User { binds_vips: true, instead: Some(Obstacle::kernel(Chain(&fatal).to_string())) }
            }
            Err(fatal) if wanted == Wanted::Auto => return Err(Fatal::UnusableIpvs(Box::new(fatal))),
            Err(fatal) => return Err(fatal),
        },
    };
    if let Some(obstacle) = &user.instead
        && wanted.stays_with_ipvs(modules::has_ipvs(), before)
    {
        return Err(Fatal::StayWithIpvs(obstacle.clone()));
    }
    if user.instead.is_some() {
        warn!("{user}");
    } else {
        info!("{user}");
    }
    Ok((Plane::User(dataplane::proxy(&user, timeouts).map_err(Fatal::Proxy)?), Some(user)))
}

fn tell_settings(has_ipv6: bool) {
    info!("Enabled IPv4 Forwarding in the kernel");
    if has_ipv6 {
        info!("Enabled IPv6 Forwarding in the kernel");
    }
    info!("Enabled Connection tracking in the kernel");
}

/// What the state is called among others; the first start gives it its name.
async fn identity(store: &mut Redb, snapshot: &Snapshot) -> Result<Uuid, Fatal> {
    if let Some(identity) = snapshot.identity {
        return Ok(identity);
    }
    let identity = Uuid::new_v4();
    store.commit(vec![Write::Identity(identity)]).await.map_err(Fatal::Records)?;
    Ok(identity)
}

/// A server that was started on another adapter before left its VIPs there: they are taken off before any is bound here.
async fn change_adapter(store: &mut Redb, snapshot: &Snapshot, adapter: &str) -> Result<(), Fatal> {
    let before = match snapshot.adapter.as_deref() {
        Some(before) if before == adapter => return Ok(()),
        before => before,
    };
    if let Some(before) = before {
        let vips = snapshot.load_balancers.iter().flat_map(|load_balancer| load_balancer.vips);
        leave(before, vips).await.map_err(|cause| Fatal::Leave { adapter: before.to_owned(), cause })?;
    }
    store.commit(vec![Write::Adapter(adapter.to_owned())]).await.map_err(Fatal::Records)
}

async fn leave(adapter: &str, vips: impl Iterator<Item = Vip>) -> Result<(), Cause> {
    let mut host = Linux::new(adapter)?;
    let bound = host.observe().await?.bound;
    let steps: Vec<HostStep> = vips.filter(|vip| bound.contains(vip)).map(HostStep::Unbind).collect();
    for verdict in host.apply(&steps).await {
        match verdict {
            Verdict::Applied => {}
            Verdict::Retry(cause) | Verdict::Refused(cause) => return Err(cause),
        }
    }
    Ok(())
}

struct Server {
    controller: Controller<Linuxes>,
    monitor: Monitor,
    adapter: String,
    follower: Option<Follower>,
    _alone: Option<Alone>,
}

impl Server {
    async fn run(
        mut self,
        listener: TcpListener,
        board: Arc<Board>,
        begin: Begin,
        mut terminate: Signals,
        options: slb_api::Options,
    ) -> Result<(), Fatal> {
        let (mailbox, mut requests) = mailbox();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let stopping = match options.dataplane {
            DataplaneName::Ipvs => "stopping; load-balancers stay as they are, `slb cleanup` takes them away",
            DataplaneName::User => "stopping; load-balancers come back with the next start, connections end now",
        };
        let mut api = serve_api(listener, mailbox.clone(), Arc::clone(&board), stopped, options);
        if self.follower.is_some() {
            self.controller.expect_declarations();
        }
        self.controller.reconcile(Instant::now()).await;
        begin.begin();
        if let Some(follower) = self.follower.take() {
            // It ends with the mailbox, or with the runtime.
            tokio::spawn(follower.follow(mailbox, board));
        }
        notify(&[NotifyState::Ready]);
        let mut stop = Some(stop);
        loop {
            let deadline = self.controller.next_deadline();
            tokio::select! {
                // Cancel-safe: a request stays in the channel until it is returned.
                Some(request) = requests.next() => {
                    let mut batch = vec![request];
                    while batch.len() < BATCH && let Some(Some(request)) = requests.next().now_or_never() {
                        batch.push(request);
                    }
                    self.controller.handle(batch, Instant::now()).await;
                }
                // Cancel-safe: inquiries stay with the controller.
                learned = self.controller.next_learned() => self.controller.learned(learned, Instant::now()).await,
                // Cancel-safe: says so itself.
                event = self.monitor.next() => self.host_changed(event).await,
                // Cancel-safe: made anew from the deadline each time.
                () = sleep_until(deadline.into()) => self.controller.tick(Instant::now()).await,
                // Cancel-safe: a signal stays pending until it is returned.
                () = terminate.next(), if stop.is_some() => {
                    info!("{stopping}");
                    notify(&[NotifyState::Stopping]);
                    stop = None;
                }
                // Cancel-safe: a task goes on when its handle is not polled.
                ended = &mut api => return ended.map_err(|panic| Fatal::Api(panic.into())),
            }
        }
    }

    /// Takes all events that are there, so that a flush of many addresses is repaired in one go.
    async fn host_changed(&mut self, first: Result<HostEvent, slb_host::Error>) {
        let mut events = Vec::new();
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                Ok(event) => events.push(event),
                Err(error) => {
                    warn!(error = %Chain(&error), "cannot hear of changes on the host; listening anew");
                    events.push(HostEvent::Overrun);
                    self.listen_anew().await;
                    break;
                }
            }
            next = self.monitor.next().now_or_never();
        }
        self.controller.host_changed(&events, Instant::now()).await;
    }

    async fn listen_anew(&mut self) {
        match Monitor::open(&self.adapter).await {
            Ok(monitor) => self.monitor = monitor,
            Err(error) => {
                error!(error = %Chain(&error), "still cannot");
                tokio::time::sleep(MONITOR_RETRY).await;
            }
        }
    }
}

fn serve_api(
    listener: TcpListener,
    mailbox: Mailbox,
    board: Arc<Board>,
    stopped: tokio::sync::oneshot::Receiver<()>,
    options: slb_api::Options,
) -> JoinHandle<()> {
    let journal = Arc::clone(board.journal());
    let router = slb_api::router(mailbox, board, options);
    tokio::spawn(slb_api::serve(listener, router, async move {
        // A sender that is gone stops the API as well as one that says so.
        drop(stopped.await);
        // Whoever follows what happens would follow for ever.
        journal.close();
    }))
}

/// Tells systemd, if it wants to know.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "could not notify systemd");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Fatal> {
        let listen = |kind| signal(kind).map_err(Fatal::Signals);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            // Cancel-safe, both: a signal stays pending until it is returned.
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

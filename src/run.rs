// SPDX-License-Identifier: Apache-2.0
//! The server: checks, and wiring for its [`main_loop`].

mod main_loop;

use std::{
    io,
    process::ExitStatus,
    sync::Arc,
    time::{Instant, SystemTime},
};

use sd_notify::NotifyState;
use slb_core::{
    board::Board,
    controller::{Controller, Drivers, World},
    errors::Chain,
    events::Journal,
    model::Family,
    ports::{Cause, Snapshot, Store, Write},
    state::Contradiction,
};
use slb_dataplane::Timeouts;
use slb_health::{Checks, Commands};
use slb_host::{Linux, Monitor, Relaying, modules};
use slb_ipam::equinix;
use slb_store::Redb;
use tracing::{info, warn};
use uuid::Uuid;

use self::main_loop::Server;
use crate::{
    adapter,
    advertiser::Advert,
    alone::NotAlone,
    config::{Announce, Config},
    dataplane::{self, Obstacle, Plane, Relays, User, Wanted},
    file::follow::Follower,
    handover::{self, Estate, Inheritance},
    host::Node,
    pool::{self, Opened, Pool},
    preflight::{self, Planned},
    signals::Signals,
};

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
    /// What another process hands over cannot be had.
    #[error("could not take over from the server that started this one")]
    Inheritance(#[source] io::Error),
    /// It took over, and failed later.
    #[error("the process that had taken over ended ({0}): this one ends, too, so that the service is started anew")]
    Successor(ExitStatus),
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

/// Runs until SIGTERM or SIGINT, or until a successor goes on for it. The data plane stays as it is.
///
/// # Errors
/// Why it did not start, or could not go on.
pub fn server(config: Config) -> Result<(), Fatal> {
    let mut inheritance = Inheritance::receive().map_err(Fatal::Inheritance)?;
    let mut signals = block_on(async { Signals::listen().map_err(Fatal::Signals) })?;
    // Whatever a server has begun ends with its runtime.
    while let Some(estate) = block_on(serve(config.clone(), inheritance, &mut signals))? {
        match block_on(handover::to_successor(estate, &mut signals))? {
            Some(back) => inheritance = back,
            None => break,
        }
    }
    Ok(())
}

/// One thread is enough: the kernel moves the packets, and one task owns the state.
pub fn block_on<T>(work: impl Future<Output = Result<T, Fatal>>) -> Result<T, Fatal> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Fatal::Runtime)?;
    let ended = runtime.block_on(work);
    // The name of a provider that is being looked up in vain must not hold up the end.
    runtime.shutdown_background();
    ended
}

/// `None` when it was asked to stop.
async fn serve(config: Config, mut inheritance: Inheritance, signals: &mut Signals) -> Result<Option<Estate>, Fatal> {
    info!("Starting the Steel Load-Balancer");
    let checked = preflight::check(&config, &mut inheritance).await?;
    let changes_host = checked.plane.changes_host();
    let Config { adapter, dataplane, vips, listen, state_dir, reconcile_interval, timeouts, commands, file } = config;
    let follower = file.map(|file| Follower::new(&file, commands)).transpose().map_err(Fatal::Signals)?;
    let mut store = Redb::open(&state_dir).map_err(Fatal::Store)?;
    let snapshot = store.load().await.map_err(Fatal::Records)?;
    let (plane, user) = open_plane(dataplane, checked.plane, timeouts, &snapshot, &mut inheritance).await?;
    let identity = identity(&mut store, &snapshot).await?;
    info!("API Server will be exposed on [{listen}]");
    let Opened { pool, announce, uplink } = tokio::select! {
        // Neither is asked again.
        opened = pool::open(vips, identity, snapshot.uplink.as_ref()) => opened?,
        () = signals.stop() => return Ok(None),
    };
    if let Some(uplink) = uplink.filter(|uplink| snapshot.uplink.as_ref() != Some(uplink)) {
        store.commit(vec![Write::Uplink(uplink)]).await.map_err(Fatal::Records)?;
    }
    if changes_host {
        adapter::change(&mut store, &snapshot, &adapter).await?;
    }
    if user.is_some() {
        dataplane::leave_ipvs(&snapshot, &adapter).await.map_err(Fatal::LeaveIpvs)?;
    }
    let has_ipv6 = pool.has_ipv6()
        || snapshot.load_balancers.iter().flat_map(|each| each.vips).any(|vip| vip.family() == Family::Ipv6);
    let host = Linux::new(&adapter).map_err(Fatal::Host)?;
    let host = if has_ipv6 { host.with_ipv6() } else { host };
    let monitor = Monitor::open(&adapter).await.map_err(Fatal::Host)?;
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
    Server { controller, monitor, adapter, follower, alone: checked.alone, predecessor: inheritance.predecessor }
        .run(checked.listener, board, begin, signals, options)
        .await
}

/// What was planned, or this process where the kernel turns out not to have IPVS and may do without. What goes with it is said once.
async fn open_plane(
    wanted: Wanted,
    planned: Planned,
    timeouts: Timeouts,
    before: &Snapshot,
    inheritance: &mut Inheritance,
) -> Result<(Plane, Option<User>), Fatal> {
    let inherited = inheritance.for_clients();
    let user = match planned {
        Planned::User(user) => user,
        Planned::Ipvs(source_nat) => match dataplane::ipvs(&source_nat).await {
            Ok(ipvs) => {
                inherited.close().into_iter().for_each(handover::tell_unclaimed);
                return Ok((Plane::Ipvs(ipvs.with_timeouts(timeouts)), None));
            }
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
    let proxy = match inheritance.proxy.take() {
        Some(proxy) => proxy,
        None => {
            let mut proxy = dataplane::proxy(&user, timeouts).map_err(Fatal::Proxy)?;
            proxy.inherit(inherited);
            proxy
        }
    };
    Ok((Plane::User(Relays::new(proxy)), Some(user)))
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

/// Tells systemd, if it wants to know.
pub fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "could not notify systemd");
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What balances: the kernel's IPVS, or this process where there is no IPVS or no root.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use slb_core::{
    errors::Chain,
    model::{ServiceKey, Target, VirtualService},
    observed::{ServiceView, Services},
    ports::{Cause, Dataplane, SettingChange, Settings, Snapshot, Unserved, Verdict},
    statistics::{Connections, Statistics},
    step::DataplaneStep,
};
use slb_dataplane::{Ipvs, Meter, Timeouts};
use slb_host::{SourceNats, capability, modules};
use slb_proxy::Proxy;
use tracing::warn;

use crate::{adapter, run::Fatal};

/// What `--dataplane` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// IPVS where that is possible, this process elsewhere.
    #[default]
    Auto,
    /// IPVS, or nothing.
    Ipvs,
    /// This process.
    User,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "ipvs" => Ok(Self::Ipvs),
            "user" => Ok(Self::User),
            other => Err(format!("there is no data plane {other}; there are auto, ipvs and user")),
        }
    }
}

impl Wanted {
    /// Whether this process is to balance after IPVS could not be had. Only where there is none: whatever else is wrong may pass, while
    /// relaying ends the connections that IPVS still serves, and cannot do all that it does.
    pub fn gives_up_ipvs(self, has_ipvs: bool) -> bool {
        self == Self::Auto && !has_ipvs
    }

    /// Whether this process must not balance, for what an earlier server has put into IPVS would go, or take packets away from it.
    pub fn stays_with_ipvs(self, has_ipvs: bool, before: &Snapshot) -> bool {
        self == Self::Auto && was_in_ipvs(has_ipvs, before)
    }
}

/// Whether an earlier server may have put load-balancers into IPVS. Only one that changes the host writes down its adapter, and a cleanup
/// forgets it.
fn was_in_ipvs(has_ipvs: bool, before: &Snapshot) -> bool {
    has_ipvs && before.adapter.is_some() && !before.load_balancers.is_empty()
}

/// What is known of this host, and of what was asked for.
#[derive(Debug)]
pub struct Facts<'a> {
    /// VIPs are addresses of the loopback adapter.
    pub is_loopback: bool,
    /// VIPs are a provider's: they cannot be on this host already.
    pub is_provided: bool,
    /// Privileges that this process does not have.
    pub lacking: &'a [capability::Lacking],
}

/// What is to balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// IPVS.
    Ipvs,
    /// This process.
    User(User),
}

/// How this process balances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Whether VIPs are bound and announced. Otherwise they have to be addresses of this host already.
    pub binds_vips: bool,
    /// Why it is not IPVS, unless it is what was asked for.
    pub instead: Option<Obstacle>,
}

/// What is in the way of IPVS. Prints as the reason, and what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    why: String,
    remedy: &'static str,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { why, remedy } = self;
        write!(f, "{why}; {remedy}")
    }
}

impl Obstacle {
    /// The kernel does not have it.
    pub fn kernel(why: String) -> Self {
        Self { why, remedy: "load it (modprobe ip_vs), or take a kernel that has it (CONFIG_IP_VS)" }
    }
}

/// What is to balance, as far as that shows before the kernel is asked.
pub fn choose(wanted: Wanted, facts: &Facts<'_>) -> Choice {
    let obstacle = facts.obstacle();
    let binds_vips = obstacle.is_none();
    match (wanted, obstacle) {
        (Wanted::Ipvs, _) | (Wanted::Auto, None) => Choice::Ipvs,
        // Without privileges nothing can serve them, which is said as a finding.
        (Wanted::Auto | Wanted::User, Some(_)) if facts.is_provided => Choice::Ipvs,
        (Wanted::Auto, instead) => Choice::User(User { binds_vips, instead }),
        (Wanted::User, _) => Choice::User(User { binds_vips, instead: None }),
    }
}

/// What `auto` comes to on this host, for `slb version`.
pub fn here() -> String {
    let lacking = match capability::lacking(false) {
        Ok(lacking) => lacking,
        Err(error) => return format!("not known ({})", Chain(&error)),
    };
    match choose(Wanted::Auto, &Facts { is_loopback: false, is_provided: false, lacking: &lacking }) {
        Choice::User(User { instead: Some(Obstacle { why, .. }), .. }) => format!("user ({why})"),
        Choice::User(_) => "user".to_owned(),
        Choice::Ipvs if modules::has_ipvs() => "ipvs".to_owned(),
        Choice::Ipvs => "ipvs if the kernel has it (ip_vs is not loaded), else user".to_owned(),
    }
}

impl Facts<'_> {
    fn obstacle(&self) -> Option<Obstacle> {
        if self.is_loopback {
            let why = "VIPs of the loopback adapter are on this host already".to_owned();
            return Some(Obstacle { why, remedy: "give --ipamRange addresses of a network" });
        }
        let names: Vec<&str> = self.lacking.iter().map(|lacking| lacking.name).collect();
        (!names.is_empty()).then(|| Obstacle {
            why: format!("missing privileges: {}", names.join(", ")),
            remedy: "run slb as root, or give it the capabilities (setcap, or AmbientCapabilities= of its unit)",
        })
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connections are relayed in user space")?;
        if let Some(Obstacle { why, remedy }) = &self.instead {
            write!(
                f,
                ", not by IPVS ({why}): that takes more CPU, backends see this host's address, and connections end when slb does; \
                 for IPVS, {remedy}"
            )?;
        }
        if self.binds_vips {
            return Ok(());
        }
        f.write_str("; VIPs are neither bound nor announced, they have to be addresses of this host already")
    }
}

/// Loads IPVS if it is not there, and opens it.
///
/// # Errors
/// The kernel does not have it.
pub async fn ipvs(source_nat: &SourceNats) -> Result<Ipvs, Fatal> {
    modules::load(source_nat).await.map_err(Fatal::Host)?;
    Ipvs::open().await.map_err(Fatal::Ipvs)
}

/// This process, beside what other programs have in IPVS.
#[derive(Debug)]
pub struct Relays {
    /// What relays.
    pub proxy: Proxy,
    /// Whether IPVS, if it is there, may be asked. It takes packets before a listener sees them.
    asks_ipvs: bool,
}

impl Relays {
    /// By that.
    pub fn new(proxy: Proxy) -> Self {
        Self { proxy, asks_ipvs: may_ask_ipvs() }
    }

    async fn is_taken(&mut self, service: VirtualService) -> Result<bool, Cause> {
        if self.proxy.exists(service).await? {
            return Ok(true);
        }
        if !self.asks_ipvs || !modules::has_ipvs() {
            return Ok(false);
        }
        Ipvs::open().await?.exists(service).await
    }
}

fn may_ask_ipvs() -> bool {
    capability::lacking(false).is_ok_and(|lacking| lacking.is_empty())
}

/// Starts the workers.
///
/// # Errors
/// There are no threads or descriptors left.
pub fn proxy(user: &User, timeouts: Timeouts) -> io::Result<Proxy> {
    let defaults = slb_proxy::Options::default();
    let or = |seconds: u32, default| if seconds == 0 { default } else { Duration::from_secs(seconds.into()) };
    Proxy::start(slb_proxy::Options {
        binds_vips: user.binds_vips,
        tcp_timeout: or(timeouts.tcp, defaults.tcp_timeout),
        tcp_fin_timeout: or(timeouts.tcp_fin, defaults.tcp_fin_timeout),
        udp_timeout: or(timeouts.udp, defaults.udp_timeout),
        ..defaults
    })
}

/// What an earlier server has left in IPVS would take packets away from this process. With it goes what the firewall does for it, and first:
/// so whoever breaks off in between finds that there is still something to do. Without privileges it is said what to run.
///
/// # Errors
/// IPVS is there, and cannot be asked; or what is there does not go.
pub async fn leave_ipvs(snapshot: &Snapshot, adapter: &str) -> Result<(), Cause> {
    if !was_in_ipvs(modules::has_ipvs(), snapshot) {
        return Ok(());
    }
    if !may_ask_ipvs() {
        warn!(
            "load-balancers of an earlier server may still be in IPVS, which takes their packets before this server does: run `slb cleanup` as root"
        );
        return Ok(());
    }
    let services: Vec<VirtualService> = snapshot.load_balancers.iter().flat_map(|each| each.all_services()).collect();
    let mut ipvs = Ipvs::open().await?;
    let there = ipvs.keys().await?;
    if !services.iter().any(|service| there.contains(&service.key())) {
        return Ok(());
    }
    adapter::leave_rules(snapshot, adapter).await?;
    let steps: Vec<DataplaneStep> = services.into_iter().map(DataplaneStep::RemoveService).collect();
    for verdict in ipvs.apply(&steps).await {
        match verdict {
            Verdict::Applied => {}
            Verdict::Retry(cause) | Verdict::Refused(cause) => return Err(cause),
        }
    }
    Ok(())
}

/// The data plane that was chosen.
#[derive(Debug)]
pub enum Plane {
    /// The kernel's.
    Ipvs(Ipvs),
    /// This process.
    User(Relays),
}

impl Plane {
    /// What counts.
    pub fn statistics(&self) -> Arc<dyn Statistics> {
        match self {
            Self::Ipvs(_) => Arc::new(Meter::default()),
            Self::User(relays) => Arc::new(relays.proxy.meter()),
        }
    }

    /// What the API calls it.
    pub fn name(&self) -> slb_api::DataplaneName {
        match self {
            Self::Ipvs(_) => slb_api::DataplaneName::Ipvs,
            Self::User(_) => slb_api::DataplaneName::User,
        }
    }
}

impl Dataplane for Plane {
    async fn observe(&mut self) -> Result<Services, Cause> {
        match self {
            Self::Ipvs(ipvs) => ipvs.observe().await,
            Self::User(relays) => relays.proxy.observe().await,
        }
    }

    async fn observe_each(&mut self, each: impl FnMut(ServiceKey, ServiceView) + Send) -> Result<(), Cause> {
        match self {
            Self::Ipvs(ipvs) => ipvs.observe_each(each).await,
            Self::User(relays) => relays.proxy.observe_each(each).await,
        }
    }

    async fn observe_changes(&mut self, each: impl FnMut(ServiceKey, Option<ServiceView>) + Send) -> Result<(), Cause> {
        match self {
            Self::Ipvs(ipvs) => ipvs.observe_changes(each).await,
            Self::User(relays) => relays.proxy.observe_changes(each).await,
        }
    }

    async fn exists(&mut self, service: VirtualService) -> Result<bool, Cause> {
        match self {
            Self::Ipvs(ipvs) => ipvs.exists(service).await,
            Self::User(relays) => relays.is_taken(service).await,
        }
    }

    async fn keys(&mut self) -> Result<BTreeSet<ServiceKey>, Cause> {
        match self {
            Self::Ipvs(ipvs) => ipvs.keys().await,
            Self::User(relays) => relays.proxy.keys().await,
        }
    }

    async fn connections(&mut self, service: VirtualService) -> Result<BTreeMap<Target, Connections>, Cause> {
        match self {
            Self::Ipvs(ipvs) => ipvs.connections(service).await,
            Self::User(relays) => relays.proxy.connections(service).await,
        }
    }

    fn unserved(&self, step: &DataplaneStep) -> Option<Unserved> {
        match self {
            Self::Ipvs(ipvs) => ipvs.unserved(step),
            Self::User(relays) => relays.proxy.unserved(step),
        }
    }

    async fn apply(&mut self, steps: &[DataplaneStep]) -> Vec<Verdict> {
        match self {
            Self::Ipvs(ipvs) => ipvs.apply(steps).await,
            Self::User(relays) => relays.proxy.apply(steps).await,
        }
    }
}

impl Settings for Plane {
    async fn drifted_settings(&mut self) -> Result<Vec<SettingChange>, Cause> {
        match self {
            Self::Ipvs(ipvs) => ipvs.drifted_settings().await,
            Self::User(relays) => relays.proxy.drifted_settings().await,
        }
    }

    async fn set(&mut self, name: &str, value: &str) -> Result<(), Cause> {
        match self {
            Self::Ipvs(ipvs) => ipvs.set(name, value).await,
            Self::User(relays) => relays.proxy.set(name, value).await,
        }
    }

    async fn get(&mut self, name: &str) -> Result<String, Cause> {
        match self {
            Self::Ipvs(ipvs) => ipvs.get(name).await,
            Self::User(relays) => relays.proxy.get(name).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use slb_core::model::{
        Advertise, LoadBalancer, LoadBalancerId, Name, Origin, Phase, Protocol, ServiceSettings, SourceNat, Vip,
    };
    use uuid::Uuid;

    use super::*;

    #[test]
    fn ipvs_is_chosen_where_it_can_be() {
        let missing = [capability::Lacking { name: "CAP_NET_ADMIN", needed_for: "this" }];
        let facts = |is_loopback, is_provided, lacking| Facts { is_loopback, is_provided, lacking };
        for (wanted, facts, expected) in [
            (Wanted::Auto, facts(false, false, &[][..]), None),
            (Wanted::Ipvs, facts(true, false, &missing), None),
            (Wanted::Auto, facts(false, true, &missing), None),
            (Wanted::User, facts(false, false, &[]), Some((true, ""))),
            (Wanted::User, facts(false, false, &missing), Some((false, "neither bound nor announced"))),
            (Wanted::Auto, facts(false, false, &missing), Some((false, "missing privileges: CAP_NET_ADMIN"))),
            (Wanted::Auto, facts(true, false, &[]), Some((false, "loopback"))),
        ] {
            match (choose(wanted, &facts), expected) {
                (Choice::Ipvs, None) => {}
                (Choice::User(user), Some((binds_vips, says))) => {
                    assert!(user.binds_vips == binds_vips && user.to_string().contains(says), "{user}");
                    assert_eq!(user.instead.is_some(), wanted == Wanted::Auto);
                }
                (other, _) => panic!("{wanted:?} {facts:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_ipvs_serves_is_not_given_up_by_itself() {
        for wanted in [Wanted::Auto, Wanted::Ipvs, Wanted::User] {
            assert!(!wanted.gives_up_ipvs(true), "{wanted:?}: what is wrong may pass");
            assert_eq!(wanted.gives_up_ipvs(false), wanted == Wanted::Auto);
        }
        let load_balancer = Arc::new(LoadBalancer {
            id: LoadBalancerId(Uuid::nil()),
            serial: 1,
            name: Name::try_from("web".to_owned()).unwrap(),
            vips: "192.0.2.1".parse::<Vip>().unwrap().into(),
            port: 80.try_into().unwrap(),
            marked: None,
            protocol: Protocol::Tcp,
            backends: None,
            phase: Phase::Active,
            advertise: Advertise::default(),
            source_nat: SourceNat::default(),
            service: ServiceSettings::default(),
            check: None,
            extras: None,
            origin: Origin::default(),
        });
        let before = |adapter: Option<&str>, load_balancers: &[_]| Snapshot {
            adapter: adapter.map(str::to_owned),
            load_balancers: load_balancers.to_vec(),
            ..Snapshot::default()
        };
        let served = before(Some("eth0"), &[Arc::clone(&load_balancer)]);
        assert!(Wanted::Auto.stays_with_ipvs(true, &served));
        assert!(!Wanted::Auto.stays_with_ipvs(false, &served), "nothing is left of it in the kernel");
        assert!(!Wanted::User.stays_with_ipvs(true, &served), "it is what was asked for");
        assert!(!Wanted::Auto.stays_with_ipvs(true, &before(Some("eth0"), &[])));
        assert!(!Wanted::Auto.stays_with_ipvs(true, &before(None, &[load_balancer])), "it was relayed");
    }
}

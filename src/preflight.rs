// SPDX-License-Identifier: Apache-2.0
//! Everything that can be wrong with this machine is found here, before anything is changed. Each finding is one line that says
//! what to do.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
};

use slb_advert::bgp::Listener;
use slb_core::errors::Chain;
use slb_host::{Linux, Network, SourceNats, capability, modules};
use slb_ipam::Ranges;
use tracing::{error, warn};

use crate::{
    alone::Alone,
    config::{Announce, Config, Vips},
    dataplane::{self, Choice, Facts, Obstacle, User, Wanted},
    handover::Inheritance,
    run::Fatal,
};

/// What the checks found to work with.
pub struct Checked {
    /// Listens on the API's port, and accepts nobody yet.
    pub listener: TcpListener,
    /// Where BGP peers connect to; nobody is accepted yet.
    pub bgp: Vec<Listener>,
    /// What is to balance.
    pub plane: Planned,
    /// That nobody else is at work here, if something of this host is to be changed.
    pub alone: Option<Alone>,
}

/// What is to balance.
pub enum Planned {
    /// IPVS, with that part of the kernel for source NAT.
    Ipvs(SourceNats),
    /// This process.
    User(User),
}

/// Checks privileges, adapter, source NAT, the API's port, and that no other slb is at work. The last two may have been inherited.
///
/// # Errors
/// [`Fatal::Preflight`]; each finding has been logged.
pub async fn check(config: &Config, inheritance: &mut Inheritance) -> Result<Checked, Fatal> {
    let mut findings = Findings(0);
    let lacking = capability::lacking(false).map_err(|error| findings.note(&error)).unwrap_or_default();
    let facts = Facts {
        is_loopback: config.vips.is_loopback(),
        is_provided: matches!(config.vips, Vips::Metal(_)),
        lacking: &lacking,
    };
    // What is relayed already is not given up, though IPVS may be there by now.
    let wanted = if inheritance.proxy.is_some() { Wanted::User } else { config.dataplane };
    let plane = match dataplane::choose(wanted, &facts) {
        Choice::Ipvs => findings.ipvs(config).await,
        Choice::User(user) => {
            findings.relaying(config, &user).await;
            Some(Planned::User(user))
        }
    };
    let changes_host = plane.as_ref().is_some_and(Planned::changes_host);
    let listener = inheritance.listener(config.listen).or_else(|| findings.listen(config.listen));
    let bgp = if changes_host { findings.listen_for_peers(&config.vips) } else { Vec::new() };
    let mut claim = || inheritance.alone().map_or_else(Alone::claim, Ok);
    let alone = if changes_host { claim().map_err(|error| findings.note(&error)).ok() } else { None };
    match (findings.0, listener, plane) {
        (0, Some(listener), Some(plane)) => Ok(Checked { listener, bgp, plane, alone }),
        _ => Err(Fatal::Preflight),
    }
}

impl Planned {
    /// Whether something of this host is to be changed.
    pub fn changes_host(&self) -> bool {
        match self {
            Self::Ipvs(_) => true,
            Self::User(user) => user.binds_vips,
        }
    }
}

/// How many there are; each was logged when it was found.
struct Findings(usize);

impl Findings {
    fn note(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.say(&Chain(error).to_string());
    }

    fn say(&mut self, finding: &str) {
        self.0 += 1;
        error!("{finding}");
    }

    /// What IPVS needs; this process balances instead, if that is enough.
    async fn ipvs(&mut self, config: &Config) -> Option<Planned> {
        let privileged = self.privileges();
        let host = Linux::new(&config.adapter).map_err(|error| self.note(&error)).ok();
        let mut host = if config.vips.has_ipv6() { host.map(Linux::with_ipv6) } else { host }?;
        self.adapter(&mut host, config).await;
        if !privileged {
            return None;
        }
        match host.source_nat().await {
            Ok(source_nat) => match self.out_of_reach(config.dataplane).await {
                instead @ Some(_) => Some(Planned::User(User { binds_vips: true, instead })),
                None => {
                    self.module_privilege(&source_nat);
                    Some(Planned::Ipvs(source_nat))
                }
            },
            Err(error) => {
                let said = Chain(&error).to_string();
                let has_ipvs = self.load_ipvs().await;
                if config.dataplane.gives_up_ipvs(has_ipvs) {
                    return Some(Planned::User(User { binds_vips: true, instead: Some(Obstacle::kernel(said)) }));
                }
                let advice = if config.dataplane == Wanted::Auto { "; --dataplane user does without" } else { "" };
                self.say(&format!("{said}{advice}"));
                None
            }
        }
    }

    /// What is in the way where there is no IPVS and it may not be loaded, if this process is to balance then. The kernel is asked for it
    /// before: it loads it by itself for whoever is to use it.
    async fn out_of_reach(&mut self, wanted: Wanted) -> Option<Obstacle> {
        let lacking = capability::lacking(true).map_err(|error| self.note(&error)).unwrap_or_default();
        (!lacking.is_empty() && wanted.gives_up_ipvs(self.load_ipvs().await))
            .then(|| Obstacle::kernel("the kernel module ip_vs is missing, and CAP_SYS_MODULE, too".to_owned()))
    }

    async fn load_ipvs(&mut self) -> bool {
        modules::load_ipvs().await.map_err(|error| self.note(&error)).unwrap_or(true)
    }

    /// Where VIPs are not bound, the adapter is only listened to.
    async fn relaying(&mut self, config: &Config, user: &User) {
        let Ok(mut host) = Linux::new(&config.adapter).map_err(|error| self.note(&error)) else { return };
        if user.binds_vips {
            let mut host = if config.vips.has_ipv6() { host.with_ipv6() } else { host };
            self.adapter(&mut host, config).await;
        } else if let Err(error) = host.adapter().await {
            self.note(&error);
        }
    }

    /// Whether the kernel can be asked about the rest.
    fn privileges(&mut self) -> bool {
        self.lacking(false, "run slb as root, or give it the capability (setcap, or AmbientCapabilities= of its unit)")
    }

    fn module_privilege(&mut self, source_nat: &SourceNats) {
        match modules::missing(source_nat) {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => {
                let advice =
                    format!("or load the modules before: modprobe -a {}, or take --dataplane user", missing.join(" "));
                self.lacking(true, &advice);
            }
            Err(error) => self.note(&error),
        }
    }

    fn lacking(&mut self, modules_are_missing: bool, advice: &str) -> bool {
        match capability::lacking(modules_are_missing) {
            Ok(lacking) => {
                for lacking in &lacking {
                    self.say(&format!("missing privilege: {lacking}; {advice}"));
                }
                lacking.is_empty()
            }
            Err(error) => {
                self.note(&error);
                false
            }
        }
    }

    async fn adapter(&mut self, host: &mut Linux, config: &Config) {
        let adapter = match host.adapter().await {
            Ok(adapter) => adapter,
            Err(error) => return self.note(&error),
        };
        match host.detour().await {
            Ok(others) => warn_of_detour(&adapter.name, &others),
            Err(error) => self.note(&error),
        }
        let Vips::Own { ranges, announce: Announce::Arp { .. } } = &config.vips else { return };
        if !adapter.has_arp {
            return self.say(&format!(
                "--adapter {}: it has no ARP, so no VIP can be announced on it; name one that is connected to the network",
                adapter.name
            ));
        }
        match host.networks().await {
            Ok(networks) => warn_of_strangers(&adapter.name, ranges, &networks),
            Err(error) => self.note(&error),
        }
    }

    fn listen(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let listener = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        listener
            .map_err(|error| {
                let advice = if error.kind() == ErrorKind::PermissionDenied {
                    "take another --port, or run slb as root or with CAP_NET_BIND_SERVICE"
                } else {
                    "another server may be running, see --port and --address"
                };
                self.say(&format!("the API cannot listen on {address}: {error}; {advice}"));
            })
            .ok()
    }
}

impl Findings {
    fn listen_for_peers(&mut self, vips: &Vips) -> Vec<Listener> {
        let peering = match vips {
            Vips::Own { announce: Announce::Bgp { peering, .. }, .. } => peering,
            Vips::Metal(metal) => &metal.peering,
            Vips::Own { announce: Announce::Nobody | Announce::Arp { .. } | Announce::Gobgp { .. }, .. } => {
                return Vec::new();
            }
        };
        let mut listeners = Vec::new();
        for at in &peering.listen {
            match Listener::open(*at) {
                Ok(listener) => listeners.push(listener),
                Err(error) => self.say(&format!(
                    "BGP cannot listen on {at}: {error}; a routing daemon may be running, see --bgpListen"
                )),
            }
        }
        listeners
    }
}

/// Not an error: all clients may be neighbours.
fn warn_of_detour(adapter: &str, others: &[String]) {
    if !others.is_empty() {
        warn!(
            "this host answers clients elsewhere by {}: the kernel drops what such clients send to VIPs by {adapter} (rp_filter=1, see nstat -a IPReversePathFilter); \
             if they do, set net.ipv4.conf.{adapter}.rp_filter=2, which is enough whatever net.ipv4.conf.all.rp_filter is",
            others.join(" and ")
        );
    }
}

/// Not an error: a router may have a route to them. Nor is an adapter that has no address yet.
fn warn_of_strangers(adapter: &str, ranges: &Ranges, networks: &[Network]) {
    let edges: Vec<_> = networks.iter().map(|network| (network.first, network.last)).collect();
    if let Some(stranger) = ranges.outside(&edges)
        && !networks.is_empty()
    {
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        warn!(
            "--ipamRange: {stranger} is in no network of {adapter} ({}), so no host there asks for it; it is reached only where a route leads to this host",
            networks.join(", ")
        );
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What the options mean: parsed, checked against each other, with defaults. Nothing is asked of the machine here but the
//! configuration file.

mod announce;
mod declared;
mod duration;
mod metal;
mod peers;
mod state_dir;
mod timeouts;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use slb_core::{errors::Chain, model::Family};
use slb_dataplane::Timeouts;
use slb_ipam::Ranges;
use tracing::Level;

use self::duration::parse;
pub use self::{
    announce::Announce,
    declared::with_vips_of,
    metal::Metal,
    peers::Peering,
    state_dir::{state_dir, state_dir_of},
};
use crate::{
    args::{Given, ServerArgs},
    dataplane::Wanted,
    file::File,
};

/// The port of the original's API.
const DEFAULT_PORT: u16 = 10001;
/// Kernel and desired state are compared this often; address and link events are seen at once.
const DEFAULT_RECONCILE_INTERVAL: Duration = Duration::from_secs(30);

/// Addresses that every host has, and that mean itself.
const LOOPBACK: [(IpAddr, IpAddr); 2] = [
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), IpAddr::V4(Ipv4Addr::new(127, 255, 255, 255))),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)),
];

/// Below this, slb would do little else than compare.
const SHORTEST_RECONCILE_INTERVAL: Duration = Duration::from_millis(100);

/// What `slb server` is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// The adapter that VIPs are bound to.
    pub adapter: String,
    /// What balances.
    pub dataplane: Wanted,
    /// Where VIPs come from, and how the network learns of them.
    pub vips: Vips,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where load-balancers are kept.
    pub state_dir: PathBuf,
    /// How often kernel and desired state are compared.
    pub reconcile_interval: Duration,
    /// How long the kernel remembers connections on which nothing is sent, in seconds; 0 leaves it as it is.
    pub timeouts: Timeouts,
    /// Whether health checks may run commands on this host.
    pub commands: bool,
    /// Where more load-balancers are declared.
    pub file: Option<File>,
}

/// Where VIPs come from, and how the network learns of them.
#[derive(Clone, Debug)]
pub enum Vips {
    /// Of the operator's own networks.
    Own {
        /// Which.
        ranges: Ranges,
        /// How the network learns of them.
        announce: Announce,
    },
    /// Of Equinix Metal, whose routers learn of them by BGP.
    Metal(Metal),
}

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logging {
    /// The least important events to show.
    pub level: Level,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// An option that cannot be, in words for who gave it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadOption(String);

/// Puts the command line, the environment (both in `args`) and the file together.
///
/// # Errors
/// The file cannot be read or understood.
pub fn given(args: ServerArgs) -> Result<(Given, Option<File>), BadOption> {
    let Some(path) = args.config else { return Ok((args.given, None)) };
    let bad = |bad| BadOption(format!("--config {bad}"));
    let file = File::read(&path).map_err(bad)?;
    Ok((args.given.or(file.options().map_err(bad)?), Some(file)))
}

impl Default for Logging {
    fn default() -> Self {
        Self { level: Level::INFO, json: false }
    }
}

impl Logging {
    /// How to log.
    ///
    /// # Errors
    /// There is no such level or format.
    pub fn from_given(given: &Given) -> Result<Self, BadOption> {
        let level = match given.log_level.as_deref() {
            None | Some("info") => Level::INFO,
            Some("error") => Level::ERROR,
            Some("warn") => Level::WARN,
            Some("debug") => Level::DEBUG,
            Some("trace") => Level::TRACE,
            Some(other) => {
                return Err(BadOption(format!("--logLevel {other}: there are error, warn, info, debug and trace")));
            }
        };
        let json = match given.log_format.as_deref() {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => return Err(BadOption(format!("--logFormat {other}: there are text and json"))),
        };
        Ok(Self { level, json })
    }
}

impl Config {
    /// What `slb server` is to do.
    ///
    /// # Errors
    /// Something is missing, wrong, or contradicts something else.
    pub fn from_given(given: Given) -> Result<Self, BadOption> {
        let state_dir = state_dir(&given)?;
        let vips = Vips::from_given(&given)?;
        let dataplane = match given.dataplane.as_deref() {
            None | Some("") => Wanted::default(),
            Some(text) => text.parse().map_err(|why| BadOption(format!("--dataplane {text}: {why}")))?,
        };
        if dataplane == Wanted::Ipvs && vips.is_loopback() {
            return Err(BadOption(
                "--ipamRange: loopback addresses (127.0.0.0/8, ::1) cannot be announced; only --dataplane user serves them"
                    .to_owned(),
            ));
        }
        let timeouts = timeouts::timeouts(&given)?;
        let loopback = || vips.is_loopback().then(|| "lo".to_owned());
        let adapter = given.adapter.filter(|name| !name.is_empty()).or_else(loopback);
        let port = given.port.unwrap_or(DEFAULT_PORT);
        if port == 0 {
            return Err(BadOption("--port 0: ports go from 1 to 65535".to_owned()));
        }
        Ok(Self {
            adapter: adapter.ok_or_else(|| {
                BadOption("--adapter is missing: the network adapter to bind VIPs to, like eth0".to_owned())
            })?,
            dataplane,
            vips,
            listen: SocketAddr::new(given.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port),
            state_dir,
            reconcile_interval: parse("reconcileInterval", given.reconcile_interval)?
                .map_or(Ok(DEFAULT_RECONCILE_INTERVAL), |time| time.within(SHORTEST_RECONCILE_INTERVAL))?,
            timeouts,
            commands: given.allow_exec_checks.unwrap_or(false),
            file: None,
        })
    }
}

impl Vips {
    /// Whether they may be of IPv6.
    pub fn has_ipv6(&self) -> bool {
        match self {
            Self::Own { ranges, .. } => ranges.has(Family::Ipv6),
            Self::Metal(_) => false,
        }
    }

    /// Whether they are the loopback adapter's.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Own { ranges, .. } => is_loopback(ranges),
            Self::Metal(_) => false,
        }
    }

    fn from_given(given: &Given) -> Result<Self, BadOption> {
        if let Some(metal) = Metal::from_given(given, metal::token())? {
            return Ok(Self::Metal(metal));
        }
        let ranges = match ranges(given) {
            // What is wrong is said before what is missing; and without a range, nobody knows yet whether VIPs have to be announced.
            Err(wrong) if given.ipam_range.as_deref().is_some_and(|range| !range.is_empty()) => return Err(wrong),
            Err(missing) if !given.arp.unwrap_or_default() && !given.bgp.unwrap_or_default() => return Err(missing),
            ranges => ranges,
        };
        let announce = Announce::from_given(given, ranges.as_ref().is_ok_and(is_loopback))?;
        Ok(Self::Own { ranges: ranges?, announce })
    }
}

fn ranges(given: &Given) -> Result<Ranges, BadOption> {
    let range = given.ipam_range.as_deref().filter(|range| !range.is_empty()).ok_or_else(|| {
        BadOption(
            "--ipamRange is missing: which addresses may be handed out, like 192.168.0.85-192.168.0.90, or 127.0.0.85-127.0.0.90 to try \
             slb on this host alone"
                .to_owned(),
        )
    })?;
    let ranges: Ranges = range.parse().map_err(|error| BadOption(format!("--ipamRange: {}", Chain(&error))))?;
    if !is_loopback(&ranges) && LOOPBACK.into_iter().any(|(first, last)| ranges.overlaps(first, last)) {
        return Err(BadOption(format!(
            "--ipamRange {range}: loopback addresses (127.0.0.0/8, ::1) cannot be announced, and so not be mixed with others"
        )));
    }
    Ok(ranges)
}

fn is_loopback(ranges: &Ranges) -> bool {
    ranges.outside(&LOOPBACK).is_none()
}

#[cfg(test)]
mod tests;

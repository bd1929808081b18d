// SPDX-License-Identifier: Apache-2.0
//! What the options mean: parsed, checked against each other, with defaults. Nothing is asked of the machine here but the
//! configuration file.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use slb_advert::bgp::{PeerSettings, Speaker};
use slb_core::errors::Chain;
use slb_ipam::Ranges;
use tracing::Level;

use crate::args::{Given, ServerArgs};

/// The port of the original's API.
const DEFAULT_PORT: u16 = 10001;
/// Where load-balancers are kept: the place for an appliance's state (hier(7)).
const DEFAULT_STATE_DIR: &str = "/var/lib/slb";
/// Kernel and desired state are compared this often; address and link events are seen at once.
const DEFAULT_RECONCILE_INTERVAL: Duration = Duration::from_secs(30);
/// A switch or host that missed the first announcements learns of a VIP after this long at the latest.
const DEFAULT_ARP_INTERVAL: Duration = Duration::from_secs(60);
/// Three probes take 0.6 s; see `slb_advert::arp::timing` for why this is shorter than RFC 5227 has it.
const DEFAULT_ARP_PROBE_INTERVAL: Duration = Duration::from_millis(200);

/// Below this, slb would do little else than compare.
const SHORTEST_RECONCILE_INTERVAL: Duration = Duration::from_millis(100);
/// More often would be a flood.
const SHORTEST_ARP_INTERVAL: Duration = Duration::from_secs(1);
/// Hosts on a wired segment answer within about this time.
const SHORTEST_ARP_PROBE_INTERVAL: Duration = Duration::from_millis(1);
/// As good as never, and far from where a clock ends.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What `slb server` is to do.
#[derive(Debug)]
pub struct Config {
    /// The adapter that VIPs are bound to.
    pub adapter: String,
    /// Where VIPs come from.
    pub ranges: Ranges,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where load-balancers are kept.
    pub state_dir: PathBuf,
    /// How often kernel and desired state are compared.
    pub reconcile_interval: Duration,
    /// How the network learns of VIPs.
    pub announce: Announce,
}

/// How the network learns of VIPs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announce {
    /// By gratuitous ARP, on the adapter's segment.
    Arp {
        /// How often a VIP is announced again; `None` for never.
        interval: Option<Duration>,
        /// The pause between probes.
        probe_interval: Duration,
    },
    /// By BGP, to routers.
    Bgp {
        /// Who slb is.
        speaker: Speaker,
        /// Who is told.
        peers: Vec<PeerSettings>,
    },
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
pub fn given(args: ServerArgs) -> Result<Given, BadOption> {
    let Some(path) = args.config else { return Ok(args.given) };
    Ok(args.given.or(read(&path)?))
}

fn read(path: &Path) -> Result<Given, BadOption> {
    let text =
        std::fs::read_to_string(path).map_err(|error| BadOption(format!("--config {}: {error}", path.display())))?;
    toml::from_str(&text).map_err(|error| {
        let place = error
            .span()
            .and_then(|span| text.get(..span.start))
            .map_or_else(String::new, |before| format!(" line {}", before.matches('\n').count() + 1));
        BadOption(format!("--config {}{place}: {}", path.display(), error.message().replace('\n', "; ")))
    })
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

/// Where load-balancers are kept.
pub fn state_dir(given: &Given) -> PathBuf {
    given.state_dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_STATE_DIR))
}

impl Config {
    /// What `slb server` is to do.
    ///
    /// # Errors
    /// Something is missing, wrong, or contradicts something else.
    pub fn from_given(given: Given) -> Result<Self, BadOption> {
        let state_dir = state_dir(&given);
        let announce = Announce::from_given(&given)?;
        let adapter = given.adapter.filter(|name| !name.is_empty());
        let range = given.ipam_range.filter(|range| !range.is_empty());
        let range = range.ok_or_else(|| {
            BadOption(
                "--ipamRange is missing: which addresses may be handed out, like 192.168.0.85-192.168.0.90".to_owned(),
            )
        })?;
        let ranges: Ranges = range.parse().map_err(|error| BadOption(format!("--ipamRange: {}", Chain(&error))))?;
        if ranges.overlaps(Ipv4Addr::new(127, 0, 0, 0), Ipv4Addr::new(127, 255, 255, 255)) {
            return Err(BadOption(format!(
                "--ipamRange {range}: loopback addresses (127.0.0.0/8) cannot be announced"
            )));
        }
        let port = given.port.unwrap_or(DEFAULT_PORT);
        if port == 0 {
            return Err(BadOption("--port 0: ports go from 1 to 65535".to_owned()));
        }
        Ok(Self {
            adapter: adapter.ok_or_else(|| {
                BadOption("--adapter is missing: the network adapter to bind VIPs to, like eth0".to_owned())
            })?,
            ranges,
            listen: SocketAddr::new(given.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port),
            state_dir,
            reconcile_interval: parse("reconcileInterval", given.reconcile_interval)?
                .map_or(Ok(DEFAULT_RECONCILE_INTERVAL), |time| time.within(SHORTEST_RECONCILE_INTERVAL))?,
            announce,
        })
    }
}

impl Announce {
    fn from_given(given: &Given) -> Result<Self, BadOption> {
        match (given.arp.unwrap_or_default(), given.bgp.unwrap_or_default()) {
            (true, false) => Self::arp(given),
            (false, true) => Self::bgp(given),
            (true, true) => Err(BadOption("--arp and --bgp exclude each other: choose one".to_owned())),
            (false, false) => Err(BadOption("say how to announce VIPs: add --arp or --bgp".to_owned())),
        }
    }

    fn arp(given: &Given) -> Result<Self, BadOption> {
        if given.bgp_as.is_some() || given.bgp_router_id.is_some() || !given.bgp_peer.is_empty() {
            return Err(BadOption("--bgpAs, --bgpRouterId and --bgpPeer go with --bgp, not with --arp".to_owned()));
        }
        Ok(Self::Arp {
            interval: match parse("arpInterval", given.arp_interval.clone())? {
                None => Some(DEFAULT_ARP_INTERVAL),
                Some(time) if time.is.is_zero() => None,
                Some(time) => Some(time.within(SHORTEST_ARP_INTERVAL)?),
            },
            probe_interval: parse("arpProbeInterval", given.arp_probe_interval.clone())?
                .map_or(Ok(DEFAULT_ARP_PROBE_INTERVAL), |time| time.within(SHORTEST_ARP_PROBE_INTERVAL))?,
        })
    }

    fn bgp(given: &Given) -> Result<Self, BadOption> {
        let asn = given.bgp_as.filter(|asn| *asn > 0);
        let asn = asn.ok_or_else(|| BadOption("--bgpAs is missing: the own AS number, like 65000".to_owned()))?;
        let router_id = given.bgp_router_id.filter(|id| !id.is_unspecified()).ok_or_else(|| {
            BadOption("--bgpRouterId is missing: an IPv4 address of this host, like 10.0.0.1".to_owned())
        })?;
        let mut peers = BTreeMap::new();
        for text in &given.bgp_peer {
            // Not the text: there may be a password in it.
            let peer: PeerSettings = text.parse().map_err(|error| BadOption(format!("--bgpPeer: {error}")))?;
            let address = peer.address;
            if peers.insert(address, peer).is_some() {
                return Err(BadOption(format!("--bgpPeer: {address} is there twice")));
            }
        }
        Ok(Self::Bgp { speaker: Speaker { asn, router_id }, peers: peers.into_values().collect() })
    }
}

/// A time that was given, with the name of its option.
struct Time {
    option: &'static str,
    is: Duration,
}

fn parse(option: &'static str, given: Option<String>) -> Result<Option<Time>, BadOption> {
    let Some(text) = given else { return Ok(None) };
    let is = humantime::parse_duration(&text)
        .map_err(|error| BadOption(format!("--{option} {text}: {error}; write it like 500ms, 30s or 5m")))?;
    Ok(Some(Time { option, is }))
}

impl Time {
    fn within(self, shortest: Duration) -> Result<Duration, BadOption> {
        let Self { option, is } = self;
        if (shortest..=LONGEST).contains(&is) {
            return Ok(is);
        }
        let [is, shortest, longest] = [is, shortest, LONGEST].map(humantime::format_duration);
        Err(BadOption(format!("--{option} {is}: it goes from {shortest} to {longest}")))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proptest::prelude::*;

    use super::*;
    use crate::args::{CommandLine, Verb};

    fn parsed(words: &[&str]) -> ServerArgs {
        let line = CommandLine::try_parse_from(["slb", "server"].iter().chain(words)).unwrap();
        let (Verb::Server(args) | Verb::Cleanup(args)) = line.verb else { panic!("not a server") };
        args
    }

    fn typed(words: &[&str]) -> Result<Config, BadOption> {
        Config::from_given(given(parsed(words))?)
    }

    /// By BGP, but for the peers.
    fn bgp(more: &[&'static str]) -> Vec<&'static str> {
        let words = [
            "--bgp",
            "--adapter",
            "lo",
            "--ipamRange",
            "203.0.113.10",
            "--bgpAs",
            "65000",
            "--bgpRouterId",
            "10.0.0.1",
        ];
        [&words[..], more].concat()
    }

    #[test]
    fn peers_come_from_everywhere() {
        let peers = |config: Config| match config.announce {
            Announce::Bgp { peers, .. } => peers.into_iter().map(|peer| (peer.address.to_string(), peer.asn)).collect(),
            Announce::Arp { .. } => Vec::new(),
        };
        let two = ["--bgpPeer", "[fd00::fe]:65530", "--bgpPeer", "10.0.0.254:65530:a:b"];
        let expected = [("10.0.0.254".to_owned(), 65530), ("fd00::fe".to_owned(), 65530)];
        assert_eq!(peers(typed(&bgp(&two)).unwrap()), expected);
        let file: Given = toml::from_str("bgpPeer = [\"[fd00::fe]:65530\", \"10.0.0.254:65530:a b\"]").unwrap();
        let line = given(parsed(&bgp(&[]))).unwrap();
        assert_eq!(peers(Config::from_given(line.or(file)).unwrap()), expected);
    }

    const ORIGINAL: [&str; 5] = ["--arp", "--adapter", "eth0", "--ipamRange", "192.168.0.85-192.168.0.90"];

    #[test]
    fn the_originals_command_line_is_understood() {
        let config = typed(&ORIGINAL).unwrap();
        assert_eq!(config.adapter, "eth0");
        assert_eq!(config.listen, "0.0.0.0:10001".parse().unwrap());
        assert_eq!(config.state_dir, PathBuf::from("/var/lib/slb"));
    }

    #[test]
    fn what_contradicts_or_is_missing_is_named() {
        let words = |extra: &[&'static str]| ORIGINAL.iter().copied().chain(extra.iter().copied()).collect::<Vec<_>>();
        for (words, expected) in [
            (words(&["--bgp"]), "exclude each other"),
            (vec!["--adapter", "eth0", "--ipamRange", "10.0.0.1"], "--arp"),
            (vec!["--bgp", "--adapter", "lo"], "--bgpAs is missing"),
            (vec!["--bgp", "--bgpAs", "65000"], "--bgpRouterId is missing"),
            (bgp(&["--bgpPeer", "10.0.0.254"]), "ADDRESS:AS"),
            (bgp(&["--bgpPeer", "10.0.0.254:1", "--bgpPeer", "10.0.0.254:2"]), "twice"),
            (words(&["--bgpAs", "65000"]), "go with --bgp"),
            (vec!["--arp", "--adapter", "eth0"], "--ipamRange is missing"),
            (vec!["--arp", "--ipamRange", "10.0.0.1"], "--adapter is missing"),
            (words(&["--port", "0"]), "--port 0"),
            (words(&["--arpInterval", "5 parsecs"]), "--arpInterval 5 parsecs"),
            (words(&["--reconcileInterval", "0s"]), "from 100ms"),
            (words(&["--reconcileInterval", "18446744073709551615s"]), "to 30days"),
            (words(&["--arpInterval", "1ns"]), "from 1s"),
            (words(&["--arpProbeInterval", "0s"]), "from 1ms"),
            (words(&["--config", "/nonexistent/slb.toml"]), "/nonexistent/slb.toml"),
        ] {
            let error = typed(&words).unwrap_err().to_string();
            assert!(error.contains(expected), "{words:?}: {error}");
        }
    }

    #[test]
    fn announcing_again_can_be_switched_off() {
        let interval = |time| {
            typed(&[&ORIGINAL[..], &["--arpInterval", time]].concat()).map(|config| match config.announce {
                Announce::Arp { interval, .. } => interval,
                Announce::Bgp { .. } => panic!("not by ARP"),
            })
        };
        assert_eq!(interval("0s"), Ok(None));
        assert_eq!(interval("90s"), Ok(Some(Duration::from_secs(90))));
    }

    #[test]
    fn the_range_is_checked_at_the_start() {
        for range in ["10.0.0.90-10.0.0.85", "10.0.0.1-", "10.0.0.1,10.0.0.1", "fish", "126.0.0.1-128.0.0.1"] {
            let error = typed(&["--arp", "--adapter", "eth0", "--ipamRange", range]).unwrap_err().to_string();
            assert!(error.contains("--ipamRange"), "{error}");
        }
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file: Given =
            toml::from_str("adapter = \"eth1\"\nport = 9000\narp = true\nipamRange = \"10.0.0.1\"").unwrap();
        let line = Given { adapter: Some("eth0".to_owned()), ..Given::default() };
        let config = Config::from_given(line.or(file)).unwrap();
        assert_eq!((config.adapter.as_str(), config.listen.port()), ("eth0", 9000));
    }

    #[test]
    fn a_mistake_in_the_file_is_one_line_that_says_where() {
        let path = std::env::temp_dir().join(format!("slb-config-{}", std::process::id()));
        for (text, expected) in [
            ("arp = true\niparmRange = \"10.0.0.1\"\n", "line 2: unknown field `iparmRange`"),
            ("\n\nadapter = \n", "line 3: "),
            ("port = \"x\"", "line 1: invalid type"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
    }

    /// Near what is right, so that some of it is.
    const FILE: &str = "(((adapter|ipamRange|reconcileInterval|arpProbeInterval|arpInterval|logLevel|stateDir|address) = \
                        \"([a-z0-9./:, -]{0,12}|10\\.0\\.0\\.[0-9](/3[0-2]|-10\\.0\\.0\\.9)?|[0-9]{1,19}(ns|ms|s|m|y|years))\"|\
                        arp = true|bgp = false|port = -?[0-9]{1,6}|[a-zA-Z0-9\\[\\]=\"'. #-]{0,9})\n){0,8}";

    proptest! {
        /// Whatever is in the file, reading it does not panic, and what is taken can be lived with.
        #[test]
        fn any_file_is_read_or_refused(text in FILE, is_whole: bool) {
            let whole = "arp = true\nadapter = \"eth0\"\nipamRange = \"10.0.0.1\"\n";
            let text = if is_whole { format!("{whole}{text}") } else { text };
            if let Ok(config) = toml::from_str::<Given>(&text).map_err(drop).and_then(|given| Config::from_given(given).map_err(drop)) {
                let of_arp = match config.announce {
                    Announce::Arp { interval, probe_interval } => [interval, Some(probe_interval)],
                    Announce::Bgp { .. } => [None, None],
                };
                for interval in of_arp.into_iter().flatten().chain([config.reconcile_interval]) {
                    prop_assert!(!interval.is_zero() && interval <= LONGEST, "{text}");
                }
                prop_assert!(config.listen.port() > 0 && !config.adapter.is_empty());
            }
        }
    }
}

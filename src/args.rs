// SPDX-License-Identifier: Apache-2.0
//! What was typed: the command line, the environment and the configuration file, not interpreted yet.
//!
//! The three have the same options with the same names: `--ipamRange` is `SLB_IPAM_RANGE` in the environment and
//! `ipamRange` in the file. What is on the command line wins over the environment, that over the file, that over the default.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Deserializer};

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "slb", version, about = "Turns any Linux box into a load-balancer appliance")]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the load-balancer and its API
    Server(ServerArgs),
    /// Take everything that slb owns out of the kernel and restore its settings; the load-balancers stay on disk
    Cleanup(ServerArgs),
    /// On the host of a backend: take packets of direct routing and of tunnels
    #[command(subcommand)]
    Backend(BackendVerb),
    /// Print the version
    Version,
}

/// What to do on the host of a backend.
#[derive(Debug, Subcommand)]
pub enum BackendVerb {
    /// Give this host VIPs without telling the network that they live here; needed for backends of type DR and TUN
    Setup(SetupArgs),
}

/// The options of `slb backend setup`.
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// A VIP to take packets for; repeat it for more. Those of an earlier call that are not named are taken away
    #[arg(long = "vip", value_name = "IP", required_unless_present = "undo", conflicts_with = "undo")]
    pub vips: Vec<IpAddr>,
    /// Take packets out of tunnels (type TUN): ipip, gre, gue or gue:PORT [default: packets come as they are, type DR]
    #[arg(long, value_name = "TUNNEL", conflicts_with = "undo")]
    pub tunnel: Option<String>,
    /// What the tunnel travels over, the family of this host's address among the backends: ipv4 or ipv6; repeat it for both
    /// [default: the families of the VIPs]
    #[arg(long, value_name = "FAMILY", conflicts_with = "undo")]
    pub over: Vec<String>,
    /// Restrain ARP on this adapter alone; repeat it for more [default: on all]
    #[arg(long = "adapter", value_name = "NAME", conflicts_with = "undo")]
    pub adapters: Vec<String>,
    /// Take everything back
    #[arg(long)]
    pub undo: bool,
    /// Print the commands that would do the same, and do nothing
    #[arg(long = "dryRun", alias = "dry-run")]
    pub dry_run: bool,
}

/// The options of the server, and the file that may hold more of them.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Read options from this TOML file
    #[arg(long, env = "SLB_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Those typed or in the environment.
    #[command(flatten)]
    pub given: Given,
}

/// Options as they were given; what was not given is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Given {
    /// The network adapter that VIPs are bound to
    #[arg(long, env = "SLB_ADAPTER", value_name = "NAME")]
    pub adapter: Option<String>,
    /// Announce VIPs by gratuitous ARP (layer 2)
    #[arg(long, env = "SLB_ARP", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub arp: Option<bool>,
    /// Announce VIPs by BGP (layer 3)
    #[arg(long, env = "SLB_BGP", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub bgp: Option<bool>,
    /// The own AS number, with --bgp
    #[arg(long = "bgpAs", env = "SLB_BGP_AS", value_name = "AS")]
    pub bgp_as: Option<u32>,
    /// The own BGP identifier, with --bgp; an address of this host, by custom
    #[arg(long = "bgpRouterId", env = "SLB_BGP_ROUTER_ID", value_name = "IP")]
    pub bgp_router_id: Option<Ipv4Addr>,
    /// A BGP peer, ADDRESS:AS or ADDRESS:AS:PASSWORD, an IPv6 address in brackets; repeat it for more (in the environment, spaces
    /// between them)
    #[arg(long = "bgpPeer", env = "SLB_BGP_PEER", value_name = "PEER", value_delimiter = ' ', hide_env_values = true)]
    #[serde(deserialize_with = "texts")]
    pub bgp_peer: Vec<String>,
    /// Have a GoBGP that runs already announce VIPs, with --bgp: where its API listens, like 127.0.0.1:50051
    #[arg(long, env = "SLB_GOBGP", value_name = "ADDRESS:PORT")]
    pub gobgp: Option<String>,
    /// Announce VIPs by BGP as the networks of this length around them, as long as there is one in it [default: 32]
    #[arg(long = "bgpAggregation", env = "SLB_BGP_AGGREGATION", value_name = "LENGTH")]
    pub bgp_aggregation: Option<u8>,
    /// The same for VIPs of IPv6 [default: 128]
    #[arg(long = "bgpAggregationIpv6", env = "SLB_BGP_AGGREGATION_IPV6", value_name = "LENGTH")]
    pub bgp_aggregation_ipv6: Option<u8>,
    /// Let BGP peers connect to this address, IP or IP:PORT, an IPv6 address with a port in brackets; repeat it for more (in the
    /// environment, spaces between them) [default: slb connects, and does not listen]
    #[arg(long = "bgpListen", env = "SLB_BGP_LISTEN", value_name = "IP[:PORT]", value_delimiter = ' ')]
    #[serde(deserialize_with = "texts")]
    pub bgp_listen: Vec<String>,
    /// Wait for BGP peers to connect, instead of connecting to them
    #[arg(long = "bgpPassive", env = "SLB_BGP_PASSIVE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub bgp_passive: Option<bool>,
    /// Proposed to BGP peers: who is silent for so long is given up, 0s for never [default: 90s]
    #[arg(long = "bgpHoldTime", env = "SLB_BGP_HOLD_TIME", value_name = "DURATION")]
    pub bgp_hold_time: Option<String>,
    /// How long BGP peers are asked to keep routes while slb restarts, 0s for not at all [default: 120s]
    #[arg(long = "bgpRestartTime", env = "SLB_BGP_RESTART_TIME", value_name = "DURATION")]
    pub bgp_restart_time: Option<String>,
    /// The address to connect to BGP peers from, if it is of their family [default: the kernel's choice]
    #[arg(long = "bgpSource", env = "SLB_BGP_SOURCE", value_name = "IP")]
    pub bgp_source: Option<IpAddr>,
    /// Take packets only from BGP peers that are one hop away (GTSM)
    #[arg(long = "bgpGtsm", env = "SLB_BGP_GTSM", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub bgp_gtsm: Option<bool>,
    /// Where routers send packets to VIPs [default: the own address of the session]
    #[arg(long = "bgpNextHop", env = "SLB_BGP_NEXT_HOP", value_name = "IP")]
    pub bgp_next_hop: Option<IpAddr>,
    /// Where routers send packets to VIPs of IPv6, if it is not --bgpNextHop; needed where they are peers over IPv4 [default: the own
    /// address of the session]
    #[arg(long = "bgpNextHopIpv6", env = "SLB_BGP_NEXT_HOP_IPV6", value_name = "IP")]
    pub bgp_next_hop_ipv6: Option<Ipv6Addr>,
    /// Of several ways into the same AS, routers prefer the one with the lowest
    #[arg(long = "bgpMed", env = "SLB_BGP_MED", value_name = "NUMBER")]
    pub bgp_med: Option<u32>,
    /// Within the own AS, routers prefer the way with the highest [default: 100]
    #[arg(long = "bgpLocalPref", env = "SLB_BGP_LOCAL_PREF", value_name = "NUMBER")]
    pub bgp_local_pref: Option<u32>,
    /// How often the own AS number is repeated, so that the way looks longer [default: 0]
    #[arg(long = "bgpPrepend", env = "SLB_BGP_PREPEND", value_name = "NUMBER")]
    pub bgp_prepend: Option<u8>,
    /// A label of the routes: 65000:100, 65000:1:2 or a well-known name like no-export; repeat it for more (in the environment,
    /// spaces between them)
    #[arg(long = "bgpCommunity", env = "SLB_BGP_COMMUNITY", value_name = "COMMUNITY", value_delimiter = ' ')]
    #[serde(deserialize_with = "texts")]
    pub bgp_community: Vec<String>,
    /// What balances: ipvs, the kernel; user, this process, which needs neither IPVS nor root; auto, IPVS where it can be [default: auto]
    #[arg(long, env = "SLB_DATAPLANE", value_name = "DATAPLANE")]
    pub dataplane: Option<String>,
    /// Addresses to hand out as VIPs: A-B, CIDR, single addresses, or a comma-separated list of them
    #[arg(long = "ipamRange", env = "SLB_IPAM_RANGE", value_name = "RANGE")]
    pub ipam_range: Option<String>,
    /// Reserve VIPs with Equinix Metal, and tell its routers; with --bgp. The token is METAL_AUTH_TOKEN or PACKET_AUTH_TOKEN
    #[arg(long = "equinixMetal", env = "SLB_EQUINIX_METAL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub equinix_metal: Option<bool>,
    /// The Equinix Metal project that pays for VIPs
    #[arg(long, env = "SLB_PROJECT", value_name = "ID")]
    pub project: Option<String>,
    /// The Equinix Metal facility that VIPs are of, like am6
    #[arg(long, env = "SLB_FACILITY", value_name = "CODE")]
    pub facility: Option<String>,
    /// The Equinix Metal metro that VIPs are of, like am
    #[arg(long, env = "SLB_METRO", value_name = "CODE")]
    pub metro: Option<String>,
    /// This machine in Equinix Metal [default: the device with its hostname]
    #[arg(long = "metalDevice", env = "SLB_METAL_DEVICE", value_name = "ID")]
    pub metal_device: Option<String>,
    /// Where Equinix Metal's API is [default: https://api.equinix.com/metal/v1]
    #[arg(long = "metalApiUrl", env = "METAL_API_URL", value_name = "URL")]
    pub metal_api_url: Option<String>,
    /// The address the API listens on [default: 0.0.0.0]
    #[arg(long, env = "SLB_ADDRESS", value_name = "IP")]
    pub address: Option<IpAddr>,
    /// The port the API listens on [default: 10001]
    #[arg(long, env = "SLB_PORT")]
    pub port: Option<u16>,
    /// Where the load-balancers are kept [default: /var/lib/slb; without root $XDG_STATE_HOME/slb, or ~/.local/state/slb]
    #[arg(long = "stateDir", env = "SLB_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// How often kernel and desired state are compared [default: 30s]
    #[arg(long = "reconcileInterval", env = "SLB_RECONCILE_INTERVAL", value_name = "DURATION")]
    pub reconcile_interval: Option<String>,
    /// How long IPVS remembers a TCP connection on which nothing is sent [default: as it is; the kernel's own is 15m]
    #[arg(long = "tcpTimeout", env = "SLB_TCP_TIMEOUT", value_name = "DURATION")]
    pub tcp_timeout: Option<String>,
    /// The same once one end has closed it [default: as it is; the kernel's own is 2m]
    #[arg(long = "tcpFinTimeout", env = "SLB_TCP_FIN_TIMEOUT", value_name = "DURATION")]
    pub tcp_fin_timeout: Option<String>,
    /// How long IPVS remembers a UDP client that sends nothing [default: as it is; the kernel's own is 5m]
    #[arg(long = "udpTimeout", env = "SLB_UDP_TIMEOUT", value_name = "DURATION")]
    pub udp_timeout: Option<String>,
    /// Let health checks run commands on this host, as the user that slb runs as
    #[arg(long = "allowExecChecks", env = "SLB_ALLOW_EXEC_CHECKS", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub allow_exec_checks: Option<bool>,
    /// How often a VIP is announced again, 0s for never [default: 60s]
    #[arg(long = "arpInterval", env = "SLB_ARP_INTERVAL", value_name = "DURATION")]
    pub arp_interval: Option<String>,
    /// The pause between the three ARP probes of an address before it is handed out [default: 200ms]
    #[arg(long = "arpProbeInterval", env = "SLB_ARP_PROBE_INTERVAL", value_name = "DURATION")]
    pub arp_probe_interval: Option<String>,
    /// error, warn, info, debug or trace [default: info]
    #[arg(long = "logLevel", env = "SLB_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// text or json [default: text]
    #[arg(long = "logFormat", env = "SLB_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl Given {
    /// What is given here, else there.
    pub fn or(self, there: Self) -> Self {
        Self {
            adapter: self.adapter.or(there.adapter),
            arp: self.arp.or(there.arp),
            bgp: self.bgp.or(there.bgp),
            bgp_as: self.bgp_as.or(there.bgp_as),
            bgp_router_id: self.bgp_router_id.or(there.bgp_router_id),
            bgp_peer: if self.bgp_peer.is_empty() { there.bgp_peer } else { self.bgp_peer },
            gobgp: self.gobgp.or(there.gobgp),
            bgp_aggregation: self.bgp_aggregation.or(there.bgp_aggregation),
            bgp_aggregation_ipv6: self.bgp_aggregation_ipv6.or(there.bgp_aggregation_ipv6),
            bgp_listen: if self.bgp_listen.is_empty() { there.bgp_listen } else { self.bgp_listen },
            bgp_passive: self.bgp_passive.or(there.bgp_passive),
            bgp_hold_time: self.bgp_hold_time.or(there.bgp_hold_time),
            bgp_restart_time: self.bgp_restart_time.or(there.bgp_restart_time),
            bgp_source: self.bgp_source.or(there.bgp_source),
            bgp_gtsm: self.bgp_gtsm.or(there.bgp_gtsm),
            bgp_next_hop: self.bgp_next_hop.or(there.bgp_next_hop),
            bgp_next_hop_ipv6: self.bgp_next_hop_ipv6.or(there.bgp_next_hop_ipv6),
            bgp_med: self.bgp_med.or(there.bgp_med),
            bgp_local_pref: self.bgp_local_pref.or(there.bgp_local_pref),
            bgp_prepend: self.bgp_prepend.or(there.bgp_prepend),
            bgp_community: if self.bgp_community.is_empty() { there.bgp_community } else { self.bgp_community },
            dataplane: self.dataplane.or(there.dataplane),
            ipam_range: self.ipam_range.or(there.ipam_range),
            equinix_metal: self.equinix_metal.or(there.equinix_metal),
            project: self.project.or(there.project),
            facility: self.facility.or(there.facility),
            metro: self.metro.or(there.metro),
            metal_device: self.metal_device.or(there.metal_device),
            metal_api_url: self.metal_api_url.or(there.metal_api_url),
            address: self.address.or(there.address),
            port: self.port.or(there.port),
            state_dir: self.state_dir.or(there.state_dir),
            reconcile_interval: self.reconcile_interval.or(there.reconcile_interval),
            tcp_timeout: self.tcp_timeout.or(there.tcp_timeout),
            tcp_fin_timeout: self.tcp_fin_timeout.or(there.tcp_fin_timeout),
            udp_timeout: self.udp_timeout.or(there.udp_timeout),
            allow_exec_checks: self.allow_exec_checks.or(there.allow_exec_checks),
            arp_interval: self.arp_interval.or(there.arp_interval),
            arp_probe_interval: self.arp_probe_interval.or(there.arp_probe_interval),
            log_level: self.log_level.or(there.log_level),
            log_format: self.log_format.or(there.log_format),
        }
    }
}

/// A list of texts in the file, or one alone.
#[derive(Deserialize)]
#[serde(untagged, expecting = "write a text in \"\", or a list of them in []")]
enum Texts {
    One(String),
    Several(Vec<String>),
}

/// No error has what was read: there may be a password in it.
fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(match Texts::deserialize(from)? {
        Texts::One(text) => vec![text],
        Texts::Several(texts) => texts,
    })
}

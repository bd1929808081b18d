// SPDX-License-Identifier: Apache-2.0
//! Why a backend's host could not be set up.

use std::net::IpAddr;

use super::step::Step;

/// A wish that makes no sense on any host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotWished {
    /// No tunnel is called so.
    #[error("{0:?} is no tunnel: ipip, gre, gue or gue:PORT")]
    Tunnel(String),
    /// No family is called so.
    #[error("{0:?} is no family of addresses: ipv4 or ipv6")]
    Family(String),
    /// There is nothing to set up.
    #[error("name at least one VIP: --vip 192.168.0.85")]
    NoVip,
    /// Clients cannot connect to it.
    #[error("{0} is no address that clients could connect to")]
    Vip(IpAddr),
    /// It says what the tunnel travels over.
    #[error("--over says what a tunnel travels over; name the --tunnel as well")]
    OverWithoutTunnel,
}

/// What keeps this host from being set up, or went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel could not be asked.
    #[error(transparent)]
    Ask(#[from] crate::Error),
    /// There is a device of one of slb's names that slb did not make. Nothing has been changed.
    #[error("there is a device {0} that `slb backend setup` did not make; rename or remove it")]
    Foreign(&'static str),
    /// The adapter is away. Nothing has been changed.
    #[error("there is no adapter {name}; there are {}", there.join(", "))]
    NoAdapter {
        /// The name that was asked for.
        name: String,
        /// The adapters that there are.
        there: Vec<String>,
    },
    /// The address is on an adapter that tells the network of it. Nothing has been changed.
    #[error("{vip} is an address of {adapter}, which answers ARP for it: ip addr del {vip}/{prefix} dev {adapter}")]
    AnsweredFor {
        /// The address.
        vip: IpAddr,
        /// Its prefix.
        prefix: u8,
        /// Who has it.
        adapter: String,
    },
    /// Somebody listens there already. Nothing has been changed.
    #[error(
        "UDP port {0} takes tunnels already, which `slb backend setup` did not ask for; name another: --tunnel gue:PORT"
    )]
    PortTaken(u16),
    /// What was there before is written on a device of slb's, and does not fit.
    #[error(
        "these are too many adapters to remember how they were; leave --adapter out to restrain ARP on all of them"
    )]
    TooManyAdapters,
    /// A step failed. What came before it has been undone.
    #[error("could not `{step}`; nothing has been changed")]
    Step {
        /// Which.
        step: Box<Step>,
        /// Why not.
        #[source]
        source: crate::Error,
    },
    /// A step failed, and it was itself an undoing.
    #[error("could not `{step}`; this is done in part, the same command again goes on from here")]
    HalfDone {
        /// Which.
        step: Box<Step>,
        /// Why not.
        #[source]
        source: crate::Error,
    },
}

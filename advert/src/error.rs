// SPDX-License-Identifier: Apache-2.0
//! What can go wrong while advertising, and which of it may pass.

use std::io;

use slb_core::{model::Family, ports::Verdict};

use crate::segment::Protocol;

/// Why a VIP is not advertised, or an address not probed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process may not open packet sockets (packet(7)).
    #[error("opening a packet socket on adapter {adapter} needs the capability CAP_NET_RAW")]
    Privilege {
        /// The adapter's name.
        adapter: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// No adapter has this name.
    #[error("there is no adapter {adapter}")]
    NoAdapter {
        /// The name looked for.
        adapter: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The adapter is of a kind that carries no ARP or neighbour discovery with Ethernet addresses, as the loopback adapter.
    #[error("adapter {adapter} does not speak ARP: it is not an Ethernet (hardware type {hardware_type})")]
    NotEthernet {
        /// The adapter's name.
        adapter: String,
        /// `ARPHRD_…` of linux/if_arp.h.
        hardware_type: u16,
    },
    /// The adapter has the flag `NOARP`: hosts on it do not resolve addresses.
    #[error("adapter {adapter} does not speak ARP: it has the flag NOARP")]
    ArpOff {
        /// The adapter's name.
        adapter: String,
    },
    /// The adapter is down, or nothing is plugged in: nobody would hear.
    #[error("adapter {adapter} has no link")]
    NoLink {
        /// The adapter's name.
        adapter: String,
    },
    /// An operation on the packet socket failed.
    #[error("{operation} on adapter {adapter}")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// The adapter's name.
        adapter: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Nobody asked to have VIPs of this family announced.
    #[error("VIPs of {family} are not announced on adapter {adapter}")]
    Unspoken {
        /// The family.
        family: Family,
        /// The adapter's name.
        adapter: String,
    },
    /// The task that owns the socket has ended: the advertiser has been dropped.
    #[error("the {protocol} task of adapter {adapter} has ended")]
    Ended {
        /// What it spoke.
        protocol: Protocol,
        /// The adapter's name.
        adapter: String,
    },
}

impl Error {
    /// Tells what may pass (an adapter that is away or without a link, a hiccup of the kernel) from what stays until somebody acts.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            Self::NoAdapter { .. } | Self::NoLink { .. } | Self::Socket { .. } => Verdict::Retry(self.into()),
            Self::Privilege { .. }
            | Self::NotEthernet { .. }
            | Self::ArpOff { .. }
            | Self::Unspoken { .. }
            | Self::Ended { .. } => Verdict::Refused(self.into()),
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What can go wrong: the operation, the object, and the kernel's or the program's own word as the source.

use std::{io, process::ExitStatus, sync::Arc};

use slb_core::{
    model::{Family, Vip},
    ports::{Cause, Verdict},
};

/// An operation on the host that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A netlink socket could not be opened.
    #[error("open a connection to the kernel for {what}")]
    Open {
        /// What it is for.
        what: &'static str,
        /// Why not.
        #[source]
        source: netlink::Error,
    },
    /// Something could not be read from the kernel.
    #[error("read {what}")]
    Read {
        /// What was read.
        what: &'static str,
        /// Why not.
        #[source]
        source: netlink::Error,
    },
    /// A change could not be sent, or what became of it is not known.
    #[error("change {what}")]
    Change {
        /// What was to be changed.
        what: &'static str,
        /// Why not.
        #[source]
        source: netlink::Error,
    },
    /// The kernel refused a change that is named elsewhere.
    #[error("the kernel refused")]
    Refused(#[source] netlink::KernelError),
    /// The host has no adapter of that name.
    #[error("there is no adapter {name}; there are {}", there.join(", "))]
    NoAdapter {
        /// The name that was asked for.
        name: String,
        /// The adapters that there are.
        there: Vec<String>,
    },
    /// The adapter is a port of another, which takes all that arrives.
    #[error("{name} is a port of {controller}, which takes all that arrives there; use {controller} as the adapter")]
    Port {
        /// The name that was asked for.
        name: String,
        /// The bridge or bond.
        controller: String,
    },
    /// VIPs may be of IPv6, and the adapter takes no such address.
    #[error("{name} takes no addresses of IPv6; set {setting} to 0, or take those of IPv6 out of the range")]
    Ipv6Off {
        /// The adapter.
        name: String,
        /// The setting that turns it off.
        setting: String,
    },
    /// The kernel refused to put an address on the adapter.
    #[error("bind {vip} to {adapter}")]
    Bind {
        /// The address.
        vip: Vip,
        /// The adapter.
        adapter: Arc<str>,
        /// What the kernel said.
        #[source]
        source: netlink::KernelError,
    },
    /// The kernel refused to take an address off the adapter.
    #[error("unbind {vip} from {adapter}")]
    Unbind {
        /// The address.
        vip: Vip,
        /// The adapter.
        adapter: Arc<str>,
        /// What the kernel said.
        #[source]
        source: netlink::KernelError,
    },
    /// The name is not one that a setting can have.
    #[error("{0:?} is not a name of a setting of the kernel")]
    SettingName(String),
    /// A setting could not be read.
    #[error("read the setting {name}")]
    ReadSetting {
        /// Which.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A setting of an adapter does not count, whatever it is.
    #[error(
        "{name} has no effect while {all} is {value}: set that to 0, or to {}",
        values.iter().map(u32::to_string).collect::<Vec<_>>().join(" or ")
    )]
    Overruled {
        /// Which.
        name: String,
        /// The one that counts.
        all: &'static str,
        /// What that is.
        value: i64,
        /// Values that would do.
        values: &'static [u32],
    },
    /// A setting could not be changed.
    #[error("set {name} to {value}")]
    WriteSetting {
        /// Which.
        name: String,
        /// To what.
        value: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a change of its nftables rules.
    #[error("change the nftables rules of slb")]
    Nftables(#[source] netlink::KernelError),
    /// The kernel has no nftables for the family, and there is no iptables either.
    #[error(
        "find a way to source NAT: the kernel has no nftables for {family} (CONFIG_NF_TABLES_{}, CONFIG_NFT_NAT, \
         CONFIG_NFT_MASQ, CONFIG_NFT_CT) and there is no program {program}; install the package iptables",
        family.to_string().to_uppercase()
    )]
    NoIptables {
        /// The family.
        family: Family,
        /// The program that was looked for last.
        program: &'static str,
    },
    /// Nothing in the kernel knows which packets a socket of this host waits for.
    #[error(
        "find a way to know answers to clients: the kernel's nftables has no match of sockets for {family} (CONFIG_NFT_SOCKET and \
         CONFIG_NFT_TPROXY, Linux 5.11) and there is no program {program}; install the package iptables, or leave sourceNat at always"
    )]
    NoSocketMatch {
        /// The family.
        family: Family,
        /// The program that was looked for last.
        program: &'static str,
    },
    /// The kernel refused to bring answers back.
    #[error(
        "lead answers to clients back to this host over {family}, by a rule for routes (CONFIG_IP_MULTIPLE_TABLES)"
    )]
    Answers {
        /// The family.
        family: Family,
        /// What the kernel said.
        #[source]
        source: netlink::KernelError,
    },
    /// iptables is all there is, and works for root alone.
    #[error("look for iptables rules, which are for root alone: run slb as root, or on a kernel with nftables")]
    Tables(#[source] io::Error),
    /// A program could not be started or talked to.
    #[error("run {program}")]
    Run {
        /// Which.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("{program} failed, {status}: {said}")]
    Failed {
        /// Which.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to its standard error, on one line.
        said: String,
    },
    /// A program did not end.
    #[error("{program} did not end within {seconds} s")]
    Hung {
        /// Which.
        program: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The capabilities of the process could not be read.
    #[error("read the capabilities of this process")]
    Capabilities(#[source] caps::errors::CapsError),
    /// A kernel module that slb cannot do without is neither built in nor could it be loaded.
    #[error(
        "load the kernel module {module}: it is in the distribution's package of kernel modules (Ubuntu: \
         linux-modules-extra, Fedora: kernel-modules), or the kernel is to be built with {option}{}",
        words(said)
    )]
    NoModule {
        /// Which.
        module: &'static str,
        /// The option of the kernel's configuration.
        option: &'static str,
        /// What modprobe said.
        said: String,
    },
}

fn words(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" ({said})") }
}

impl Error {
    /// Whether the same will fail again unless something else changes.
    fn is_final(&self) -> bool {
        match self {
            Self::Bind { source, .. }
            | Self::Unbind { source, .. }
            | Self::Nftables(source)
            | Self::Answers { source, .. }
            | Self::Refused(source) => is_final(source),
            Self::Open { source, .. } | Self::Read { source, .. } | Self::Change { source, .. } => {
                source.refusal().is_some_and(is_final)
            }
            Self::Port { .. }
            | Self::Ipv6Off { .. }
            | Self::NoIptables { .. }
            | Self::NoSocketMatch { .. }
            | Self::Tables(_)
            | Self::NoModule { .. }
            | Self::SettingName(_) => true,
            // iptables' own code for "no memory, or another program holds the lock".
            Self::Failed { status, .. } => status.code().is_some_and(|code| code != 4),
            Self::NoAdapter { .. }
            | Self::ReadSetting { .. }
            | Self::Overruled { .. }
            | Self::WriteSetting { .. }
            | Self::Capabilities(_)
            | Self::Run { .. }
            | Self::Hung { .. } => false,
        }
    }
}

fn is_final(error: &netlink::KernelError) -> bool {
    matches!(error.errno(), libc::EPERM | libc::EACCES | libc::EINVAL | libc::EOPNOTSUPP | libc::EAFNOSUPPORT)
}

impl From<Error> for Verdict {
    fn from(error: Error) -> Self {
        let verdict = if error.is_final() { Self::Refused } else { Self::Retry };
        verdict(Box::new(error))
    }
}

/// The verdict on each of many steps that failed together.
pub(crate) fn shared_verdict(error: &Arc<Error>) -> Verdict {
    let cause: Cause = Box::new(Arc::clone(error));
    if error.is_final() { Verdict::Refused(cause) } else { Verdict::Retry(cause) }
}

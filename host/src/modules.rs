// SPDX-License-Identifier: Apache-2.0
//! Kernel modules: which are missing, and loading them. What is built into the kernel counts as there.
//!
//! The kernel loads most of what slb needs by itself when it is first used, also for a process that may not load modules. So
//! it is asked first; modprobe comes second; and an error is raised only for what is certain to be missing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use netlink::{Socket, protocols::NETLINK_GENERIC};
use netlink_packet_generic::{
    GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};

use slb_core::model::Family;

use crate::{
    Error,
    nat::{SourceNat, SourceNats},
    program, sysctl,
};

/// A module that slb needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Module {
    name: &'static str,
    /// The option of the kernel's configuration that builds it.
    option: &'static str,
    sign: Sign,
}

/// By what a module shows that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// By this file, without fail.
    File(&'static str),
    /// By nothing of its own; the folder of all loaded modules and the list of those built in may tell.
    None,
    /// Likewise, and it need not be there: the kernel loads it when it is used.
    Use,
}

/// IPVS itself.
const IPVS: Module = Module { name: "ip_vs", option: "CONFIG_IP_VS", sign: Sign::File("/proc/net/ip_vs") };

const NEEDED: [Module; 4] = [
    IPVS,
    Module { name: "ip_vs_rr", option: "CONFIG_IP_VS_RR", sign: Sign::Use },
    Module {
        name: "nf_conntrack",
        option: "CONFIG_NF_CONNTRACK",
        sign: Sign::File("/proc/sys/net/netfilter/nf_conntrack_max"),
    },
    // A part of ip_vs that some kernels are built without.
    Module { name: "ip_vs", option: "CONFIG_IP_VS_NFCT", sign: Sign::File("/proc/sys/net/ipv4/vs/conntrack") },
];

/// What the iptables rules are made of. nftables needs no list: asking the kernel for it loads it.
const NEEDED_BY_IPTABLES: [Module; 2] = [
    Module { name: "xt_ipvs", option: "CONFIG_NETFILTER_XT_MATCH_IPVS", sign: Sign::Use },
    Module { name: "xt_conntrack", option: "CONFIG_NETFILTER_XT_MATCH_CONNTRACK", sign: Sign::Use },
];

/// IPv6 itself.
const IPV6: Module = Module { name: "ipv6", option: "CONFIG_IPV6", sign: Sign::File("/proc/net/if_inet6") };

/// The table of the rules of a family.
fn table(family: Family) -> Module {
    match family {
        Family::Ipv4 => Module { name: "iptable_nat", option: "CONFIG_IP_NF_NAT", sign: Sign::None },
        Family::Ipv6 => Module { name: "ip6table_nat", option: "CONFIG_IP6_NF_NAT", sign: Sign::None },
    }
}

fn needed(source_nat: &SourceNats) -> impl Iterator<Item = Module> {
    let in_iptables = source_nat.iter().filter(|(_, part)| **part == SourceNat::Iptables);
    let tables: Vec<Module> = in_iptables.map(|(family, _)| table(*family)).collect();
    let more: &[Module] = if tables.is_empty() { &[] } else { &NEEDED_BY_IPTABLES };
    let ipv6 = source_nat.contains_key(&Family::Ipv6).then_some(IPV6);
    ipv6.into_iter().chain(NEEDED).chain(tables).chain(more.iter().copied())
}

/// Whether IPVS is there. Loads nothing.
#[must_use]
pub fn has_ipvs() -> bool {
    Path::new("/proc/net/ip_vs").exists()
}

/// Whether IPVS is there, or could be loaded just now, whatever else is missing.
///
/// # Errors
/// The kernel's release could not be read.
pub async fn load_ipvs() -> Result<bool, Error> {
    Ok(has_ipvs() || IPVS.load(&folder()?).await.is_ok())
}

/// The names of the modules that slb needs, that do not show, and that the kernel does not load by itself. Reads only.
///
/// # Errors
/// The kernel's release could not be read.
pub fn missing(source_nat: &SourceNats) -> Result<Vec<&'static str>, Error> {
    let folder = folder()?;
    let mut names = Vec::new();
    for module in needed(source_nat) {
        if module.sign != Sign::Use && !module.shows(&folder) && !names.contains(&module.name) {
            names.push(module.name);
        }
    }
    Ok(names)
}

/// Loads the modules that are missing.
///
/// # Errors
/// [`Error::NoModule`] for the first that is certain to be missing.
pub async fn load(source_nat: &SourceNats) -> Result<(), Error> {
    let folder = folder()?;
    for module in needed(source_nat) {
        if !module.shows(&folder) {
            module.load(&folder).await?;
        }
    }
    Ok(())
}

impl Module {
    fn shows(&self, folder: &Path) -> bool {
        let is_loaded = || Path::new("/sys/module").join(self.name).exists();
        match self.sign {
            Sign::File(file) => Path::new(file).exists(),
            Sign::None | Sign::Use => is_loaded() || is_in(&folder.join("modules.builtin"), self.name) == Some(true),
        }
    }

    async fn load(&self, folder: &Path) -> Result<(), Error> {
        if self.name == "ip_vs" {
            ask_for_ipvs().await;
        }
        if self.shows(folder) {
            return Ok(());
        }
        let said = match modprobe(self.name).await {
            Ok(()) => String::new(),
            Err(Error::Failed { said, .. }) => said,
            Err(other) => other.to_string(),
        };
        if self.shows(folder) || (said.is_empty() && self.has_no_file()) || self.may_come(folder) {
            return Ok(());
        }
        Err(Error::NoModule { module: self.name, option: self.option, said })
    }

    /// Whether the kernel may still have it: it may be built in without a sign, or be loaded by the kernel when it is used.
    fn may_come(&self, folder: &Path) -> bool {
        self.has_no_file() && is_in(&folder.join("modules.dep"), self.name) != Some(false)
    }

    fn has_no_file(&self) -> bool {
        matches!(self.sign, Sign::None | Sign::Use)
    }
}

/// Where the modules of the running kernel are.
fn folder() -> Result<PathBuf, Error> {
    Ok(Path::new("/lib/modules").join(sysctl::release()?))
}

/// Whether an index of modules has the module. `None` if there is no index.
fn is_in(index: &Path, module: &str) -> Option<bool> {
    Some(lists(&fs::read_to_string(index).ok()?, module))
}

/// An index has a path a line, in `modules.dep` with what the module depends on behind a colon. Files may be compressed.
fn lists(index: &str, module: &str) -> bool {
    let file = format!("/{module}.ko");
    let paths = index.lines().filter_map(|line| line.split(':').next());
    paths.filter_map(|path| path.split_once(&file)).any(|(_, suffix)| suffix.is_empty() || suffix.starts_with('.'))
}

/// Makes the kernel load ip_vs: looking for the family that it serves is enough. Whether it worked shows afterwards.
async fn ask_for_ipvs() {
    let Ok(mut socket) = Socket::<GenlMessage<GenlCtrl>>::open(NETLINK_GENERIC) else { return };
    let nlas = vec![GenlCtrlAttrs::FamilyName("IPVS".to_owned())];
    drop(socket.request(GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas })).await);
}

/// Runs the kernel's own choice of modprobe.
pub(crate) async fn modprobe(module: &str) -> Result<(), Error> {
    let program = match sysctl::read("kernel.modprobe")? {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => PathBuf::from("modprobe"),
    };
    program::run(&program, &[module], [], |_| ()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_name_a_module_by_its_file() {
        let index = "kernel/net/netfilter/ipvs/ip_vs_rr.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz kernel/lib/libcrc32c.ko.xz\n\
                     kernel/net/netfilter/xt_ipvs.ko: kernel/net/netfilter/ipvs/ip_vs.ko\nkernel/net/netfilter/xt_conntrack.ko:\n";
        assert!(lists(index, "ip_vs_rr"));
        assert!(lists(index, "xt_ipvs"));
        assert!(lists(index, "xt_conntrack"));
        assert!(!lists(index, "ip_vs"), "it is only depended on");
        assert!(!lists(index, "conntrack"));
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Source NAT through iptables, and ip6tables for IPv6: a chain of slb's own in the table nat, a rule for each VIP.
//!
//! ```text
//!  -A POSTROUTING -m ipvs --ipvs -j SLB-SOURCE-NAT                    first, so that no other rule lets the packet go before
//!  -A SLB-SOURCE-NAT -m conntrack --ctorigdst VIP -j MASQUERADE
//! ```
//! The jump lets through only what IPVS has handled; the rules compare addresses, which is cheap: `-m ipvs --vaddr` would
//! look the connection up again for each of them. Only the first packet of a connection passes here at all.
//!
//! The kernel has no way to change a single rule: the whole table is read, edited and written back by iptables, in
//! one piece. So the chain is written whole each time, which also puts right whatever happened to it.

use std::{collections::BTreeSet, fs, io, path::PathBuf};

use slb_core::model::{Family, Vip};

use super::{Wishes, fulfilled};
use crate::{Error, program};

const CHAIN: &str = "SLB-SOURCE-NAT";
const JUMP: &str = "-m ipvs --ipvs -j SLB-SOURCE-NAT";

/// The programs that save and restore tables. The older variant first: where this driver is used, the kernel has nothing that the newer
/// `iptables-nft` could work with.
const fn programs(family: Family) -> [(&'static str, &'static str); 2] {
    match family {
        Family::Ipv4 => [("iptables-legacy-save", "iptables-legacy-restore"), ("iptables-save", "iptables-restore")],
        Family::Ipv6 => {
            [("ip6tables-legacy-save", "ip6tables-legacy-restore"), ("ip6tables-save", "ip6tables-restore")]
        }
    }
}

/// Lists the tables that are in use in the network namespace of the calling thread. Not there before there was any; for root alone.
const fn tables(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "/proc/thread-self/net/ip_tables_names",
        Family::Ipv6 => "/proc/thread-self/net/ip6_tables_names",
    }
}

/// Talks to iptables.
#[derive(Debug)]
pub(crate) struct Iptables {
    family: Family,
    save: PathBuf,
    restore: PathBuf,
}

/// What of slb's is in the table nat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whether there is the chain.
    has_chain: bool,
    /// How many times it is jumped to the way it should.
    jumps: usize,
    /// The VIPs that it has a rule for.
    vips: BTreeSet<Vip>,
    /// Whether it has rules that slb would not write: repeated ones, or other people's.
    has_strange_rules: bool,
}

impl Iptables {
    pub(super) fn find(family: Family) -> Result<Self, Error> {
        let [_, (program, _)] = programs(family);
        let mut installed = programs(family).into_iter().filter_map(|(save, restore)| {
            Some(Self { family, save: program::find(save)?, restore: program::find(restore)? })
        });
        let found = installed.next().ok_or(Error::NoIptables { family, program })?;
        is_in_use(family).map(|_| found)
    }

    pub(super) async fn observe(&mut self) -> Result<Found, Error> {
        // Asking iptables for a table that is not in use would create it.
        if is_in_use(self.family)? {
            program::run(&self.save, &["-t", "nat"], "").await.map(|text| parse(&text))
        } else {
            Ok(Found::default())
        }
    }

    pub(super) async fn apply(&mut self, wishes: &Wishes) -> Result<(), Error> {
        let found = self.observe().await?;
        let wanted = fulfilled(found.effective(), wishes.iter().map(|(vip, wanted)| (*vip, *wanted)));
        match edit(&found, &wanted) {
            Some(text) => program::run(&self.restore, &["--noflush", "-w", "10"], &text).await.map(drop),
            None => Ok(()),
        }
    }
}

impl Found {
    /// The VIPs whose source NAT works. A flushed table leaves the chain without a jump, or without rules.
    pub(super) fn effective(&self) -> BTreeSet<Vip> {
        if self.jumps > 0 { self.vips.clone() } else { BTreeSet::new() }
    }
}

/// Whether there is a table nat.
fn is_in_use(family: Family) -> Result<bool, Error> {
    match fs::read_to_string(tables(family)) {
        Ok(tables) => Ok(tables.lines().any(|table| table == "nat")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Tables(source)),
    }
}

/// Reads what `iptables-save -t nat` writes.
fn parse(text: &str) -> Found {
    let mut found = Found::default();
    for line in text.lines() {
        if line.strip_prefix(':').and_then(|chain| chain.split(' ').next()) == Some(CHAIN) {
            found.has_chain = true;
        } else if line.strip_prefix("-A POSTROUTING ") == Some(JUMP) {
            found.jumps += 1;
        } else if let Some(rule) = line.strip_prefix("-A ").and_then(|line| line.strip_prefix(CHAIN)) {
            let is_new = vip_of(rule).is_some_and(|vip| found.vips.insert(vip));
            found.has_strange_rules |= !is_new;
        }
    }
    found
}

fn vip_of(rule: &str) -> Option<Vip> {
    let address = rule.trim().strip_prefix("-m conntrack --ctorigdst ")?.strip_suffix(" -j MASQUERADE")?;
    address.trim_end_matches("/32").trim_end_matches("/128").parse().ok()
}

/// What `iptables-restore --noflush` is to be told so that there is source NAT for just these VIPs; nothing if it is so.
fn edit(found: &Found, wanted: &BTreeSet<Vip>) -> Option<String> {
    let jumps = usize::from(!wanted.is_empty());
    let has_chain = jumps > 0;
    let is_so = found.has_chain == has_chain && found.jumps == jumps && found.vips == *wanted;
    if is_so && !found.has_strange_rules {
        return None;
    }
    let mut lines = vec!["*nat".to_owned()];
    if has_chain || found.has_chain {
        // Naming a chain creates it, or empties it.
        lines.push(format!(":{CHAIN} - [0:0]"));
    }
    lines.extend(wanted.iter().map(|vip| format!("-A {CHAIN} -m conntrack --ctorigdst {vip} -j MASQUERADE")));
    lines.extend((jumps..found.jumps).map(|_| format!("-D POSTROUTING {JUMP}")));
    lines.extend((found.jumps..jumps).map(|_| format!("-I POSTROUTING {JUMP}")));
    if found.has_chain && !has_chain {
        lines.push(format!("-X {CHAIN}"));
    }
    lines.push("COMMIT\n".to_owned());
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: Apache-2.0
//! The programs that read and write the tables of iptables, and of ip6tables for IPv6. The kernel has no way to change a single rule:
//! a whole table is read, edited and written back, in one piece.

use std::{fs, io, path::PathBuf};

use slb_core::model::Family;

use crate::{Error, program};

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

/// The programs for a family.
#[derive(Debug)]
pub(crate) struct Programs {
    family: Family,
    save: PathBuf,
    restore: PathBuf,
}

impl Programs {
    pub(crate) fn find(family: Family) -> Result<Self, Error> {
        let [_, (program, _)] = programs(family);
        let mut installed = programs(family).into_iter().filter_map(|(save, restore)| {
            Some(Self { family, save: program::find(save)?, restore: program::find(restore)? })
        });
        let found = installed.next().ok_or(Error::NoIptables { family, program })?;
        used(family).map(|_| found)
    }

    /// Hands over what `iptables-save` writes of a table, line by line: nothing if it is not in use. Asking for one that is not would create
    /// it.
    pub(crate) async fn save(&self, table: &str, each_line: impl FnMut(&str)) -> Result<(), Error> {
        if !used(self.family)?.lines().any(|used| used == table) {
            return Ok(());
        }
        program::run(&self.save, &["-t", table], [], each_line).await
    }

    /// Carries out what `iptables-restore --noflush` is told.
    pub(crate) async fn restore(&self, lines: impl IntoIterator<Item = String>) -> Result<(), Error> {
        program::run(&self.restore, &["--noflush", "-w", "10"], lines, |_| ()).await
    }
}

/// The tables that are in use, one a line.
fn used(family: Family) -> Result<String, Error> {
    match fs::read_to_string(tables(family)) {
        Ok(tables) => Ok(tables),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(Error::Tables(source)),
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What was there before `slb backend setup` changed it, as it is written in the alias of slb's device:
//!
//! ```text
//!  slb backend eth0.arp_announce=0 eth0.arp_ignore=0 fallback=0 sit0=down gue4=6080
//! ```
//! What is not there was not changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{plan::FALLBACK, step::SIT, wish::Family};

/// What shows that a device of slb's name is slb's.
const MARK: &str = "slb backend";
/// All settings but one are those of adapters, so this can be left out.
const COMMON: &str = "net.ipv4.conf.";
/// The other one, in short. What there is of an adapter has a dot.
const SHORT_FALLBACK: &str = "fallback";
/// Before, nothing was.
const CLAMPED: &str = "clamped";
/// `IFALIASZ`, linux/if.h, with the zero byte.
const LONGEST: usize = 255;

/// What was there before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Settings that were changed, and their values before.
    pub(super) settings: BTreeMap<String, String>,
    /// Whether the kernel's own device for IPv6 in IPv4 was down.
    pub(super) sit_was_down: bool,
    /// Whether there are rules for what fits into tunnels.
    pub(super) is_clamped: bool,
    /// The ports for GUE that were opened.
    pub(super) ports: BTreeSet<(Family, u16)>,
}

impl Record {
    /// Reads an alias; `None` if slb did not write it.
    pub(super) fn parse(alias: &str) -> Option<Self> {
        let mut record = Self::default();
        for entry in alias.strip_prefix(MARK)?.split_whitespace() {
            let (name, value) = entry.rsplit_once('=')?;
            match name {
                SIT => record.sit_was_down = true,
                CLAMPED => record.is_clamped = true,
                SHORT_FALLBACK => drop(record.settings.insert(FALLBACK.to_owned(), value.to_owned())),
                "gue4" => drop(record.ports.insert((Family::V4, value.parse().ok()?))),
                "gue6" => drop(record.ports.insert((Family::V6, value.parse().ok()?))),
                setting => drop(record.settings.insert(format!("{COMMON}{setting}"), value.to_owned())),
            }
        }
        Some(record)
    }

    /// Whether there is room for it.
    pub(super) fn fits(&self) -> bool {
        self.to_string().len() <= LONGEST
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MARK)?;
        for (name, value) in &self.settings {
            let short = if name == FALLBACK { SHORT_FALLBACK } else { name.strip_prefix(COMMON).unwrap_or(name) };
            write!(f, " {short}={value}")?;
        }
        if self.sit_was_down {
            write!(f, " {SIT}=down")?;
        }
        if self.is_clamped {
            write!(f, " {CLAMPED}=no")?;
        }
        for (family, port) in &self.ports {
            let number = if *family == Family::V4 { 4 } else { 6 };
            write!(f, " gue{number}={port}")?;
        }
        Ok(())
    }
}

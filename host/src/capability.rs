// SPDX-License-Identifier: Apache-2.0
//! Privileges: which the process lacks. Root has them all; a service needs to be given these and no others.

use std::fmt;

use caps::{CapSet, Capability};

use crate::Error;

/// A capability (capabilities(7)) that the process lacks. Prints as its name and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// As in capabilities(7): `CAP_NET_ADMIN`.
    pub name: &'static str,
    /// What slb needs it for.
    pub needed_for: &'static str,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.needed_for)
    }
}

/// The capabilities that the process lacks, none if all is well. `CAP_SYS_MODULE` counts only where `modules_are_missing`.
///
/// # Errors
/// The kernel does not say.
pub fn lacking(modules_are_missing: bool) -> Result<Vec<Lacking>, Error> {
    let needed = [
        (Capability::CAP_NET_ADMIN, "CAP_NET_ADMIN", "to change addresses, source NAT and IPVS", true),
        (Capability::CAP_NET_RAW, "CAP_NET_RAW", "to send and receive ARP", true),
        (Capability::CAP_SYS_MODULE, "CAP_SYS_MODULE", "to load missing kernel modules", modules_are_missing),
    ];
    let mut lacking = Vec::new();
    for (capability, name, needed_for, counts) in needed {
        if counts && !caps::has_cap(None, CapSet::Effective, capability).map_err(Error::Capabilities)? {
            lacking.push(Lacking { name, needed_for });
        }
    }
    Ok(lacking)
}

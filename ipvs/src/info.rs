// SPDX-License-Identifier: Apache-2.0
//! What the kernel says of its IPVS (`IPVS_CMD_GET_INFO`).

use std::fmt;

/// Version and size of the connection table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Info {
    /// Version of IPVS, 1.2.1 since 2.6.
    pub version: Version,
    /// Buckets of the connection table, a power of two (module parameter `conn_tab_bits`).
    pub connection_table_size: u32,
}

/// `IP_VS_VERSION_CODE`: three numbers of eight bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, major, minor, patch] = self.0.to_be_bytes();
        write!(f, "{major}.{minor}.{patch}")
    }
}

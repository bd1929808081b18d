// SPDX-License-Identifier: Apache-2.0
//! How long idle connections are remembered (`IPVS_CMD_SET_CONFIG`, `IPVS_CMD_GET_CONFIG`).

use std::fmt;

/// Time-outs of connections in seconds. Setting 0 leaves a time-out as it is; the kernel takes at most
/// `i32::MAX / HZ` and refuses more with EINVAL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// Established TCP connections, 900 by default.
    pub tcp: u32,
    /// TCP connections after a FIN, 120 by default.
    pub tcp_fin: u32,
    /// UDP, 300 by default.
    pub udp: u32,
}

impl fmt::Display for Timeouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.tcp, self.tcp_fin, self.udp)
    }
}

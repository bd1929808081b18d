// SPDX-License-Identifier: Apache-2.0
//! Hardware addresses.

use std::fmt;

/// A hardware address of an Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everybody on the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// Nobody yet: the target of a request.
    pub const UNKNOWN: Self = Self([0; 6]);
}

impl fmt::Display for Mac {
    /// As `ip link` prints it: `02:00:5e:10:00:01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

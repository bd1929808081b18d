// SPDX-License-Identifier: Apache-2.0
//! Names that the kernel goes by: schedulers, persistence engines, network interfaces.

use std::{borrow::Cow, fmt, str::FromStr};

use crate::{attribute, uapi::IP_VS_SCHEDNAME_MAXLEN};

/// A name of 1 to 15 bytes without a zero byte, as `IP_VS_SCHEDNAME_MAXLEN`, `IP_VS_PENAME_MAXLEN` and
/// `IP_VS_IFNAME_MAXLEN` allow. Whether the kernel has something of that name only the kernel knows.
///
/// ```
/// use ipvs::{Name, scheduler};
///
/// assert_eq!("rr".parse::<Name>().unwrap(), scheduler::RR);
/// assert!("a-name-that-is-too-long".parse::<Name>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Cow<'static, str>);

impl Name {
    const fn known(name: &'static str) -> Self {
        Name(Cow::Borrowed(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name from the kernel, kept whatever it is. The usual schedulers cost no allocation.
    pub(crate) fn from_kernel(value: &[u8]) -> Self {
        let text = attribute::text(value);
        match scheduler::ALL.iter().find(|known| known.as_str() == text) {
            Some(known) => known.clone(),
            None => Name(Cow::Owned(text.into_owned())),
        }
    }
}

/// A text that cannot be a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name of 1 to 15 bytes without a zero byte")]
pub struct InvalidName(String);

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if (1..IP_VS_SCHEDNAME_MAXLEN).contains(&text.len()) && !text.contains('\0') {
            Ok(Name(Cow::Owned(text.to_owned())))
        } else {
            Err(InvalidName(text.to_owned()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The schedulers of the mainline kernel (`net/netfilter/ipvs/ip_vs_*.c`); each is a module `ip_vs_NAME`.
pub mod scheduler {
    use super::Name;

    /// Round robin.
    pub const RR: Name = Name::known("rr");
    /// Weighted round robin.
    pub const WRR: Name = Name::known("wrr");
    /// Least connections.
    pub const LC: Name = Name::known("lc");
    /// Weighted least connections.
    pub const WLC: Name = Name::known("wlc");
    /// Weighted fail-over: the available destination of the highest weight. Since 3.18.
    pub const FO: Name = Name::known("fo");
    /// Weighted overflow: fills one destination after the other. Since 4.3.
    pub const OVF: Name = Name::known("ovf");
    /// Locality-based least connections.
    pub const LBLC: Name = Name::known("lblc");
    /// Locality-based least connections with replication.
    pub const LBLCR: Name = Name::known("lblcr");
    /// Destination hashing.
    pub const DH: Name = Name::known("dh");
    /// Source hashing.
    pub const SH: Name = Name::known("sh");
    /// Maglev hashing. Since 4.18.
    pub const MH: Name = Name::known("mh");
    /// Shortest expected delay.
    pub const SED: Name = Name::known("sed");
    /// Never queue.
    pub const NQ: Name = Name::known("nq");
    /// Power of two choices. Since 5.13.
    pub const TWOS: Name = Name::known("twos");
    /// No scheduler: the service takes no connections. Since 4.3.
    pub const NONE: Name = Name::known("none");

    /// All of the above.
    pub static ALL: [Name; 15] = [RR, WRR, LC, WLC, FO, OVF, LBLC, LBLCR, DH, SH, MH, SED, NQ, TWOS, NONE];
}

// SPDX-License-Identifier: Apache-2.0
//! What is asked for.

use std::{collections::BTreeSet, fmt, net::IpAddr, num::NonZeroU16, str::FromStr};

use super::error::NotWished;

/// The port for GUE that IANA assigned.
const GUE_PORT: NonZeroU16 = NonZeroU16::new(6080).expect("it is not 0");

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl FromStr for Family {
    type Err = NotWished;

    fn from_str(text: &str) -> Result<Self, NotWished> {
        match text {
            "ipv4" => Ok(Self::V4),
            "ipv6" => Ok(Self::V6),
            other => Err(NotWished::Family(other.to_owned())),
        }
    }
}

/// How packets come from the load-balancer, if not as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// IP in IP.
    Ipip,
    /// GRE.
    Gre,
    /// GUE: in UDP, to this port.
    Gue(NonZeroU16),
}

impl FromStr for Tunnel {
    type Err = NotWished;

    /// `ipip`, `gre`, `gue` or `gue:PORT`.
    fn from_str(text: &str) -> Result<Self, NotWished> {
        match text.split_once(':') {
            None if text == "ipip" => Ok(Self::Ipip),
            None if text == "gre" => Ok(Self::Gre),
            None if text == "gue" => Ok(Self::Gue(GUE_PORT)),
            Some(("gue", port)) if port.parse::<NonZeroU16>().is_ok() => {
                Ok(Self::Gue(port.parse().unwrap_or(GUE_PORT)))
            }
            _ => Err(NotWished::Tunnel(text.to_owned())),
        }
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipip => f.write_str("ipip"),
            Self::Gre => f.write_str("gre"),
            Self::Gue(port) => write!(f, "gue:{port}"),
        }
    }
}

/// What the host is to be able to do. The default is nothing, which undoes everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    pub(super) vips: BTreeSet<IpAddr>,
    pub(super) tunnel: Option<Tunnel>,
    pub(super) over: BTreeSet<Family>,
    pub(super) adapters: BTreeSet<String>,
}

impl Wish {
    /// To take packets for these VIPs, in a tunnel if one is given: over IPv4, IPv6 or both; by default over the families of the VIPs.
    /// ARP is restrained on the adapters, by default on all.
    ///
    /// # Errors
    /// There is no VIP; one is no address of a single host; `over` makes no sense without a tunnel.
    pub fn new(
        vips: impl IntoIterator<Item = IpAddr>,
        tunnel: Option<Tunnel>,
        over: impl IntoIterator<Item = Family>,
        adapters: impl IntoIterator<Item = String>,
    ) -> Result<Self, NotWished> {
        let vips: BTreeSet<IpAddr> = vips.into_iter().collect();
        if let Some(vip) = vips.iter().find(|vip| !is_of_one_host(**vip)) {
            return Err(NotWished::Vip(*vip));
        }
        let mut over: BTreeSet<Family> = over.into_iter().collect();
        match tunnel {
            _ if vips.is_empty() => return Err(NotWished::NoVip),
            None if !over.is_empty() => return Err(NotWished::OverWithoutTunnel),
            Some(_) if over.is_empty() => over = vips.iter().copied().map(Family::of).collect(),
            None | Some(_) => {}
        }
        Ok(Self { vips, tunnel, over, adapters: adapters.into_iter().collect() })
    }

    /// The VIPs of a family.
    pub(super) fn of_family(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        self.vips.iter().copied().filter(move |vip| Family::of(*vip) == family)
    }

    pub(super) fn takes_gue(&self) -> bool {
        matches!(self.tunnel, Some(Tunnel::Gue(_)))
    }

    pub(super) fn has(&self, family: Family) -> bool {
        self.of_family(family).next().is_some()
    }
}

/// An address that clients can connect to, from elsewhere.
fn is_of_one_host(address: IpAddr) -> bool {
    let is_special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    !is_special
        && match address {
            IpAddr::V4(address) => !address.is_broadcast() && address.octets()[0] != 0 && !address.is_link_local(),
            IpAddr::V6(address) => !address.is_unicast_link_local() && address.to_ipv4_mapped().is_none(),
        }
}

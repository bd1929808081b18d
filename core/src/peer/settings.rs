// SPDX-License-Identifier: Apache-2.0
//! How a session is held, and what goes with every route of it.

use std::{fmt, net::IpAddr, time::Duration};

use super::{Communities, Community, PeerAddress};
use crate::model::{Invalid, Port};

/// What can be asked for of a peer. What is `None` was not asked for; the methods know what it is then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerSettings {
    /// The TCP port it listens on.
    pub port: Option<Port>,
    /// Whether to wait for it to connect, instead of connecting to it.
    pub passive: Option<bool>,
    /// The address to connect from; the kernel's choice otherwise.
    pub source: Option<PeerAddress>,
    /// Proposed to the peer.
    pub hold_time: Option<HoldTime>,
    /// Whether to take packets only from hosts that are one hop away (GTSM, RFC 5082). Packets to the peer always go out with a
    /// time to live of 255, so that it may do the same.
    pub gtsm: Option<bool>,
    /// How long the peer is to keep routes while slb restarts.
    pub restart_time: Option<RestartTime>,
    /// The next hop of all routes; the own address of the session otherwise.
    pub next_hop: Option<NextHop>,
    /// Prefer other ways into the AS with a lower number (MULTI_EXIT_DISC).
    pub med: Option<u32>,
    /// Prefer this way over others within the AS by a higher number (LOCAL_PREF).
    pub local_pref: Option<u32>,
    /// To make the way look longer.
    pub prepend: Option<Prepend>,
    /// Labels of the routes.
    pub communities: Option<Communities>,
}

impl PeerSettings {
    /// The port of BGP (RFC 4271).
    const PORT: u16 = 179;
    /// What routers assume of routes that say nothing.
    const LOCAL_PREF: u32 = 100;

    /// What is asked for here, else there.
    #[must_use]
    pub fn or(self, there: &Self) -> Self {
        Self {
            port: self.port.or(there.port),
            passive: self.passive.or(there.passive),
            source: self.source.or(there.source),
            hold_time: self.hold_time.or(there.hold_time),
            gtsm: self.gtsm.or(there.gtsm),
            restart_time: self.restart_time.or(there.restart_time),
            next_hop: self.next_hop.or(there.next_hop),
            med: self.med.or(there.med),
            local_pref: self.local_pref.or(there.local_pref),
            prepend: self.prepend.or(there.prepend),
            communities: self.communities.or_else(|| there.communities.clone()),
        }
    }

    /// BGP's own port, 179, by default.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.map_or(Self::PORT, Port::get)
    }

    /// Slb connects by default.
    #[must_use]
    pub fn passive(&self) -> bool {
        self.passive.unwrap_or_default()
    }

    /// 90 s by default.
    #[must_use]
    pub fn hold_time(&self) -> HoldTime {
        self.hold_time.unwrap_or_default()
    }

    /// Off by default: there are peers that are further away.
    #[must_use]
    pub fn gtsm(&self) -> bool {
        self.gtsm.unwrap_or_default()
    }

    /// Two minutes by default.
    #[must_use]
    pub fn restart_time(&self) -> RestartTime {
        self.restart_time.unwrap_or_default()
    }

    /// 100 by default.
    #[must_use]
    pub fn local_pref(&self) -> u32 {
        self.local_pref.unwrap_or(Self::LOCAL_PREF)
    }

    /// None by default.
    pub fn communities(&self) -> impl Iterator<Item = Community> {
        self.communities.iter().flat_map(Communities::iter)
    }

    /// Not at all by default.
    #[must_use]
    pub fn prepend(&self) -> Prepend {
        self.prepend.unwrap_or_default()
    }
}

/// A peer that is silent for so long is given up: 3 s to 65535 s, or zero for never. Keepalives go out three times as often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldTime(u16);

impl HoldTime {
    /// Never.
    pub const ZERO: Self = Self(0);

    /// In seconds.
    #[must_use]
    pub fn seconds(self) -> u16 {
        self.0
    }
}

impl Default for HoldTime {
    fn default() -> Self {
        Self(90)
    }
}

impl TryFrom<Duration> for HoldTime {
    type Error = Invalid;

    fn try_from(time: Duration) -> Result<Self, Invalid> {
        match seconds(time) {
            Some(seconds) if !(1..3).contains(&seconds) => Ok(Self(seconds)),
            _ => Err(Invalid("a hold time is 3 s to 65535 s, in whole seconds, or 0 s for none".to_owned())),
        }
    }
}

impl From<HoldTime> for Duration {
    fn from(time: HoldTime) -> Self {
        Self::from_secs(time.0.into())
    }
}

/// How long a peer is to keep routes while slb restarts (RFC 4724): up to 4095 s; zero asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartTime(u16);

impl RestartTime {
    /// Nothing is asked for.
    pub const NONE: Self = Self(0);
    /// Twelve bits of the capability.
    const LONGEST: u16 = 4095;

    /// In seconds.
    #[must_use]
    pub fn seconds(self) -> u16 {
        self.0
    }
}

impl Default for RestartTime {
    fn default() -> Self {
        Self(120)
    }
}

impl TryFrom<Duration> for RestartTime {
    type Error = Invalid;

    fn try_from(time: Duration) -> Result<Self, Invalid> {
        let seconds = seconds(time).filter(|seconds| *seconds <= Self::LONGEST);
        seconds.map(Self).ok_or_else(|| {
            Invalid(format!("a restart time is up to {} s, in whole seconds, 0 s for none", Self::LONGEST))
        })
    }
}

impl From<RestartTime> for Duration {
    fn from(time: RestartTime) -> Self {
        Self::from_secs(time.0.into())
    }
}

fn seconds(time: Duration) -> Option<u16> {
    u16::try_from(time.as_secs()).ok().filter(|_| time.subsec_nanos() == 0)
}

/// Where routers send the packets: a single host's address that others than itself reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop(IpAddr);

impl NextHop {
    /// The address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.0
    }
}

impl TryFrom<IpAddr> for NextHop {
    type Error = Invalid;

    fn try_from(address: IpAddr) -> Result<Self, Invalid> {
        let address = PeerAddress::try_from(address)?.address();
        if address.is_loopback() {
            return Err(Invalid(format!("{address} means every host itself; no router can send packets there")));
        }
        Ok(Self(address))
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How often the own AS number is repeated in the path, 0 to 32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prepend(u8);

impl Prepend {
    /// Routers refuse paths that are much longer.
    const MOST: u8 = 32;

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<i64> for Prepend {
    type Error = Invalid;

    fn try_from(number: i64) -> Result<Self, Invalid> {
        let count = u8::try_from(number).ok().filter(|count| *count <= Self::MOST);
        count
            .map(Self)
            .ok_or_else(|| Invalid(format!("an AS number can be prepended 0 to {} times, not {number}", Self::MOST)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_the_protocol_can_say() {
        let time = |millis| Duration::from_millis(millis);
        let hold = |millis| HoldTime::try_from(time(millis)).map(HoldTime::seconds).ok();
        assert_eq!([0, 3_000, 65_535_000].map(hold), [Some(0), Some(3), Some(65_535)]);
        assert_eq!([1, 1_000, 2_000, 3_500, 65_536_000].map(hold), [None; 5]);
        let restart = |millis| RestartTime::try_from(time(millis)).map(RestartTime::seconds).ok();
        assert_eq!([0, 1_000, 4_095_000, 4_096_000, 999].map(restart), [Some(0), Some(1), Some(4095), None, None]);
    }

    #[test]
    fn a_next_hop_is_somebodys_address() {
        let is = |text: &str| NextHop::try_from(text.parse::<IpAddr>().unwrap()).is_ok();
        assert!(is("10.0.0.1") && is("fd00::1"));
        for text in ["127.0.0.1", "::1", "::", "0.0.0.0", "224.0.0.1", "ff02::1", "fe80::1", "255.255.255.255"] {
            assert!(!is(text), "{text}");
        }
    }

    #[test]
    fn what_was_not_asked_for_comes_from_the_defaults() {
        let address = |text: &str| PeerAddress::try_from(text.parse::<IpAddr>().unwrap()).unwrap();
        let defaults = PeerSettings { source: Some(address("10.0.0.1")), med: Some(7), ..PeerSettings::default() };
        let asn = std::num::NonZeroU32::MIN;
        let asked = PeerSettings { med: Some(8), ..PeerSettings::default() };
        let peer = super::super::Peer { settings: asked, ..super::super::Peer::new(address("10.0.0.2"), asn) };
        let settings = peer.or(&defaults).settings;
        assert_eq!((settings.source, settings.med), (defaults.source, Some(8)));
        let other = super::super::Peer::new(address("fd00::2"), asn).or(&defaults).settings;
        assert_eq!((other.source, other.med), (None, Some(7)));
    }
}

// SPDX-License-Identifier: Apache-2.0
//! A peer as the operator describes it.

use std::{net::IpAddr, str::FromStr, time::Duration};

use slb_core::{
    model::Invalid,
    peer::{Password, Peer, PeerAddress},
};

use super::update::{Community, LargeCommunity};

/// The port of BGP.
const PORT: u16 = 179;
/// Proposed by default; a peer that is silent for so long is given up. Keepalives go out three times as often.
const HOLD_TIME: Duration = Duration::from_secs(90);
/// What routers assume of routes that say nothing.
const LOCAL_PREFERENCE: u32 = 100;

/// A peer, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// Where it is.
    pub address: IpAddr,
    /// The TCP port it listens on.
    pub port: u16,
    /// Its AS number; the own one for a peer within the AS (iBGP).
    pub asn: u32,
    /// For TCP-MD5 (RFC 2385).
    pub password: Option<Password>,
    /// The address to connect from; `None` leaves it to the kernel.
    pub source: Option<IpAddr>,
    /// Proposed to the peer; zero, or 3 s to 65535 s.
    pub hold_time: Duration,
    /// Whether to take packets only from hosts that are one hop away (GTSM, RFC 5082). Packets to the peer always go out with a
    /// time to live of 255, so that it may do the same.
    pub one_hop_only: bool,
    /// Whether the peer is to keep routes while slb restarts (RFC 4724), and for how long; up to 4095 s.
    pub restart_time: Option<Duration>,
    /// The next hop of all routes; `None` is the own address of the session.
    pub next_hop: Option<IpAddr>,
    /// Prefer other ways into the AS with a lower number (MULTI_EXIT_DISC).
    pub med: Option<u32>,
    /// Prefer this way over others within the AS by a higher number (LOCAL_PREF).
    pub local_preference: u32,
    /// How often the own AS number is repeated, to make the way look longer.
    pub prepend: u8,
    /// Labels of RFC 1997.
    pub communities: Vec<Community>,
    /// Labels of RFC 8092.
    pub large_communities: Vec<LargeCommunity>,
}

/// Why a text describes no peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPeer {
    /// It is not of the form.
    #[error("write a peer as ADDRESS:AS or ADDRESS:AS:PASSWORD, an IPv6 address in brackets")]
    Form,
    /// No address.
    #[error("{0:?} is no IP address of a host")]
    Address(String),
    /// No AS number.
    #[error("{0:?} is no AS number: they go from 1 to 4294967295")]
    Asn(String),
    /// The password does not fit.
    #[error(transparent)]
    Password(#[from] Invalid),
}

impl PeerSettings {
    /// A peer with nothing special about it.
    #[must_use]
    pub fn new(address: IpAddr, asn: u32) -> Self {
        Self {
            address,
            port: PORT,
            asn,
            password: None,
            source: None,
            hold_time: HOLD_TIME,
            one_hop_only: false,
            restart_time: Some(Duration::from_secs(120)),
            next_hop: None,
            med: None,
            local_preference: LOCAL_PREFERENCE,
            prepend: 0,
            communities: Vec::new(),
            large_communities: Vec::new(),
        }
    }
}

/// `10.0.0.254:65530`, `10.0.0.254:65530:PASSWORD`, `[fd00::fe]:65530`, `[fd00::fe]:65530:PASSWORD`. A password may hold colons.
impl FromStr for PeerSettings {
    type Err = BadPeer;

    fn from_str(text: &str) -> Result<Self, BadPeer> {
        let (address, rest) = match text.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once("]:").ok_or(BadPeer::Form)?,
            None => text.split_once(':').ok_or(BadPeer::Form)?,
        };
        let (asn, password) = rest.split_once(':').map_or((rest, None), |(asn, password)| (asn, Some(password)));
        let is_as_written = |ip: &IpAddr| ip.is_ipv6() == text.starts_with('[');
        let ip: Option<IpAddr> = address.parse().ok().filter(is_as_written);
        let ip =
            ip.and_then(|ip| PeerAddress::try_from(ip).ok()).ok_or_else(|| BadPeer::Address(address.to_owned()))?;
        let number = asn.parse().ok().filter(|asn| *asn > 0).ok_or_else(|| BadPeer::Asn(asn.to_owned()))?;
        let password = password.map(|text| Password::try_from(text.to_owned())).transpose()?;
        Ok(Self { password, ..Self::new(ip.address(), number) })
    }
}

impl From<&Peer> for PeerSettings {
    fn from(peer: &Peer) -> Self {
        Self { password: peer.password.clone(), ..Self::new(peer.address.address(), peer.asn.get()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Result<(String, u32, Option<String>), BadPeer> {
        let peer: PeerSettings = text.parse()?;
        Ok((peer.address.to_string(), peer.asn, peer.password.map(|password| password.expose().to_owned())))
    }

    #[test]
    fn peers_are_written_with_their_as_and_password() {
        let is =
            |address: &str, asn, password: Option<&str>| Ok((address.to_owned(), asn, password.map(str::to_owned)));
        assert_eq!(peer("10.0.0.254:65530"), is("10.0.0.254", 65530, None));
        assert_eq!(peer("10.0.0.254:4200000001:a:b"), is("10.0.0.254", 4_200_000_001, Some("a:b")));
        assert_eq!(peer("[fd00::fe]:65530"), is("fd00::fe", 65530, None));
        assert_eq!(peer("[fd00::fe]:65530:secret"), is("fd00::fe", 65530, Some("secret")));
    }

    #[test]
    fn what_is_no_peer_is_refused_without_its_password() {
        for text in [
            "",
            "10.0.0.1",
            "10.0.0.1:",
            "10.0.0.1:0",
            "10.0.0.1:4294967296",
            "fd00::fe:65530",
            "[10.0.0.1]:1",
            "0.0.0.0:1",
            "[fe80::1]:1",
            "224.0.0.1:1",
            "[::]:1",
            "10.0.0.1:x:secret",
            "10.0.0.1:1:",
            "host:1:secret",
        ] {
            let error = peer(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(peer(&format!("10.0.0.1:1:{}", "x".repeat(81))).is_err());
        let parsed: PeerSettings = "10.0.0.1:1:secret".parse().unwrap();
        assert!(!format!("{parsed:?}").contains("secret"));
    }
}

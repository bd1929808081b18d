// SPDX-License-Identifier: Apache-2.0
//! A peer in one word, as on a command line: `10.0.0.254:65530`, `10.0.0.254:65530:PASSWORD`, `[fd00::fe]:65530`,
//! `[fd00::fe]:65530:PASSWORD`. A password may hold colons.

use std::{net::IpAddr, str::FromStr};

use super::{Password, Peer, PeerAddress};
use crate::model::Invalid;

/// Why a text describes no peer. What is taken for an address or a number may be a password in the wrong place: no error has it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPeer {
    /// It is not of the form.
    #[error("write a peer as ADDRESS:AS or ADDRESS:AS:PASSWORD, an IPv6 address in brackets")]
    Form,
    /// No address.
    #[error("a peer begins with the IP address of a host: write it as ADDRESS:AS, an IPv6 address in brackets")]
    Address,
    /// No AS number.
    #[error("what follows {0} is no AS number: they go from 1 to 4294967295")]
    Asn(PeerAddress),
    /// The password does not fit.
    #[error(transparent)]
    Password(#[from] Invalid),
}

impl FromStr for Peer {
    type Err = BadPeer;

    fn from_str(text: &str) -> Result<Self, BadPeer> {
        let (address, rest) = match text.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once("]:").ok_or(BadPeer::Form)?,
            None => text.split_once(':').ok_or(BadPeer::Form)?,
        };
        let (asn, password) = rest.split_once(':').map_or((rest, None), |(asn, password)| (asn, Some(password)));
        let is_as_written = |ip: &IpAddr| ip.is_ipv6() == text.starts_with('[');
        let ip: Option<IpAddr> = address.parse().ok().filter(is_as_written);
        let address = ip.and_then(|ip| PeerAddress::try_from(ip).ok()).ok_or(BadPeer::Address)?;
        let number = asn.parse().map_err(|_| BadPeer::Asn(address))?;
        let password = password.map(|text| Password::try_from(text.to_owned())).transpose()?;
        Ok(Self { password, ..Self::new(address, number) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Result<(String, u32, Option<String>), BadPeer> {
        let peer: Peer = text.parse()?;
        Ok((peer.address.to_string(), peer.asn.get(), peer.password.map(|password| password.expose().to_owned())))
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
            "10.0.0.1:secret",
            "10.0.0.1:secret:1",
            "secret:10.0.0.1:1",
            "[secret]:1",
        ] {
            let error = peer(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(peer(&format!("10.0.0.1:1:{}", "x".repeat(81))).is_err());
        let parsed: Peer = "10.0.0.1:1:secret".parse().unwrap();
        assert!(!format!("{parsed:?}").contains("secret"));
    }
}

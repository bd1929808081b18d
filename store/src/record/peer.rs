// SPDX-License-Identifier: Apache-2.0
//! What is written of a peer. The first version had no settings.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};
use slb_core::{
    model::{Invalid, Port},
    peer::{
        Communities, Community, HoldTime, NextHop, Password, Peer, PeerAddress, PeerSettings, Prepend, RestartTime,
    },
};

use super::{Unreadable, version, whole};

/// The version that is written, and the latest that is understood.
const VERSION: u8 = 2;

#[derive(Serialize, Deserialize)]
struct PeerV1 {
    asn: NonZeroU32,
    password: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct SettingsV2 {
    port: Option<u16>,
    passive: Option<bool>,
    source: Option<IpAddr>,
    /// In seconds.
    hold_time: Option<u16>,
    gtsm: Option<bool>,
    /// In seconds.
    restart_time: Option<u16>,
    next_hop: Option<IpAddr>,
    med: Option<u32>,
    local_pref: Option<u32>,
    prepend: Option<u8>,
    communities: Option<Vec<CommunityV2>>,
}

/// Written by number, in this order.
#[derive(Serialize, Deserialize)]
enum CommunityV2 {
    Standard(u16, u16),
    Large(u32, u32, u32),
}

/// The record of a peer. Its address is the key, not part of it.
///
/// # Errors
/// As with [`encode`](super::encode).
pub fn encode(peer: &Peer) -> Result<Vec<u8>, postcard::Error> {
    let password = peer.password.as_ref().map(|password| password.expose().to_owned());
    let record = (PeerV1 { asn: peer.asn, password }, SettingsV2::from(&peer.settings));
    postcard::to_extend(&record, vec![VERSION])
}

/// The peer of a record.
///
/// # Errors
/// As with [`decode`](super::decode).
pub fn decode(address: &str, bytes: &[u8]) -> Result<Peer, Unreadable> {
    let ip: IpAddr = address.parse().map_err(|_| Invalid(format!("{address:?} is no address")))?;
    let (PeerV1 { asn, password }, settings) = match version(bytes)? {
        (1, fields) => (whole(fields)?, SettingsV2::default()),
        (VERSION, fields) => whole(fields)?,
        (found, _) => return Err(Unreadable::Later { found, known: VERSION }),
    };
    Ok(Peer {
        address: ip.try_into()?,
        asn,
        password: password.map(Password::try_from).transpose()?,
        settings: settings.try_into()?,
    })
}

impl From<&PeerSettings> for SettingsV2 {
    fn from(settings: &PeerSettings) -> Self {
        Self {
            port: settings.port.map(Port::get),
            passive: settings.passive,
            source: settings.source.map(PeerAddress::address),
            hold_time: settings.hold_time.map(HoldTime::seconds),
            gtsm: settings.gtsm,
            restart_time: settings.restart_time.map(RestartTime::seconds),
            next_hop: settings.next_hop.map(NextHop::address),
            med: settings.med,
            local_pref: settings.local_pref,
            prepend: settings.prepend.map(Prepend::get),
            communities: settings.communities.as_ref().map(|all| all.iter().map(CommunityV2::from).collect()),
        }
    }
}

impl TryFrom<SettingsV2> for PeerSettings {
    type Error = Invalid;

    fn try_from(record: SettingsV2) -> Result<Self, Invalid> {
        let seconds = |time: u16| Duration::from_secs(time.into());
        let communities = |all: Vec<CommunityV2>| Communities::try_from_iter(all.into_iter().map(Community::from));
        Ok(Self {
            port: record.port.map(|port| Port::try_from(i64::from(port))).transpose()?,
            passive: record.passive,
            source: record.source.map(PeerAddress::try_from).transpose()?,
            hold_time: record.hold_time.map(|time| HoldTime::try_from(seconds(time))).transpose()?,
            gtsm: record.gtsm,
            restart_time: record.restart_time.map(|time| RestartTime::try_from(seconds(time))).transpose()?,
            next_hop: record.next_hop.map(NextHop::try_from).transpose()?,
            med: record.med,
            local_pref: record.local_pref,
            prepend: record.prepend.map(|count| Prepend::try_from(i64::from(count))).transpose()?,
            communities: record.communities.map(communities).transpose()?,
        })
    }
}

impl From<Community> for CommunityV2 {
    fn from(community: Community) -> Self {
        match community {
            Community::Standard(high, low) => Self::Standard(high, low),
            Community::Large(a, b, c) => Self::Large(a, b, c),
        }
    }
}

impl From<CommunityV2> for Community {
    fn from(community: CommunityV2) -> Self {
        match community {
            CommunityV2::Standard(high, low) => Self::Standard(high, low),
            CommunityV2::Large(a, b, c) => Self::Large(a, b, c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> PeerAddress {
        text.parse::<IpAddr>().unwrap().try_into().unwrap()
    }

    /// Everything that can be asked for.
    fn full() -> Peer {
        let time = Duration::from_secs(30);
        let settings = PeerSettings {
            port: Some(Port::try_from(1179).unwrap()),
            passive: Some(true),
            source: Some(address("10.0.0.1")),
            hold_time: Some(time.try_into().unwrap()),
            gtsm: Some(true),
            restart_time: Some(time.try_into().unwrap()),
            next_hop: Some(address("fd00::1").address().try_into().unwrap()),
            med: Some(7),
            local_pref: Some(200),
            prepend: Some(2.try_into().unwrap()),
            communities: Some(
                Communities::try_from_iter(["65000:1", "65000:1:2"].map(|text| text.parse().unwrap())).unwrap(),
            ),
        };
        let password = Some("a secret".to_owned().try_into().unwrap());
        Peer { password, settings, ..Peer::new(address("10.0.0.254"), NonZeroU32::MAX) }
    }

    #[test]
    fn peers_are_read_as_they_were_written() {
        let plain = Peer::new(address("fd00::fe"), NonZeroU32::MIN);
        for peer in [plain, full()] {
            let (address, bytes) = (peer.address.to_string(), encode(&peer).unwrap());
            assert_eq!(decode(&address, &bytes).unwrap(), peer);
            assert!(matches!(decode("", &bytes), Err(Unreadable::Invalid(_))));
            assert!(matches!(decode(&address, &bytes[..3]), Err(Unreadable::Malformed(_))));
            assert!(matches!(decode(&address, &[bytes, vec![0]].concat()), Err(Unreadable::Longer(1))));
        }
        assert!(matches!(decode("10.0.0.1", &[3]), Err(Unreadable::Later { found: 3, known: 2 })));
    }

    /// On disks out there: a change that breaks one of these needs a new version, and a decoder for the old one.
    #[test]
    fn the_records_out_there_are_read() {
        // AS 65530, without a password.
        let asn = NonZeroU32::new(65530).unwrap();
        assert_eq!(decode("10.0.0.254", &[1, 0xfa, 0xff, 3, 0]).unwrap(), Peer::new(address("10.0.0.254"), asn));
        let written = include_bytes!("../../tests/records/peer-v2-full.bin");
        assert_eq!(decode("10.0.0.254", written).unwrap(), full());
        assert_eq!(encode(&full()).unwrap(), written);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut bytes = encode(&full()).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len() * 4));
            if let Ok(peer) = decode("10.0.0.254", &bytes) {
                prop_assert_eq!(decode("10.0.0.254", &encode(&peer).unwrap()).unwrap(), peer);
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! OPEN: who one is and what one can (RFC 4271, section 4.2; capabilities RFC 5492).

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use slb_core::model;

use super::{
    notification::Notification,
    wire::{self, message},
};

const VERSION: u8 = 4;
/// Stands for a number that does not fit into two bytes (RFC 6793).
pub(super) const AS_TRANS: u16 = 23456;
/// The optional parameter that holds capabilities.
const CAPABILITIES: u8 = 2;
/// As the length of the optional parameters and as the first one's type: lengths have two bytes each (RFC 9072).
const EXTENDED: u8 = 255;

// IANA, "Capability Codes".
const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const EXTENDED_NEXT_HOP: u8 = 5;
const GRACEFUL_RESTART: u8 = 64;
const FOUR_OCTET_AS: u8 = 65;

/// An address family and what of it: IANA's AFI and SAFI.
pub(super) type Family = (u16, u8);
/// What slb announces.
pub(super) const IPV4_UNICAST: Family = (1, 1);
/// The same of IPv6.
pub(super) const IPV6_UNICAST: Family = (2, 1);

/// What an OPEN says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) asn: u32,
    /// In seconds; 0 for a session without timers.
    pub(super) hold_time: u16,
    pub(super) identifier: Ipv4Addr,
    pub(super) can: Capabilities,
}

/// As much of a speaker's capabilities as matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub(super) families: BTreeSet<Family>,
    pub(super) route_refresh: bool,
    pub(super) four_octet_as: bool,
    /// IPv4 routes with an IPv6 next hop (RFC 8950).
    pub(super) ipv4_over_ipv6: bool,
    pub(super) graceful_restart: Option<GracefulRestart>,
}

/// RFC 4724.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GracefulRestart {
    /// The speaker has just restarted, and is not to be waited for.
    pub(super) restarted: bool,
    /// How long the peer is to keep routes while the speaker is away; up to 4095 s.
    pub(super) time: Duration,
    /// For which families the packets went on flowing meanwhile.
    pub(super) preserved: BTreeSet<Family>,
}

impl Open {
    /// The whole message.
    pub(super) fn encode(&self) -> Vec<u8> {
        let capabilities = self.can.encode(self.asn);
        let lengths =
            [capabilities.len() + 2, capabilities.len()].map(|length| u8::try_from(length).unwrap_or(u8::MAX));
        let body = [
            &[VERSION][..],
            &u16::try_from(self.asn).unwrap_or(AS_TRANS).to_be_bytes(),
            &self.hold_time.to_be_bytes(),
            &self.identifier.octets(),
            &[lengths[0], CAPABILITIES, lengths[1]],
            &capabilities,
        ];
        message(wire::OPEN, &body.concat())
    }

    /// Reads a body.
    ///
    /// # Errors
    /// What to answer (RFC 4271, section 6.2).
    pub(super) fn decode(body: &[u8]) -> Result<Self, Notification> {
        let malformed = || Notification::new(Notification::OPEN_MALFORMED, []);
        let (fixed, parameters) = body.split_first_chunk::<10>().ok_or_else(malformed)?;
        let [version, as_high, as_low, hold_high, hold_low, identifier @ .., length] = *fixed;
        if version != VERSION {
            return Err(Notification::new(Notification::BAD_VERSION, u16::from(VERSION).to_be_bytes()));
        }
        let hold_time = u16::from_be_bytes([hold_high, hold_low]);
        if (1..3).contains(&hold_time) {
            return Err(Notification::new(Notification::BAD_HOLD_TIME, []));
        }
        let identifier = Ipv4Addr::from(identifier);
        if identifier.is_unspecified() {
            return Err(Notification::new(Notification::BAD_IDENTIFIER, []));
        }
        let mut asn = u16::from_be_bytes([as_high, as_low]).into();
        let mut can = Capabilities::default();
        for parameter in parameters_of(length, parameters).ok_or_else(malformed)? {
            can.read(parameter, &mut asn).ok_or_else(malformed)?;
        }
        Ok(Self { asn, hold_time, identifier, can })
    }
}

/// The values of the optional parameters that hold capabilities.
fn parameters_of(length: u8, bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut rest, wide) = match bytes {
        [EXTENDED, high, low, rest @ ..] if length == EXTENDED => {
            (rest.get(..u16::from_be_bytes([*high, *low]).into())?, true)
        }
        _ => (bytes.get(..length.into())?, false),
    };
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (kind, length, after) = match *rest {
            [kind, high, low, ref after @ ..] if wide => (kind, u16::from_be_bytes([high, low]).into(), after),
            [kind, length, ref after @ ..] if !wide => (kind, usize::from(length), after),
            _ => return None,
        };
        let (value, after) = after.split_at_checked(length)?;
        if kind == CAPABILITIES {
            found.push(value);
        }
        rest = after;
    }
    Some(found)
}

impl Capabilities {
    fn encode(&self, asn: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |code: u8, value: &[u8]| {
            bytes.extend([code, u8::try_from(value.len()).unwrap_or(u8::MAX)]);
            bytes.extend_from_slice(value);
        };
        for (afi, safi) in &self.families {
            let [high, low] = afi.to_be_bytes();
            put(MULTIPROTOCOL, &[high, low, 0, *safi]);
        }
        if self.route_refresh {
            put(ROUTE_REFRESH, &[]);
        }
        if self.ipv4_over_ipv6 {
            put(EXTENDED_NEXT_HOP, &[0, 1, 0, 1, 0, 2]);
        }
        if let Some(restart) = &self.graceful_restart {
            put(GRACEFUL_RESTART, &restart.encode());
        }
        if self.four_octet_as {
            put(FOUR_OCTET_AS, &asn.to_be_bytes());
        }
        bytes
    }

    /// Reads the capabilities of one parameter. Unknown ones are passed over, and so are known ones of a length they cannot have.
    fn read(&mut self, mut bytes: &[u8], asn: &mut u32) -> Option<()> {
        while let [code, length, rest @ ..] = bytes {
            let (value, after) = rest.split_at_checked(usize::from(*length))?;
            match (*code, value) {
                (MULTIPROTOCOL, [high, low, _, safi]) => {
                    self.families.insert((u16::from_be_bytes([*high, *low]), *safi));
                }
                (ROUTE_REFRESH, []) => self.route_refresh = true,
                (EXTENDED_NEXT_HOP, triples) => {
                    self.ipv4_over_ipv6 |= triples.chunks_exact(6).any(|each| *each == [0, 1, 0, 1, 0, 2]);
                }
                (GRACEFUL_RESTART, value) => self.graceful_restart = GracefulRestart::decode(value),
                (FOUR_OCTET_AS, value) => {
                    if let Ok(number) = value.try_into() {
                        self.four_octet_as = true;
                        *asn = u32::from_be_bytes(number);
                    }
                }
                _ => {}
            }
            bytes = after;
        }
        bytes.is_empty().then_some(())
    }

    /// Whether routes of a family may be sent: to name none at all is to name IPv4 (RFC 4760, section 8).
    pub(super) fn takes(&self, family: model::Family) -> bool {
        match family {
            model::Family::Ipv4 => self.families.is_empty() || self.families.contains(&IPV4_UNICAST),
            model::Family::Ipv6 => self.families.contains(&IPV6_UNICAST),
        }
    }
}

impl GracefulRestart {
    /// The bit "restart state", above the twelve of the time.
    const RESTARTED: u16 = 0x8000;
    /// The bit "forwarding state" of a family.
    const PRESERVED: u8 = 0x80;

    fn encode(&self) -> Vec<u8> {
        let time = u16::try_from(self.time.as_secs()).unwrap_or(u16::MAX).min(0x0fff);
        let flags = if self.restarted { Self::RESTARTED } else { 0 };
        let mut bytes = (flags | time).to_be_bytes().to_vec();
        for (afi, safi) in &self.preserved {
            bytes.extend(afi.to_be_bytes());
            bytes.extend([*safi, Self::PRESERVED]);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (first, families) = bytes.split_first_chunk::<2>()?;
        let first = u16::from_be_bytes(*first);
        let preserved = families.chunks_exact(4).filter_map(|family| match *family {
            [high, low, safi, flags] if flags & Self::PRESERVED != 0 => Some((u16::from_be_bytes([high, low]), safi)),
            _ => None,
        });
        Some(Self {
            restarted: first & Self::RESTARTED != 0,
            time: Duration::from_secs(u64::from(first & 0x0fff)),
            preserved: preserved.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open() -> impl Strategy<Value = Open> {
        let family = || prop_oneof![Just(IPV4_UNICAST), Just(IPV6_UNICAST)];
        let restart = (any::<bool>(), 0_u64..4096, prop::collection::btree_set(family(), 0..2)).prop_map(
            |(restarted, time, preserved)| GracefulRestart { restarted, time: Duration::from_secs(time), preserved },
        );
        let can = (
            prop::collection::btree_set(family(), 0..3),
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            prop::option::of(restart),
        )
            .prop_map(|(families, route_refresh, four_octet_as, ipv4_over_ipv6, graceful_restart)| {
                Capabilities { families, route_refresh, four_octet_as, ipv4_over_ipv6, graceful_restart }
            });
        (any::<u32>(), prop_oneof![Just(0), 3_u16..], 1_u32.., can).prop_map(|(asn, hold_time, identifier, can)| {
            let asn = if can.four_octet_as { asn } else { asn % 65536 };
            Open { asn, hold_time, identifier: identifier.into(), can }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(open in open()) {
            let bytes = open.encode();
            prop_assert_eq!(Open::decode(&bytes[wire::HEADER..]), Ok(open));
        }

        #[test]
        fn any_body_is_read_or_answered(open in open(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut body = open.encode().split_off(wire::HEADER);
            let at = at.index(body.len());
            body[at] = byte;
            body.truncate(cut.index(body.len() + 1));
            match Open::decode(&body) {
                Ok(_) => {}
                Err(answer) => prop_assert_eq!(answer.code, 2),
            }
        }
    }

    #[test]
    fn what_no_speaker_may_be_is_answered_as_the_rfc_says() {
        let body = |version: u8, hold: u8, identifier: u8| [version, 0, 1, 0, hold, 0, 0, 0, identifier, 0];
        let answer = |body: &[u8]| Open::decode(body).map(|_| ()).map_err(|answer| (answer.code, answer.subcode));
        assert_eq!(answer(&body(4, 3, 1)), Ok(()));
        assert_eq!(answer(&body(3, 3, 1)), Err((2, 1)));
        assert_eq!(answer(&body(4, 2, 1)), Err((2, 6)));
        assert_eq!(answer(&body(4, 3, 0)), Err((2, 3)));
        assert_eq!(answer(&[4]), Err((2, 0)));
    }

    #[test]
    fn long_parameters_are_read() {
        let capability = [MULTIPROTOCOL, 4, 0, 1, 0, 1];
        let parameters = [&[EXTENDED, 0, 9, CAPABILITIES, 0, 6][..], &capability].concat();
        let body = [&[4, 0, 1, 0, 90, 0, 0, 0, 1, EXTENDED][..], &parameters].concat();
        assert!(Open::decode(&body).unwrap().can.takes(model::Family::Ipv4));
        assert_eq!(Open::decode(&body).unwrap().can.families, BTreeSet::from([IPV4_UNICAST]));
    }
}

// SPDX-License-Identifier: Apache-2.0
//! An answer of which only what can be asked for is read. Counters are most of what the kernel says of a destination.

use netlink_packet_core::{DecodeError, NetlinkDeserializable, NetlinkHeader};

use crate::{attribute, destination_attributes::DestinationAttributes, uapi::IPVS_CMD_ATTR_DEST};

/// `GENL_HDRLEN`, linux/genetlink.h.
const HEADER: usize = 4;

/// The destination in an answer to [`GetDest`](crate::Command::GetDest), without counters.
#[derive(Debug)]
pub(crate) struct AskedDestination(pub DestinationAttributes);

impl NetlinkDeserializable for AskedDestination {
    type Error = DecodeError;

    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let mut found = None;
        let attributes = payload.get(HEADER..).ok_or("an answer without a header")?;
        attribute::read(attributes, &mut Vec::new(), |kind, value| {
            if kind == IPVS_CMD_ATTR_DEST {
                found = Some(DestinationAttributes::read_asked(value)?);
            }
            Ok(true)
        })?;
        found.map(Self).ok_or_else(|| "an answer without a destination".into())
    }
}

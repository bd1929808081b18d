// SPDX-License-Identifier: Apache-2.0
//! Asks the generic netlink controller for the number of the family (`CTRL_CMD_GETFAMILY`), which also makes the kernel
//! load the module.

use netlink::{Socket, protocols::NETLINK_GENERIC};
use netlink_packet_core::{DecodeError, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable, parse_u16};
use netlink_packet_generic::constants::GENL_HDRLEN;

use crate::{
    Error,
    attribute::{self, Attributes, Sink},
    uapi::*,
};

/// The question for a family, and the part of the answer that is wanted. What else newer kernels say is passed over.
#[derive(Debug)]
enum Lookup {
    Name(&'static str),
    Number(u16),
}

impl Attributes for Lookup {
    fn write(&self, sink: &mut impl Sink) {
        match self {
            Lookup::Name(name) => sink.put_text(CTRL_ATTR_FAMILY_NAME, name),
            Lookup::Number(number) => sink.put_u16(CTRL_ATTR_FAMILY_ID, *number),
        }
    }
}

impl NetlinkSerializable for Lookup {
    fn message_type(&self) -> u16 {
        GENL_ID_CTRL
    }

    fn buffer_len(&self) -> usize {
        GENL_HDRLEN + attribute::length(self)
    }

    fn serialize(&self, buffer: &mut [u8]) {
        if let Some((header, attributes)) = buffer.split_at_mut_checked(GENL_HDRLEN) {
            header.copy_from_slice(&[CTRL_CMD_GETFAMILY, 1, 0, 0]);
            attribute::emit(self, attributes);
        }
    }
}

impl NetlinkDeserializable for Lookup {
    type Error = DecodeError;

    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let attributes = payload.get(GENL_HDRLEN..).ok_or("an answer without a header")?;
        let mut number = None;
        attribute::read(attributes, &mut Vec::new(), |kind, value| {
            if kind == CTRL_ATTR_FAMILY_ID {
                number = Some(parse_u16(value)?);
            }
            Ok(true)
        })?;
        Ok(Lookup::Number(number.ok_or("an answer without the number of the family")?))
    }
}

/// The number of the family.
pub(crate) async fn number() -> Result<u16, Error> {
    let mut socket = Socket::open(NETLINK_GENERIC).map_err(Error::Lookup)?;
    match socket.request(Lookup::Name(IPVS_GENL_NAME)).await {
        Ok(Lookup::Number(number)) => Ok(number),
        Ok(Lookup::Name(_)) => Err(Error::Lookup(netlink::Error::NoReply)),
        Err(error) => match error.refusal() {
            Some(refusal) if refusal.errno() == libc::ENOENT => Err(Error::NoIpvs(refusal.clone())),
            _ => Err(Error::Lookup(error)),
        },
    }
}

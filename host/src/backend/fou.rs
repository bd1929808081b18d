// SPDX-License-Identifier: Apache-2.0
//! The UDP ports at which the kernel takes GUE packets apart: the generic netlink family `fou` of linux/fou.h.

use std::collections::BTreeSet;

use netlink::{Socket, protocols::NETLINK_GENERIC};
use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLA_HEADER_SIZE, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable, Nla,
    NlasIterator,
};
use netlink_packet_generic::{
    GenlMessage,
    constants::GENL_HDRLEN,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};

use super::wish::Family;
use crate::Error;

const FOU_GENL_NAME: &str = "fou";
const FOU_GENL_VERSION: u8 = 1;
const FOU_CMD_ADD: u8 = 1;
const FOU_CMD_DEL: u8 = 2;
const FOU_CMD_GET: u8 = 3;
const FOU_ATTR_PORT: u16 = 1;
const FOU_ATTR_AF: u16 = 2;
const FOU_ATTR_TYPE: u16 = 4;
const FOU_ENCAP_GUE: u8 = 2;

/// What a change of the ports was about, for errors.
const PORTS: &str = "the ports for GUE";

/// A message of the family, whose number the kernel chose.
#[derive(Clone, Debug)]
struct Message {
    number: u16,
    command: u8,
    attributes: Vec<DefaultNla>,
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.number
    }

    fn buffer_len(&self) -> usize {
        GENL_HDRLEN + self.attributes.as_slice().buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        if let Some((header, attributes)) = buffer.split_at_mut_checked(GENL_HDRLEN) {
            header.copy_from_slice(&[self.command, FOU_GENL_VERSION, 0, 0]);
            self.attributes.as_slice().emit(attributes);
        }
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let (command, attributes) = (payload.first().copied().unwrap_or_default(), payload.get(GENL_HDRLEN..));
        let attributes = NlasIterator::new(attributes.unwrap_or_default()).map_while(Result::ok);
        let attribute = |buffer: netlink_packet_core::NlaBuffer<&[u8]>| {
            let value = buffer.into_inner().get(NLA_HEADER_SIZE..usize::from(buffer.length())).unwrap_or_default();
            DefaultNla::new(buffer.kind(), value.to_vec())
        };
        Ok(Self { number: header.message_type, command, attributes: attributes.map(attribute).collect() })
    }
}

impl Message {
    fn value(&self, kind: u16) -> Vec<u8> {
        let attribute = self.attributes.iter().find(|attribute| attribute.kind() == kind);
        attribute.map_or_else(Vec::new, |attribute| {
            let mut value = vec![0; attribute.value_len()];
            attribute.emit_value(&mut value);
            value
        })
    }

    /// The port that an answer tells of, if it is one for GUE.
    fn port(&self) -> Option<(Family, u16)> {
        let port = u16::from_be_bytes(self.value(FOU_ATTR_PORT).try_into().ok()?);
        let family = match i32::from(*self.value(FOU_ATTR_AF).first()?) {
            libc::AF_INET => Family::V4,
            libc::AF_INET6 => Family::V6,
            _ => return None,
        };
        Some((family, port))
    }
}

/// Talks to the kernel's `fou`. Its module is loaded by asking for it.
#[derive(Debug)]
pub(super) struct Fou {
    socket: Socket<Message>,
    number: u16,
}

impl Fou {
    /// `None` on a kernel without it.
    pub(super) async fn open() -> Result<Option<Self>, Error> {
        let open = |source| Error::Open { what: PORTS, source };
        let mut control = Socket::<GenlMessage<GenlCtrl>>::open(NETLINK_GENERIC).map_err(open)?;
        let nlas = vec![GenlCtrlAttrs::FamilyName(FOU_GENL_NAME.to_owned())];
        let question = GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas });
        let answer = match control.request(question).await {
            Ok(answer) => answer,
            Err(error) if error.refusal().is_some_and(|refusal| refusal.errno() == libc::ENOENT) => return Ok(None),
            Err(source) => return Err(Error::Read { what: PORTS, source }),
        };
        let number = answer
            .payload
            .nlas
            .iter()
            .find_map(|nla| if let GenlCtrlAttrs::FamilyId(number) = nla { Some(*number) } else { None });
        let Some(number) = number else { return Ok(None) };
        Ok(Some(Self { socket: Socket::open(NETLINK_GENERIC).map_err(open)?, number }))
    }

    /// The ports of this network namespace, of whatever kind.
    pub(super) async fn ports(&mut self) -> Result<BTreeSet<(Family, u16)>, Error> {
        let query = Message { number: self.number, command: FOU_CMD_GET, attributes: Vec::new() };
        let mut ports = BTreeSet::new();
        let dumped = self.socket.dump(query, |message| ports.extend(message.port())).await;
        dumped.map(|()| ports).map_err(|source| Error::Read { what: PORTS, source })
    }

    /// Takes GUE packets at the port, or no more.
    pub(super) async fn change(&mut self, family: Family, port: u16, listen: bool) -> Result<(), Error> {
        let af = match family {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        };
        let mut attributes = vec![
            DefaultNla::new(FOU_ATTR_PORT, port.to_be_bytes().to_vec()),
            DefaultNla::new(FOU_ATTR_AF, vec![u8::try_from(af).unwrap_or_default()]),
        ];
        if listen {
            attributes.push(DefaultNla::new(FOU_ATTR_TYPE, vec![FOU_ENCAP_GUE]));
        }
        let command = if listen { FOU_CMD_ADD } else { FOU_CMD_DEL };
        let message = Message { number: self.number, command, attributes };
        let sent = self.socket.transact([message.into()]).await;
        let refused = |refusal| Error::Change { what: PORTS, source: netlink::Error::Refused(refusal) };
        let answers = sent.map_err(|source| Error::Change { what: PORTS, source })?;
        answers.into_iter().find_map(Result::err).map_or(Ok(()), |refusal| Err(refused(refusal)))
    }
}

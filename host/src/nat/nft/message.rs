// SPDX-License-Identifier: Apache-2.0
//! What goes over the netlink socket of nftables: the codec's messages, but for the elements of a set, which are many. The codec
//! takes time that grows with the square of their number (it prepares an error message of the whole list for each of them).

use netlink_packet_core::{
    DecodeError, NLA_HEADER_SIZE, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable, NlasIterator,
};
use netlink_packet_netfilter::NetfilterMessage;
use slb_core::model::Vip;

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM`, linux/netfilter/{nfnetlink,nf_tables}.h.
const NEW_SET_ELEMENT: u16 = 10 << 8 | 12;
/// `sizeof(struct nfgenmsg)`, linux/netfilter/nfnetlink.h.
const HEADER: usize = 4;
/// The way to an address: `NFTA_SET_ELEM_LIST_ELEMENTS`, `NFTA_LIST_ELEM`, `NFTA_SET_ELEM_KEY`, `NFTA_DATA_VALUE`.
const PATH: [u16; 4] = [3, 1, 1, 1];

/// A message of nftables; of set elements only the addresses, and only on the way from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Plain(NetfilterMessage),
    Elements(Vec<Vip>),
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        match self {
            Self::Plain(message) => message.message_type(),
            Self::Elements(_) => NEW_SET_ELEMENT,
        }
    }

    fn buffer_len(&self) -> usize {
        match self {
            Self::Plain(message) => NetlinkSerializable::buffer_len(message),
            Self::Elements(_) => 0,
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        match self {
            Self::Plain(message) => message.serialize(buffer),
            Self::Elements(_) => {}
        }
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        if header.message_type == NEW_SET_ELEMENT {
            Ok(Self::Elements(vips(payload)))
        } else {
            NetfilterMessage::deserialize(header, payload).map(Self::Plain)
        }
    }
}

/// The addresses of a message. What is none is passed over.
fn vips(payload: &[u8]) -> Vec<Vip> {
    let mut values = vec![payload.get(HEADER..).unwrap_or_default()];
    for kind in PATH {
        values = values.into_iter().flat_map(|list| nested(list, kind)).collect();
    }
    let vip = |value: &[u8]| Vip::try_from(std::net::Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?)).ok();
    values.into_iter().filter_map(vip).collect()
}

/// The values of the attributes of that kind.
fn nested(list: &[u8], kind: u16) -> impl Iterator<Item = &[u8]> {
    NlasIterator::new(list).map_while(Result::ok).filter(move |attribute| attribute.kind() == kind).filter_map(
        move |attribute| {
            let length = usize::from(attribute.length());
            attribute.into_inner().get(NLA_HEADER_SIZE..length)
        },
    )
}

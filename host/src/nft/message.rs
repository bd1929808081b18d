// SPDX-License-Identifier: Apache-2.0
//! What goes over the netlink socket of nftables. To the kernel, the codec's messages. From the kernel only what slb wants to know,
//! read here: the codec takes time that grows with the square of the elements of a set (it prepares an error message of the whole
//! list for each of them), and it panics at expressions whose lengths are not what it expects, which may be other people's.

use std::convert::Infallible;

use netlink_packet_core::{NLA_HEADER_SIZE, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable, NlasIterator};
use netlink_packet_netfilter::NetfilterMessage;

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE`, linux/netfilter/{nfnetlink,nf_tables}.h.
const NEW_RULE: u16 = 10 << 8 | 6;
/// The same with `NFT_MSG_NEWSETELEM`.
const NEW_SET_ELEMENT: u16 = 10 << 8 | 12;
/// `sizeof(struct nfgenmsg)`, linux/netfilter/nfnetlink.h.
const HEADER: usize = 4;
/// The way to the elements of a list: `NFTA_SET_ELEM_LIST_ELEMENTS`, `NFTA_LIST_ELEM`.
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
// enum nft_set_elem_attributes.
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_KEY_END: u16 = 10;
/// In each of them.
pub(crate) const NFTA_DATA_VALUE: u16 = 1;
// enum nft_rule_attributes.
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_USERDATA: u16 = 7;

/// A message of nftables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// To the kernel.
    Plain(NetfilterMessage),
    /// From the kernel: a list of elements.
    Elements(Vec<Element>),
    /// From the kernel.
    Rule(Rule),
    /// From the kernel: anything else. That it came says enough.
    Other,
}

/// An element of a set or map; empty is what it does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) key: Vec<u8>,
    /// The end of its range.
    pub(crate) end: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

/// As much of a rule as shows whose it is; empty is what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) table: Vec<u8>,
    pub(crate) chain: Vec<u8>,
    pub(crate) user_data: Vec<u8>,
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        match self {
            Self::Plain(message) => message.message_type(),
            Self::Elements(_) => NEW_SET_ELEMENT,
            Self::Rule(_) => NEW_RULE,
            Self::Other => 0,
        }
    }

    fn buffer_len(&self) -> usize {
        match self {
            Self::Plain(message) => NetlinkSerializable::buffer_len(message),
            Self::Elements(_) | Self::Rule(_) | Self::Other => 0,
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        match self {
            Self::Plain(message) => message.serialize(buffer),
            Self::Elements(_) | Self::Rule(_) | Self::Other => {}
        }
    }
}

impl NetlinkDeserializable for Message {
    type Error = Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Infallible> {
        Ok(match header.message_type {
            NEW_SET_ELEMENT => Self::Elements(elements(payload)),
            NEW_RULE => Self::Rule(rule(payload)),
            _ => Self::Other,
        })
    }
}

fn rule(payload: &[u8]) -> Rule {
    let attributes = payload.get(HEADER..).unwrap_or_default();
    let value = |kind| nested(attributes, kind).next().unwrap_or_default();
    // Texts end with a zero byte.
    let text = |kind| value(kind).split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    Rule { table: text(NFTA_RULE_TABLE), chain: text(NFTA_RULE_CHAIN), user_data: value(NFTA_RULE_USERDATA).to_vec() }
}

fn elements(payload: &[u8]) -> Vec<Element> {
    let lists = nested(payload.get(HEADER..).unwrap_or_default(), NFTA_SET_ELEM_LIST_ELEMENTS);
    let element = |attributes| {
        let value = |kind| {
            let mut data = nested(attributes, kind).flat_map(|data| nested(data, NFTA_DATA_VALUE));
            data.next().unwrap_or_default().to_vec()
        };
        Element { key: value(NFTA_SET_ELEM_KEY), end: value(NFTA_SET_ELEM_KEY_END), data: value(NFTA_SET_ELEM_DATA) }
    };
    lists.flat_map(|list| nested(list, NFTA_LIST_ELEM)).map(element).collect()
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

// SPDX-License-Identifier: Apache-2.0
//! The words of linux/netfilter/nf_tables.h that every table of slb's is made of.

use std::net::IpAddr;

use netlink::Request;
use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterProtoFamily,
    nftables::{
        Bitwise, ChainAttribute, ChainMessage, DataAttribute, Expressions, Hook, HookNumber, InetHookNumber,
        ListAttribute, NfTablesMessage, Payload, Register, RuleAttribute, RuleMessage, SetAttribute,
        SetElementAttribute, SetElementList, SetElementMessage, SetMessage, TableAttribute, TableMessage,
    },
    none::ControlMessage,
};
use slb_core::model::Family;

use super::message::{Message, Rule};

/// `NF_ACCEPT`, linux/netfilter.h.
const ACCEPT: u32 = 1;
/// `NFT_PAYLOAD_NETWORK_HEADER`.
const NETWORK_HEADER: u32 = 1;
/// `NFTNL_UDATA_RULE_COMMENT` of libnftnl: the type of a comment in a rule's user data.
const UDATA_COMMENT: u8 = 0;

/// A change, or a part of one.
pub(crate) type Change = Request<Message>;

/// Where a chain takes packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// `nat` or `filter`.
    pub(crate) kind: &'static str,
    pub(crate) hook: InetHookNumber,
    pub(crate) priority: i32,
}

/// The changes as one batch. The last of them is acknowledged when the whole has taken place.
pub(crate) fn batch(changes: Vec<Change>) -> Vec<Change> {
    let mut batch = unfinished(changes);
    batch.push(control(ControlMessage::BatchEnd));
    batch
}

/// A batch without an end.
pub(crate) fn unfinished(mut changes: Vec<Change>) -> Vec<Change> {
    if let Some(last) = changes.last_mut() {
        last.flags |= NLM_F_ACK;
    }
    changes.insert(0, control(ControlMessage::BatchBegin));
    changes
}

/// Makes a table anew, empty, whether there was one or not.
pub(crate) fn renew_table(family: Family, table: &str) -> [Change; 3] {
    let create = || change(family, NfTablesMessage::NewTable(named(table)), NLM_F_CREATE);
    [create(), delete_table(family, table), create()]
}

pub(crate) fn delete_table(family: Family, table: &str) -> Change {
    change(family, NfTablesMessage::DeleteTable(named(table)), 0)
}

pub(crate) fn add_set(family: Family, table: &str, set: &str, attributes: Vec<SetAttribute>) -> Change {
    let names = [SetAttribute::Table(table.to_owned()), SetAttribute::Name(set.to_owned())];
    let attributes = names.into_iter().chain(attributes).collect();
    change(family, NfTablesMessage::NewSet(SetMessage { attributes }), NLM_F_CREATE)
}

pub(crate) fn add_chain(family: Family, table: &str, chain: &str, Place { kind, hook, priority }: Place) -> Change {
    let attributes = vec![
        ChainAttribute::Table(table.to_owned()),
        ChainAttribute::Name(chain.to_owned()),
        ChainAttribute::Type(kind.to_owned()),
        ChainAttribute::Hook(vec![
            Hook::Number(HookNumber::Inet(hook)),
            // The codec has no sign for it; the kernel has (`ntohl` to an int).
            Hook::Priority(priority.cast_unsigned()),
        ]),
        ChainAttribute::Policy(ACCEPT),
    ];
    change(family, NfTablesMessage::NewChain(ChainMessage { attributes }), NLM_F_CREATE)
}

/// One that takes no packets by itself.
pub(crate) fn add_plain_chain(family: Family, table: &str, chain: &str) -> Change {
    let attributes = vec![ChainAttribute::Table(table.to_owned()), ChainAttribute::Name(chain.to_owned())];
    change(family, NfTablesMessage::NewChain(ChainMessage { attributes }), NLM_F_CREATE)
}

pub(crate) fn add_rule(
    family: Family,
    table: &str,
    chain: &str,
    expressions: Vec<Expressions>,
    comment: &str,
) -> Change {
    let attributes = vec![
        RuleAttribute::Table(table.to_owned()),
        RuleAttribute::Chain(chain.to_owned()),
        RuleAttribute::Expressions(expressions.into_iter().map(ListAttribute::from).collect()),
        RuleAttribute::UserData(user_data(comment)),
    ];
    change(family, NfTablesMessage::NewRule(RuleMessage { attributes }), NLM_F_CREATE | NLM_F_APPEND)
}

/// All rules of the chain: without a handle none is singled out (`nf_tables_delrule`).
pub(crate) fn delete_rules(family: Family, table: &str, chain: &str) -> Change {
    let attributes = vec![RuleAttribute::Table(table.to_owned()), RuleAttribute::Chain(chain.to_owned())];
    change(family, NfTablesMessage::DeleteRule(RuleMessage { attributes }), 0)
}

/// Adding an element that is there is no error, unless it leads to something else.
pub(crate) fn add_elements(family: Family, table: &str, set: &str, elements: Vec<Vec<SetElementAttribute>>) -> Change {
    change(family, NfTablesMessage::NewSetElement(list(table, set, elements)), NLM_F_CREATE)
}

/// Deleting an element that is not there fails the batch.
pub(crate) fn delete_elements(
    family: Family,
    table: &str,
    set: &str,
    elements: Vec<Vec<SetElementAttribute>>,
) -> Change {
    change(family, NfTablesMessage::DeleteSetElement(list(table, set, elements)), 0)
}

pub(super) fn get_table(family: Family, table: &str) -> Message {
    message(family, NfTablesMessage::GetTable(named(table)))
}

pub(super) fn get_rules(family: Family, table: &str) -> Message {
    let attributes = vec![RuleAttribute::Table(table.to_owned())];
    message(family, NfTablesMessage::GetRule(RuleMessage { attributes }))
}

pub(super) fn get_elements(family: Family, table: &str, set: &str) -> Message {
    message(family, NfTablesMessage::GetSetElement(SetElementMessage { attributes: in_set(table, set) }))
}

/// A rule of the table; kernels before 4.11 send all tables' rules.
pub(super) fn rule_of(table: &str, message: Message) -> Option<Rule> {
    if let Message::Rule(rule) = message { Some(rule).filter(|rule| rule.table == table.as_bytes()) } else { None }
}

/// What `nft list ruleset` shows beside a rule.
pub(crate) fn user_data(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    [&[UDATA_COMMENT, length], comment.as_bytes(), &[0]].concat()
}

/// Where a header of the family has its destination (RFC 791, section 3.1; RFC 8200, section 3).
pub(crate) fn destination(family: Family) -> u32 {
    match family {
        Family::Ipv4 => 16,
        Family::Ipv6 => 24,
    }
}

/// Bytes of an address.
pub(crate) fn address_length(family: Family) -> u32 {
    u32::from(family.bits() / 8)
}

/// Loads an address of the header into register 1.
pub(crate) fn header(family: Family, offset: u32) -> Expressions {
    Expressions::Payload(vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(NETWORK_HEADER),
        Payload::Offset(offset),
        Payload::Len(address_length(family)),
    ])
}

/// Leaves those bits of register 1 that the mask has.
pub(crate) fn masked(mask: DataAttribute, length: u32) -> Expressions {
    let zeros = DataAttribute::Value(vec![0; usize::try_from(length).unwrap_or_default()]);
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(Register::Reg1),
        Bitwise::DestinationRegister(Register::Reg1),
        Bitwise::Length(length),
        Bitwise::Mask(mask),
        Bitwise::Xor(zeros),
    ])
}

pub(crate) fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A number as it is in a register, in the machine's own byte order.
pub(crate) fn number(number: u32) -> DataAttribute {
    DataAttribute::Value(number.to_ne_bytes().to_vec())
}

fn list(table: &str, set: &str, elements: Vec<Vec<SetElementAttribute>>) -> SetElementMessage {
    let mut attributes = in_set(table, set);
    attributes.push(SetElementList::Elements(elements.into_iter().map(ListAttribute::Element).collect()));
    SetElementMessage { attributes }
}

fn in_set(table: &str, set: &str) -> Vec<SetElementList> {
    vec![SetElementList::Table(table.to_owned()), SetElementList::Set(set.to_owned())]
}

fn named(table: &str) -> TableMessage {
    TableMessage { attributes: vec![TableAttribute::Name(table.to_owned())] }
}

fn change(family: Family, payload: NfTablesMessage, flags: u16) -> Change {
    Request::new(message(family, payload), flags)
}

fn message(family: Family, message: NfTablesMessage) -> Message {
    let family = match family {
        Family::Ipv4 => NetfilterProtoFamily::IPv4,
        Family::Ipv6 => NetfilterProtoFamily::IPv6,
    };
    Message::Plain(NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message))
}

/// The beginning or end of a batch, which names the subsystem that it is for.
fn control(control: ControlMessage) -> Change {
    const NFNL_SUBSYS_NFTABLES: u16 = 10;
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFNL_SUBSYS_NFTABLES);
    Message::Plain(NetfilterMessage::new(header, control)).into()
}

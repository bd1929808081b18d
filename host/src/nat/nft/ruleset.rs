// SPDX-License-Identifier: Apache-2.0
//! slb's nftables table in the words of linux/netfilter/nf_tables.h, both ways.

use std::net::IpAddr;

use netlink::Request;
use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterProtoFamily,
    nftables::{
        Bitwise, ChainAttribute, ChainMessage, Cmp, DataAttribute, Expressions, Hook, HookNumber, InetHookNumber,
        ListAttribute, Lookup, NfTablesMessage, Operator, Payload, Register, RuleAttribute, RuleMessage, SetAttribute,
        SetElementAttribute, SetElementList, SetElementMessage, SetMessage, TableAttribute, TableMessage,
    },
    none::ControlMessage,
};
use slb_core::model::{Family, Vip};

use super::message::{Message, Rule};

/// The name of slb's table, in the families ip and ip6.
pub(super) const TABLE: &str = "slb";
/// A name for a table that never comes to be.
const TRIAL: &str = "slb-trial";
const SET: &str = "vips";
const CHAIN: &str = "source-nat";
/// What `nft list ruleset` shows beside the rule, and by which slb knows it. It counts the versions of the rule: an upgraded slb that
/// writes another one puts it in the place of this.
const COMMENT: &str = "slb, rule 1";

/// How many addresses go into one message: an attribute is 65,535 bytes long at most, an address takes 16, or 28 of IPv6.
const ELEMENTS: usize = 2048;
/// Before other tables' source NAT (`NF_IP_PRI_NAT_SRC` is 100): the first rule that matches decides.
const PRIORITY: u32 = 99;
/// `NF_ACCEPT`, linux/netfilter.h.
const ACCEPT: u32 = 1;
/// Any number will do for the only set of a batch.
const SET_ID: u32 = 1;

// enum nft_ct_attributes and nft_ct_keys, which the codec does not know.
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFTA_CT_DIRECTION: u16 = 3;
const NFT_CT_STATUS: u32 = 2;
const NFT_CT_DST_IP: u32 = 20;
const NFT_CT_DST_IP6: u32 = 22;
/// `IP_CT_DIR_ORIGINAL`, linux/netfilter/nf_conntrack_tuple_common.h.
const ORIGINAL: u8 = 0;
/// `IPS_DST_NAT`, linux/netfilter/nf_conntrack_common.h: netfilter changed the destination. IPVS leaves it unset.
const DST_NAT: u32 = 1 << 5;
/// `NFT_LOOKUP_F_INV`.
const INVERTED: u32 = 1;
/// `NFT_PAYLOAD_NETWORK_HEADER`.
const NETWORK_HEADER: u32 = 1;
/// `NFTNL_UDATA_RULE_COMMENT` of libnftnl: the type of a comment in a rule's user data.
const UDATA_COMMENT: u8 = 0;

type Change = Request<Message>;

/// How addresses of a family are spoken of.
struct Words {
    /// How nft(8) calls the type ipv4_addr or ipv6_addr (`TYPE_IPADDR` and `TYPE_IP6ADDR` in its sources).
    key_type: u32,
    /// Bytes of an address.
    length: u32,
    /// Where connection tracking keeps the destination.
    connection: u32,
    /// Where the header has its destination (RFC 791, section 3.1; RFC 8200, section 3).
    offset: u32,
    table: NetfilterProtoFamily,
}

fn words(family: Family) -> Words {
    match family {
        Family::Ipv4 => {
            Words { key_type: 7, length: 4, connection: NFT_CT_DST_IP, offset: 16, table: NetfilterProtoFamily::IPv4 }
        }
        Family::Ipv6 => {
            Words { key_type: 8, length: 16, connection: NFT_CT_DST_IP6, offset: 24, table: NetfilterProtoFamily::IPv6 }
        }
    }
}

/// The changes as one batch. The last of them is acknowledged when the whole has taken place.
pub(super) fn batch(mut changes: Vec<Change>) -> Vec<Change> {
    if let Some(last) = changes.last_mut() {
        last.flags |= NLM_F_ACK;
    }
    changes.insert(0, control(ControlMessage::BatchBegin));
    changes.push(control(ControlMessage::BatchEnd));
    changes
}

/// A batch of everything that slb may write, without an end.
pub(super) fn trial(family: Family) -> Vec<Change> {
    let mut changes = vec![control(ControlMessage::BatchBegin)];
    changes.extend(renew_table(family, TRIAL));
    if let Some(last) = changes.last_mut() {
        last.flags |= NLM_F_ACK;
    }
    changes
}

/// Makes a table anew, without addresses, whether there was one or not.
pub(super) fn renew_table(family: Family, table: &str) -> [Change; 6] {
    let create = |message| change(family, message, NLM_F_CREATE);
    let rule = NfTablesMessage::NewRule(RuleMessage {
        attributes: vec![
            RuleAttribute::Table(table.to_owned()),
            RuleAttribute::Chain(CHAIN.to_owned()),
            RuleAttribute::Expressions(expressions(family).into_iter().map(ListAttribute::from).collect()),
            RuleAttribute::UserData(comment()),
        ],
    });
    [
        create(NfTablesMessage::NewTable(named(table))),
        change(family, NfTablesMessage::DeleteTable(named(table)), 0),
        create(NfTablesMessage::NewTable(named(table))),
        create(NfTablesMessage::NewSet(SetMessage {
            attributes: vec![
                SetAttribute::Table(table.to_owned()),
                SetAttribute::Name(SET.to_owned()),
                SetAttribute::KeyType(words(family).key_type),
                SetAttribute::KeyLen(words(family).length),
                SetAttribute::Id(SET_ID),
            ],
        })),
        create(NfTablesMessage::NewChain(ChainMessage {
            attributes: vec![
                ChainAttribute::Table(table.to_owned()),
                ChainAttribute::Name(CHAIN.to_owned()),
                ChainAttribute::Type("nat".to_owned()),
                ChainAttribute::Hook(vec![
                    Hook::Number(HookNumber::Inet(InetHookNumber::PostRouting)),
                    Hook::Priority(PRIORITY),
                ]),
                ChainAttribute::Policy(ACCEPT),
            ],
        })),
        change(family, rule, NLM_F_CREATE | NLM_F_APPEND),
    ]
}

pub(super) fn delete_table(family: Family) -> Change {
    change(family, NfTablesMessage::DeleteTable(named(TABLE)), 0)
}

/// Adding an address that is there is no error.
pub(super) fn add_vips(family: Family, vips: impl Iterator<Item = Vip>) -> impl Iterator<Item = Change> {
    elements(vips).map(move |message| change(family, NfTablesMessage::NewSetElement(message), NLM_F_CREATE))
}

/// Deleting an address that is not there fails the batch.
pub(super) fn delete_vips(family: Family, vips: impl Iterator<Item = Vip>) -> impl Iterator<Item = Change> {
    elements(vips).map(move |message| change(family, NfTablesMessage::DeleteSetElement(message), 0))
}

pub(super) fn get_table(family: Family) -> Message {
    message(family, NfTablesMessage::GetTable(named(TABLE)))
}

pub(super) fn get_rules(family: Family) -> Message {
    let attributes = vec![RuleAttribute::Table(TABLE.to_owned())];
    message(family, NfTablesMessage::GetRule(RuleMessage { attributes }))
}

pub(super) fn get_vips(family: Family) -> Message {
    message(family, NfTablesMessage::GetSetElement(SetElementMessage { attributes: set() }))
}

/// A rule of slb's table; kernels before 4.11 send all tables' rules.
pub(super) fn rule(message: Message) -> Option<Rule> {
    if let Message::Rule(rule) = message { Some(rule).filter(|rule| rule.table == TABLE.as_bytes()) } else { None }
}

/// Whether the rule is the one that slb writes, where slb writes it.
pub(super) fn is_ours(rule: &Rule) -> bool {
    rule.chain == CHAIN.as_bytes() && rule.user_data == comment()
}

/// The rule. An expression loads a register or compares one; the first that does not match ends the rule.
fn expressions(family: Family) -> [Expressions; 8] {
    let Words { length, connection: destination, offset, .. } = words(family);
    [
        connection(destination, Some(ORIGINAL)),
        Expressions::Lookup(vec![Lookup::Set(SET.to_owned()), Lookup::SourceRegister(Register::Reg1)]),
        Expressions::Payload(vec![
            Payload::DestinationRegister(Register::Reg1),
            Payload::Base(NETWORK_HEADER),
            Payload::Offset(offset),
            Payload::Len(length),
        ]),
        Expressions::Lookup(vec![
            Lookup::Set(SET.to_owned()),
            Lookup::SourceRegister(Register::Reg1),
            Lookup::Flags(INVERTED),
        ]),
        connection(NFT_CT_STATUS, None),
        Expressions::Bitwise(vec![
            Bitwise::SourceRegister(Register::Reg1),
            Bitwise::DestinationRegister(Register::Reg1),
            Bitwise::Length(4),
            Bitwise::Mask(number(DST_NAT)),
            Bitwise::Xor(number(0)),
        ]),
        Expressions::Cmp(vec![Cmp::SourceRegister(Register::Reg1), Cmp::Op(Operator::Equal), Cmp::Data(number(0))]),
        Expressions::Other { expression_type: "masq".to_owned(), attributes: Vec::new() },
    ]
}

/// Loads what connection tracking knows into register 1.
fn connection(key: u32, direction: Option<u8>) -> Expressions {
    let mut attributes = vec![
        DefaultNla::new(NFTA_CT_DREG, u32::from(Register::Reg1).to_be_bytes().to_vec()),
        DefaultNla::new(NFTA_CT_KEY, key.to_be_bytes().to_vec()),
    ];
    attributes.extend(direction.map(|direction| DefaultNla::new(NFTA_CT_DIRECTION, vec![direction])));
    Expressions::Other { expression_type: "ct".to_owned(), attributes }
}

/// A number as it is in a register, in the machine's own byte order.
fn number(number: u32) -> DataAttribute {
    DataAttribute::Value(number.to_ne_bytes().to_vec())
}

fn comment() -> Vec<u8> {
    let length = u8::try_from(COMMENT.len() + 1).unwrap_or(u8::MAX);
    [&[UDATA_COMMENT, length], COMMENT.as_bytes(), &[0]].concat()
}

fn named(table: &str) -> TableMessage {
    TableMessage { attributes: vec![TableAttribute::Name(table.to_owned())] }
}

fn set() -> Vec<SetElementList> {
    vec![SetElementList::Table(TABLE.to_owned()), SetElementList::Set(SET.to_owned())]
}

fn elements(vips: impl Iterator<Item = Vip>) -> impl Iterator<Item = SetElementMessage> {
    let element = |vip: Vip| {
        let key = DataAttribute::Value(match vip.address() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        });
        ListAttribute::Element(vec![SetElementAttribute::Key(key)])
    };
    let all: Vec<_> = vips.map(element).collect();
    let parts: Vec<Vec<_>> = all.chunks(ELEMENTS).map(<[_]>::to_vec).collect();
    parts.into_iter().map(|part| {
        let mut attributes = set();
        attributes.push(SetElementList::Elements(part));
        SetElementMessage { attributes }
    })
}

fn change(family: Family, payload: NfTablesMessage, flags: u16) -> Change {
    Request::new(message(family, payload), flags)
}

fn message(family: Family, message: NfTablesMessage) -> Message {
    Message::Plain(NetfilterMessage::new(NetfilterHeader::new(words(family).table, 0, 0), message))
}

/// The beginning or end of a batch, which names the subsystem that it is for.
fn control(control: ControlMessage) -> Change {
    const NFNL_SUBSYS_NFTABLES: u16 = 10;
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFNL_SUBSYS_NFTABLES);
    Message::Plain(NetfilterMessage::new(header, control)).into()
}

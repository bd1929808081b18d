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
use slb_core::model::Vip;

use super::message::{Message, Rule};

/// The name of slb's table, in the family ip.
pub(super) const TABLE: &str = "slb";
/// A name for a table that never comes to be.
const TRIAL: &str = "slb-trial";
const SET: &str = "vips";
const CHAIN: &str = "source-nat";
/// What `nft list ruleset` shows beside the rule, and by which slb knows it. It counts the versions of the rule: an upgraded slb that
/// writes another one puts it in the place of this.
const COMMENT: &str = "slb, rule 1";

/// How many addresses go into one message: an attribute is 65,535 bytes long at most, an address takes 16.
const ELEMENTS: usize = 2048;
/// Before other tables' source NAT (`NF_IP_PRI_NAT_SRC` is 100): the first rule that matches decides.
const PRIORITY: u32 = 99;
/// `NF_ACCEPT`, linux/netfilter.h.
const ACCEPT: u32 = 1;
/// How nft(8) calls the type ipv4_addr (`TYPE_IPADDR` in its sources).
const IPV4_ADDR: u32 = 7;
const ADDRESS_LENGTH: u32 = 4;
/// Any number will do for the only set of a batch.
const SET_ID: u32 = 1;

// enum nft_ct_attributes and nft_ct_keys, which the codec does not know.
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFTA_CT_DIRECTION: u16 = 3;
const NFT_CT_STATUS: u32 = 2;
const NFT_CT_DST_IP: u32 = 20;
/// `IP_CT_DIR_ORIGINAL`, linux/netfilter/nf_conntrack_tuple_common.h.
const ORIGINAL: u8 = 0;
/// `IPS_DST_NAT`, linux/netfilter/nf_conntrack_common.h: netfilter changed the destination. IPVS leaves it unset.
const DST_NAT: u32 = 1 << 5;
/// `NFT_LOOKUP_F_INV`.
const INVERTED: u32 = 1;
/// `NFT_PAYLOAD_NETWORK_HEADER`, and where the IPv4 header has its destination (RFC 791, section 3.1).
const NETWORK_HEADER: u32 = 1;
const DESTINATION: u32 = 16;
/// `NFTNL_UDATA_RULE_COMMENT` of libnftnl: the type of a comment in a rule's user data.
const UDATA_COMMENT: u8 = 0;

type Change = Request<Message>;

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
pub(super) fn trial() -> Vec<Change> {
    let mut changes = vec![control(ControlMessage::BatchBegin)];
    changes.extend(renew_table(TRIAL));
    if let Some(last) = changes.last_mut() {
        last.flags |= NLM_F_ACK;
    }
    changes
}

/// Makes a table anew, without addresses, whether there was one or not.
pub(super) fn renew_table(table: &str) -> [Change; 6] {
    [
        create(NfTablesMessage::NewTable(named(table))),
        NfTablesMessage::DeleteTable(named(table)).into_change(0),
        create(NfTablesMessage::NewTable(named(table))),
        create(NfTablesMessage::NewSet(SetMessage {
            attributes: vec![
                SetAttribute::Table(table.to_owned()),
                SetAttribute::Name(SET.to_owned()),
                SetAttribute::KeyType(IPV4_ADDR),
                SetAttribute::KeyLen(ADDRESS_LENGTH),
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
        NfTablesMessage::NewRule(RuleMessage {
            attributes: vec![
                RuleAttribute::Table(table.to_owned()),
                RuleAttribute::Chain(CHAIN.to_owned()),
                RuleAttribute::Expressions(expressions().into_iter().map(ListAttribute::from).collect()),
                RuleAttribute::UserData(comment()),
            ],
        })
        .into_change(NLM_F_CREATE | NLM_F_APPEND),
    ]
}

pub(super) fn delete_table() -> Change {
    NfTablesMessage::DeleteTable(named(TABLE)).into_change(0)
}

/// Adding an address that is there is no error.
pub(super) fn add_vips(vips: impl Iterator<Item = Vip>) -> impl Iterator<Item = Change> {
    elements(vips).map(|message| create(NfTablesMessage::NewSetElement(message)))
}

/// Deleting an address that is not there fails the batch.
pub(super) fn delete_vips(vips: impl Iterator<Item = Vip>) -> impl Iterator<Item = Change> {
    elements(vips).map(|message| NfTablesMessage::DeleteSetElement(message).into_change(0))
}

pub(super) fn get_table() -> Message {
    message(NfTablesMessage::GetTable(named(TABLE)))
}

pub(super) fn get_rules() -> Message {
    let attributes = vec![RuleAttribute::Table(TABLE.to_owned())];
    message(NfTablesMessage::GetRule(RuleMessage { attributes }))
}

pub(super) fn get_vips() -> Message {
    message(NfTablesMessage::GetSetElement(SetElementMessage { attributes: set() }))
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
fn expressions() -> [Expressions; 8] {
    [
        connection(NFT_CT_DST_IP, Some(ORIGINAL)),
        Expressions::Lookup(vec![Lookup::Set(SET.to_owned()), Lookup::SourceRegister(Register::Reg1)]),
        Expressions::Payload(vec![
            Payload::DestinationRegister(Register::Reg1),
            Payload::Base(NETWORK_HEADER),
            Payload::Offset(DESTINATION),
            Payload::Len(ADDRESS_LENGTH),
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

fn create(message: NfTablesMessage) -> Change {
    message.into_change(NLM_F_CREATE)
}

fn message(message: NfTablesMessage) -> Message {
    Message::Plain(NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0), message))
}

/// The beginning or end of a batch, which names the subsystem that it is for.
fn control(control: ControlMessage) -> Change {
    const NFNL_SUBSYS_NFTABLES: u16 = 10;
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFNL_SUBSYS_NFTABLES);
    Message::Plain(NetfilterMessage::new(header, control)).into()
}

trait IntoChange {
    fn into_change(self, flags: u16) -> Change;
}

impl IntoChange for NfTablesMessage {
    fn into_change(self, flags: u16) -> Change {
        Request::new(message(self), flags)
    }
}

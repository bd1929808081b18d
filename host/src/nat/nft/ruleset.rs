// SPDX-License-Identifier: Apache-2.0
//! slb's nftables table in the words of linux/netfilter/nf_tables.h, both ways.

use std::{collections::BTreeSet, net::IpAddr};

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
use crate::address::Network;

/// The name of slb's table, in the families ip and ip6.
pub(super) const TABLE: &str = "slb";
/// A name for a table that never comes to be.
const TRIAL: &str = "slb-trial";
/// The VIPs all of whose connections are translated.
pub(super) const SET: &str = "vips";
/// Those of which only connections within one network are.
pub(super) const NEAR_SET: &str = "near-vips";
const CHAIN: &str = "source-nat";
/// What `nft list ruleset` shows beside the rule, and by which slb knows it. It counts the versions of the rule: an upgraded slb that
/// writes another one puts it in the place of this.
const COMMENT: &str = "slb, rule 1";
/// The same for the rule of a network, whose name follows.
const NEAR_COMMENT: &str = "slb, near rule 1, ";

/// How many addresses go into one message: an attribute is 65,535 bytes long at most, an address takes 16, or 28 of IPv6.
const ELEMENTS: usize = 2048;
/// Before other tables' source NAT (`NF_IP_PRI_NAT_SRC` is 100): the first rule that matches decides.
const PRIORITY: u32 = 99;
/// `NF_ACCEPT`, linux/netfilter.h.
const ACCEPT: u32 = 1;

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
    /// Where the header has its source and its destination (RFC 791, section 3.1; RFC 8200, section 3).
    source: u32,
    offset: u32,
    table: NetfilterProtoFamily,
}

fn words(family: Family) -> Words {
    match family {
        Family::Ipv4 => Words {
            key_type: 7,
            length: 4,
            connection: NFT_CT_DST_IP,
            source: 12,
            offset: 16,
            table: NetfilterProtoFamily::IPv4,
        },
        Family::Ipv6 => Words {
            key_type: 8,
            length: 16,
            connection: NFT_CT_DST_IP6,
            source: 8,
            offset: 24,
            table: NetfilterProtoFamily::IPv6,
        },
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
    let address = match family {
        Family::Ipv4 => IpAddr::from([0; 4]),
        Family::Ipv6 => IpAddr::from([0; 16]),
    };
    changes.extend(renew_table(family, TRIAL, [&Network { first: address, last: address, prefix: 8 }]));
    if let Some(last) = changes.last_mut() {
        last.flags |= NLM_F_ACK;
    }
    changes
}

/// Makes a table anew, without addresses, whether there was one or not; with rules for these networks.
pub(super) fn renew_table<'a>(
    family: Family,
    table: &str,
    networks: impl IntoIterator<Item = &'a Network>,
) -> Vec<Change> {
    let create = |message| change(family, message, NLM_F_CREATE);
    let set = |name: &str, id| {
        create(NfTablesMessage::NewSet(SetMessage {
            attributes: vec![
                SetAttribute::Table(table.to_owned()),
                SetAttribute::Name(name.to_owned()),
                SetAttribute::KeyType(words(family).key_type),
                SetAttribute::KeyLen(words(family).length),
                // Any number that no other set of the batch has.
                SetAttribute::Id(id),
            ],
        }))
    };
    let chain = create(NfTablesMessage::NewChain(ChainMessage {
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
    }));
    let mut changes = vec![
        create(NfTablesMessage::NewTable(named(table))),
        change(family, NfTablesMessage::DeleteTable(named(table)), 0),
        create(NfTablesMessage::NewTable(named(table))),
        set(SET, 1),
        set(NEAR_SET, 2),
        chain,
    ];
    changes.extend(add_rules(family, table, networks));
    changes
}

/// Puts rules for these networks in the place of those that there are. The addresses stay.
pub(super) fn renew_rules<'a>(family: Family, networks: impl IntoIterator<Item = &'a Network>) -> Vec<Change> {
    // Without a handle it is all rules of the chain (`nf_tables_delrule`).
    let attributes = vec![RuleAttribute::Table(TABLE.to_owned()), RuleAttribute::Chain(CHAIN.to_owned())];
    let mut changes = vec![change(family, NfTablesMessage::DeleteRule(RuleMessage { attributes }), 0)];
    changes.extend(add_rules(family, TABLE, networks));
    changes
}

fn add_rules<'a>(family: Family, table: &str, networks: impl IntoIterator<Item = &'a Network>) -> Vec<Change> {
    let rule = |expressions: Vec<Expressions>, comment: &str| {
        let rule = NfTablesMessage::NewRule(RuleMessage {
            attributes: vec![
                RuleAttribute::Table(table.to_owned()),
                RuleAttribute::Chain(CHAIN.to_owned()),
                RuleAttribute::Expressions(expressions.into_iter().map(ListAttribute::from).collect()),
                RuleAttribute::UserData(user_data(comment)),
            ],
        });
        change(family, rule, NLM_F_CREATE | NLM_F_APPEND)
    };
    let mut changes = vec![rule([balanced(family, SET), vec![masquerade()]].concat(), COMMENT)];
    changes.extend(networks.into_iter().map(|network| {
        let expressions = [balanced(family, NEAR_SET), within(family, network), vec![masquerade()]].concat();
        rule(expressions, &near_comment(&network.to_string()))
    }));
    changes
}

pub(super) fn delete_table(family: Family) -> Change {
    change(family, NfTablesMessage::DeleteTable(named(TABLE)), 0)
}

/// Adding an address that is there is no error.
pub(super) fn add_vips(family: Family, set: &str, vips: impl Iterator<Item = Vip>) -> impl Iterator<Item = Change> {
    elements(set, vips).map(move |message| change(family, NfTablesMessage::NewSetElement(message), NLM_F_CREATE))
}

/// Deleting an address that is not there fails the batch.
pub(super) fn delete_vips(family: Family, set: &str, vips: impl Iterator<Item = Vip>) -> impl Iterator<Item = Change> {
    elements(set, vips).map(move |message| change(family, NfTablesMessage::DeleteSetElement(message), 0))
}

pub(super) fn get_table(family: Family) -> Message {
    message(family, NfTablesMessage::GetTable(named(TABLE)))
}

pub(super) fn get_rules(family: Family) -> Message {
    let attributes = vec![RuleAttribute::Table(TABLE.to_owned())];
    message(family, NfTablesMessage::GetRule(RuleMessage { attributes }))
}

pub(super) fn get_vips(family: Family, set: &str) -> Message {
    message(family, NfTablesMessage::GetSetElement(SetElementMessage { attributes: in_set(set) }))
}

/// A rule of slb's table; kernels before 4.11 send all tables' rules.
pub(super) fn rule(message: Message) -> Option<Rule> {
    if let Message::Rule(rule) = message { Some(rule).filter(|rule| rule.table == TABLE.as_bytes()) } else { None }
}

/// The networks that the rules are for, if they are just those that slb writes, where slb writes them.
pub(super) fn networks(rules: &[Rule]) -> Option<BTreeSet<String>> {
    let (first, near) = rules.split_first()?;
    let is_here = |rule: &Rule| rule.chain == CHAIN.as_bytes();
    if !rules.iter().all(is_here) || first.user_data != user_data(COMMENT) {
        return None;
    }
    near.iter().map(network_of).collect()
}

fn network_of(rule: &Rule) -> Option<String> {
    let comment = std::str::from_utf8(rule.user_data.get(2..)?).ok()?;
    let network = comment.trim_end_matches('\0').strip_prefix(NEAR_COMMENT)?;
    (rule.user_data == user_data(&near_comment(network))).then(|| network.to_owned())
}

/// Matches the connections that IPVS sends on for a VIP of the set. An expression loads a register or compares one; the first that does not
/// match ends the rule.
fn balanced(family: Family, set: &str) -> Vec<Expressions> {
    let Words { connection: destination, offset, .. } = words(family);
    vec![
        connection(destination, Some(ORIGINAL)),
        Expressions::Lookup(vec![Lookup::Set(set.to_owned()), Lookup::SourceRegister(Register::Reg1)]),
        header(family, offset),
        Expressions::Lookup(vec![
            Lookup::Set(set.to_owned()),
            Lookup::SourceRegister(Register::Reg1),
            Lookup::Flags(INVERTED),
        ]),
        connection(NFT_CT_STATUS, None),
        masked(number(DST_NAT), 4),
        Expressions::Cmp(vec![Cmp::SourceRegister(Register::Reg1), Cmp::Op(Operator::Equal), Cmp::Data(number(0))]),
    ]
}

/// Matches packets from the network to the network.
fn within(family: Family, network: &Network) -> Vec<Expressions> {
    let Words { length, source, offset, .. } = words(family);
    let mask = match family {
        Family::Ipv4 => u32::MAX.checked_shl(32 - u32::from(network.prefix)).unwrap_or(0).to_be_bytes().to_vec(),
        Family::Ipv6 => u128::MAX.checked_shl(128 - u32::from(network.prefix)).unwrap_or(0).to_be_bytes().to_vec(),
    };
    let part = |offset| {
        [
            header(family, offset),
            masked(DataAttribute::Value(mask.clone()), length),
            Expressions::Cmp(vec![
                Cmp::SourceRegister(Register::Reg1),
                Cmp::Op(Operator::Equal),
                Cmp::Data(DataAttribute::Value(bytes(network.first))),
            ]),
        ]
    };
    [part(source), part(offset)].concat()
}

fn masquerade() -> Expressions {
    Expressions::Other { expression_type: "masq".to_owned(), attributes: Vec::new() }
}

/// Loads an address of the header into register 1.
fn header(family: Family, offset: u32) -> Expressions {
    Expressions::Payload(vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(NETWORK_HEADER),
        Payload::Offset(offset),
        Payload::Len(words(family).length),
    ])
}

/// Leaves those bits of register 1 that the mask has.
fn masked(mask: DataAttribute, length: u32) -> Expressions {
    let zeros = DataAttribute::Value(vec![0; usize::try_from(length).unwrap_or_default()]);
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(Register::Reg1),
        Bitwise::DestinationRegister(Register::Reg1),
        Bitwise::Length(length),
        Bitwise::Mask(mask),
        Bitwise::Xor(zeros),
    ])
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

fn near_comment(network: &str) -> String {
    format!("{NEAR_COMMENT}{network}")
}

fn user_data(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    [&[UDATA_COMMENT, length], comment.as_bytes(), &[0]].concat()
}

fn named(table: &str) -> TableMessage {
    TableMessage { attributes: vec![TableAttribute::Name(table.to_owned())] }
}

fn in_set(set: &str) -> Vec<SetElementList> {
    vec![SetElementList::Table(TABLE.to_owned()), SetElementList::Set(set.to_owned())]
}

fn elements(set: &str, vips: impl Iterator<Item = Vip>) -> impl Iterator<Item = SetElementMessage> {
    let element = |vip: Vip| {
        let key = DataAttribute::Value(bytes(vip.address()));
        ListAttribute::Element(vec![SetElementAttribute::Key(key)])
    };
    let set = in_set(set);
    let all: Vec<_> = vips.map(element).collect();
    let parts: Vec<Vec<_>> = all.chunks(ELEMENTS).map(<[_]>::to_vec).collect();
    parts.into_iter().map(move |part| {
        let mut attributes = set.clone();
        attributes.push(SetElementList::Elements(part));
        SetElementMessage { attributes }
    })
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
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

// SPDX-License-Identifier: Apache-2.0
//! slb's nftables table in the words of linux/netfilter/nf_tables.h, both ways.

use std::{collections::BTreeSet, net::IpAddr};

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Cmp, DataAttribute, Expressions, InetHookNumber, Lookup, Operator, Register, SetAttribute, SetElementAttribute,
};
use slb_core::model::{Family, Vip};

use crate::{
    address::Network,
    nft::{
        message::Rule,
        words::{self, Change, Place, address_length, bytes, destination, header, masked, number, user_data},
    },
};

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
const PLACE: Place = Place { kind: "nat", hook: InetHookNumber::PostRouting, priority: 99 };

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

/// How addresses of a family are spoken of.
struct Words {
    /// How nft(8) calls the type ipv4_addr or ipv6_addr (`TYPE_IPADDR` and `TYPE_IP6ADDR` in its sources).
    key_type: u32,
    /// Where connection tracking keeps the destination.
    connection: u32,
    /// Where the header has its source (RFC 791, section 3.1; RFC 8200, section 3).
    source: u32,
}

fn words(family: Family) -> Words {
    match family {
        Family::Ipv4 => Words { key_type: 7, connection: NFT_CT_DST_IP, source: 12 },
        Family::Ipv6 => Words { key_type: 8, connection: NFT_CT_DST_IP6, source: 8 },
    }
}

/// Everything that slb may write.
pub(super) fn trial(family: Family) -> Vec<Change> {
    let address = match family {
        Family::Ipv4 => IpAddr::from([0; 4]),
        Family::Ipv6 => IpAddr::from([0; 16]),
    };
    renew_table(family, TRIAL, [&Network { first: address, last: address, prefix: 8 }])
}

/// Makes a table anew, without addresses, whether there was one or not; with rules for these networks.
pub(super) fn renew_table<'a>(
    family: Family,
    table: &str,
    networks: impl IntoIterator<Item = &'a Network>,
) -> Vec<Change> {
    let set = |name: &str, id| {
        let attributes = vec![
            SetAttribute::KeyType(words(family).key_type),
            SetAttribute::KeyLen(address_length(family)),
            // Any number that no other set of the batch has.
            SetAttribute::Id(id),
        ];
        words::add_set(family, table, name, attributes)
    };
    let mut changes = words::renew_table(family, table).to_vec();
    changes.extend([set(SET, 1), set(NEAR_SET, 2), words::add_chain(family, table, CHAIN, PLACE)]);
    changes.extend(add_rules(family, table, networks));
    changes
}

/// Puts rules for these networks in the place of those that there are. The addresses stay.
pub(super) fn renew_rules<'a>(family: Family, networks: impl IntoIterator<Item = &'a Network>) -> Vec<Change> {
    let mut changes = vec![words::delete_rules(family, TABLE, CHAIN)];
    changes.extend(add_rules(family, TABLE, networks));
    changes
}

fn add_rules<'a>(family: Family, table: &str, networks: impl IntoIterator<Item = &'a Network>) -> Vec<Change> {
    let rule = |expressions, comment: &str| words::add_rule(family, table, CHAIN, expressions, comment);
    let mut changes = vec![rule([balanced(family, SET), vec![masquerade()]].concat(), COMMENT)];
    changes.extend(networks.into_iter().map(|network| {
        let expressions = [balanced(family, NEAR_SET), within(family, network), vec![masquerade()]].concat();
        rule(expressions, &near_comment(&network.to_string()))
    }));
    changes
}

pub(super) fn delete_table(family: Family) -> Change {
    words::delete_table(family, TABLE)
}

/// Adding an address that is there is no error.
pub(super) fn add_vips(family: Family, set: &str, vips: impl Iterator<Item = Vip>) -> impl Iterator<Item = Change> {
    elements(vips).into_iter().map(move |elements| words::add_elements(family, TABLE, set, elements))
}

/// Deleting an address that is not there fails the batch.
pub(super) fn delete_vips(family: Family, set: &str, vips: impl Iterator<Item = Vip>) -> impl Iterator<Item = Change> {
    elements(vips).into_iter().map(move |elements| words::delete_elements(family, TABLE, set, elements))
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
    let Words { connection: meant_for, .. } = words(family);
    vec![
        connection(meant_for, Some(ORIGINAL)),
        Expressions::Lookup(vec![Lookup::Set(set.to_owned()), Lookup::SourceRegister(Register::Reg1)]),
        header(family, destination(family)),
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
    let Words { source, .. } = words(family);
    let mask = match family {
        Family::Ipv4 => u32::MAX.checked_shl(32 - u32::from(network.prefix)).unwrap_or(0).to_be_bytes().to_vec(),
        Family::Ipv6 => u128::MAX.checked_shl(128 - u32::from(network.prefix)).unwrap_or(0).to_be_bytes().to_vec(),
    };
    let part = |offset| {
        [
            header(family, offset),
            masked(DataAttribute::Value(mask.clone()), address_length(family)),
            Expressions::Cmp(vec![
                Cmp::SourceRegister(Register::Reg1),
                Cmp::Op(Operator::Equal),
                Cmp::Data(DataAttribute::Value(bytes(network.first))),
            ]),
        ]
    };
    [part(source), part(destination(family))].concat()
}

fn masquerade() -> Expressions {
    Expressions::Other { expression_type: "masq".to_owned(), attributes: Vec::new() }
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

fn near_comment(network: &str) -> String {
    format!("{NEAR_COMMENT}{network}")
}

fn elements(vips: impl Iterator<Item = Vip>) -> Vec<Vec<Vec<SetElementAttribute>>> {
    let element = |vip: Vip| vec![SetElementAttribute::Key(DataAttribute::Value(bytes(vip.address())))];
    let all: Vec<_> = vips.map(element).collect();
    all.chunks(ELEMENTS).map(<[_]>::to_vec).collect()
}

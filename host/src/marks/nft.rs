// SPDX-License-Identifier: Apache-2.0
//! Marks through nftables, over netlink. All that slb has for them is one table:
//!
//! ```text
//!  table ip slb-marks {
//!      map marks { type ipv4_addr . inet_proto . inet_service : mark; flags interval }
//!      chain prerouting { type filter hook prerouting priority mangle + 1    meta mark set ip daddr . meta l4proto . th dport map @marks }
//!      chain output { type filter hook output priority mangle + 1            meta mark & 0xffffe000 != 0x51b00000 and then the same }
//!  }
//! ```
//! For IPv6 the same in a table of the family ip6. However many rules there are, a packet is looked up once. The chains come after those that
//! are made for changing marks, so that what others do to a mark is done before. A map of ranges of several fields needs Linux 5.6.

use netlink_packet_core::{DefaultNla, Emitable};
use netlink_packet_netfilter::nftables::{
    Cmp, DataAttribute, Expressions, InetHookNumber, Lookup, Meta, MetaKey, Operator, Payload, Register, SetAttribute,
    SetDescription, SetElementAttribute, SetFlags,
};
use slb_core::model::{Family, Mark, MarkRule, Port, PortRange, Protocol, Vip};

use super::{Rules, Wishes};
use crate::{
    Error,
    nft::{
        Connection,
        message::{Element, NFTA_DATA_VALUE, Rule},
        words::{self, Change, Place, address_length, bytes, destination, header, masked, number, user_data},
    },
};

const TABLE: &str = "slb-marks";
/// A name for a table that never comes to be.
const TRIAL: &str = "slb-marks-trial";
const MAP: &str = "marks";
/// What `nft list ruleset` shows beside the rules, and by which slb knows them; it counts their versions.
const COMMENT: &str = "slb, mark rule 2";
/// `NF_IP_PRI_MANGLE` is -150.
const PRIORITY: i32 = -149;
const CHAINS: [(&str, InetHookNumber); 2] =
    [("prerouting", InetHookNumber::PreRouting), ("output", InetHookNumber::LocalOut)];

/// How many rules change in one batch, about: a rule takes up to 100 bytes, and all fit into a send of any kernel's default size.
const BATCH: usize = 1024;
/// How many go into one message: an attribute is 65,535 bytes long at most.
const ELEMENTS: usize = 512;
/// `NFT_PAYLOAD_TRANSPORT_HEADER`.
const TRANSPORT_HEADER: u32 = 2;
/// The destination port of TCP, UDP and SCTP (RFC 9293, section 3.1; RFC 768; RFC 9260, section 3.1), and its length.
const DESTINATION_PORT: (u32, u32) = (2, 2);
/// Each field of a key begins on a word (`NFT_REG32_SIZE`).
const WORD: usize = 4;
/// `NFTA_LIST_ELEM` and `NFTA_SET_FIELD_LEN`.
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_FIELD_LEN: u16 = 1;

/// `NFTNL_UDATA_SET_DATABYTEORDER` of libnftnl and the length of what follows: by which nft(8) knows how to show marks, and to read them.
const DATA_BYTE_ORDER: [u8; 2] = [1, 4];
/// `BYTEORDER_HOST_ENDIAN` of nft(8).
const HOST_ENDIAN: u32 = 1;

/// Talks to nftables.
#[derive(Debug)]
pub(crate) struct Nft {
    connection: Connection,
}

/// What of slb's is in nftables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    has_table: bool,
    /// Whether the table has the map and the rules as slb writes them, and no other rule.
    is_sound: bool,
    rules: Rules,
    /// Elements that slb would not write.
    has_strange_elements: bool,
}

impl Nft {
    /// `None` on a kernel without netfilter's netlink.
    pub(super) fn open(family: Family) -> Result<Option<Self>, Error> {
        Ok(Connection::open(family)?.map(|connection| Self { connection }))
    }

    /// Whether the kernel takes the whole rule set.
    pub(super) async fn is_supported(&mut self) -> Result<bool, Error> {
        self.connection.would_take(renew_table(self.connection.family(), TRIAL)).await
    }

    pub(super) async fn observe(&mut self) -> Result<Found, Error> {
        self.connection.observe("the nftables table slb-marks", Found::read).await
    }

    pub(super) async fn apply(&mut self, wishes: &Wishes) -> Result<(), Error> {
        let found = self.observe().await?;
        let wanted = wishes.fulfilled(&found.effective());
        for changes in edit(self.connection.family(), &found, &wanted) {
            self.connection.commit(changes).await?;
        }
        Ok(())
    }
}

impl Found {
    async fn read(connection: &mut Connection) -> Result<Self, netlink::Error> {
        let Some(rules) = connection.rules(TABLE).await? else { return Ok(Self::default()) };
        let mut found = Self { has_table: true, is_sound: are_ours(&rules), ..Self::default() };
        let family = connection.family();
        let note = |element: Element| match rule_of(family, &element) {
            Some(rule) => drop(found.rules.insert(rule)),
            None => found.has_strange_elements = true,
        };
        let has_map = connection.elements(TABLE, MAP, note).await?;
        // A table of that name without the map is not as slb wrote it.
        Ok(if has_map { found } else { Self { has_table: true, ..Self::default() } })
    }

    /// The rules that work.
    pub(super) fn effective(&self) -> Rules {
        if self.is_sound && !self.has_strange_elements { self.rules.clone() } else { Rules::new() }
    }
}

/// The batches that lead to just these rules. What belongs to a VIP is in one of them, if it fits.
fn edit(family: Family, found: &Found, wanted: &Rules) -> Vec<Vec<Change>> {
    if wanted.is_empty() {
        return if found.has_table { vec![vec![words::delete_table(family, TABLE)]] } else { Vec::new() };
    }
    let there = found.effective();
    let is_broken = !found.is_sound || found.has_strange_elements;
    let mut batches = if is_broken { vec![renew_table(family, TABLE)] } else { Vec::new() };
    let going = there.difference(wanted).map(|rule| (rule, false));
    let mut changing: Vec<(&MarkRule, bool)> =
        going.chain(wanted.difference(&there).map(|rule| (rule, true))).collect();
    changing.sort_by_key(|(rule, _)| **rule);
    let mut part: Vec<(&MarkRule, bool)> = Vec::new();
    for of_vip in changing.chunk_by(|(one, _), (other, _)| one.vip == other.vip) {
        if part.len() + of_vip.len() > BATCH && !part.is_empty() {
            batches.push(batch(family, &std::mem::take(&mut part)));
        }
        let mut before: Option<(Protocol, Port)> = None;
        for change @ (MarkRule { protocol, ports, .. }, _) in of_vip {
            let last = before.filter(|(of, last)| of == protocol && ports.first() <= *last).map(|(_, last)| last);
            // What goes and what comes in its place stay together.
            if part.len() >= BATCH && last.is_none() {
                batches.push(batch(family, &std::mem::take(&mut part)));
            }
            before = Some((*protocol, last.map_or(ports.last(), |last| last.max(ports.last()))));
            part.push(*change);
        }
    }
    if !part.is_empty() {
        batches.push(batch(family, &part));
    }
    // A table that is made anew is never seen empty, unless there is more than fits into one batch.
    if is_broken && batches.len() > 1 {
        let first = batches.remove(1);
        batches.first_mut().into_iter().for_each(|renewal| renewal.extend(first.iter().cloned()));
    }
    batches
}

/// What goes, and then what comes: a port may go from one range to another.
fn batch(family: Family, changing: &[(&MarkRule, bool)]) -> Vec<Change> {
    let part = |comes: bool| -> Vec<_> {
        let rules = changing.iter().filter(|(_, each)| *each == comes);
        rules.map(|(rule, _)| element(rule, comes)).collect()
    };
    let mut changes: Vec<Change> = Vec::new();
    for elements in part(false).chunks(ELEMENTS) {
        changes.push(words::delete_elements(family, TABLE, MAP, elements.to_vec()));
    }
    for elements in part(true).chunks(ELEMENTS) {
        changes.push(words::add_elements(family, TABLE, MAP, elements.to_vec()));
    }
    changes
}

/// Makes a table anew, without elements, whether there was one or not.
fn renew_table(family: Family, table: &str) -> Vec<Change> {
    // TYPE_INET_PROTOCOL, TYPE_INET_SERVICE and TYPE_MARK of nft(8), by which it knows how to show them; of a concatenation, six bits each.
    let address = match family {
        Family::Ipv4 => 7,
        Family::Ipv6 => 8,
    };
    let field = |length: u32| {
        let length = DefaultNla::new(NFTA_SET_FIELD_LEN, length.to_be_bytes().to_vec());
        let mut value = vec![0; length.buffer_len()];
        length.emit(&mut value);
        DefaultNla::new(NFTA_LIST_ELEM, value)
    };
    let lengths = [address_length(family), 1, 2];
    let map = vec![
        SetAttribute::Flags(SetFlags::Interval | SetFlags::Map | SetFlags::Concat),
        SetAttribute::KeyType(address << 12 | 12 << 6 | 13),
        SetAttribute::KeyLen(address_length(family) + 8),
        SetAttribute::DataType(19),
        SetAttribute::DataLen(4),
        SetAttribute::Description(vec![SetDescription::Concat(lengths.map(field).to_vec())]),
        SetAttribute::Id(1),
        SetAttribute::UserData([&DATA_BYTE_ORDER[..], &HOST_ENDIAN.to_ne_bytes()].concat()),
    ];
    let mut changes = words::renew_table(family, table).to_vec();
    changes.push(words::add_set(family, table, MAP, map));
    for (chain, hook) in CHAINS {
        changes.push(words::add_chain(family, table, chain, Place { kind: "filter", hook, priority: PRIORITY }));
        changes.push(words::add_rule(family, table, chain, rule_at(family, hook), COMMENT));
    }
    changes
}

/// Whether the rules are just those that slb writes, where slb writes them.
fn are_ours(rules: &[Rule]) -> bool {
    let is_ours = |chain: &str, rule: &Rule| rule.chain == chain.as_bytes() && rule.user_data == user_data(COMMENT);
    let mut chains = CHAINS.iter();
    rules.len() == CHAINS.len() && chains.all(|(chain, _)| rules.iter().any(|rule| is_ours(chain, rule)))
}

/// The rule of a chain.
fn rule_at(family: Family, hook: InetHookNumber) -> Vec<Expressions> {
    let before = if hook == InetHookNumber::LocalOut { unmarked() } else { Vec::new() };
    [before, marking(family)].concat()
}

/// Matches packets that carry none of slb's marks.
fn unmarked() -> Vec<Expressions> {
    vec![
        Expressions::Meta(vec![Meta::DestinationRegister(Register::Reg1), Meta::Key(MetaKey::Mark)]),
        masked(number(Mark::COMMON_BITS), 4),
        Expressions::Cmp(vec![
            Cmp::SourceRegister(Register::Reg1),
            Cmp::Op(Operator::NotEqual),
            Cmp::Data(number(Mark::COMMON)),
        ]),
    ]
}

/// Puts address, protocol and port side by side into registers, looks them up, and makes what is found the mark.
fn marking(family: Family) -> Vec<Expressions> {
    let (protocol, port) = match family {
        Family::Ipv4 => (Register::Reg32_01, Register::Reg32_02),
        Family::Ipv6 => (Register::Reg32_04, Register::Reg32_05),
    };
    let (offset, length) = DESTINATION_PORT;
    vec![
        header(family, destination(family)),
        Expressions::Meta(vec![Meta::DestinationRegister(protocol), Meta::Key(MetaKey::L4Proto)]),
        Expressions::Payload(vec![
            Payload::DestinationRegister(port),
            Payload::Base(TRANSPORT_HEADER),
            Payload::Offset(offset),
            Payload::Len(length),
        ]),
        Expressions::Lookup(vec![
            Lookup::Set(MAP.to_owned()),
            Lookup::SourceRegister(Register::Reg1),
            Lookup::DestinationRegister(Register::Reg4),
        ]),
        Expressions::Meta(vec![Meta::Key(MetaKey::Mark), Meta::SourceRegister(Register::Reg4)]),
    ]
}

/// The element of a rule; with its mark, or only as much as names it.
fn element(rule: &MarkRule, with_mark: bool) -> Vec<SetElementAttribute> {
    let end = DefaultNla::new(NFTA_DATA_VALUE, key(rule, rule.ports.last()));
    let mut attributes = vec![
        SetElementAttribute::Key(DataAttribute::Value(key(rule, rule.ports.first()))),
        SetElementAttribute::KeyEnd(vec![end]),
    ];
    if with_mark {
        attributes.push(SetElementAttribute::Data(words::number(rule.mark.get())));
    }
    attributes
}

fn key(rule: &MarkRule, port: Port) -> Vec<u8> {
    let fields = [bytes(rule.vip.address()), vec![number_of(rule.protocol)], port.get().to_be_bytes().to_vec()];
    let padded = fields.into_iter().map(|mut field| {
        field.resize(field.len().next_multiple_of(WORD), 0);
        field
    });
    padded.flatten().collect()
}

/// `IPPROTO_TCP`, `IPPROTO_UDP`, `IPPROTO_SCTP`.
fn number_of(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// The rule of an element, if slb could have written it.
fn rule_of(family: Family, Element { key: first, end, data }: &Element) -> Option<MarkRule> {
    let (address, rest) = first.split_at_checked(usize::from(family.bits() / 8))?;
    let vip = match family {
        Family::Ipv4 => Vip::try_from(std::net::Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)),
        Family::Ipv6 => Vip::try_from(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)),
    };
    let protocol = Protocol::ALL.into_iter().find(|each| rest.first() == Some(&number_of(*each)))?;
    let port = |key: &[u8]| {
        let bytes = key.get(address.len() + WORD..address.len() + WORD + 2)?;
        Port::try_from(i64::from(u16::from_be_bytes(<[u8; 2]>::try_from(bytes).ok()?))).ok()
    };
    let mark = u32::from_ne_bytes(<[u8; 4]>::try_from(data.as_slice()).ok()?);
    let rule = MarkRule {
        vip: vip.ok()?,
        protocol,
        ports: PortRange::new(port(first)?, port(end)?).ok()?,
        mark: Mark::try_from(mark).ok()?,
    };
    (key(&rule, rule.ports.first()) == *first && key(&rule, rule.ports.last()) == *end).then_some(rule)
}

#[cfg(test)]
mod tests;

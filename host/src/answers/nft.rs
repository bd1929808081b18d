// SPDX-License-Identifier: Apache-2.0
//! Answers through nftables, over netlink. All that slb has for them is one table:
//!
//! ```text
//!  table ip slb-answers {
//!      chain prerouting {
//!          type filter hook prerouting priority mangle + 1
//!          meta mark 0  socket transparent 1  socket wildcard 0  meta mark set 0x51a00001
//!      }
//!      chain fragments { tproxy to :… }
//!  }
//! ```
//! For IPv6 the same in a table of the family ip6. The chain comes after those that are made for changing marks, so that what others do to a mark
//! is done before. The other chain sees no packet. That there is such an expression makes the kernel put fragments together before any
//! of them is looked at (`nf_defrag_ipv4_enable`), as it does for iptables: only the first fragment of a datagram says which socket it is for.
//! `socket wildcard` needs Linux 5.11.

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Cmp, DataAttribute, Expressions, Immediate, InetHookNumber, Meta, MetaKey, Operator, Register,
};
use slb_core::model::Family;

use super::MARK;
use crate::{
    Error,
    nft::{
        Connection,
        message::Rule,
        words::{self, Change, Place, number, user_data},
    },
};

const TABLE: &str = "slb-answers";
/// A name for a table that never comes to be.
const TRIAL: &str = "slb-answers-trial";
const CHAIN: &str = "prerouting";
const FRAGMENTS: &str = "fragments";
/// What `nft list ruleset` shows beside the rules, and by which slb knows them; it counts their versions.
const COMMENT: &str = "slb, answer rule 1";
/// `NF_IP_PRI_MANGLE` is -150.
const PLACE: Place = Place { kind: "filter", hook: InetHookNumber::PreRouting, priority: -149 };

// enum nft_socket_attributes and nft_socket_keys, enum nft_tproxy_attributes, which the codec does not know.
const NFTA_SOCKET_KEY: u16 = 1;
const NFTA_SOCKET_DREG: u16 = 2;
const NFT_SOCKET_TRANSPARENT: u32 = 0;
const NFT_SOCKET_WILDCARD: u32 = 2;
const NFTA_TPROXY_FAMILY: u16 = 1;
const NFTA_TPROXY_REG_PORT: u16 = 3;
// linux/netfilter.h.
const NFPROTO_IPV4: u32 = 2;
const NFPROTO_IPV6: u32 = 10;

/// Talks to nftables.
#[derive(Debug)]
pub(super) struct Nft {
    connection: Connection,
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

    pub(super) async fn has_rule(&mut self) -> Result<bool, Error> {
        Ok(self.rules().await?.is_some_and(|rules| are_ours(&rules)))
    }

    pub(super) async fn put_rule(&mut self) -> Result<(), Error> {
        if self.has_rule().await? {
            return Ok(());
        }
        self.connection.commit(renew_table(self.connection.family(), TABLE)).await
    }

    pub(super) async fn take_rule(&mut self) -> Result<(), Error> {
        if self.rules().await?.is_none() {
            return Ok(());
        }
        self.connection.commit(vec![words::delete_table(self.connection.family(), TABLE)]).await
    }

    async fn rules(&mut self) -> Result<Option<Vec<Rule>>, Error> {
        let read = async |connection: &mut Connection| connection.rules(TABLE).await;
        self.connection.observe("the nftables table slb-answers", read).await
    }
}

/// Makes a table anew, whether there was one or not.
fn renew_table(family: Family, table: &str) -> Vec<Change> {
    let mut changes = words::renew_table(family, table).to_vec();
    changes.push(words::add_chain(family, table, CHAIN, PLACE));
    changes.push(words::add_rule(family, table, CHAIN, marking(), COMMENT));
    changes.push(words::add_plain_chain(family, table, FRAGMENTS));
    changes.push(words::add_rule(family, table, FRAGMENTS, gathering(family), COMMENT));
    changes
}

/// Whether the rules are just those that slb writes, where slb writes them.
fn are_ours(rules: &[Rule]) -> bool {
    let is_ours = |chain: &str, rule: &Rule| rule.chain == chain.as_bytes() && rule.user_data == user_data(COMMENT);
    rules.len() == 2 && [CHAIN, FRAGMENTS].iter().all(|chain| rules.iter().any(|rule| is_ours(chain, rule)))
}

/// Marks packets that nobody has marked, for a socket that takes those to an address which is not this host's.
fn marking() -> Vec<Expressions> {
    let mut expressions = vec![mark(), equals(number(0))];
    for (key, value) in [(NFT_SOCKET_TRANSPARENT, 1), (NFT_SOCKET_WILDCARD, 0)] {
        expressions.extend([socket(key), equals(DataAttribute::Value(vec![value]))]);
    }
    expressions.push(Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Reg1),
        Immediate::Data(number(MARK)),
    ]));
    expressions.push(Expressions::Meta(vec![Meta::Key(MetaKey::Mark), Meta::SourceRegister(Register::Reg1)]));
    expressions
}

/// What makes the kernel put fragments together.
fn gathering(family: Family) -> Vec<Expressions> {
    let family = match family {
        Family::Ipv4 => NFPROTO_IPV4,
        Family::Ipv6 => NFPROTO_IPV6,
    };
    let attributes = vec![
        DefaultNla::new(NFTA_TPROXY_FAMILY, family.to_be_bytes().to_vec()),
        DefaultNla::new(NFTA_TPROXY_REG_PORT, u32::from(Register::Reg1).to_be_bytes().to_vec()),
    ];
    vec![mark(), Expressions::Other { expression_type: "tproxy".to_owned(), attributes }]
}

/// Loads the mark into register 1.
fn mark() -> Expressions {
    Expressions::Meta(vec![Meta::DestinationRegister(Register::Reg1), Meta::Key(MetaKey::Mark)])
}

/// Loads what is known of the packet's socket into register 1; a packet without one ends the rule.
fn socket(key: u32) -> Expressions {
    let attributes = vec![
        DefaultNla::new(NFTA_SOCKET_KEY, key.to_be_bytes().to_vec()),
        DefaultNla::new(NFTA_SOCKET_DREG, u32::from(Register::Reg1).to_be_bytes().to_vec()),
    ];
    Expressions::Other { expression_type: "socket".to_owned(), attributes }
}

fn equals(value: DataAttribute) -> Expressions {
    Expressions::Cmp(vec![Cmp::SourceRegister(Register::Reg1), Cmp::Op(Operator::Equal), Cmp::Data(value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_known_again() {
        let rule = |chain: &str| Rule { table: TABLE.into(), chain: chain.into(), user_data: user_data(COMMENT) };
        let ours = [rule(CHAIN), rule(FRAGMENTS)];
        assert!(are_ours(&ours));
        assert!(!are_ours(&ours[..1]));
        assert!(!are_ours(&[rule(CHAIN), rule(CHAIN)]));
        assert!(!are_ours(&[ours.to_vec(), vec![rule("more")]].concat()));
        assert!(!are_ours(&[rule(CHAIN), Rule { user_data: b"other".to_vec(), ..rule(FRAGMENTS) }]));
    }
}

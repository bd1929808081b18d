// SPDX-License-Identifier: Apache-2.0
//! What iptables-restore is told and what iptables-save is read as.
use proptest::{collection::vec, prelude::*};

use super::*;

/// The table nat as far as it matters here, and what iptables-restore --noflush makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Table {
    postrouting: Vec<String>,
    chain: Option<Vec<String>>,
}

impl Table {
    fn restore(&mut self, text: &str) {
        assert!(text.starts_with("*nat\n") && text.ends_with("COMMIT\n"), "{text}");
        for line in text.lines() {
            if line.starts_with(":SLB-SOURCE-NAT ") {
                self.chain = Some(Vec::new());
            } else if let Some(rule) = line.strip_prefix("-A SLB-SOURCE-NAT ") {
                self.chain.as_mut().expect("the chain is there").push(rule.to_owned());
            } else if let Some(rule) = line.strip_prefix("-I POSTROUTING ") {
                self.postrouting.insert(0, rule.to_owned());
            } else if let Some(rule) = line.strip_prefix("-D POSTROUTING ") {
                let at = self.postrouting.iter().position(|known| known == rule).expect("the rule is there");
                self.postrouting.remove(at);
            } else if line == "-X SLB-SOURCE-NAT" {
                assert_eq!(self.chain.take(), Some(Vec::new()), "only an empty chain can be deleted");
                assert!(!self.postrouting.iter().any(|rule| rule == JUMP), "nor one that is jumped to");
            } else {
                assert!(line == "*nat" || line == "COMMIT", "{line}");
            }
        }
    }

    /// As iptables-save prints it.
    fn save(&self) -> String {
        let mut text =
            String::from("# Generated\n*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [7:420]\n:DOCKER - [0:0]\n");
        text += if self.chain.is_some() { ":SLB-SOURCE-NAT - [0:0]\n" } else { "" };
        self.postrouting.iter().for_each(|rule| text += &format!("-A POSTROUTING {rule}\n"));
        self.chain.iter().flatten().for_each(|rule| text += &format!("-A SLB-SOURCE-NAT {rule}\n"));
        text + "-A DOCKER -i docker0 -j RETURN\nCOMMIT\n"
    }

    fn foreign(&self) -> Vec<&String> {
        self.postrouting.iter().filter(|rule| *rule != JUMP).collect()
    }
}

fn parse(text: &str) -> Found {
    let mut reader = Reader::default();
    text.lines().for_each(|line| reader.take(line));
    reader.end()
}

fn edit(found: &Found, wanted: &Choices, networks: &BTreeSet<Network>) -> Option<String> {
    super::edit(found, wanted, networks).map(Iterator::collect)
}

fn vip() -> impl Strategy<Value = Vip> {
    (1_u8..5, any::<bool>()).prop_map(|(last, is_ipv6)| {
        let text = if is_ipv6 { format!("fd00::{last}") } else { format!("10.0.0.{last}") };
        text.parse().unwrap()
    })
}

fn choices() -> impl Strategy<Value = Choices> {
    proptest::collection::btree_map(vip(), proptest::sample::select(vec![Choice::Always, Choice::SameNetwork]), 0..5)
}

fn networks() -> impl Strategy<Value = BTreeSet<Network>> {
    let network = (1_u8..4).prop_map(|number| {
        let first = std::net::IpAddr::from([10, number, 0, 0]);
        Network { first, last: first, prefix: 16 }
    });
    proptest::collection::btree_set(network, 0..3)
}

fn rule() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => vip().prop_map(|vip| format!("-m conntrack --ctorigdst {vip} -j MASQUERADE")),
        2 => (1_u8..4, vip()).prop_map(|(network, vip)| {
            format!("-s 10.{network}.0.0/16 -d 10.{network}.0.0/16 -m conntrack --ctorigdst {vip} -j MASQUERADE")
        }),
        2 => vip().prop_map(|vip| format!("-m conntrack --ctorigdst {vip} -j RETURN")),
        1 => Just("-d 10.9.9.9/32 -j ACCEPT".to_owned()),
    ]
}

fn table() -> impl Strategy<Value = Table> {
    let postrouting =
        prop_oneof![Just(JUMP), Just("-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"), Just("-j KUBE-POSTROUTING")];
    let chain = proptest::option::of(vec(rule(), 0..6));
    (vec(postrouting.prop_map(str::to_owned), 0..5), chain).prop_map(|(mut postrouting, chain)| {
        if chain.is_none() {
            postrouting.retain(|rule| rule != JUMP);
        }
        Table { postrouting, chain }
    })
}

proptest! {
    #[test]
    fn whatever_was_there_the_wanted_rules_are_there_afterwards_and_others_stay(
        before in table(),
        wanted in choices(),
        networks in networks(),
    ) {
        let mut after = before.clone();
        if let Some(text) = edit(&parse(&before.save()), &wanted, &networks) {
            after.restore(&text);
        }
        let found = parse(&after.save());
        prop_assert_eq!(found.effective(&networks), wanted.clone());
        prop_assert_eq!(after.foreign(), before.foreign());
        prop_assert_eq!(edit(&found, &wanted, &networks), None, "a second time there is nothing to do");
        prop_assert_eq!(after.chain.is_some(), !wanted.is_empty(), "the last one takes the chain along");
    }

    /// Whatever iptables-save prints, slb reads it and then writes rules for the wanted VIPs and no others.
    #[test]
    fn any_text_is_read(lines in vec(LINE, 0..9), wanted in choices(), networks in networks()) {
        let found = parse(&lines.join("\n"));
        prop_assert!(found.vips.len() <= lines.len());
        match edit(&found, &wanted, &networks) {
            Some(text) => {
                let near = chosen(&wanted, Choice::SameNetwork).count();
                prop_assert_eq!(text.matches("--ctorigdst").count(), wanted.len() + near * networks.len());
            },
            None => prop_assert_eq!(found.effective(&networks), wanted),
        }
    }
}

const LINE: &str = "(:|-A |-A POSTROUTING )?(SLB-SOURCE-NAT)?( ?-m conntrack --ctorigdst )?[0-9./]{0,12}( -j MASQUERADE)?|.{0,20}|\
                    -A POSTROUTING -m ipvs --ipvs -j SLB-SOURCE-NAT|:SLB-SOURCE-NAT - \\[0:0\\]|\
                    -A SLB-SOURCE-NAT -m conntrack --ctorigdst 10\\.0\\.0\\.[1-4] -j MASQUERADE";

#[test]
fn rules_read_the_way_iptables_save_prints_them() {
    // Captured from iptables-legacy 1.8.9 on Linux 6.1.
    let text = "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
                :SLB-SOURCE-NAT - [0:0]\n-A POSTROUTING -m ipvs --ipvs -j SLB-SOURCE-NAT\n\
                -A SLB-SOURCE-NAT -m conntrack --ctorigdst 10.80.0.11 -j MASQUERADE\nCOMMIT\n";
    let vips = BTreeSet::from(["10.80.0.11".parse().unwrap()]);
    assert_eq!(parse(text), Found { has_chain: true, jumps: 1, vips, ..Found::default() });
}

#[test]
fn rules_of_ipv6_read_the_way_ip6tables_save_prints_them() {
    for address in ["fd00::85", "fd00::85/128"] {
        let rule = format!("-A SLB-SOURCE-NAT -m conntrack --ctorigdst {address} -j MASQUERADE");
        assert_eq!(parse(&rule).vips, BTreeSet::from(["fd00::85".parse().unwrap()]));
    }
}

#[test]
fn a_flushed_table_has_no_source_nat_whatever_is_left_in_the_chain() {
    let left =
        "*nat\n:SLB-SOURCE-NAT - [0:0]\n-A SLB-SOURCE-NAT -m conntrack --ctorigdst 10.0.0.1 -j MASQUERADE\nCOMMIT\n";
    assert!(parse(left).effective(&BTreeSet::new()).is_empty());
}

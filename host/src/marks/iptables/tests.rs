// SPDX-License-Identifier: Apache-2.0
//! What iptables-restore is told and what iptables-save is read as.
use proptest::{collection::btree_set, prelude::*};

use super::*;
use crate::marks::any_rule;

/// The table mangle as far as it matters here, and what iptables-restore --noflush makes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    /// Lines of other people's and slb's jumps, in order.
    hooks: Vec<String>,
    chain: Option<Vec<String>>,
}

impl Table {
    fn restore(&mut self, text: &str) {
        assert!(text.starts_with("*mangle\n") && text.ends_with("COMMIT\n"), "{text}");
        for line in text.lines() {
            if line.starts_with(":SLB-MARK ") {
                self.chain = Some(Vec::new());
            } else if let Some(rule) = line.strip_prefix("-A SLB-MARK ") {
                self.chain.as_mut().expect("the chain is there").push(rule.to_owned());
            } else if let Some(rule) = line.strip_prefix("-I ") {
                self.hooks.insert(0, rule.to_owned());
            } else if let Some(rule) = line.strip_prefix("-D ") {
                let at = self.hooks.iter().position(|known| known == rule).expect("the rule is there");
                self.hooks.remove(at);
            } else if line == "-X SLB-MARK" {
                assert_eq!(self.chain.take(), Some(Vec::new()), "only an empty chain can be deleted");
                assert!(!self.hooks.iter().any(|rule| is_jump(rule)), "nor one that is jumped to");
            } else {
                assert!(line == "*mangle" || line == "COMMIT", "{line}");
            }
        }
    }

    /// As iptables-save prints it.
    fn save(&self) -> String {
        let mut text = String::from("# Generated\n*mangle\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [7:420]\n");
        text += if self.chain.is_some() { ":SLB-MARK - [0:0]\n" } else { "" };
        self.hooks.iter().for_each(|rule| text += &format!("-A {rule}\n"));
        self.chain.iter().flatten().for_each(|rule| text += &format!("-A SLB-MARK {rule}\n"));
        text + "COMMIT\n"
    }
}

fn parse(text: &str) -> Found {
    let mut found = Found::default();
    text.lines().for_each(|line| found.take(line));
    found
}

fn is_jump(rule: &str) -> bool {
    rule.ends_with("-j SLB-MARK")
}

fn rules() -> impl Strategy<Value = Rules> {
    btree_set(any_rule(Family::Ipv4), 0..6)
}

fn tables() -> impl Strategy<Value = Table> {
    let hook = prop::sample::select(vec![
        "PREROUTING -j SLB-MARK",
        "OUTPUT -j SLB-MARK",
        "OUTPUT -m mark ! --mark 0x51b00000/0xffffe000 -j SLB-MARK",
        "PREROUTING -i eth0 -j MARK --set-xmark 0x1/0xffffffff",
        "FORWARD -j SLB-MARK-NOT",
    ]);
    let strange = prop::option::of(Just("-s 10.0.0.1/32 -j MARK --set-xmark 0x7/0xffffffff".to_owned()));
    let chain = (rules(), strange).prop_map(|(rules, strange)| {
        let written = rules.iter().map(|rule| written(rule).replace("-A SLB-MARK ", ""));
        written.chain(strange).collect::<Vec<_>>()
    });
    (prop::collection::vec(hook, 0..5), prop::option::of(chain)).prop_map(|(hooks, chain)| {
        // What is jumped to is there.
        let is_possible = |rule: &&str| chain.is_some() || !is_jump(rule);
        Table { hooks: hooks.into_iter().filter(is_possible).map(str::to_owned).collect(), chain }
    })
}

proptest! {
    #[test]
    fn whatever_was_there_the_wanted_rules_are_there_afterwards(before in tables(), wanted in rules()) {
        let mut table = before.clone();
        if let Some(text) = edit(&parse(&before.save()), &wanted) {
            table.restore(&text);
        }
        let found = parse(&table.save());
        prop_assert_eq!(found.effective(), wanted.clone());
        prop_assert_eq!(edit(&found, &wanted), None, "a second time there is nothing to do");
        prop_assert_eq!(table.chain.is_some(), !wanted.is_empty(), "the last one takes the chain along");
        let foreign = |table: &Table| -> Vec<String> {
            table.hooks.iter().filter(|rule| !is_jump(rule)).cloned().collect()
        };
        prop_assert_eq!(foreign(&table), foreign(&before));
    }

    #[test]
    fn any_text_is_read(text in r"(:SLB-MARK - \[0:0\]\n|-A (SLB-MARK|OUTPUT)( -[dpmj]| [a-z0-9./:]{0,9}| --dport| MARK){0,9}\n){0,9}") {
        parse(&text);
    }
}

#[test]
fn the_jump_of_an_earlier_version_is_replaced() {
    let rule = "-A SLB-MARK -d 192.168.0.85/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x51b00001/0xffffffff";
    let before =
        format!("*mangle\n:SLB-MARK - [0:0]\n-A PREROUTING -j SLB-MARK\n-A OUTPUT -j SLB-MARK\n{rule}\nCOMMIT\n");
    let found = parse(&before);
    assert_eq!(found.effective(), Rules::new(), "it would mark what is marked");
    let to = format!("{:#x}/{:#x}", Mark::COMMON, Mark::COMMON_BITS);
    assert_eq!(
        edit(&found, &found.rules),
        Some(format!(
            "*mangle\n:SLB-MARK - [0:0]\n{rule}\n-I OUTPUT -m mark ! --mark {to} -j SLB-MARK\n-D OUTPUT -j SLB-MARK\nCOMMIT\n"
        ))
    );
}

#[test]
fn rules_are_written_as_iptables_prints_them() {
    let rule = |vip: &str, protocol, ports: &str| {
        let mark = Mark::try_from(0x51b0_0001).unwrap();
        written(&MarkRule { vip: vip.parse().unwrap(), protocol, ports: ports.parse().unwrap(), mark })
    };
    assert_eq!(
        rule("192.168.0.85", Protocol::Tcp, "8000-8100"),
        "-A SLB-MARK -d 192.168.0.85/32 -p tcp -m tcp --dport 8000:8100 -j MARK --set-xmark 0x51b00001/0xffffffff"
    );
    assert_eq!(
        rule("fd00::85", Protocol::Sctp, "53"),
        "-A SLB-MARK -d fd00::85/128 -p sctp -m sctp --dport 53 -j MARK --set-xmark 0x51b00001/0xffffffff"
    );
}

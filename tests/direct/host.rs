// SPDX-License-Identifier: Apache-2.0
//! A host that is set up, and everything that may change there.

use std::process::{Command, Output};

use slb_lab::Node;

use crate::site::SLB;

/// A host.
pub enum Here<'a> {
    Node(&'a Node),
    /// The one that the lab's kernel was booted with.
    First,
}

impl Here<'_> {
    fn output(&self, program: &str, args: &[&str]) -> Output {
        match self {
            Self::Node(node) => node.output(program, args),
            Self::First => Command::new(program).args(args).output().unwrap(),
        }
    }

    /// Runs a line of shell.
    pub fn sh(&self, line: &str) -> String {
        let output = self.output("sh", &["-euc", line]);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `slb backend setup`, which must do what it is told.
    pub fn set_up(&self, args: &[&str]) -> String {
        let output = self.output(SLB, &[&["backend", "setup"], args].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same, with what it said.
    pub fn try_set_up(&self, args: &[&str]) -> (bool, String) {
        let output = self.output(SLB, &[&["backend", "setup"], args].concat());
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Everything that slb may change, as text.
pub fn trace(host: &Here<'_>) -> String {
    // Some settings say what the network has been like meanwhile.
    let settings = "grep -rs '' /proc/sys/net/ipv4 /proc/sys/net/ipv6 /proc/sys/net/core | grep -vE 'inode-nr|rt_cache|random|stable_secret'";
    let rules = "for t in iptables ip6tables; do $t-legacy-save -t mangle | grep -v '^#' | sed 's/\\[.*\\]//'; done";
    let text = host.sh(&format!(
        "ip -d addr; ip -d link; ip route show table all; ip -6 route show table all; ip fou show 2>/dev/null || true; ip rule; {settings}; {rules}"
    ));
    assert!(text.contains("/arp_ignore:") && text.contains("/rp_filter:"), "{text}");
    text
}

/// Compares two of them; says where they differ.
pub fn same(before: &str, after: &str, what: &str) {
    let gone = before.lines().filter(|line| !after.lines().any(|other| other == *line));
    let new = after.lines().filter(|line| !before.lines().any(|other| other == *line));
    let differences: Vec<String> =
        gone.map(|line| format!("- {line}")).chain(new.map(|line| format!("+ {line}"))).collect();
    assert!(differences.is_empty() && before == after, "{what}: {differences:#?}");
}

/// What of that is slb's own, without numbers.
pub fn own(host: &Here<'_>) -> String {
    let devices = "ip -d -o addr | grep -E 'slb' | sed 's/^[0-9]*://; s/inet6 fe80.*//'; ip -d -o link | grep slb | sed 's/^[0-9]*://; s/ether [^ ]*//; s/permaddr [^ ]*//'; iptables-legacy-save -t mangle | grep TCPMSS || true";
    host.sh(&format!("{devices}; ip fou show; sysctl -a 2>/dev/null | grep -E 'conf\\.(all|eth0|slb0|slb-ipip|slb-gre)\\.(rp_filter|arp_)'"))
}

// SPDX-License-Identifier: Apache-2.0
//! Marks through iptables, and ip6tables for IPv6: a chain of slb's own in the table mangle, a rule for each range of ports.
//!
//! ```text
//!  -A PREROUTING -j SLB-MARK         first, so that no other rule lets the packet go before
//!  -A OUTPUT -m mark ! --mark 0x51b00000/0xffffe000 -j SLB-MARK
//!  -A SLB-MARK -d VIP -p tcp -m tcp --dport 8000:8100 -j MARK --set-xmark 0x51b00001/0xffffffff
//! ```
//! The chain is written whole each time, which also puts right whatever happened to it.

use slb_core::model::{Family, Mark, MarkRule, PortRange, Protocol};

use super::{Rules, Wishes};
use crate::{Error, iptables::Programs};

const TABLE: &str = "mangle";
const CHAIN: &str = "SLB-MARK";
/// The jumps that lead to it: from where, and for which packets.
const JUMPS: [&str; 2] = ["PREROUTING -j SLB-MARK", "OUTPUT -m mark ! --mark 0x51b00000/0xffffe000 -j SLB-MARK"];
/// One that an earlier version wrote.
const FORMER_JUMP: &str = "OUTPUT -j SLB-MARK";

/// The rules of a family.
#[derive(Debug)]
pub(crate) struct Iptables {
    programs: Programs,
}

/// What of slb's is in the table mangle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whether there is the chain.
    has_chain: bool,
    /// How many times there is each of the jumps.
    jumps: [usize; 2],
    /// How many times there is the one of an earlier version.
    former_jumps: usize,
    rules: Rules,
    /// Whether it has rules that slb would not write: repeated ones, or other people's.
    has_strange_rules: bool,
}

impl Iptables {
    pub(super) fn find(family: Family) -> Result<Self, Error> {
        Ok(Self { programs: Programs::find(family)? })
    }

    pub(super) async fn observe(&mut self) -> Result<Found, Error> {
        let mut found = Found::default();
        self.programs.save(TABLE, |line| found.take(line)).await?;
        Ok(found)
    }

    pub(super) async fn apply(&mut self, wishes: &Wishes) -> Result<(), Error> {
        let found = self.observe().await?;
        match edit(&found, &wishes.fulfilled(&found.effective())) {
            Some(text) => self.programs.restore([text]).await,
            None => Ok(()),
        }
    }
}

impl Found {
    /// The rules that work. A flushed table leaves the chain without a jump, or without rules; one that somebody else wrote may give packets
    /// another mark, and an earlier version's jump gives one to those that have theirs.
    pub(super) fn effective(&self) -> Rules {
        if self.jumps.contains(&0) || self.former_jumps > 0 || self.has_strange_rules {
            Rules::new()
        } else {
            self.rules.clone()
        }
    }

    /// Reads a line of what `iptables-save` writes.
    fn take(&mut self, line: &str) {
        if line.strip_prefix(':').and_then(|chain| chain.split(' ').next()) == Some(CHAIN) {
            self.has_chain = true;
        } else if let Some(rule) = line.strip_prefix("-A ") {
            if let Some(rule) = rule.strip_prefix(CHAIN).and_then(|rest| rest.strip_prefix(' ')) {
                let is_new = read(rule).is_some_and(|rule| self.rules.insert(rule));
                self.has_strange_rules |= !is_new;
            } else if rule == FORMER_JUMP {
                self.former_jumps += 1;
            } else {
                let counts = JUMPS.iter().zip(&mut self.jumps).filter(|(jump, _)| **jump == rule);
                counts.for_each(|(_, count)| *count += 1);
            }
        }
    }
}

/// Reads a rule of the chain.
fn read(rule: &str) -> Option<MarkRule> {
    let words: Vec<&str> = rule.split_whitespace().collect();
    let ["-d", vip, "-p", protocol, "-m", again, "--dport", ports, "-j", "MARK", "--set-xmark", mark] =
        words.as_slice()
    else {
        return None;
    };
    if protocol != again {
        return None;
    }
    let port = |text: &str| text.parse::<i64>().ok().and_then(|number| number.try_into().ok());
    let (first, last) = ports.split_once(':').unwrap_or((ports, ports));
    let mark = u32::from_str_radix(mark.strip_prefix("0x")?.strip_suffix("/0xffffffff")?, 16).ok()?;
    Some(MarkRule {
        vip: vip.trim_end_matches("/32").trim_end_matches("/128").parse().ok()?,
        protocol: protocol.parse::<Protocol>().ok()?,
        ports: PortRange::new(port(first)?, port(last)?).ok()?,
        mark: Mark::try_from(mark).ok()?,
    })
}

/// The rule as `iptables-save` would write it.
fn written(MarkRule { vip, protocol, ports, mark }: &MarkRule) -> String {
    let length = vip.family().bits();
    let (first, last) = (ports.first(), ports.last());
    let ports = if first == last { first.to_string() } else { format!("{first}:{last}") };
    format!(
        "-A {CHAIN} -d {vip}/{length} -p {protocol} -m {protocol} --dport {ports} -j MARK --set-xmark {mark}/0xffffffff"
    )
}

/// What `iptables-restore --noflush` is to be told so that there are just these rules; nothing if it is so.
fn edit(found: &Found, wanted: &Rules) -> Option<String> {
    let has_chain = !wanted.is_empty();
    let jumps = usize::from(has_chain);
    let is_so = found.has_chain == has_chain && found.jumps == [jumps; 2] && found.rules == *wanted;
    if is_so && found.former_jumps == 0 && !found.has_strange_rules {
        return None;
    }
    let mut lines = vec![format!("*{TABLE}")];
    if has_chain || found.has_chain {
        // Naming a chain creates it, or empties it.
        lines.push(format!(":{CHAIN} - [0:0]"));
    }
    lines.extend(wanted.iter().map(written));
    for (jump, there) in JUMPS.iter().zip(found.jumps) {
        lines.extend((jumps..there).map(|_| format!("-D {jump}")));
        lines.extend((there..jumps).map(|_| format!("-I {jump}")));
    }
    lines.extend((0..found.former_jumps).map(|_| format!("-D {FORMER_JUMP}")));
    if found.has_chain && !has_chain {
        lines.push(format!("-X {CHAIN}"));
    }
    lines.push("COMMIT\n".to_owned());
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests;

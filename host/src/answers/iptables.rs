// SPDX-License-Identifier: Apache-2.0
//! Answers through iptables, and ip6tables for IPv6: one rule in the table mangle.
//!
//! It comes last, so that what others do to a mark, or restore of one, is done before. Sockets that take packets to any address do not count by
//! default.

use slb_core::model::Family;

use crate::{Error, iptables::Programs};

const TABLE: &str = "mangle";
/// As `iptables-save` writes it.
const RULE: &str = "PREROUTING -m mark --mark 0x0 -m socket --transparent -j MARK --set-xmark 0x51a00001/0xffffffff";

/// The rule of a family.
#[derive(Debug)]
pub(super) struct Iptables {
    programs: Programs,
}

impl Iptables {
    pub(super) fn find(family: Family) -> Result<Self, Error> {
        match Programs::find(family) {
            Ok(programs) => Ok(Self { programs }),
            Err(Error::NoIptables { family, program }) => Err(Error::NoSocketMatch { family, program }),
            Err(other) => Err(other),
        }
    }

    pub(super) async fn has_rule(&mut self) -> Result<bool, Error> {
        Ok(self.count().await? > 0)
    }

    pub(super) async fn put_rule(&mut self) -> Result<(), Error> {
        if self.has_rule().await? { Ok(()) } else { self.programs.restore([edit('A', 1)]).await }
    }

    pub(super) async fn take_rule(&mut self) -> Result<(), Error> {
        match self.count().await? {
            0 => Ok(()),
            times => self.programs.restore([edit('D', times)]).await,
        }
    }

    async fn count(&self) -> Result<usize, Error> {
        let mut count = 0;
        self.programs.save(TABLE, |line| count += usize::from(is_rule(line))).await?;
        Ok(count)
    }
}

/// Whether the line of what `iptables-save` writes is the rule.
fn is_rule(line: &str) -> bool {
    line.strip_prefix("-A ") == Some(RULE)
}

/// What `iptables-restore --noflush` is to be told.
fn edit(verb: char, times: usize) -> String {
    let lines = format!("-{verb} {RULE}\n").repeat(times);
    format!("*{TABLE}\n{lines}COMMIT\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::MARK;

    #[test]
    fn the_rule_is_told_from_others() {
        assert!(RULE.contains(&format!("{MARK:#x}/0xffffffff")));
        let others =
            "-A PREROUTING -m socket --transparent -j MARK --set-xmark 0x1/0xffffffff\n:PREROUTING ACCEPT [0:0]";
        let count = |text: &str| text.lines().filter(|line| is_rule(line)).count();
        assert_eq!(count(others), 0);
        assert_eq!(count(&format!("{others}\n-A {RULE}\n-A {RULE}\n")), 2);
        assert_eq!(count(&edit('A', 1)), 1);
        assert_eq!(edit('D', 2).matches("\n-D ").count(), 2);
    }
}

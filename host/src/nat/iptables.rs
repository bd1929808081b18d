// SPDX-License-Identifier: Apache-2.0
//! Source NAT through iptables, and ip6tables for IPv6: a chain of slb's own in the table nat, a rule for each VIP.
//!
//! ```text
//!  -A POSTROUTING -m ipvs --ipvs -j SLB-SOURCE-NAT                    first, so that no other rule lets the packet go before
//!  -A SLB-SOURCE-NAT -m conntrack --ctorigdst VIP -j MASQUERADE
//!  -A SLB-SOURCE-NAT -s NETWORK -d NETWORK -m conntrack --ctorigdst NEAR-VIP -j MASQUERADE     for each network that this host is on
//!  -A SLB-SOURCE-NAT -m conntrack --ctorigdst NEAR-VIP -j RETURN                               which tells the VIP where there is no network
//! ```
//! The jump lets through only what IPVS has handled; the rules compare addresses, which is cheap: `-m ipvs --vaddr` would
//! look the connection up again for each of them. Only the first packet of a connection passes here at all.
//!
//! The kernel has no way to change a single rule: the whole table is read, edited and written back by iptables, in
//! one piece. So the chain is written whole each time, which also puts right whatever happened to it.

use std::collections::{BTreeMap, BTreeSet};

use slb_core::model::{Family, SourceNat as Choice, Vip};

use super::{Choices, Wishes, chosen, fulfilled};
use crate::{Error, address::Network, iptables::Programs};

const CHAIN: &str = "SLB-SOURCE-NAT";
const JUMP: &str = "-m ipvs --ipvs -j SLB-SOURCE-NAT";

/// The rules of a family.
#[derive(Debug)]
pub(crate) struct Iptables {
    programs: Programs,
}

/// What of slb's is in the table nat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whether there is the chain.
    has_chain: bool,
    /// How many times it is jumped to the way it should.
    jumps: usize,
    /// The VIPs that it has a rule for.
    vips: BTreeSet<Vip>,
    /// The VIPs that it has rules for by network, and those networks.
    near: BTreeMap<Vip, BTreeSet<String>>,
    /// Whether it has rules that slb would not write: repeated ones, or other people's.
    has_strange_rules: bool,
}

impl Iptables {
    pub(super) fn find(family: Family) -> Result<Self, Error> {
        Ok(Self { programs: Programs::find(family)? })
    }

    pub(super) async fn observe(&mut self) -> Result<Found, Error> {
        let mut reader = Reader::default();
        self.programs.save("nat", |line| reader.take(line)).await?;
        Ok(reader.end())
    }

    /// Carries out the wishes where this was found.
    pub(super) async fn apply(
        &mut self,
        found: &Found,
        wishes: &Wishes,
        networks: &BTreeSet<Network>,
    ) -> Result<(), Error> {
        let wanted = fulfilled(found.held(), wishes.iter().map(|(vip, choice)| (*vip, *choice)));
        match edit(found, &wanted, networks) {
            Some(lines) => self.programs.restore(lines).await,
            None => Ok(()),
        }
    }
}

impl Found {
    /// Whether rules name networks for the sake of a VIP.
    pub(super) fn names_networks(&self) -> bool {
        !self.near.is_empty()
    }

    /// The VIPs whose source NAT works. A flushed table leaves the chain without a jump, or without rules.
    pub(super) fn effective(&self, networks: &BTreeSet<Network>) -> Choices {
        if self.jumps == 0 {
            return Choices::new();
        }
        let names: BTreeSet<String> = networks.iter().map(Network::to_string).collect();
        let near = self.near.iter().filter(|(_, found)| **found == names).map(|(vip, _)| (*vip, Choice::SameNetwork));
        near.chain(self.vips.iter().map(|vip| (*vip, Choice::Always))).collect()
    }
}

impl Found {
    /// The VIPs that there are, whatever networks the rules name: who asks for another VIP takes none of these along.
    fn held(&self) -> Choices {
        if self.jumps == 0 {
            return Choices::new();
        }
        let near = self.near.keys().map(|vip| (*vip, Choice::SameNetwork));
        near.chain(self.vips.iter().map(|vip| (*vip, Choice::Always))).collect()
    }
}

/// Reads what `iptables-save` writes, line by line.
#[derive(Default)]
struct Reader {
    found: Found,
    /// VIPs whose rule by which it is told that there are no more is yet to come.
    unfinished: BTreeMap<Vip, BTreeSet<String>>,
}

impl Reader {
    fn take(&mut self, line: &str) {
        let found = &mut self.found;
        if line.strip_prefix(':').and_then(|chain| chain.split(' ').next()) == Some(CHAIN) {
            found.has_chain = true;
        } else if line.strip_prefix("-A POSTROUTING ") == Some(JUMP) {
            found.jumps += 1;
        } else if let Some(rule) = line.strip_prefix("-A ").and_then(|line| line.strip_prefix(CHAIN)) {
            let is_new = match Rule::parse(rule) {
                Some(Rule::All(vip)) => found.vips.insert(vip),
                Some(Rule::Within(network, vip)) => self.unfinished.entry(vip).or_default().insert(network),
                Some(Rule::End(vip)) => {
                    let networks = self.unfinished.remove(&vip).unwrap_or_default();
                    found.near.insert(vip, networks).is_none()
                }
                None => false,
            };
            found.has_strange_rules |= !is_new;
        }
    }

    fn end(mut self) -> Found {
        self.found.has_strange_rules |= !self.unfinished.is_empty();
        self.found
    }
}

/// A rule of the chain.
enum Rule {
    All(Vip),
    Within(String, Vip),
    End(Vip),
}

impl Rule {
    fn parse(text: &str) -> Option<Self> {
        let vip = |text: &str| text.trim_end_matches("/32").trim_end_matches("/128").parse().ok();
        let (networks, rule) = text.trim().split_once("-m conntrack --ctorigdst ")?;
        if let Some(address) = rule.strip_suffix(" -j RETURN") {
            return if networks.is_empty() { Some(Self::End(vip(address)?)) } else { None };
        }
        let vip = vip(rule.strip_suffix(" -j MASQUERADE")?)?;
        match networks.split_whitespace().collect::<Vec<_>>().as_slice() {
            [] => Some(Self::All(vip)),
            ["-s", from, "-d", to] if from == to => Some(Self::Within((*from).to_owned(), vip)),
            _ => None,
        }
    }
}

/// What `iptables-restore --noflush` is to be told so that there is source NAT for just these VIPs, line by line; nothing if it is so.
fn edit<'a>(
    found: &'a Found,
    wanted: &'a Choices,
    networks: &BTreeSet<Network>,
) -> Option<impl Iterator<Item = String> + 'a> {
    let jumps = usize::from(!wanted.is_empty());
    let has_chain = jumps > 0;
    let near = chosen(wanted, Choice::SameNetwork);
    let names: BTreeSet<String> = networks.iter().map(Network::to_string).collect();
    let as_wanted = found.near.keys().copied().eq(chosen(wanted, Choice::SameNetwork));
    let as_wanted = as_wanted && found.near.values().all(|are| *are == names);
    let as_wanted = as_wanted && found.vips.iter().copied().eq(chosen(wanted, Choice::Always));
    if as_wanted && found.has_chain == has_chain && found.jumps == jumps && !found.has_strange_rules {
        return None;
    }
    let rules_of_near = move |vip| {
        let within = |name| format!("-A {CHAIN} -s {name} -d {name} -m conntrack --ctorigdst {vip} -j MASQUERADE\n");
        let end = format!("-A {CHAIN} -m conntrack --ctorigdst {vip} -j RETURN\n");
        names.iter().map(within).chain([end]).collect::<Vec<String>>()
    };
    // Naming a chain creates it, or empties it.
    let chain = (has_chain || found.has_chain).then(|| format!(":{CHAIN} - [0:0]\n"));
    let rule = |vip| format!("-A {CHAIN} -m conntrack --ctorigdst {vip} -j MASQUERADE\n");
    let lines = ["*nat\n".to_owned()].into_iter().chain(chain);
    let lines = lines.chain(chosen(wanted, Choice::Always).map(rule)).chain(near.flat_map(rules_of_near));
    let lines = lines.chain((jumps..found.jumps).map(|_| format!("-D POSTROUTING {JUMP}\n")));
    let lines = lines.chain((found.jumps..jumps).map(|_| format!("-I POSTROUTING {JUMP}\n")));
    let goes = found.has_chain && !has_chain;
    Some(lines.chain(goes.then(|| format!("-X {CHAIN}\n"))).chain(["COMMIT\n".to_owned()]))
}

#[cfg(test)]
mod tests;

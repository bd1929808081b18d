// SPDX-License-Identifier: Apache-2.0
//! Source NAT through nftables, over netlink. All that slb has there is one table:
//!
//! ```text
//!  table ip slb {
//!      set vips { type ipv4_addr }
//!      set near-vips { type ipv4_addr }
//!      chain source-nat {
//!          type nat hook postrouting priority srcnat - 1
//!          ct original ip daddr @vips  ip daddr != @vips  ct status & dnat == 0  masquerade
//!          … the same for @near-vips …  ip saddr 192.168.0.0/24  ip daddr 192.168.0.0/24  masquerade     for each network, if there are any
//!      }
//!  }
//! ```
//! For IPv6 the same in a table of the family ip6. The kernel's nftables cannot ask whether IPVS has handled a packet. What it can ask says the same: the connection was
//! meant for a VIP, is going elsewhere by now, and it was not netfilter's own destination NAT that sent it there.
//!
//! Changes travel as one batch that takes place as a whole; only the addresses that come or go are in it. The words of
//! the batch are in [`ruleset`].

use std::{collections::BTreeSet, net::IpAddr};

use slb_core::model::{Family, SourceNat as Choice, Vip};

use super::{Choices, Wishes, chosen, fulfilled};
use crate::{
    Error,
    address::Network,
    nft::{Connection, message::Element, words::Change},
};

mod ruleset;

use ruleset::{NEAR_SET, SET, TABLE};

/// How many addresses change in one batch at most: as many of either family as fit into a send of any kernel's default size, should all
/// of them go from one set to the other.
const BATCH: usize = 3072;

/// Talks to nftables.
#[derive(Debug)]
pub(crate) struct Nft {
    connection: Connection,
}

/// What of slb's is in nftables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    has_table: bool,
    /// Whether the table has the sets and the rules as slb writes them, and no other rule.
    is_sound: bool,
    /// The networks that there are rules for.
    networks: BTreeSet<String>,
    vips: BTreeSet<Vip>,
    near: BTreeSet<Vip>,
}

impl Nft {
    /// `None` on a kernel without netfilter's netlink.
    pub(super) fn open(family: Family) -> Result<Option<Self>, Error> {
        Ok(Connection::open(family)?.map(|connection| Self { connection }))
    }

    /// Whether the kernel takes the whole rule set.
    pub(super) async fn is_supported(&mut self) -> Result<bool, Error> {
        self.connection.would_take(ruleset::trial(self.connection.family())).await
    }

    pub(super) async fn observe(&mut self) -> Result<Found, Error> {
        self.connection.observe("the nftables table slb", Found::read).await
    }

    /// Carries out the wishes where this was found.
    pub(super) async fn apply(
        &mut self,
        mut found: Found,
        wishes: &Wishes,
        networks: &BTreeSet<Network>,
    ) -> Result<(), Error> {
        let wishes: Vec<(Vip, Choice)> = wishes.iter().map(|(vip, choice)| (*vip, *choice)).collect();
        for part in wishes.chunks(BATCH) {
            let wanted = fulfilled(found.held(), part.iter().copied());
            let changes = edit(self.connection.family(), &found, &wanted, networks);
            if !changes.is_empty() {
                self.connection.commit(changes).await?;
            }
            found = Found::after(&wanted, networks);
        }
        Ok(())
    }
}

impl Found {
    async fn read(connection: &mut Connection) -> Result<Self, netlink::Error> {
        let Some(rules) = connection.rules(TABLE).await? else { return Ok(Self::default()) };
        let networks = ruleset::networks(&rules);
        let is_sound = networks.is_some();
        let mut found = Self { has_table: true, is_sound, networks: networks.unwrap_or_default(), ..Self::default() };
        let vips = connection.elements(TABLE, SET, |element| found.vips.extend(vip_of(&element))).await?;
        let near = connection.elements(TABLE, NEAR_SET, |element| found.near.extend(vip_of(&element))).await?;
        // A table of that name without the sets is not as slb wrote it.
        Ok(if vips && near { found } else { Self { has_table: true, ..Self::default() } })
    }

    /// Whether rules name networks for the sake of a VIP.
    pub(super) fn names_networks(&self) -> bool {
        !self.near.is_empty()
    }

    /// The VIPs whose source NAT works.
    pub(super) fn effective(&self, networks: &BTreeSet<Network>) -> Choices {
        if !self.is_sound {
            return Choices::new();
        }
        let near = self.near.iter().filter(|_| self.networks == names(networks)).map(|vip| (*vip, Choice::SameNetwork));
        near.chain(self.vips.iter().map(|vip| (*vip, Choice::Always))).collect()
    }

    /// The VIPs that there are, whatever networks the rules name: who asks for another VIP takes none of these along.
    fn held(&self) -> Choices {
        if !self.is_sound {
            return Choices::new();
        }
        let near = self.near.iter().map(|vip| (*vip, Choice::SameNetwork));
        near.chain(self.vips.iter().map(|vip| (*vip, Choice::Always))).collect()
    }

    /// What there is when just this is wanted.
    fn after(wanted: &Choices, networks: &BTreeSet<Network>) -> Self {
        let is_there = !wanted.is_empty();
        let vips = chosen(wanted, Choice::Always).collect();
        let near: BTreeSet<Vip> = chosen(wanted, Choice::SameNetwork).collect();
        let networks = if near.is_empty() { BTreeSet::new() } else { names(networks) };
        Self { has_table: is_there, is_sound: is_there, networks, vips, near }
    }
}

fn names(networks: &BTreeSet<Network>) -> BTreeSet<String> {
    networks.iter().map(Network::to_string).collect()
}

/// The changes that lead to source NAT for just these VIPs.
fn edit(family: Family, found: &Found, wanted: &Choices, networks: &BTreeSet<Network>) -> Vec<Change> {
    if wanted.is_empty() {
        return if found.has_table { vec![ruleset::delete_table(family)] } else { Vec::new() };
    }
    let after = Found::after(wanted, networks);
    let sets = [(SET, &found.vips, &after.vips), (NEAR_SET, &found.near, &after.near)];
    let named = networks.iter().filter(|_| !after.near.is_empty());
    if !found.is_sound {
        let mut changes = ruleset::renew_table(family, TABLE, named);
        for (set, _, wanted) in sets {
            changes.extend(ruleset::add_vips(family, set, wanted.iter().copied()));
        }
        return changes;
    }
    let is_for_others = found.networks != after.networks;
    let mut changes = if is_for_others { ruleset::renew_rules(family, named) } else { Vec::new() };
    for (set, found, wanted) in sets {
        changes.extend(ruleset::add_vips(family, set, wanted.difference(found).copied()));
        changes.extend(ruleset::delete_vips(family, set, found.difference(wanted).copied()));
    }
    changes
}

/// What is no address is passed over.
fn vip_of(Element { key, .. }: &Element) -> Option<Vip> {
    let address = match key.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(key.as_slice()).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(key.as_slice()).ok()?),
    };
    Vip::try_from(address).ok()
}

#[cfg(test)]
mod tests;

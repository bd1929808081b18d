// SPDX-License-Identifier: Apache-2.0
//! Marks on packets to several ports of a VIP, by which IPVS knows them for one service.
//!
//! ```text
//!  client ──▶ PREROUTING   the rule gives the packet its mark
//!         ──▶ LOCAL_IN     IPVS finds the service of the mark
//!  this host ──▶ OUTPUT    the same for the load-balancer's own connections, unless they carry one of slb's marks
//! ```
//! Those that do are health checks that ask a backend for the VIP: their mark says which one, whatever port they ask.
//! The whole of a mark is set, since IPVS compares the whole of it; on nothing but packets to slb's VIPs.
//!
//! The rooms: [`nft`] where the kernel has maps of ranges for the family, [`iptables`] where it has not. Both hold their rules in a table
//! or chain of their own, change it in one piece, and leave nothing behind when the last rule goes.

use std::collections::BTreeSet;

use slb_core::{
    model::{Family, MarkRule},
    step::HostStep,
};

use crate::Error;

mod iptables;
mod nft;

/// The rules that are there, or are to be.
pub(crate) type Rules = BTreeSet<MarkRule>;

/// What is to come and to go. What neither names stays as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    come: Rules,
    go: Rules,
}

impl Wishes {
    /// What the steps of that family wish; of several about the same rule, the last counts.
    pub(crate) fn of(steps: &[HostStep], family: Family) -> Self {
        let mut wishes = Self::default();
        for step in steps {
            match *step {
                HostStep::Mark(rule) if rule.vip.family() == family => {
                    wishes.go.remove(&rule);
                    wishes.come.insert(rule);
                }
                HostStep::Unmark(rule) if rule.vip.family() == family => {
                    wishes.come.remove(&rule);
                    wishes.go.insert(rule);
                }
                HostStep::Mark(_)
                | HostStep::Unmark(_)
                | HostStep::Bind(_)
                | HostStep::Unbind(_)
                | HostStep::EnableSourceNat(..)
                | HostStep::DisableSourceNat(_)
                | HostStep::CatchAnswers(_)
                | HostStep::ReleaseAnswers(_) => {}
            }
        }
        wishes
    }

    fn is_empty(&self) -> bool {
        self.come.is_empty() && self.go.is_empty()
    }

    /// What is there once they are fulfilled.
    fn fulfilled(&self, found: &Rules) -> Rules {
        found.difference(&self.go).chain(&self.come).copied().collect()
    }
}

/// The drivers that fit this kernel, one for each family.
#[derive(Debug, Default)]
pub(crate) struct Drivers {
    ipv4: Option<Driver>,
    ipv6: Option<Driver>,
}

impl Drivers {
    /// The rules that are there, of both families. A kernel that has no way to mark packets has none.
    pub(crate) async fn observe(&mut self) -> Result<Rules, Error> {
        let mut found = Rules::new();
        for family in [Family::Ipv4, Family::Ipv6] {
            if let Ok(driver) = self.of(family).await {
                found.extend(driver.observe().await?);
            }
        }
        Ok(found)
    }

    /// Carries out the wishes, which are of that family, in one piece, all of them or none; beyond 1,024 in pieces of about as many.
    pub(crate) async fn apply(&mut self, family: Family, wishes: &Wishes) -> Result<(), Error> {
        if wishes.is_empty() {
            return Ok(());
        }
        match self.of(family).await? {
            Driver::Nftables(nft) => nft.apply(wishes).await,
            Driver::Iptables(iptables) => iptables.apply(wishes).await,
        }
    }

    async fn of(&mut self, family: Family) -> Result<&mut Driver, Error> {
        let place = match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        };
        let driver = match place.take() {
            Some(driver) => driver,
            None => Driver::choose(family).await?,
        };
        Ok(place.insert(driver))
    }
}

/// The driver for one family.
#[derive(Debug)]
enum Driver {
    Nftables(nft::Nft),
    Iptables(iptables::Iptables),
}

impl Driver {
    /// Asks the kernel whether it has all that the nftables rules are made of, without changing any.
    async fn choose(family: Family) -> Result<Self, Error> {
        if let Some(mut nft) = nft::Nft::open(family)?
            && nft.is_supported().await?
        {
            return Ok(Self::Nftables(nft));
        }
        iptables::Iptables::find(family).map(Self::Iptables)
    }

    async fn observe(&mut self) -> Result<Rules, Error> {
        match self {
            Self::Nftables(nft) => nft.observe().await.map(|found| found.effective()),
            Self::Iptables(iptables) => iptables.observe().await.map(|found| found.effective()),
        }
    }
}

/// For property tests: rules that get into each other's way.
#[cfg(test)]
fn any_rule(family: Family) -> impl proptest::strategy::Strategy<Value = MarkRule> {
    use proptest::prelude::*;
    use slb_core::model::{Mark, PortRange, Protocol};

    let vip = (1_u8..4).prop_map(move |last| match family {
        Family::Ipv4 => std::net::Ipv4Addr::new(10, 0, 0, last).try_into().expect("a host's"),
        Family::Ipv6 => std::net::Ipv6Addr::from_bits(0xfd << 120 | u128::from(last)).try_into().expect("a host's"),
    });
    let port = |number: i64| number.try_into().expect("a port");
    let ports = (1_i64..30, 0_i64..9).prop_map(move |(first, more)| PortRange::new(port(first), port(first + more)));
    let protocol = proptest::sample::select(Protocol::ALL.to_vec());
    (vip, protocol, ports, 0_usize..9).prop_map(|(vip, protocol, ports, nth)| {
        let mark = Mark::all().nth(nth).expect("there are more");
        MarkRule { vip, protocol, ports: ports.expect("a range"), mark }
    })
}

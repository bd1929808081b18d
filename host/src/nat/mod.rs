// SPDX-License-Identifier: Apache-2.0
//! Source NAT of balanced connections to slb's VIPs, and of nothing else that leaves the host.
//!
//! ```text
//!  client ──▶ VIP    IPVS takes it at LOCAL_IN, writes the backend's address, and sends it on through POSTROUTING, where the
//!                    rule gives it this host's address: client ▶ VIP has become host ▶ backend
//!  backend ──▶ host  connection tracking puts the client's address back, IPVS the VIP as source: VIP ▶ client
//! ```
//! What marks such a connection is what connection tracking saw of its first packet: it was meant for a VIP. The answers'
//! first packet is meant for somebody else, so answers are never touched.
//!
//! For some VIPs only connections are translated whose client is on the backend's own network (`sameNetwork`): both on one that this host is
//! connected to. The rules name those networks, so that a VIP whose rules name others counts as not having any.
//!
//! The rooms: [`nft`] where the kernel has nftables for the family, [`iptables`] where it has not. Both hold their rules in a
//! table or chain of their own, change it in one piece, and leave nothing behind when the last VIP goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use slb_core::{
    model::{Family, SourceNat as Choice, Vip},
    step::HostStep,
};

use crate::{
    Error,
    address::{self, Address, Network},
    routing::Routing,
};

mod iptables;
mod nft;

/// Which part of the kernel does the source NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceNat {
    /// nftables, over netlink.
    Nftables,
    /// The older iptables, through its programs.
    Iptables,
}

impl fmt::Display for SourceNat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        })
    }
}

/// For each family that VIPs may be of.
pub type SourceNats = BTreeMap<Family, SourceNat>;

/// Which connections to each VIP are to have source NAT; VIPs that are not named stay as they are.
pub(crate) type Wishes = BTreeMap<Vip, Choice>;

/// Which connections to each VIP have source NAT; to VIPs that are not named, none.
pub(crate) type Choices = BTreeMap<Vip, Choice>;

/// What the steps wish for VIPs of that family; of several about the same VIP, the last counts.
pub(crate) fn wishes(steps: &[HostStep], family: Family) -> Wishes {
    let wish = |step: &HostStep| match *step {
        HostStep::EnableSourceNat(vip, choice) => Some((vip, choice)),
        HostStep::DisableSourceNat(vip) => Some((vip, Choice::Never)),
        HostStep::Bind(_)
        | HostStep::Unbind(_)
        | HostStep::CatchAnswers(_)
        | HostStep::ReleaseAnswers(_)
        | HostStep::Mark(_)
        | HostStep::Unmark(_) => None,
    };
    steps.iter().filter_map(wish).filter(|(vip, _)| vip.family() == family).collect()
}

/// The drivers that fit this kernel, one for each family.
#[derive(Debug)]
pub(crate) struct Drivers {
    ipv4: Driver,
    /// Not missed before there is something to do for it.
    ipv6: Option<Driver>,
}

impl Drivers {
    /// Asks the kernel what it has, without changing anything.
    pub(crate) async fn choose() -> Result<Self, Error> {
        Ok(Self { ipv4: Driver::choose(Family::Ipv4).await?, ipv6: Driver::choose(Family::Ipv6).await.ok() })
    }

    /// Which one it is for the family.
    pub(crate) async fn kind(&mut self, family: Family) -> Result<SourceNat, Error> {
        self.of(family).await.map(|driver| driver.kind())
    }

    /// The VIPs that have source NAT now; none unless all that makes it work is in place.
    pub(crate) async fn observe(&mut self, networks: &BTreeSet<Network>) -> Result<Choices, Error> {
        let mut found = self.ipv4.observe(&of_family(networks, Family::Ipv4)).await?;
        if let Some(ipv6) = &mut self.ipv6 {
            found.extend(ipv6.observe(&of_family(networks, Family::Ipv6)).await?);
        }
        Ok(found)
    }

    /// Carries out the wishes, which are for VIPs of the family.
    pub(crate) async fn apply(&mut self, family: Family, wishes: &Wishes, routing: &mut Routing) -> Result<(), Error> {
        self.of(family).await?.apply(family, wishes, routing).await
    }

    async fn of(&mut self, family: Family) -> Result<&mut Driver, Error> {
        match family {
            Family::Ipv4 => Ok(&mut self.ipv4),
            Family::Ipv6 => {
                let driver = match self.ipv6.take() {
                    Some(driver) => driver,
                    None => Driver::choose(family).await?,
                };
                Ok(self.ipv6.insert(driver))
            }
        }
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

    fn kind(&self) -> SourceNat {
        match self {
            Self::Nftables(_) => SourceNat::Nftables,
            Self::Iptables(_) => SourceNat::Iptables,
        }
    }

    /// The VIPs that have source NAT now; none unless all that makes it work is in place.
    async fn observe(&mut self, networks: &BTreeSet<Network>) -> Result<Choices, Error> {
        match self {
            Self::Nftables(nft) => nft.observe().await.map(|found| found.effective(networks)),
            Self::Iptables(iptables) => iptables.observe().await.map(|found| found.effective(networks)),
        }
    }

    /// Carries out the wishes in one piece, all of them or none; with nftables past 3,072 in pieces of as many.
    async fn apply(&mut self, family: Family, wishes: &Wishes, routing: &mut Routing) -> Result<(), Error> {
        match self {
            Self::Nftables(nft) => {
                let found = nft.observe().await?;
                let networks = networks_for(family, found.names_networks(), wishes, routing).await?;
                nft.apply(found, wishes, &networks).await
            }
            Self::Iptables(iptables) => {
                let found = iptables.observe().await?;
                let networks = networks_for(family, found.names_networks(), wishes, routing).await?;
                iptables.apply(&found, wishes, &networks).await
            }
        }
    }
}

/// The networks of this host, if rules name them now or are to: a list of all addresses is long where there are many VIPs.
async fn networks_for(
    family: Family,
    are_named: bool,
    wishes: &Wishes,
    routing: &mut Routing,
) -> Result<BTreeSet<Network>, Error> {
    if !are_named && wishes.values().all(|choice| *choice != Choice::SameNetwork) {
        return Ok(BTreeSet::new());
    }
    let addresses = routing.addresses(Address::on_network).await?;
    Ok(of_family(&address::connected(&addresses), family))
}

fn of_family(networks: &BTreeSet<Network>, family: Family) -> BTreeSet<Network> {
    networks.iter().copied().filter(|network| Family::of(network.first) == family).collect()
}

/// What is there once the wishes are fulfilled.
fn fulfilled(mut choices: Choices, wishes: impl IntoIterator<Item = (Vip, Choice)>) -> Choices {
    for (vip, choice) in wishes {
        match choice {
            Choice::Never => choices.remove(&vip),
            Choice::SameNetwork | Choice::Always => choices.insert(vip, choice),
        };
    }
    choices
}

/// The VIPs that the choice was made for, in order.
fn chosen(choices: &Choices, choice: Choice) -> impl Iterator<Item = Vip> {
    choices.iter().filter(move |(_, made)| **made == choice).map(|(vip, _)| *vip)
}

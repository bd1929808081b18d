// SPDX-License-Identifier: Apache-2.0
//! Brings back what backends answer to clients' own addresses, where this host relays connections and shows backends whose they are.
//!
//! ```text
//!  client ──▶ VIP    slb takes the connection, and makes one of its own to the backend: from the client's address (IP_TRANSPARENT)
//!  backend ──▶ host  the answer is for the client, so this host would send it on, or drop it. But a socket is waiting for it:
//!                    the firewall knows by that, and gives it a mark; a rule leads what is marked to a table of routes; and by
//!                    the only route of that table all addresses are this host's own
//! ```
//! Mark, table and place of the rule are slb's own and the same in both families. A packet that somebody else has marked is left alone, and so
//! is every rule and route that is not to the letter what slb writes. Only sockets with an address count, since one that takes packets to any would
//! have all that this host forwards.
//!
//! The rule for routes comes first and goes last: where there is none, there is nothing.
//!
//! The rooms: [`policy`] are the rule and the route; the firewall is [`nft`] where the kernel has what it takes for the family, [`iptables`] where it
//! has not.

use std::{collections::BTreeMap, sync::Arc};

use slb_core::{model::Family, observed::Extent, ports::Verdict, step::HostStep};

use crate::{Error, error::shared_verdict, routing::Routing};

mod iptables;
mod nft;
mod policy;

/// On packets that this host is to take in: none of those by which IPVS tells services apart, and clear of the same bits of other people's
/// ([`Mark`](slb_core::model::Mark)).
const MARK: u32 = 0x51a0_0001;

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// What became of the wishes, by family.
pub(crate) type Outcome = BTreeMap<Family, Result<(), Arc<Error>>>;

/// What knows the answers, for each family; chosen when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    firewalls: BTreeMap<Family, Firewall>,
}

impl Answers {
    /// How much is there, in each family in which there is something.
    pub(crate) async fn observe(&mut self, routing: &mut Routing) -> Result<BTreeMap<Family, Extent>, Error> {
        let ruled: Vec<Family> = routing.rules(policy::family_of_rule).await?;
        if ruled.is_empty() {
            return Ok(BTreeMap::new());
        }
        let routed: Vec<Family> = routing.routes(policy::family_of_route).await?;
        let mut found = BTreeMap::new();
        for family in ruled {
            let has_rule = match self.firewall(family).await {
                Ok(firewall) => firewall.has_rule().await?,
                // What is not to be had has no rule; who wants one is told why.
                Err(_) => false,
            };
            let is_whole = has_rule && routed.contains(&family);
            found.insert(family, if is_whole { Extent::Whole } else { Extent::Part });
        }
        Ok(found)
    }

    /// Carries out the steps that are about answers; of several about one family the last counts.
    pub(crate) async fn apply(&mut self, steps: &[HostStep], routing: &mut Routing) -> Outcome {
        let mut outcome = Outcome::new();
        for family in FAMILIES {
            let carried_out = match steps.iter().filter_map(wish).rfind(|(of, _)| *of == family) {
                Some((_, true)) => self.catch(family, routing).await,
                Some((_, false)) => self.release(family, routing).await,
                None => continue,
            };
            outcome.insert(family, carried_out.map_err(Arc::new));
        }
        outcome
    }

    async fn catch(&mut self, family: Family, routing: &mut Routing) -> Result<(), Error> {
        // Where there is none, nothing is begun.
        let firewall = self.firewall(family).await?;
        policy::put(family, routing).await?;
        firewall.put_rule().await
    }

    async fn release(&mut self, family: Family, routing: &mut Routing) -> Result<(), Error> {
        self.firewall(family).await?.take_rule().await?;
        policy::take(family, routing).await
    }

    async fn firewall(&mut self, family: Family) -> Result<&mut Firewall, Error> {
        let firewall = match self.firewalls.remove(&family) {
            Some(firewall) => firewall,
            None => Firewall::choose(family).await?,
        };
        Ok(self.firewalls.entry(family).or_insert(firewall))
    }
}

/// What a step wishes for a family, if it is about answers: whether they are to be brought back.
fn wish(step: &HostStep) -> Option<(Family, bool)> {
    match *step {
        HostStep::CatchAnswers(vip) => Some((vip.family(), true)),
        HostStep::ReleaseAnswers(vip) => Some((vip.family(), false)),
        HostStep::Bind(_)
        | HostStep::Unbind(_)
        | HostStep::EnableSourceNat(..)
        | HostStep::DisableSourceNat(_)
        | HostStep::Mark(_)
        | HostStep::Unmark(_) => None,
    }
}

/// What became of a family's wish.
pub(crate) fn verdict(outcome: &Outcome, family: Family) -> Verdict {
    let missing = || Verdict::Retry("nothing was done about answers".into());
    outcome.get(&family).map_or_else(missing, |done| done.as_ref().map_or_else(shared_verdict, |()| Verdict::Applied))
}

/// The firewall of one family.
#[derive(Debug)]
enum Firewall {
    Nftables(nft::Nft),
    Iptables(iptables::Iptables),
}

impl Firewall {
    /// Asks the kernel whether it has all that the nftables rules are made of, without changing any.
    async fn choose(family: Family) -> Result<Self, Error> {
        if let Some(mut nft) = nft::Nft::open(family)?
            && nft.is_supported().await?
        {
            return Ok(Self::Nftables(nft));
        }
        iptables::Iptables::find(family).map(Self::Iptables)
    }

    async fn has_rule(&mut self) -> Result<bool, Error> {
        match self {
            Self::Nftables(nft) => nft.has_rule().await,
            Self::Iptables(iptables) => iptables.has_rule().await,
        }
    }

    async fn put_rule(&mut self) -> Result<(), Error> {
        match self {
            Self::Nftables(nft) => nft.put_rule().await,
            Self::Iptables(iptables) => iptables.put_rule().await,
        }
    }

    async fn take_rule(&mut self) -> Result<(), Error> {
        match self {
            Self::Nftables(nft) => nft.take_rule().await,
            Self::Iptables(iptables) => iptables.take_rule().await,
        }
    }
}

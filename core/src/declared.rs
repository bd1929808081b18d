// SPDX-License-Identifier: Apache-2.0
//! What the configuration file declares, compared with what there is: pure.
//!
//! A load-balancer of the file is known by its name across edits, wherever it is; one whose name is not known, or that has none, by its
//! VIPs and ports. What is known and can be made what is declared where it is, keeps its id and its connections. What cannot (another
//! VIP, port or protocol) is made anew, on the VIP that it had if the file names no other.

mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use self::report::{FileProblem, FileReport};
use crate::{
    command::{NewLoadBalancer, WantedVips},
    model::{Listen, LoadBalancer, LoadBalancerId, Origin, Phase, PortRange, Protocol, Vip, Vips},
    ports::Wanted,
    state::State,
};

/// What leads from the state to what is declared, by place in the list. Nothing that the API made is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Those that are there, and are to be made what is declared.
    pub kept: BTreeMap<usize, LoadBalancerId>,
    /// Those that are to be made, and the VIPs that they are to have.
    pub created: BTreeMap<usize, WantedVips>,
    /// Those that are there and are not declared.
    pub removed: BTreeSet<LoadBalancerId>,
    /// Those of `removed` that have a port which another one is to have: they have to be gone first.
    pub in_the_way: BTreeSet<LoadBalancerId>,
    /// Those of `created` that wait for them.
    pub replacing: BTreeSet<usize>,
}

impl Difference {
    /// Between what there is and what is declared.
    #[must_use]
    pub fn between(state: &State, declared: &[NewLoadBalancer]) -> Self {
        let is_of_file = |each: &&LoadBalancer| each.origin == Origin::File && each.phase == Phase::Active;
        let mut known: Vec<&LoadBalancer> = state.load_balancers().map(|each| &**each).filter(is_of_file).collect();
        known.sort_unstable_by_key(|each| each.serial);
        let mut difference = Self::default();
        let mut unknown = Vec::new();
        for (index, new) in declared.iter().enumerate() {
            let is_named = |each: &&LoadBalancer| !new.name.as_str().is_empty() && each.name == new.name;
            match take(&mut known, is_named) {
                Some(each) if fits(each, new) => drop(difference.kept.insert(index, each.id)),
                Some(each) => {
                    difference.removed.insert(each.id);
                    difference.created.insert(index, new.vips.keeping(each.vips));
                }
                None => unknown.push((index, new)),
            }
        }
        for (index, new) in unknown {
            match take(&mut known, |each| new.vips.named().is_some() && fits(each, new)) {
                Some(each) => drop(difference.kept.insert(index, each.id)),
                None => drop(difference.created.insert(index, new.vips)),
            }
        }
        difference.removed.extend(known.into_iter().map(|each| each.id));
        difference.find_obstacles(state, declared);
        difference
    }

    /// What is to go and what is to come may want the same port of a VIP.
    fn find_obstacles(&mut self, state: &State, declared: &[NewLoadBalancer]) {
        let mut held: BTreeMap<(Vip, Protocol), Vec<(PortRange, LoadBalancerId)>> = BTreeMap::new();
        for each in self.removed.iter().filter_map(|id| state.get(*id)) {
            for (vip, range) in each.vips.into_iter().flat_map(|vip| each.ranges().into_iter().map(move |it| (vip, it)))
            {
                held.entry((vip, each.protocol)).or_default().push((range, each.id));
            }
        }
        let obstacles = |new: &NewLoadBalancer, vips: Vec<Vip>| -> BTreeSet<LoadBalancerId> {
            let ranges = new.listen.ranges();
            let on = |vip| held.get(&(vip, new.protocol)).into_iter().flatten();
            let meets = |theirs: &PortRange| ranges.iter().any(|range| range.common(*theirs).is_some());
            vips.into_iter().flat_map(on).filter(|(theirs, _)| meets(theirs)).map(|(_, id)| *id).collect()
        };
        for (index, new) in declared.iter().enumerate() {
            let kept = self.kept.get(&index).and_then(|id| state.get(*id));
            let vips = match (kept, self.created.get(&index)) {
                (Some(kept), _) => kept.vips.into_iter().collect(),
                (None, Some(wanted)) => wanted.each().filter_map(Wanted::vip).collect(),
                (None, None) => Vec::new(),
            };
            let found = obstacles(new, vips);
            if !found.is_empty() && kept.is_none() {
                self.replacing.insert(index);
            }
            self.in_the_way.extend(found);
        }
    }
}

fn take<'a>(known: &mut Vec<&'a LoadBalancer>, is: impl Fn(&&LoadBalancer) -> bool) -> Option<&'a LoadBalancer> {
    let at = known.iter().position(is)?;
    Some(known.remove(at))
}

/// Whether it can be made what is declared where it is.
fn fits(is: &LoadBalancer, new: &NewLoadBalancer) -> bool {
    let listens = match (&is.marked, &new.listen) {
        (None, Listen::Port(port)) => is.port == *port,
        (Some(_), Listen::Ports(_)) => true,
        (None, Listen::Ports(_)) | (Some(_), Listen::Port(_)) => false,
    };
    listens && is.protocol == new.protocol && has(is.vips, new.vips)
}

/// Whether they are what is wanted.
fn has(vips: Vips, wanted: WantedVips) -> bool {
    let is = |wanted: Wanted| match wanted {
        Wanted::Any => true,
        Wanted::Of(family) => vips.into_iter().any(|vip| vip.family() == family),
        Wanted::Vip(vip) => vips.contains(vip),
    };
    wanted.each().count() == vips.into_iter().count() && wanted.each().all(is)
}

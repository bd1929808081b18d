// SPDX-License-Identifier: Apache-2.0
//! What is declared, by the configuration file or in one request, compared with what there is: pure.
//!
//! A load-balancer is known by its id if it is given, else by its name, wherever it is; one whose name is not known, or that has none, by its
//! VIPs and ports. What is known and can be made what is declared where it is, keeps its id and its connections. What cannot (another
//! VIP, port or protocol) is made anew, on the VIP that it had if no other is named.

mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use self::report::{FileProblem, FileReport};
use crate::{
    command::{Declaration, NewLoadBalancer, Rejected, WantedVips},
    model::{Listen, LoadBalancer, LoadBalancerId, Phase, Port, PortRange, Protocol, Vip, Vips},
    ports::Wanted,
    state::State,
};

/// What leads from the state to what is declared, by place in the list.
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
    /// Between what there is and what is declared, which covers those that `is_covered` says.
    #[must_use]
    pub fn between(state: &State, is_covered: impl Fn(&LoadBalancer) -> bool, declared: &[NewLoadBalancer]) -> Self {
        let is_covered = |each: &&LoadBalancer| each.phase == Phase::Active && is_covered(each);
        let mut known = Known::new(state.load_balancers().map(|each| &**each).filter(is_covered));
        let mut difference = Self::default();
        let mut left: Vec<(usize, &NewLoadBalancer)> = declared.iter().enumerate().collect();
        let ways: [Way<'_>; 4] = [Known::itself, Known::of_that_name_there, Known::of_that_name, Known::there];
        for find in ways {
            left.retain(|(index, new)| {
                let Some(each) = find(&known, new).and_then(|id| known.take(id)) else { return true };
                if each.id == new.id || fits(each, new) {
                    difference.kept.insert(*index, each.id);
                } else {
                    difference.removed.insert(each.id);
                    difference.created.insert(*index, new.vips.keeping(each.vips));
                }
                false
            });
        }
        difference.created.extend(left.into_iter().map(|(index, new)| (index, new.vips)));
        difference.removed.extend(known.by_id.into_keys());
        difference.find_obstacles(state, declared);
        difference
    }

    /// What is known by its id has to be there, and stays where it is.
    ///
    /// # Errors
    /// Which is not, and why.
    pub fn check_known(&self, state: &State, wish: &Declaration, has_file: bool) -> Result<(), (usize, Rejected)> {
        let unknown = |id| match state.get(id) {
            Some(is) if is.phase == Phase::Deleting => Rejected::Deleting(id),
            Some(is) if !wish.extent.covers(is.origin, has_file) => Rejected::OfFile(id),
            Some(_) | None => Rejected::UnknownLoadBalancer(id),
        };
        wish.load_balancers.iter().enumerate().try_for_each(|(index, new)| {
            let checked = match self.kept.get(&index).and_then(|id| state.get(*id)) {
                Some(is) => check_place(is, new),
                None if wish.known.contains(&new.id) => Err(unknown(new.id)),
                None => Ok(()),
            };
            checked.map_err(|rejected| (index, rejected))
        })
    }

    /// What is to go and what is to come may want the same port of a VIP.
    fn find_obstacles(&mut self, state: &State, declared: &[NewLoadBalancer]) {
        let mut held: BTreeMap<(Vip, Protocol, PortRange), LoadBalancerId> = BTreeMap::new();
        for each in self.removed.iter().filter_map(|id| state.get(*id)) {
            let ranges = |vip| each.ranges().into_iter().map(move |range| ((vip, each.protocol, range), each.id));
            held.extend(each.vips.into_iter().flat_map(ranges));
        }
        let obstacles = |new: &NewLoadBalancer, vip: Vip| -> Vec<LoadBalancerId> {
            let on = |range: PortRange| {
                let first = (vip, new.protocol, PortRange::from(Port::LOWEST));
                let last = (vip, new.protocol, PortRange::up_from(range.last()));
                // They do not overlap each other: those that reach into it are the last of them.
                let found = held.range(first..=last).rev();
                found.take_while(move |((.., theirs), _)| theirs.common(range).is_some()).map(|(_, id)| *id)
            };
            new.listen.ranges().into_iter().flat_map(on).collect()
        };
        for (index, new) in declared.iter().enumerate() {
            let kept = self.kept.get(&index).and_then(|id| state.get(*id));
            let vips: Vec<Vip> = match (kept, self.created.get(&index)) {
                (Some(kept), _) => kept.vips.into_iter().collect(),
                (None, Some(wanted)) => wanted.each().filter_map(Wanted::vip).collect(),
                (None, None) => Vec::new(),
            };
            let found: BTreeSet<LoadBalancerId> = vips.into_iter().flat_map(|vip| obstacles(new, vip)).collect();
            if !found.is_empty() && kept.is_none() {
                self.replacing.insert(index);
            }
            self.in_the_way.extend(found);
        }
    }
}

/// Where a load-balancer is; those with several ports at a place are told apart by these.
type Place = (Vip, Option<Vip>, Protocol, Option<Port>);

fn place(vips: Vips, protocol: Protocol, port: Option<Port>) -> Place {
    (vips.first(), vips.second(), protocol, port)
}

fn place_of(is: &LoadBalancer) -> Place {
    place(is.vips, is.protocol, is.marked.is_none().then_some(is.port))
}

/// Those that are there and have not been found in the declaration yet, each by its id, name and place; in order of creation.
struct Known<'a> {
    by_id: BTreeMap<LoadBalancerId, &'a LoadBalancer>,
    by_name: BTreeMap<&'a str, BTreeMap<u64, &'a LoadBalancer>>,
    by_place: BTreeMap<Place, BTreeMap<u64, &'a LoadBalancer>>,
}

/// A way to find one among those that are left.
type Way<'a> = fn(&Known<'a>, &NewLoadBalancer) -> Option<LoadBalancerId>;

impl<'a> Known<'a> {
    fn new(all: impl Iterator<Item = &'a LoadBalancer>) -> Self {
        let mut known = Self { by_id: BTreeMap::new(), by_name: BTreeMap::new(), by_place: BTreeMap::new() };
        for each in all {
            known.by_id.insert(each.id, each);
            if !each.name.as_str().is_empty() {
                known.by_name.entry(each.name.as_str()).or_default().insert(each.serial, each);
            }
            known.by_place.entry(place_of(each)).or_default().insert(each.serial, each);
        }
        known
    }

    fn itself(&self, new: &NewLoadBalancer) -> Option<LoadBalancerId> {
        self.by_id.contains_key(&new.id).then_some(new.id)
    }

    /// Many may have the same name; few are at one place.
    fn of_that_name_there(&self, new: &NewLoadBalancer) -> Option<LoadBalancerId> {
        let named = self.by_name.get(new.name.as_str())?;
        let candidates = match wanted_place(new) {
            Some(place) => self.by_place.get(&place)?,
            None => named,
        };
        candidates.values().find(|each| each.name == new.name && fits(each, new)).map(|each| each.id)
    }

    fn of_that_name(&self, new: &NewLoadBalancer) -> Option<LoadBalancerId> {
        self.by_name.get(new.name.as_str())?.values().next().map(|each| each.id)
    }

    fn there(&self, new: &NewLoadBalancer) -> Option<LoadBalancerId> {
        self.by_place.get(&wanted_place(new)?)?.values().next().map(|each| each.id)
    }

    fn take(&mut self, id: LoadBalancerId) -> Option<&'a LoadBalancer> {
        let each = self.by_id.remove(&id)?;
        if let Some(named) = self.by_name.get_mut(each.name.as_str()) {
            named.remove(&each.serial);
        }
        if let Some(there) = self.by_place.get_mut(&place_of(each)) {
            there.remove(&each.serial);
        }
        Some(each)
    }
}

/// `None` if it does not say where.
fn wanted_place(new: &NewLoadBalancer) -> Option<Place> {
    let port = match &new.listen {
        Listen::Port(port) => Some(*port),
        Listen::Ports(_) => None,
    };
    Some(place(new.vips.named()?, new.protocol, port))
}

/// What keeps it from being made what is declared: it is known by its id and is somewhere else.
///
/// # Errors
/// Something that cannot be changed in place.
fn check_place(is: &LoadBalancer, new: &NewLoadBalancer) -> Result<(), Rejected> {
    let immutable = |field, is| Err(Rejected::Immutable { field, is });
    match (&is.marked, &new.listen) {
        (None, Listen::Port(port)) if is.port == *port => {}
        (Some(_), Listen::Ports(_)) => {}
        (None, Listen::Port(_)) => return immutable("port", is.port.to_string()),
        (None, Listen::Ports(_)) => return immutable("ports", format!("the single port {}", is.port)),
        (Some(marked), Listen::Port(_)) => return immutable("port", format!("one of several ({})", marked.ports)),
    }
    if is.protocol != new.protocol {
        return immutable("protocol", is.protocol.to_string());
    }
    if has(is.vips, new.vips) { Ok(()) } else { immutable("eips", is.vips.to_string()) }
}

/// Whether it can be made what is declared where it is.
fn fits(is: &LoadBalancer, new: &NewLoadBalancer) -> bool {
    check_place(is, new).is_ok()
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

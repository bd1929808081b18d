// SPDX-License-Identifier: Apache-2.0
//! A creation on its way through [admission](super::admission): which VIPs it wants, and which it has got.

use super::admission::Asker;
use crate::{
    command::NewLoadBalancer,
    model::{Vip, Vips},
    ports::Wanted,
};

/// A creation on its way to its VIPs.
pub(super) struct Creation {
    pub(super) new: NewLoadBalancer,
    pub(super) purpose: Purpose,
    /// One or two.
    places: Vec<Place>,
    /// Whether the pool is being asked for one of them.
    pub(super) is_with_pool: bool,
}

/// What a creation is for.
pub(super) enum Purpose {
    /// A request.
    Request(Asker),
    /// One of those that are declared at once.
    Part {
        /// Of which declaration.
        declaration: Number,
        /// Its place there.
        index: usize,
        /// Whether it takes the place of another one, which is still there and goes first.
        replaces: bool,
    },
}

impl Purpose {
    pub(super) fn is_part_of(&self, number: Number) -> bool {
        matches!(self, Self::Part { declaration, .. } if *declaration == number)
    }

    pub(super) fn replaces(&self) -> bool {
        matches!(self, Self::Part { replaces: true, .. })
    }
}

/// A VIP that a creation wants, and the one that it has got.
struct Place {
    wanted: Wanted,
    vip: Option<Vip>,
}

impl Creation {
    /// One that has nothing yet.
    pub(super) fn new(new: NewLoadBalancer, purpose: Purpose) -> Self {
        let places = new.vips.each().map(|wanted| Place { wanted, vip: None }).collect();
        Self { new, purpose, places, is_with_pool: false }
    }

    /// Those that it has got.
    pub(super) fn vips(&self) -> impl Iterator<Item = Vip> {
        self.places.iter().filter_map(|place| place.vip)
    }

    /// Those that it has got, if there are none to come.
    pub(super) fn all_vips(&self) -> Option<Vips> {
        match self.places.as_slice() {
            [only] => only.vip.map(Vips::from),
            [one, other] => Vips::both(one.vip?, other.vip?).ok(),
            _ => None,
        }
    }

    /// The first that is to come.
    pub(super) fn next_wanted(&self) -> Option<Wanted> {
        self.places.iter().find(|place| place.vip.is_none()).map(|place| place.wanted)
    }

    /// Takes one that it wanted.
    pub(super) fn put(&mut self, wanted: Wanted, vip: Vip) {
        if let Some(place) = self.places.iter_mut().find(|place| place.wanted == wanted && place.vip.is_none()) {
            place.vip = Some(vip);
        }
    }

    /// Leaves a VIP that it cannot have. Whether another one will do.
    pub(super) fn leave(&mut self, vip: Vip) -> bool {
        let Some(place) = self.places.iter_mut().find(|place| place.vip == Some(vip)) else { return true };
        place.vip = None;
        place.wanted.vip().is_none()
    }
}

/// What is known of a VIP that was taken from the pool for a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The network has not been asked for it.
    NotYet,
    /// It is being asked.
    Now,
    /// Nobody has it.
    Free,
}

/// Names a creation while it waits; they are answered in this order.
pub(super) type Number = u64;

// SPDX-License-Identifier: Apache-2.0
//! Addresses that must not be handed out now, each with the reason in words that follow "ADDRESS is …".

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{model::Vip, plan::Observed, state::State};

/// How long an address stays set aside after some host answered for it. Long enough not to ask for it at every creation, short
/// enough to have it back soon after the other host is gone.
pub const SET_ASIDE_FOR: Duration = Duration::from_secs(300);

/// Why an address that came up is avoided until the host is observed anew.
const APPEARED: &str = "an address of this host";

#[derive(Debug, Default)]
pub(super) struct Avoid {
    all: BTreeMap<IpAddr, String>,
    set_aside: BTreeMap<IpAddr, (Instant, String)>,
}

impl Avoid {
    /// Every address to avoid.
    pub(super) fn all(&self) -> &BTreeMap<IpAddr, String> {
        &self.all
    }

    /// Keeps an address from being handed out for [`SET_ASIDE_FOR`].
    pub(super) fn set_aside(&mut self, vip: Vip, why: String, now: Instant) {
        self.all.insert(vip.address(), why.clone());
        self.set_aside.insert(vip.address(), (now + SET_ASIDE_FOR, why));
    }

    /// An address of this host came up.
    pub(super) fn appeared(&mut self, address: IpAddr) {
        self.all.entry(address).or_insert_with(|| APPEARED.to_owned());
    }

    /// It went again. What is avoided for another reason stays so.
    pub(super) fn vanished(&mut self, address: IpAddr) {
        if self.all.get(&address).is_some_and(|why| why == APPEARED) {
            self.all.remove(&address);
        }
    }

    /// Learns what is in use from a fresh observation, and forgets what has been set aside for long enough.
    pub(super) fn refresh(&mut self, state: &State, observed: &Observed, now: Instant) {
        self.set_aside.retain(|_, (until, _)| *until > now);
        let foreign = |vip: &Vip| !state.holds(*vip);
        let bound = observed.host.bound.iter().copied().filter(foreign);
        let served = observed.services.keys().filter_map(|key| key.vip()).filter(foreign);
        self.all = self.set_aside.iter().map(|(address, (_, why))| (*address, why.clone())).collect();
        self.all.extend(served.map(|vip| (vip.address(), "the address of another program's service".to_owned())));
        self.all.extend(bound.map(|vip| (vip.address(), "bound on this host by something else".to_owned())));
        self.all.extend(observed.host.taken.iter().map(|(address, why)| (*address, why.clone())));
    }
}

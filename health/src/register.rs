// SPDX-License-Identifier: Apache-2.0
//! Who asks what. Whatever is asked by several is asked once; it ends with the last of them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use slb_core::{
    checker::{Beginning, Watch},
    model::LoadBalancerId,
};

/// Who asks what.
#[derive(Debug, Default)]
pub(crate) struct Register {
    owners: BTreeMap<LoadBalancerId, BTreeSet<Watch>>,
    /// By how many each is asked; none has zero.
    asked: BTreeMap<Watch, usize>,
}

/// What a new set comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) begin: Vec<(Watch, Beginning)>,
    pub(crate) end: Vec<Watch>,
}

impl Change {
    pub(crate) fn is_empty(&self) -> bool {
        self.begin.is_empty() && self.end.is_empty()
    }
}

impl Register {
    /// All that one asks from now on; nothing, if it is gone.
    pub(crate) fn set(&mut self, owner: LoadBalancerId, watches: BTreeMap<Watch, Beginning>) -> Change {
        let before = self.owners.remove(&owner).unwrap_or_default();
        let after: BTreeSet<Watch> = watches.keys().cloned().collect();
        let mut change = Change::default();
        for (watch, beginning) in watches {
            if before.contains(&watch) {
                continue;
            }
            if let Some(count) = self.asked.get_mut(&watch) {
                *count += 1;
            } else {
                self.asked.insert(watch.clone(), 1);
                change.begin.push((watch, beginning));
            }
        }
        for watch in before.difference(&after) {
            match self.asked.get_mut(watch) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    self.asked.remove(watch);
                    change.end.push(watch.clone());
                }
            }
        }
        if !after.is_empty() {
            self.owners.insert(owner, after);
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use slb_core::model::check::{Address, Check, Question, Timing};
    use uuid::Uuid;

    use super::*;

    fn watch(port: u16) -> Watch {
        let check = Check {
            question: Question::Tcp,
            timing: Timing::default(),
            address: Address::default(),
            port: None,
            source: None,
        };
        Watch { target: ([10, 0, 0, 1], port).into(), check: Arc::new(check), through: None, proxy_protocol: None }
    }

    proptest! {
        #[test]
        fn whatever_somebody_asks_is_asked_once(sets in prop::collection::vec((0_u128..4, prop::collection::btree_set(1_u16..8, 0..6)), 0..40)) {
            let mut register = Register::default();
            let mut owners = BTreeMap::new();
            let mut running = BTreeSet::new();
            for (owner, ports) in sets {
                let watches: BTreeMap<_, _> = ports.iter().map(|port| (watch(*port), Beginning::New)).collect();
                let change = register.set(LoadBalancerId(Uuid::from_u128(owner)), watches.clone());
                for (watch, _) in change.begin {
                    prop_assert!(running.insert(watch));
                }
                for watch in change.end {
                    prop_assert!(running.remove(&watch));
                }
                owners.insert(owner, ports);
                let asked: BTreeSet<_> = owners.values().flatten().map(|port| watch(*port)).collect();
                prop_assert_eq!(&running, &asked);
                prop_assert!(register.set(LoadBalancerId(Uuid::from_u128(owner)), watches).is_empty());
            }
        }
    }
}

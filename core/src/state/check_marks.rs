// SPDX-License-Identifier: Apache-2.0
//! Checks that ask backends for a VIP: whether they can, and by which marks.

use std::{collections::BTreeSet, sync::Arc};

use super::{Change, State};
use crate::{
    command::Rejected,
    model::{Backend, CheckMarks, Discord, Forwarding, LoadBalancer, Mark},
    peer::PeerAddress,
};

impl Change {
    /// What undoes it after the kernel was touched: the marks that it took stay, since there may be something by them.
    #[must_use]
    pub fn undoing(self) -> Self {
        let taken = self.after.as_ref().map(|after| after.check_marks().clone()).unwrap_or_default();
        let mut undoing = self.inverse();
        if let Some(restored) = &mut undoing.after
            && *restored.check_marks() != taken
        {
            let check_marks = restored.check_marks().with_those_of(&taken);
            *restored = Arc::new(LoadBalancer::clone(restored).with_check_marks(check_marks));
        }
        undoing
    }
}

impl State {
    /// The same change with a mark for each backend that is asked for a VIP: the lowest that no load-balancer has and no service of another
    /// program (`foreign`).
    ///
    /// # Errors
    /// A backend cannot be asked for a VIP, or no mark is left. The change is taken back then.
    pub fn with_check_marks(&mut self, change: Change, foreign: &BTreeSet<Mark>) -> Result<Change, Rejected> {
        match self.check_marks_after(&change, foreign) {
            Ok(None) => Ok(change),
            Ok(Some(check_marks)) => {
                let after = change.after.as_deref().map(|after| after.clone().with_check_marks(check_marks));
                let change = Change { after: after.map(Arc::new), ..change };
                self.put(&change);
                Ok(change)
            }
            Err(rejected) => {
                self.put(&change.inverse());
                Err(rejected)
            }
        }
    }

    /// `None` if they are as they were.
    fn check_marks_after(&self, change: &Change, foreign: &BTreeSet<Mark>) -> Result<Option<CheckMarks>, Rejected> {
        let Some(after) = &change.after else { return Ok(None) };
        let mut asked = BTreeSet::new();
        for backend in after.backends() {
            if check_address(after, backend)? {
                asked.insert(backend.id);
            }
        }
        if asked.iter().all(|backend| after.check_marks().of(*backend).is_some()) {
            return Ok(None);
        }
        let mut fresh = self.free_marks(foreign);
        after.check_marks().for_all(&asked, || fresh.next()).map(Some).ok_or(Rejected::NoMark)
    }
}

/// Whether the backend is asked for a VIP.
fn check_address(of: &LoadBalancer, backend: &Backend) -> Result<bool, Discord> {
    let Some(vip) = of.asked_vip(backend) else { return Ok(false) };
    let target = backend.target;
    let discord = |field, why| Err(Discord { field, why });
    let kind = match backend.settings().forwarding {
        Forwarding::DirectRoute | Forwarding::Tunnel(_) => None,
        other @ (Forwarding::Masquerade | Forwarding::Local) => Some(other.kind()),
    };
    if let Some(kind) = kind {
        return discord("healthCheck.address", format!("{target} is {kind}: only DR and TUN backends have the VIP"));
    }
    let source = of.check_of(backend).and_then(|check| check.check.source).map(PeerAddress::address);
    let asker = source.unwrap_or(target.ip.address());
    if asker.is_ipv4() != vip.address().is_ipv4() {
        let why = format!("{target} is asked for {vip}, which takes a source that is {} as well", vip.family());
        return discord("healthCheck.source", why);
    }
    Ok(true)
}

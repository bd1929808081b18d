// SPDX-License-Identifier: Apache-2.0
//! Reserves addresses and releases them. The books say what is held; what the API has under our tag and the books do not is released
//! by a sweep.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use slb_core::{errors::Chain, model::Vip, ports::PoolError};
use tokio::{
    sync::Notify,
    time::{sleep, timeout_at},
};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{
    client::Client,
    error::Error,
    settings::Place,
    wire::{NewReservation, PUBLIC_IPV4, Reservation, ReservationPage},
};

/// What the tags of every slb begin with.
const MARK: &str = "slb-";
/// For people who read a list of reservations.
const DETAILS: &str = "a virtual address of slb; it is released when its load-balancer is deleted";

/// Where addresses are asked for and given back.
#[derive(Debug)]
pub(super) struct Desk {
    client: Client,
    project: Uuid,
    place: Place,
    /// On every reservation of the owner.
    tag: String,
    /// On every reservation of this device.
    device: String,
    books: Mutex<Books>,
    /// Calls for a sweep.
    wake: Notify,
}

#[derive(Debug, Default)]
struct Books {
    held: BTreeSet<Vip>,
    /// Requests that may turn out to own a reservation.
    under_way: BTreeSet<Uuid>,
    /// Held without a reservation: the operator was told.
    bare: BTreeSet<Vip>,
    /// Reserved by another owner on this device: the operator was told.
    left: BTreeSet<Uuid>,
}

impl Desk {
    pub(super) fn new(client: Client, project: Uuid, place: Place, owner: Uuid, device: Uuid) -> Self {
        let (tag, device) = (format!("{MARK}{owner}"), format!("{MARK}device-{device}"));
        Self { client, project, place, tag, device, books: Mutex::default(), wake: Notify::new() }
    }

    /// Starts with these held.
    pub(super) fn open(&self, held: BTreeSet<Vip>) {
        self.books().held = held;
    }

    pub(super) fn release(&self, vip: Vip) {
        self.books().held.remove(&vip);
        self.wake.notify_one();
    }

    /// Reserves an address.
    pub(super) async fn reserve(self: Arc<Self>, avoid: BTreeMap<IpAddr, String>) -> Result<Vip, PoolError> {
        let provider = |error: Error| PoolError::Provider(error.into());
        let mut request = Request::begin(&self);
        let reservation = self.request(&mut request).await.map_err(provider)?;
        let vip = reservation.single().and_then(|address| Vip::try_from(address).ok());
        let vip = vip.ok_or_else(|| provider(Error::Unusable(reservation.address)))?;
        if let Some(why) = avoid.get(&vip.address()) {
            return Err(PoolError::Unavailable { wanted: vip, why: why.clone() });
        }
        request.hold(vip)?;
        info!(%vip, reservation = %reservation.id, "reserved an address");
        Ok(vip)
    }

    /// Takes an address that the operator has reserved.
    pub(super) async fn take(self: Arc<Self>, wanted: Vip, avoid: BTreeMap<IpAddr, String>) -> Result<Vip, PoolError> {
        let no = |why: String| PoolError::Unavailable { wanted, why };
        if let Some(why) = avoid.get(&wanted.address()) {
            return Err(no(why.clone()));
        }
        let reservations = self.reservations().await.map_err(|error| PoolError::Provider(error.into()))?;
        let found = reservations.iter().find(|each| each.single() == Some(wanted.address()));
        let found = found.ok_or_else(|| {
            no(format!("not reserved on its own, as {PUBLIC_IPV4}, in project {}; reserve it there, or leave it out and have one reserved", self.project))
        })?;
        if found.tags().iter().any(|tag| tag.starts_with(MARK)) {
            return Err(no("reserved by an slb, which releases it when it is done with it".to_owned()));
        }
        if self.books().held.insert(wanted) { Ok(wanted) } else { Err(handed_out(wanted)) }
    }

    /// One reservation, however often it has to be asked for. Without an answer, it is looked for before it is asked for again.
    async fn request(&self, request: &mut Request<'_>) -> Result<Reservation, Error> {
        let timing = self.client.timing();
        let deadline = Instant::now() + timing.acquire;
        let mut failures = 0;
        let mut last = None;
        loop {
            let attempt = self.attempt(request);
            let answered = match last.take() {
                None => attempt.await,
                // Looking for what became of the first may take longer than anybody waits.
                Some(error) => timeout_at(deadline.into(), attempt).await.unwrap_or(Err(error)),
            };
            let error = match answered {
                Ok(reservation) => return Ok(reservation),
                Err(error) => error,
            };
            failures += 1;
            let pause = self.client.pause(failures, &error);
            if !error.may_pass() || Instant::now() + pause >= deadline {
                return Err(error);
            }
            debug!(error = %Chain(&error), failures, "an address is asked for again");
            last = Some(error);
            sleep(pause).await;
        }
    }

    async fn attempt(&self, request: &mut Request<'_>) -> Result<Reservation, Error> {
        let tags = [self.tag.clone(), self.device.clone(), request.tag()];
        if request.is_in_doubt {
            let reservations = self.reservations().await?;
            if let Some(found) = reservations.into_iter().find(|each| tags.iter().all(|tag| each.has_tag(tag))) {
                return Ok(found);
            }
        }
        let (facility, metro) = match &self.place {
            Place::Facility(facility) => (Some(facility.as_str()), None),
            Place::Metro(metro) => (None, Some(metro.as_str())),
        };
        let new = NewReservation {
            kind: PUBLIC_IPV4,
            quantity: 1,
            facility,
            metro,
            tags: &tags,
            details: DETAILS,
            fail_on_approval_required: true,
        };
        request.may_own = true;
        let answered = self.client.post(&self.path(), &new).await;
        match &answered {
            Ok(_) => {}
            Err(error) if error.leaves_doubt() => request.is_in_doubt = true,
            Err(_) => request.may_own = false,
        }
        answered
    }

    /// Sweeps for ever: at once, when somebody calls for it, and from time to time. After a failure, again soon.
    pub(super) async fn keep_clean(self: Arc<Self>) {
        let timing = *self.client.timing();
        let mut failures = 0_u32;
        loop {
            match self.sweep().await {
                Ok(()) => {
                    if mem::take(&mut failures) > 0 {
                        info!("Equinix Metal releases addresses again");
                    }
                    tokio::select! {
                        // Cancel-safe: a call stays until it is heard.
                        () = self.wake.notified() => {}
                        // Cancel-safe: time is all that passes.
                        () = sleep(timing.sweep) => {}
                    }
                }
                Err(error) => {
                    if failures == 0 {
                        warn!(error = %Chain(&error), "cannot release addresses that nobody needs; it is tried again");
                    }
                    failures = failures.saturating_add(1);
                    sleep(self.client.pause(failures, &error)).await;
                }
            }
        }
    }

    /// Releases what has our tag and is not held. One that cannot be released does not hold up the others.
    async fn sweep(&self) -> Result<(), Error> {
        let held_before = self.books().held.clone();
        let mut reservations = self.reservations().await?;
        if !self.bare(&held_before, &reservations).is_empty() {
            // Others reserve and release, too, and what moves from one page of a list to the one before is in neither.
            reservations = self.reservations().await?;
        }
        self.warn_of(self.bare(&held_before, &reservations));
        self.warn_of_others(&reservations);
        let mut outcome = Ok(());
        for unneeded in self.unneeded(reservations) {
            match self.client.delete(&format!("/ips/{}", unneeded.id)).await {
                Ok(()) => {
                    let address = unneeded.address.map(|address| address.to_string()).unwrap_or_default();
                    info!(vip = %address, reservation = %unneeded.id, "released an address");
                }
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// The books are read after the list was: what came into them meanwhile is spared.
    fn unneeded(&self, reservations: Vec<Reservation>) -> Vec<Reservation> {
        let books = self.books();
        let is_held = |each: &Reservation| books.held.iter().any(|vip| each.covers(vip.address()));
        let is_under_way = |each: &Reservation| books.under_way.iter().any(|id| each.has_tag(&tag_of(*id)));
        let ours = reservations.into_iter().filter(|each| each.has_tag(&self.tag));
        ours.filter(|each| !is_held(each) && !is_under_way(each)).collect()
    }

    /// What was held before the list was read, still is, and is in no reservation.
    fn bare(&self, before: &BTreeSet<Vip>, reservations: &[Reservation]) -> BTreeSet<Vip> {
        let books = self.books();
        let is_reserved = |vip: &Vip| reservations.iter().any(|each| each.covers(vip.address()));
        before.iter().copied().filter(|vip| books.held.contains(vip) && !is_reserved(vip)).collect()
    }

    /// Somebody else may get, or have, what is held and not reserved. Said once.
    fn warn_of(&self, bare: BTreeSet<Vip>) {
        let mut books = self.books();
        for vip in bare.difference(&books.bare) {
            warn!(%vip, project = %self.project, "a load-balancer has an address that is not reserved: delete it before somebody else gets the address");
        }
        books.bare = bare;
    }

    /// What another state directory on this device has reserved is in use, or paid for in vain: the operator knows. Said once.
    fn warn_of_others(&self, reservations: &[Reservation]) {
        let others = reservations.iter().filter(|each| each.has_tag(&self.device) && !each.has_tag(&self.tag));
        let mut books = self.books();
        for other in others.filter(|other| books.left.insert(other.id)) {
            let address = other.address.map(|address| address.to_string()).unwrap_or_default();
            warn!(vip = %address, reservation = %other.id, "reserved on this device with another state directory, and left alone: release it at Equinix Metal if nobody needs it");
        }
    }

    async fn reservations(&self) -> Result<Vec<Reservation>, Error> {
        self.client.list::<ReservationPage>(&self.path()).await
    }

    fn path(&self) -> String {
        format!("/projects/{}/ips", self.project)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request on its way. While it is, no sweep takes away what may be its own. Unless it ends well beyond doubt, one looks for what it
/// has left.
struct Request<'a> {
    desk: &'a Desk,
    id: Uuid,
    /// Whether the API may have made a reservation before and not said so.
    is_in_doubt: bool,
    /// Whether it may have made one that is not held.
    may_own: bool,
}

impl<'a> Request<'a> {
    fn begin(desk: &'a Desk) -> Self {
        let id = Uuid::new_v4();
        desk.books().under_way.insert(id);
        Self { desk, id, is_in_doubt: false, may_own: false }
    }

    fn tag(&self) -> String {
        tag_of(self.id)
    }

    /// It ended well: what was its own is held before it ceases to be its own.
    fn hold(mut self, vip: Vip) -> Result<(), PoolError> {
        self.may_own = !self.desk.books().held.insert(vip);
        if self.may_own { Err(handed_out(vip)) } else { Ok(()) }
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.desk.books().under_way.remove(&self.id);
        if self.is_in_doubt || self.may_own {
            self.desk.wake.notify_one();
        }
    }
}

fn handed_out(wanted: Vip) -> PoolError {
    PoolError::Unavailable { wanted, why: "being handed out to somebody else".to_owned() }
}

fn tag_of(request: Uuid) -> String {
    format!("{MARK}request-{request}")
}

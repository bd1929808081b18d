// SPDX-License-Identifier: Apache-2.0
//! The kernel's IPVS as a data plane.

use std::collections::{BTreeMap, BTreeSet};

use ipvs::{Client, Error, ObservedService, Refusal, Timeouts};
use slb_core::{
    errors::Shared,
    model::{Family, ServiceKey, ServiceSettings, Target, VirtualService},
    observed::{Backends, Listed, ServiceView, Services},
    ports::{Cause, Dataplane, Lacking, Unserved, Verdict},
    statistics::Connections,
    step::DataplaneStep,
};

use crate::{
    entries::Entries,
    meter,
    outline::{Looks, MANY, Outline},
    translate::{self, Reading},
    unserved,
};

/// Steps that are turned into requests at a time, about as many as travel in one send. All requests of a start at once would take
/// more memory than all else that slb keeps, and the time to get it.
const PACK: usize = 512;

/// Programs the IPVS of the network namespace it was opened in. Needs `CAP_NET_ADMIN`.
#[derive(Debug)]
pub struct Ipvs {
    pub(crate) client: Client,
    pub(crate) timeouts: Timeouts,
    /// What services looked like when they were last read, if nothing was asked for of them since.
    seen: Looks,
    /// Whether some of them are of IPv6, which have no entries, as far as is known; `None` before the first look.
    has_ipv6: Option<bool>,
}

impl Ipvs {
    /// Finds the kernel's IPVS. Changes nothing. Within a tokio runtime.
    ///
    /// # Errors
    /// The kernel has no IPVS, or refuses to talk about it.
    pub async fn open() -> Result<Self, Error> {
        Ok(Self {
            client: Client::open().await?,
            timeouts: Timeouts::default(),
            seen: Looks::default(),
            has_ipv6: None,
        })
    }

    /// The same that keeps the time-outs of connections at that; 0 leaves one as it is.
    #[must_use]
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }
}

impl Dataplane for Ipvs {
    async fn observe(&mut self) -> Result<Services, Cause> {
        let mut services = Services::new();
        self.observe_each(|key, service| drop(services.insert(key, service))).await?;
        Ok(services)
    }

    /// The services first and then the backends of each, since the kernel gives out one list at a time: the quick way, where there is one.
    async fn observe_each(&mut self, mut each: impl FnMut(ServiceKey, ServiceView) + Send) -> Result<(), Cause> {
        let about = std::mem::take(&mut self.seen).len();
        // What changes from here on will look different; without either everything is asked for each time.
        let entries = if self.has_ipv6 == Some(true) { None } else { Entries::read().ok() };
        let mut looks = match entries {
            Some(_) => Looks::default(),
            None => Outline::read(about).await.unwrap_or_default().looks(),
        };
        let mut services = self.services().await;
        if is_stale(&services) {
            self.client = Client::open().await?;
            services = self.services().await;
        }
        let mut services = services?;
        self.has_ipv6 = Some(services.keys().any(is_ipv6));
        if let Some(mut entries) = entries {
            let mut seen = Vec::with_capacity(entries.len());
            // If there is an error, the rest is read as others are.
            while let Ok(Some(entry)) = entries.next().await {
                let Some((key, settings)) = entry.key.and_then(|key| services.remove_entry(&key)) else { continue };
                seen.extend(entry.look);
                let backends = match entry.backends() {
                    Some(backends) => backends.into(),
                    None => self.backends(key).await?,
                };
                each(key, ServiceView { settings, backends });
            }
            looks = seen.into();
        }
        for (key, settings) in services {
            each(key, ServiceView { settings, backends: self.backends(key).await? });
        }
        self.seen = looks;
        Ok(())
    }

    /// By what services look like. Where that shows too much to ask for one by one, everything is asked for.
    async fn observe_changes(
        &mut self,
        mut each: impl FnMut(ServiceKey, Option<ServiceView>) + Send,
    ) -> Result<(), Cause> {
        let Some(has_ipv6) = self.has_ipv6 else {
            return self.observe_each(|key, service| each(key, Some(service))).await;
        };
        let seen = std::mem::take(&mut self.seen);
        let entries = if has_ipv6 { None } else { Entries::read().ok() };
        let outline = match entries {
            Some(entries) => Outline::of(entries).await,
            None => Outline::read(seen.len()).await,
        };
        let Ok(outline) = outline else {
            return self.observe_each(|key, service| each(key, Some(service))).await;
        };
        let compared = || outline.compared(&seen);
        let other: Vec<ServiceKey> = compared().filter(|(_, is_same)| !is_same).map(|(key, _)| key).collect();
        if other.len() > outline.len() / MANY {
            drop((outline, other, seen));
            return self.observe_each(|key, service| each(key, Some(service))).await;
        }
        compared().filter(|(_, is_same)| *is_same).for_each(|(key, _)| each(key, None));
        let mut looks = outline.looks();
        for key in other {
            match self.client.service(&translate::id(key)).await {
                Ok(found) => {
                    let settings = translate::service_settings(&found);
                    each(key, Some(ServiceView { settings, backends: self.backends(key).await? }));
                }
                // It went in between. A mark may be there for the other family alone, which the list does not say.
                Err(error) if error.errno() == Some(libc::ESRCH) => {
                    if let ServiceKey::Endpoint(_) = key {
                        looks.forget(key);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.seen = looks;
        Ok(())
    }

    async fn exists(&mut self, service: VirtualService) -> Result<bool, Cause> {
        let id = translate::service_id(service);
        let mut found = self.client.service(&id).await;
        if is_stale(&found) {
            self.client = Client::open().await?;
            found = self.client.service(&id).await;
        }
        match found {
            Ok(_) => Ok(true),
            Err(error) if error.not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn keys(&mut self) -> Result<BTreeSet<ServiceKey>, Cause> {
        let mut services = self.client.services().await;
        if is_stale(&services) {
            self.client = Client::open().await?;
            services = self.client.services().await;
        }
        Ok(services?.iter().filter_map(|service| translate::key(service.id())).collect())
    }

    async fn connections(&mut self, service: VirtualService) -> Result<BTreeMap<Target, Connections>, Cause> {
        let id = translate::service_id(service);
        let mut destinations = self.client.destinations(&id).await;
        if is_stale(&destinations) {
            self.client = Client::open().await?;
            destinations = self.client.destinations(&id).await;
        }
        Ok(destinations?
            .iter()
            .filter_map(|each| Some((translate::target(each.id())?, meter::connections(each))))
            .collect())
    }

    fn unserved(&self, step: &DataplaneStep) -> Option<Unserved> {
        unserved::of(step)
    }

    async fn apply(&mut self, steps: &[DataplaneStep]) -> Vec<Verdict> {
        for key in steps.iter().map(|step| step.service().key()) {
            self.seen.forget(key);
            self.has_ipv6 = self.has_ipv6.map(|has_ipv6| has_ipv6 || is_ipv6(&key));
        }
        let mut verdicts = Vec::with_capacity(steps.len());
        for pack in steps.chunks(PACK) {
            self.apply_pack(pack, &mut verdicts).await;
        }
        verdicts
    }
}

fn is_ipv6(key: &ServiceKey) -> bool {
    match key {
        ServiceKey::Endpoint(endpoint) => endpoint.vip.family() == Family::Ipv6,
        ServiceKey::Mark(family, _) => *family == Family::Ipv6,
    }
}

impl Ipvs {
    /// What slb could have asked for, in order.
    async fn services(&mut self) -> Result<BTreeMap<ServiceKey, Option<ServiceSettings>>, Error> {
        let mut services = BTreeMap::new();
        let found = |service: ObservedService| {
            services.extend(translate::key(service.id()).map(|key| (key, translate::service_settings(&service))));
        };
        self.client.each_service(found).await?;
        Ok(services)
    }

    /// What slb could have asked for.
    async fn backends(&mut self, key: ServiceKey) -> Result<Backends, Error> {
        let mut backends = Listed::new();
        self.client.each_asked(&translate::id(key), |found| backends.extend(translate::backend(&found))).await?;
        Ok(backends.into())
    }

    /// If the batch breaks off, any step may or may not have been taken, so each is tried again.
    async fn apply_pack(&mut self, steps: &[DataplaneStep], verdicts: &mut Vec<Verdict>) {
        let requests: Vec<_> = steps.iter().map(translate::request).collect();
        let mut answers = match self.client.batch(&requests).await {
            Ok(answers) => answers.into_iter(),
            Err(error) => {
                let cause = Shared::from(Cause::from(error));
                return verdicts.extend(steps.iter().map(|_| Verdict::Retry(cause.clone().into())));
            }
        };
        for step in steps {
            verdicts.push(match answers.next() {
                Some(Ok(())) => Verdict::Applied,
                Some(Err(refusal)) => self.refused(step, refusal).await,
                None => Verdict::Retry("the kernel's answer is missing".into()),
            });
        }
    }

    async fn refused(&mut self, step: &DataplaneStep, refusal: Refusal) -> Verdict {
        match translate::reading(step, &refusal) {
            Reading::Done => Verdict::Applied,
            Reading::Failed => failed(refusal),
            Reading::Lacking(what) => self.lacking(step, what).await,
            Reading::Instead(request) => match self.client.execute(*request).await {
                Ok(()) => Verdict::Applied,
                Err(Error::Refused { source, .. }) => failed(source),
                Err(error) => Verdict::Retry(error.into()),
            },
        }
    }
}

impl Ipvs {
    /// What looks like a scheduler that the kernel does not have, unless it is the kernel that does not know the client any more.
    async fn lacking(&mut self, step: &DataplaneStep, what: String) -> Verdict {
        match Client::open().await {
            Ok(client) => self.client = client,
            Err(error) => return Verdict::Retry(error.into()),
        }
        match self.client.execute(translate::request(step)).await {
            Ok(()) => Verdict::Applied,
            Err(error) if error.errno() == Some(libc::ENOENT) => Verdict::Refused(Lacking(what).into()),
            Err(Error::Refused { source, .. }) => failed(source),
            Err(error) => Verdict::Retry(error.into()),
        }
    }
}

fn failed(refusal: Refusal) -> Verdict {
    if translate::may_pass(&refusal) { Verdict::Retry(refusal.into()) } else { Verdict::Refused(refusal.into()) }
}

/// Whether the kernel does not know the client's family any more (ENOENT; that there is no such service is ESRCH): ip_vs was unloaded
/// and gets another number when it is loaded anew.
pub(crate) fn is_stale<T>(answer: &Result<T, Error>) -> bool {
    answer.as_ref().is_err_and(|error| error.errno() == Some(libc::ENOENT))
}

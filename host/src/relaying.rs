// SPDX-License-Identifier: Apache-2.0
//! The host around a data plane in user space: connections end here, so nothing is forwarded, translated or marked. With privileges VIPs
//! are bound as ever, and answers to clients' own addresses are brought back; without, VIPs have to be addresses of this host already, and
//! nothing is changed.

use std::collections::BTreeSet;

use slb_core::{
    model::Vip,
    observed::HostView,
    ports::{Cause, Host, SettingChange, Settings, Unserved, Verdict},
    step::HostStep,
};

use crate::{Linux, address::Change, answers, error::shared_verdict, sysctl};

/// Why backends do not see clients' own addresses.
const UNSHOWN: &str = "connections are relayed from this host's address: source NAT never takes VIPs that slb binds itself, as root or with \
                       CAP_NET_ADMIN and CAP_NET_RAW, or IPVS (--dataplane ipvs); \"proxyProtocol\" tells backends who their clients are";

/// The driver.
#[derive(Debug)]
pub struct Relaying {
    /// What VIPs are bound with; `None` if they are not.
    linux: Option<Linux>,
    /// VIPs that were to be bound, while none is.
    bound: BTreeSet<Vip>,
}

impl Relaying {
    /// Binds VIPs.
    #[must_use]
    pub fn binding(linux: Linux) -> Self {
        Self { linux: Some(linux), bound: BTreeSet::new() }
    }

    /// Takes it that VIPs are there.
    #[must_use]
    pub fn bound() -> Self {
        Self { linux: None, bound: BTreeSet::new() }
    }

    /// Where nothing is changed, nobody can be shown whose address it is.
    async fn change_answers(&mut self, steps: &[HostStep]) -> Option<answers::Outcome> {
        match &mut self.linux {
            Some(linux) => Some(linux.change_answers(steps).await),
            None => None,
        }
    }

    /// On the adapter, or as if.
    async fn change_addresses(&mut self, changes: &[Change]) -> Vec<Verdict> {
        if let Some(linux) = &mut self.linux {
            return match linux.change_addresses(changes).await {
                Ok(verdicts) => verdicts,
                Err(error) => {
                    let error = error.into();
                    changes.iter().map(|_| shared_verdict(&error)).collect()
                }
            };
        }
        let change = |change: &Change| {
            match *change {
                Change::Bind(vip) => self.bound.insert(vip),
                Change::Unbind(vip) => self.bound.remove(&vip),
            };
            Verdict::Applied
        };
        changes.iter().map(change).collect()
    }
}

impl Host for Relaying {
    /// None comes: checks ask by the backends' own addresses.
    fn expect_answers_from_vips(&mut self) {}

    fn binds(&self) -> bool {
        self.linux.is_some()
    }

    async fn observe(&mut self) -> Result<HostView, Cause> {
        let view = match &mut self.linux {
            Some(linux) => linux.view_of_addresses().await?.0,
            None => HostView { bound: self.bound.clone(), ..HostView::default() },
        };
        Ok(HostView { is_relaying: true, ..view })
    }

    async fn apply(&mut self, steps: &[HostStep]) -> Vec<Verdict> {
        let changes: Vec<Change> = steps.iter().filter_map(Change::of).collect();
        let of_answers = self.change_answers(steps).await;
        let mut of_addresses = self.change_addresses(&changes).await.into_iter();
        let mut verdict = |step: &HostStep| match *step {
            HostStep::Bind(_) | HostStep::Unbind(_) => {
                of_addresses.next().unwrap_or_else(|| Verdict::Retry("the kernel's answer is missing".into()))
            }
            HostStep::EnableSourceNat(..) => Verdict::Refused(Unserved("source NAT is for IPVS".to_owned()).into()),
            HostStep::DisableSourceNat(_) => Verdict::Applied,
            HostStep::CatchAnswers(vip) | HostStep::ReleaseAnswers(vip) => match &of_answers {
                Some(outcome) => answers::verdict(outcome, vip.family()),
                None if matches!(step, HostStep::ReleaseAnswers(_)) => Verdict::Applied,
                None => Verdict::Refused(Unserved(UNSHOWN.to_owned()).into()),
            },
            HostStep::Mark(_) => Verdict::Refused(Unserved("marks are for IPVS".to_owned()).into()),
            HostStep::Unmark(_) => Verdict::Applied,
        };
        steps.iter().map(&mut verdict).collect()
    }
}

impl Settings for Relaying {
    /// Only what ARP needs where VIPs are bound.
    async fn drifted_settings(&mut self) -> Result<Vec<SettingChange>, Cause> {
        match &mut self.linux {
            Some(linux) => Ok(linux.drift_of_arp().await?),
            None => Ok(Vec::new()),
        }
    }

    async fn set(&mut self, name: &str, value: &str) -> Result<(), Cause> {
        Ok(sysctl::write(name, value)?)
    }

    async fn get(&mut self, name: &str) -> Result<String, Cause> {
        Ok(sysctl::read(name)?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use slb_core::model::SourceNat;

    use super::*;

    #[tokio::test]
    async fn whose_address_backends_see_is_not_for_the_host() {
        let vip: Vip = "127.0.0.1".parse().unwrap();
        let mut host = Relaying::bound();
        assert!(host.observe().await.unwrap().is_relaying);
        assert!(!host.binds(), "without the host's adapter");
        let verdicts = host.apply(&[HostStep::EnableSourceNat(vip, SourceNat::Always), HostStep::Bind(vip)]).await;
        assert!(matches!(&verdicts[..], [Verdict::Refused(_), Verdict::Applied]), "{verdicts:?}");
        assert_eq!(host.observe().await.unwrap().bound, [vip].into());
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The Linux host around IPVS: addresses, links, settings, modules, source NAT.
//!
//! ```text
//!  preflight ──▶ capability, modules::missing, Linux::adapter, Linux::source_nat     reads only
//!            ──▶ modules::load_ipvs, modules::load
//!  controller ─▶ Linux (core's Host and Settings): observe, apply, drifted_settings, get, set
//!  main loop ◀── Monitor: addresses and links that change
//! ```
//! The rooms, in the order to read: [`Linux`] is the driver and asks the others; `routing` is the connection to the kernel's
//! rtnetlink; `link` and `address` say what its messages mean; `reception` waits until an address works; `sysctl` is the table of settings
//! with their reasons; `nat`, `marks` and `answers` have each a driver for nftables and one for iptables, which `nft` and `iptables` talk to; `modules`
//! and `capability` are what preflight asks; `way_out` asks whether clients' packets may come in; `monitor` listens; `program` runs
//! modprobe and iptables. [`Relaying`] is the driver where connections end on this host. `backend` is for another host than the rest: one that a load-balancer sends packets to.
//!
//! Reading, checking and changing are apart: nothing is changed but by [`modules::load`] and its like, and by `apply` and `set` of the
//! [`Host`]. What is as it should be is not written again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    sync::Arc,
};

use slb_core::{
    model::{Family, MarkRule, Vip},
    observed::HostView,
    ports::{Cause, Host, SettingChange, Settings, Verdict},
    step::HostStep,
};

mod address;
mod answers;
#[cfg(test)]
mod any;
pub mod backend;
pub mod capability;
mod error;
mod iptables;
mod link;
mod marks;
pub mod modules;
mod monitor;
mod nat;
mod nft;
mod program;
mod reception;
mod relaying;
mod routing;
mod sysctl;
mod way_out;

pub use address::Network;
pub use error::Error;
pub use link::Adapter;
pub use monitor::Monitor;
pub use nat::{SourceNat, SourceNats};
pub use relaying::Relaying;
pub use sysctl::{Ipv6, Need, Setting, quiet, settings};

use address::{Address, Change, Gateway};
use answers::Answers;
use error::shared_verdict;
use routing::Routing;

/// The driver of a Linux host. It works in the network namespace of the thread that makes it and uses it.
#[derive(Debug)]
pub struct Linux {
    adapter: Arc<str>,
    routing: Routing,
    /// Chosen when it is first needed.
    nat: Option<nat::Drivers>,
    /// Each chosen when it is first needed.
    marks: marks::Drivers,
    answers: Answers,
    /// Whether VIPs may be of IPv6.
    has_ipv6: bool,
    /// Whether backends are asked for VIPs, and answer from there.
    hears_vips: bool,
}

impl Linux {
    /// The driver for VIPs on the adapter, which may be away for now. Opens a connection to the kernel and changes nothing.
    ///
    /// Must be called within a tokio runtime that has I/O and time enabled; tokio panics otherwise.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn new(adapter: &str) -> Result<Self, Error> {
        Ok(Self {
            adapter: adapter.into(),
            routing: Routing::open()?,
            nat: None,
            marks: marks::Drivers::default(),
            answers: Answers::default(),
            has_ipv6: false,
            hears_vips: false,
        })
    }

    /// The same for VIPs of IPv6, too: the kernel is to forward IPv6.
    #[must_use]
    pub fn with_ipv6(self) -> Self {
        Self { has_ipv6: true, ..self }
    }

    /// The adapter as it is now. Reads only.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], which lists those that there are; [`Error::Port`] if an address on it could not be reached;
    /// [`Error::Ipv6Off`] if VIPs may be of IPv6; [`Error::Read`].
    pub async fn adapter(&mut self) -> Result<Adapter, Error> {
        let adapters = self.adapters().await?;
        let adapter = link::usable(&self.adapter, adapters)?;
        let setting = sysctl::ipv6_off(&adapter.name);
        if self.has_ipv6 && sysctl::read(&setting)?.as_deref() == Some("1") {
            return Err(Error::Ipv6Off { name: adapter.name, setting });
        }
        Ok(adapter)
    }

    /// The other adapters by which this host answers most clients, if the kernel would drop what comes from there by this one (strict
    /// `rp_filter`). Reads only.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::NoAdapter`].
    pub async fn detour(&mut self) -> Result<Vec<String>, Error> {
        let adapter = self.adapter().await?;
        let all = self.adapters().await?;
        let routes = self.routing.routes(|route| way_out::is_default(route).then(|| route.clone())).await?;
        way_out::detour(&adapter, &all, &routes)
    }

    /// The networks that come with the adapter's addresses, other than single hosts. Reads only.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn networks(&mut self) -> Result<Vec<Network>, Error> {
        let adapters = self.adapters().await?;
        let addresses = self.on_networks().await?;
        Ok(address::networks(&self.adapter, &adapters, &addresses))
    }

    /// Which part of the kernel does the source NAT of each family that VIPs may be of: nftables where it has all that is needed,
    /// otherwise iptables. Changes no rule; the kernel may load modules of its own to be able to answer.
    ///
    /// # Errors
    /// [`Error::NoIptables`] if there is neither; [`Error::Nftables`] without the privilege to ask.
    pub async fn source_nat(&mut self) -> Result<SourceNats, Error> {
        let families =
            if self.has_ipv6 { [Some(Family::Ipv4), Some(Family::Ipv6)] } else { [Some(Family::Ipv4), None] };
        let mut found = SourceNats::new();
        for family in families.into_iter().flatten() {
            found.insert(family, self.nat().await?.kind(family).await?);
        }
        Ok(found)
    }

    async fn nat(&mut self) -> Result<&mut nat::Drivers, Error> {
        let driver = match self.nat.take() {
            Some(driver) => driver,
            None => nat::Drivers::choose().await?,
        };
        Ok(self.nat.insert(driver))
    }

    async fn adapters(&mut self) -> Result<Vec<Adapter>, Error> {
        Ok(self.routing.links().await?.iter().map(Adapter::of).collect())
    }

    async fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        self.routing.addresses(Address::of).await
    }

    /// Without those that are a network by themselves, as VIPs are.
    async fn on_networks(&mut self) -> Result<Vec<Address>, Error> {
        self.routing.addresses(Address::on_network).await
    }

    /// The host but for what is translated and marked: all that there is where connections end on it. And the networks that it is on.
    async fn view_of_addresses(&mut self) -> Result<(HostView, BTreeSet<Network>), Error> {
        let adapters = self.adapters().await?;
        let addresses = self.addresses().await?;
        let gateways: Vec<Gateway> = self.routing.routes(Gateway::of).await?;
        let answers = self.answers.observe(&mut self.routing).await?;
        let view = HostView { answers, ..address::view(&self.adapter, &adapters, &addresses, &gateways) };
        Ok((view, address::connected(&addresses)))
    }

    async fn view(&mut self) -> Result<HostView, Error> {
        let (view, networks) = self.view_of_addresses().await?;
        let mut marks: BTreeMap<Vip, BTreeSet<MarkRule>> = BTreeMap::new();
        for rule in self.marks.observe().await? {
            marks.entry(rule.vip).or_default().insert(rule);
        }
        let source_nat = match self.nat().await {
            Ok(nat) => nat.observe(&networks).await?,
            // Where nothing can translate, nothing does; who relays gets along with that.
            Err(Error::NoIptables { .. }) => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(HostView { source_nat, marks, ..view })
    }

    /// The settings without which bound VIPs would be told of by ARP where they should not be.
    async fn drift_of_arp(&mut self) -> Result<Vec<SettingChange>, Error> {
        let adapters = self.adapters().await?;
        let addresses = self.on_networks().await?;
        let beside = address::beside(&self.adapter, &adapters, &addresses);
        let mut drifted = Vec::new();
        for setting in sysctl::of_arp(&self.adapter, &beside) {
            drifted.extend(sysctl::drift(&setting, sysctl::read)?);
        }
        Ok(drifted)
    }

    async fn drift(&mut self) -> Result<Vec<SettingChange>, Error> {
        let adapters = self.adapters().await?;
        let addresses = self.on_networks().await?;
        let beside = address::beside(&self.adapter, &adapters, &addresses);
        let ipv6 = if self.has_ipv6 {
            Ipv6::Forwarded { hosts: sysctl::hosts_of_ipv6(adapters.iter().map(|adapter| adapter.name.as_str()))? }
        } else {
            Ipv6::Unused
        };
        let mut drifted = Vec::new();
        let needed = settings(&self.adapter, &beside, &ipv6, &sysctl::release()?);
        let ways = link::ways_of_answers(&self.adapter, &adapters, &beside);
        let hearing = if self.hears_vips { sysctl::hearing(&ways) } else { Vec::new() };
        for setting in needed.into_iter().chain(sysctl::quiet(&ways)).chain(hearing) {
            drifted.extend(sysctl::drift(&setting, sysctl::read)?);
        }
        Ok(drifted)
    }

    /// Carries out the changes; one verdict each.
    async fn change_addresses(&mut self, changes: &[Change]) -> Result<Vec<Verdict>, Error> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let Some(link) = self.routing.link(&self.adapter).await? else {
            let there: Vec<String> = self.adapters().await?.into_iter().map(|adapter| adapter.name).collect();
            return Ok(changes.iter().map(|change| change.without_adapter(&self.adapter, &there)).collect());
        };
        let requests = address::requests(changes, link.header.index);
        let answers = self.routing.change("addresses", requests).await?;
        let bound: Vec<Ipv6Addr> =
            changes.iter().zip(&answers).filter_map(|(change, answer)| change.begins(answer)).collect();
        reception::begun(&mut self.routing, link.header.index, &bound).await?;
        Ok(changes.iter().zip(answers).map(|(change, answer)| change.verdict(&self.adapter, answer)).collect())
    }

    async fn change_answers(&mut self, steps: &[HostStep]) -> answers::Outcome {
        self.answers.apply(steps, &mut self.routing).await
    }

    async fn change_marks(&mut self, steps: &[HostStep], family: Family) -> Result<(), Arc<Error>> {
        self.marks.apply(family, &marks::Wishes::of(steps, family)).await.map_err(Arc::new)
    }

    async fn change_nat(&mut self, steps: &[HostStep], family: Family) -> Result<(), Arc<Error>> {
        let wishes = nat::wishes(steps, family);
        if wishes.is_empty() {
            return Ok(());
        }
        self.nat().await?;
        let Some(nat) = &mut self.nat else { return Ok(()) };
        nat.apply(family, &wishes, &mut self.routing).await.map_err(Arc::new)
    }
}

impl Host for Linux {
    /// `accept_local` becomes one of the settings.
    fn expect_answers_from_vips(&mut self) {
        self.hears_vips = true;
    }

    async fn observe(&mut self) -> Result<HostView, Cause> {
        Ok(self.view().await?)
    }

    /// Addresses first, all in one pack, then all source NAT, all marks and all answers, each in one piece. Steps about addresses take effect
    /// in their order; of several about the source NAT of one VIP, about one mark, or about the answers of one family, the last counts.
    async fn apply(&mut self, steps: &[HostStep]) -> Vec<Verdict> {
        let changes: Vec<Change> = steps.iter().filter_map(Change::of).collect();
        let of_addresses = self.change_addresses(&changes).await.unwrap_or_else(|error| {
            let error = Arc::new(error);
            changes.iter().map(|_| shared_verdict(&error)).collect()
        });
        let of_ipv4 = self.change_nat(steps, Family::Ipv4).await;
        let of_ipv6 = self.change_nat(steps, Family::Ipv6).await;
        let marks_of_ipv4 = self.change_marks(steps, Family::Ipv4).await;
        let marks_of_ipv6 = self.change_marks(steps, Family::Ipv6).await;
        let of_answers = self.change_answers(steps).await;
        let mut of_addresses = of_addresses.into_iter();
        let verdict = |step: &HostStep| match step {
            HostStep::Bind(_) | HostStep::Unbind(_) => {
                of_addresses.next().unwrap_or_else(|| Verdict::Retry("the kernel's answer is missing".into()))
            }
            HostStep::EnableSourceNat(vip, _) | HostStep::DisableSourceNat(vip) => {
                let of_nat = match vip.family() {
                    Family::Ipv4 => &of_ipv4,
                    Family::Ipv6 => &of_ipv6,
                };
                of_nat.as_ref().map_or_else(shared_verdict, |()| Verdict::Applied)
            }
            HostStep::CatchAnswers(vip) | HostStep::ReleaseAnswers(vip) => answers::verdict(&of_answers, vip.family()),
            HostStep::Mark(rule) | HostStep::Unmark(rule) => {
                let of_marks = match rule.vip.family() {
                    Family::Ipv4 => &marks_of_ipv4,
                    Family::Ipv6 => &marks_of_ipv6,
                };
                of_marks.as_ref().map_or_else(shared_verdict, |()| Verdict::Applied)
            }
        };
        steps.iter().map(verdict).collect()
    }
}

impl Settings for Linux {
    async fn drifted_settings(&mut self) -> Result<Vec<SettingChange>, Cause> {
        Ok(self.drift().await?)
    }

    /// A setting that this kernel does not have, or no longer has because its adapter or module is gone, is passed over.
    async fn set(&mut self, name: &str, value: &str) -> Result<(), Cause> {
        Ok(sysctl::write(name, value)?)
    }

    /// Nothing, `""`, for a setting that this kernel does not have, or no longer.
    async fn get(&mut self, name: &str) -> Result<String, Cause> {
        Ok(sysctl::read(name)?.unwrap_or_default())
    }
}

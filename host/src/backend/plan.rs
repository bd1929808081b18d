// SPDX-License-Identifier: Apache-2.0
//! The way from what is found on a backend's host to what is wished. Pure.
//!
//! ```text
//!  build      slb0 ▶ what was there before, on it ▶ ARP settings ▶ tunnels ▶ what fits ▶ GUE port ▶ VIPs
//!  take down  VIPs ▶ GUE port ▶ tunnels ▶ ARP settings ▶ what was there before ▶ slb0
//! ```
//! A VIP comes when ARP is restrained and goes before it is not: the host never answers for one.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use slb_core::ports::SettingChange;

use super::{
    clamp::{self, Clamp, Clamps},
    device::Device,
    error::Error,
    record::Record,
    step::{Kind, SIT, Step, filter_of},
    wish::{Family, Tunnel, Wish},
};
use crate::sysctl::{self, ALL_ANNOUNCE, ALL_IGNORE, ARP_ANNOUNCE, ARP_IGNORE, Need, Setting, drift};

/// Whether the kernel makes devices like `tunl0` of its own accord when it loads the module of a tunnel (`net_has_fallback_tunnels`):
/// with 2, never. So that nothing of them is left behind.
pub(super) const FALLBACK: &str = "net.core.fb_tunnels_only_for_init_net";
const NO_FALLBACK: &str = "2";
const IGNORE: &str = "The host must not answer ARP for its VIPs: the load-balancer does.";
const ANNOUNCE: &str = "The host must not claim a VIP in its own ARP requests.";

/// What there is on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) adapters: Vec<FoundAdapter>,
    pub(super) addresses: Vec<FoundAddress>,
    /// The ports that GUE packets are taken at.
    pub(super) ports: BTreeSet<(Family, u16)>,
    /// What is clamped, and by what program, as far as that can be.
    pub(super) clamps: BTreeMap<Family, Clamps>,
    /// As much as can be needed.
    pub(super) settings: BTreeMap<String, String>,
}

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FoundAdapter {
    pub(super) name: String,
    pub(super) alias: Option<String>,
    pub(super) is_up: bool,
    pub(super) has_arp: bool,
    pub(super) mtu: Option<u32>,
}

/// An address and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundAddress {
    pub(super) adapter: String,
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// If one of these fails, those before are taken back.
    pub(super) build: Vec<Kind>,
    /// If one of these fails, the rest is left for another try.
    pub(super) take_down: Vec<Kind>,
    /// Whether clients cannot be told how much fits into the tunnel.
    pub(super) is_unclamped: bool,
}

impl Plan {
    /// The steps, each of which prints as a command.
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        self.build.iter().chain(&self.take_down).cloned().map(Step)
    }

    /// Whether clients cannot be told how much fits into the tunnel, because there is no iptables.
    #[must_use]
    pub fn is_unclamped(&self) -> bool {
        self.is_unclamped
    }

    /// Whether all is as wished.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.build.is_empty() && self.take_down.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps().try_for_each(|step| writeln!(f, "{step}"))
    }
}

/// The settings that the wish needs.
pub(super) fn settings(wish: &Wish) -> Vec<Setting> {
    let setting = |name: String, need, reason| Setting { name, need, reason };
    if !wish.has(Family::V4) {
        return Vec::new();
    }
    if wish.adapters.is_empty() {
        return vec![
            setting(ALL_IGNORE.to_owned(), Need::OneOf(ARP_IGNORE), IGNORE),
            setting(ALL_ANNOUNCE.to_owned(), Need::OneOf(ARP_ANNOUNCE), ANNOUNCE),
        ];
    }
    wish.adapters.iter().flat_map(|name| [sysctl::ignore(name, IGNORE), sysctl::announce(name, ANNOUNCE)]).collect()
}

/// The settings whose values are needed.
pub(super) fn interesting(wish: &Wish, record: &Record) -> BTreeSet<String> {
    let wanted = settings(wish).into_iter().map(|setting| setting.name);
    let always = [ALL_IGNORE, ALL_ANNOUNCE, FALLBACK].map(str::to_owned);
    let filters = Device::tunnels(wish).map(filter_of);
    wanted.chain(always).chain(filters).chain(record.settings.keys().cloned()).collect()
}

/// The steps from what is found to what is wished; none if it is so.
///
/// # Errors
/// Something of somebody else's is in the way.
pub(super) fn plan(wish: &Wish, found: &Found) -> Result<Plan, Error> {
    let before = found.record()?;
    let wanted = Wanted::of(wish, found);
    let known = before.clone().unwrap_or_default();
    check(wish, found, &known, &wanted)?;
    let lacks = |family| wish.has(family) && !found.clamps.contains_key(&family);
    let is_unclamped = wish.tunnel.is_some() && (lacks(Family::V4) || lacks(Family::V6));
    let mut plan = Plan { is_unclamped, ..Plan::default() };
    let needed = settings(wish);
    let drifted = drifted(&needed, &known, found)?;
    // What is left in the end, and what has to be remembered on the way there.
    let after = wanted.record(&known, &drifted, found, &needed);
    let mut during = after.clone();
    during.settings.extend(known.settings.clone());
    during.sit_was_down |= known.sit_was_down;
    during.ports.extend(&known.ports);
    during.is_clamped |= known.is_clamped;
    let new_tunnels: Vec<Device> = wanted.tunnels.iter().copied().filter(|device| !found.has(device.name())).collect();
    let fallback = found.settings.get(FALLBACK).filter(|value| !new_tunnels.is_empty() && *value != NO_FALLBACK);
    if let Some(value) = fallback {
        during.settings.entry(FALLBACK.to_owned()).or_insert_with(|| value.clone());
    }
    if !during.fits() {
        return Err(Error::TooManyAdapters);
    }

    let mut noted = known.clone();
    if !wish.vips.is_empty() {
        if before.is_none() {
            plan.build.push(Kind::Add(Device::Vips));
        }
        if before.as_ref() != Some(&during) {
            plan.build.push(Kind::Note { from: known.clone(), to: during.clone() });
            noted = during;
        }
    }
    plan.build.extend(drifted.into_iter().map(Kind::Set));
    plan.build.extend(fallback.map(|value| set(FALLBACK, value, NO_FALLBACK)));
    plan.build.extend(new_tunnels.into_iter().map(Kind::Add));
    plan.build.extend(fallback.map(|value| set(FALLBACK, NO_FALLBACK, value)));
    plan.build.extend((wanted.sit_up && !found.is_up(SIT)).then_some(Kind::Up));
    plan.build.extend(wanted.loosened(found).map(Kind::Loosen));
    for (family, Clamps { program, set }) in &found.clamps {
        let missing = wanted.clamps(*family).difference(set);
        plan.build.extend(missing.map(|clamp| Kind::Clamp(program.clone(), *clamp)));
    }
    let listened = wanted.ports.difference(&found.ports);
    plan.build.extend(listened.map(|(family, port)| Kind::Listen(*family, *port)));
    let has = |(vip, device): &(IpAddr, Device)| found.has_address(device.name(), *vip);
    plan.build.extend(wanted.addresses.iter().filter(|at| !has(at)).map(|(vip, device)| Kind::Bind(*vip, *device)));

    if before.is_some() {
        plan.take_down = surplus(found, &known, &wanted);
        let returned = known.settings.iter().filter(|(name, _)| !after.settings.contains_key(*name));
        plan.take_down.extend(returned.filter_map(|(name, value)| give_back(name, value, found)));
        plan.take_down.extend(wish.vips.is_empty().then_some(Kind::Delete(Device::Vips)));
    }
    if !wish.vips.is_empty() && noted != after {
        plan.take_down.push(Kind::Note { from: noted, to: after });
    }
    Ok(plan)
}

/// What slb made before and is not wanted any more.
fn surplus(found: &Found, known: &Record, wanted: &Wanted) -> Vec<Kind> {
    let stays = |device: &Device| *device == Device::Vips || wanted.tunnels.contains(device);
    let addresses = found.ours().filter(|at| !wanted.addresses.contains(at) && stays(&at.1));
    let addresses = addresses.map(|(vip, device)| Kind::Unbind(vip, device));
    let clamps = found.clamps.iter().flat_map(|(family, Clamps { program, set })| {
        set.difference(wanted.clamps(*family)).map(|clamp| Kind::Unclamp(program.clone(), *clamp))
    });
    let ports = known.ports.difference(&wanted.ports).filter(|port| found.ports.contains(port));
    let ports = ports.map(|(family, port)| Kind::Close(*family, *port));
    let is_idle = |device: &Device| found.has(device.name()) && !wanted.tunnels.contains(device);
    let tunnels = Device::TUNNELS.into_iter().filter(is_idle).map(Kind::Delete);
    let sit = (known.sit_was_down && !wanted.sit_up && found.is_up(SIT)).then_some(Kind::Down);
    addresses.chain(clamps).chain(ports).chain(tunnels).chain(sit).collect()
}

/// Who else changed a setting since has reasons: only slb's own value is taken back.
fn give_back(name: &str, value: &str, found: &Found) -> Option<Kind> {
    let ours = if name == FALLBACK || name.ends_with("arp_announce") { "2" } else { "1" };
    let is = found.settings.get(name)?;
    (is == ours && is != value).then(|| set(name, is, value))
}

fn set(name: &str, from: &str, to: &str) -> Kind {
    Kind::Set(SettingChange { name: name.to_owned(), from: from.to_owned(), to: to.to_owned() })
}

/// The settings that will not be as needed, once those are given back that are not needed any more.
fn drifted(needed: &[Setting], known: &Record, found: &Found) -> Result<Vec<SettingChange>, Error> {
    let is_needed = |name: &str| needed.iter().any(|setting| setting.name == name);
    let read = |name: &str| {
        let returned = known.settings.get(name).filter(|_| !is_needed(name));
        let given_back = returned.filter(|value| give_back(name, value, found).is_some());
        Ok(given_back.or_else(|| found.settings.get(name)).cloned())
    };
    let mut drifted = Vec::new();
    for setting in needed {
        drifted.extend(drift(setting, read)?);
    }
    Ok(drifted)
}

/// What is to be there.
struct Wanted {
    tunnels: BTreeSet<Device>,
    /// Whether the kernel's own device takes IPv6 in IPv4.
    sit_up: bool,
    ports: BTreeSet<(Family, u16)>,
    clamps: BTreeMap<Family, BTreeSet<Clamp>>,
    addresses: BTreeSet<(IpAddr, Device)>,
}

static NONE: BTreeSet<Clamp> = BTreeSet::new();

impl Wanted {
    fn of(wish: &Wish, found: &Found) -> Self {
        let mut tunnels: BTreeSet<Device> = Device::tunnels(wish).collect();
        // Beside the kernel's own there can be no other.
        let sit_up = found.has(SIT) && tunnels.remove(&Device::Sit);
        let ports = match wish.tunnel {
            Some(Tunnel::Gue(port)) => wish.over.iter().map(|family| (*family, port.get())).collect(),
            None | Some(Tunnel::Ipip | Tunnel::Gre) => BTreeSet::new(),
        };
        let on_dummy = wish.vips.iter().map(|vip| (*vip, Device::Vips));
        // The kernel takes nothing from a device without an IPv4 address whose sender is reached another way (`fib_validate_source`).
        let takers = tunnels.iter().copied().filter(|device| device.takes_ipv4());
        let on_tunnels = takers.flat_map(|device| wish.of_family(Family::V4).map(move |vip| (vip, device)));
        let addresses = on_dummy.chain(on_tunnels).collect();
        let mtu = found.outside(wish);
        let clamped = found.clamps.keys().map(|family| (*family, clamp::wanted(wish, *family, mtu)));
        Self { tunnels, sit_up, ports, clamps: clamped.collect(), addresses }
    }

    fn clamps(&self, family: Family) -> &BTreeSet<Clamp> {
        self.clamps.get(&family).unwrap_or(&NONE)
    }

    /// The devices whose filter has to be less strict.
    fn loosened(&self, found: &Found) -> impl Iterator<Item = Device> {
        let is_strict = |device: &Device| found.settings.get(&filter_of(*device)).is_none_or(|value| value != "2");
        self.tunnels.iter().copied().filter(|device| device.takes_ipv4()).filter(is_strict)
    }

    /// What is to be remembered as long as the wish lasts.
    fn record(&self, known: &Record, drifted: &[SettingChange], found: &Found, needed: &[Setting]) -> Record {
        let first = drifted.iter().map(|change| (change.name.clone(), change.from.clone()));
        let mut settings: BTreeMap<String, String> = first.collect();
        let kept = known.settings.iter().filter(|(name, _)| needed.iter().any(|setting| setting.name == **name));
        settings.extend(kept.map(|(name, value)| (name.clone(), value.clone())));
        let sit_was_down = self.sit_up && (known.sit_was_down || !found.is_up(SIT));
        let is_clamped = self.clamps.values().any(|clamps| !clamps.is_empty());
        Record { settings, sit_was_down, is_clamped, ports: self.ports.clone() }
    }
}

impl Found {
    /// What slb wrote down; `None` if it has not been here.
    fn record(&self) -> Result<Option<Record>, Error> {
        let Some(device) = self.adapter(Device::Vips.name()) else {
            let stranger = Device::TUNNELS.into_iter().find(|device| self.has(device.name()));
            return stranger.map_or(Ok(None), |device| Err(Error::Foreign(device.name())));
        };
        let record = device.alias.as_deref().and_then(Record::parse);
        record.map(Some).ok_or(Error::Foreign(Device::Vips.name()))
    }

    fn adapter(&self, name: &str) -> Option<&FoundAdapter> {
        self.adapters.iter().find(|adapter| adapter.name == name)
    }

    fn has(&self, name: &str) -> bool {
        self.adapter(name).is_some()
    }

    /// The smallest MTU of the adapters that tunnels may come by.
    fn outside(&self, wish: &Wish) -> Option<u32> {
        let is_one = |adapter: &&FoundAdapter| match wish.adapters.is_empty() {
            true => adapter.has_arp && adapter.is_up,
            false => wish.adapters.contains(&adapter.name),
        };
        self.adapters.iter().filter(is_one).filter_map(|adapter| adapter.mtu).min()
    }

    fn is_up(&self, name: &str) -> bool {
        self.adapter(name).is_some_and(|adapter| adapter.is_up)
    }

    fn has_address(&self, adapter: &str, address: IpAddr) -> bool {
        self.addresses.iter().any(|found| found.adapter == adapter && found.address == address)
    }

    /// The addresses that slb put on its devices. The kernel has put others there.
    fn ours(&self) -> impl Iterator<Item = (IpAddr, Device)> {
        let device = |name: &str, address: IpAddr| match address {
            IpAddr::V6(address) => {
                (name == Device::Vips.name() && !address.is_unicast_link_local()).then_some(Device::Vips)
            }
            IpAddr::V4(_) => Device::TUNNELS.into_iter().chain([Device::Vips]).find(|device| device.name() == name),
        };
        self.addresses.iter().filter_map(move |found| Some((found.address, device(&found.adapter, found.address)?)))
    }
}

fn check(wish: &Wish, found: &Found, record: &Record, wanted: &Wanted) -> Result<(), Error> {
    for name in &wish.adapters {
        if !found.has(name) {
            let there = found.adapters.iter().map(|adapter| adapter.name.clone()).collect();
            return Err(Error::NoAdapter { name: name.clone(), there });
        }
    }
    let answers = |name: &str| found.adapter(name).is_some_and(|adapter| adapter.has_arp);
    for FoundAddress { adapter, address, prefix } in &found.addresses {
        if wish.vips.contains(address) && answers(adapter) {
            return Err(Error::AnsweredFor { vip: *address, prefix: *prefix, adapter: adapter.clone() });
        }
    }
    let theirs = |port: &&(Family, u16)| found.ports.contains(port) && !record.ports.contains(port);
    wanted.ports.iter().find(theirs).map_or(Ok(()), |(_, port)| Err(Error::PortTaken(*port)))
}

// SPDX-License-Identifier: Apache-2.0
//! Settings of the kernel: which slb needs, to what, and why. They are read and compared, and only then written.
//!
//! What is deliberately left alone: `rp_filter` (answers of backends come back the way the connection went out, so the strict
//! mode lets them pass), everything under `net.ipv4.conf.all` (it would change adapters that have nothing to do with slb) but for
//! `send_redirects`, where only both values together have an effect. IPv6 has no such setting: its backends must not accept redirects
//! (`net.ipv6.conf.*.accept_redirects`) where they see clients' addresses. And it has only one switch for
//! forwarding, `net.ipv6.conf.all.forwarding`; it is turned on where VIPs may be of IPv6, after `accept_ra` has been seen to.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

use slb_core::ports::SettingChange;

use crate::Error;

/// A setting that slb needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name in dotted form, as sysctl(8) prints it: dots within a name of an adapter are slashes.
    pub name: String,
    /// What slb needs it to be.
    pub need: Need,
    /// What for, in a sentence for the operator.
    pub reason: &'static str,
}

/// What a setting has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Just this.
    Exactly(u32),
    /// This or more.
    AtLeast(u32),
    /// One of these; otherwise it becomes the first. Not all that is more does more.
    OneOf(&'static [u32]),
    /// The same. The kernel goes by the larger of the adapter's own value and that of the other setting, the one for all
    /// adapters (`IN_DEV_MAXCONF`, linux/inetdevice.h).
    OneOfWith(&'static [u32], &'static str),
    /// Anything but the first, which becomes the second.
    Instead(u32, u32),
}

/// What of IPv6 is forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipv6 {
    /// Nothing that slb balances.
    Unused,
    /// Answers of backends. Forwarding is not on yet, and once it is, these adapters must take advertisements of routers all the same.
    Forwarded {
        /// Names of adapters, and `default` for those that come.
        hosts: Vec<String>,
    },
}

/// `arp_ignore`: who asks for an address of another adapter gets no answer (1), nor does who is not of its subnet (2), nor anybody (8). With 3
/// only addresses of the scope `host` are kept back, and a VIP's is `global`; with all others every address is answered for
/// (`arp_ignore`, net/ipv4/arp.c).
pub(crate) const ARP_IGNORE: &[u32] = &[1, 2, 8];
/// `arp_announce`: requests carry an address of the adapter they leave by. Above 2 they carry any, as with 0 (`arp_solicit`, net/ipv4/arp.c).
pub(crate) const ARP_ANNOUNCE: &[u32] = &[2];
pub(crate) const ALL_IGNORE: &str = "net.ipv4.conf.all.arp_ignore";
pub(crate) const ALL_ANNOUNCE: &str = "net.ipv4.conf.all.arp_announce";

const FORWARDING_IPV6: &str = "net.ipv6.conf.all.forwarding";

const ALL_ACCEPT_LOCAL: &str = "net.ipv4.conf.all.accept_local";

const HEAR: &str = "A backend that a health check asks for the VIP answers from there, and the VIP is this host's own, too: the kernel \
     would take the answer for a forgery.";
const FORWARD: &str = "Answers of backends pass through this host on their way to the client.";
const ACCEPT_RA: &str = "This host goes on to take its addresses and routes from routers' advertisements, which a host that \
     forwards IPv6 ignores by default.";
const CONNTRACK: &str = "Balanced connections are seen by connection tracking, without which they cannot be given this \
     host's source address.";
// Fixed by f0a5e4d7a594 in 5.9. Some older releases have it too; where it goes unnoticed, connections cost no time, only
// their balance.
const REUSE: &str = "A client that uses a port again is balanced anew at once. Before Linux 5.9 that cost it a second with \
     connection tracking on, so there it stays with the backend that it had.";
const NODEST: &str = "A connection to a backend that is gone ends at once. Otherwise its packets vanish until it times out, up \
     to 15 minutes, and clients that keep their port (DNS, syslog) with it.";
const QUIESCENT: &str =
    "A client that is tied to a backend of weight 0 is balanced anew. Otherwise a drained backend never empties.";
const ANNOUNCE: &str = "ARP requests carry the adapter's own address, never a VIP: routers ignore requests from outside their \
     subnet, and a VIP's neighbours must learn its place from its advertisement alone.";
const ANNOUNCE_BESIDE: &str =
    "This adapter is on the same network as the VIPs' and must not claim them in its ARP requests.";
const IGNORE_BESIDE: &str = "This adapter is on the same network as the VIPs' and must not answer for them: neighbours would learn \
     the wrong hardware address.";

const REDIRECT: &str = "Backends that see clients' addresses must go on to answer through this host. The kernel would tell them of a shorter \
     way: it drops redirects of connections that netfilter translates, and not of those that IPVS does.";

/// What keeps the kernel from telling backends of another way than through this host, if answers come and go by one of these adapters. The
/// kernel tells if either the value for all or the adapter's own is on (`IN_DEV_ORCONF`, linux/inetdevice.h): no other adapter changes.
#[must_use]
pub fn quiet(adapters: &[String]) -> Vec<Setting> {
    let setting = |name: &str| {
        let name = format!("net.ipv4.conf.{}.send_redirects", name.replace('.', "/"));
        Setting { name, need: Need::Exactly(0), reason: REDIRECT }
    };
    adapters.iter().map(String::as_str).chain(["all"]).map(setting).collect()
}

/// What lets in answers that come from an address of this host's own, if they come by one of these adapters. The kernel goes by either the
/// value for all or the adapter's own (`IN_DEV_ORCONF`); IPv6 takes them in any case.
#[must_use]
pub fn hearing(adapters: &[String]) -> Vec<Setting> {
    let setting = |name: &String| {
        let name = format!("net.ipv4.conf.{}.accept_local", name.replace('.', "/"));
        Setting { name, need: Need::OneOfWith(&[1], ALL_ACCEPT_LOCAL), reason: HEAR }
    };
    adapters.iter().map(setting).collect()
}

/// The settings that slb needs on a kernel of that release (`uname -r`). `beside` are other adapters on the same network.
#[must_use]
pub fn settings(adapter: &str, beside: &[String], ipv6: &Ipv6, release: &str) -> Vec<Setting> {
    let reuse = if is_before_5_9(release) { Need::Exactly(0) } else { Need::AtLeast(1) };
    let global = [
        ("net.ipv4.ip_forward", Need::Exactly(1), FORWARD),
        ("net.ipv4.vs.conntrack", Need::Exactly(1), CONNTRACK),
        ("net.ipv4.vs.conn_reuse_mode", reuse, REUSE),
        ("net.ipv4.vs.expire_nodest_conn", Need::Exactly(1), NODEST),
        ("net.ipv4.vs.expire_quiescent_template", Need::Exactly(1), QUIESCENT),
    ];
    let global = global.into_iter().map(|(name, need, reason)| Setting { name: name.to_owned(), need, reason });
    global.chain(of_arp(adapter, beside)).chain(of_ipv6(ipv6)).collect()
}

/// Those that keep neighbours from learning the place of a VIP by anything but its advertisement.
pub(crate) fn of_arp(adapter: &str, beside: &[String]) -> Vec<Setting> {
    let beside = beside.iter().flat_map(|name| [ignore(name, IGNORE_BESIDE), announce(name, ANNOUNCE_BESIDE)]);
    [announce(adapter, ANNOUNCE)].into_iter().chain(beside).collect()
}

/// In this order: an adapter that is not to take advertisements loses the routes it has from them at once when forwarding is turned on.
fn of_ipv6(ipv6: &Ipv6) -> Vec<Setting> {
    let Ipv6::Forwarded { hosts } = ipv6 else { return Vec::new() };
    let accept = |name: &String| Setting { name: accept_ra(name), need: Need::Instead(1, 2), reason: ACCEPT_RA };
    let forward = Setting { name: FORWARDING_IPV6.to_owned(), need: Need::Exactly(1), reason: FORWARD };
    hosts.iter().map(accept).chain([forward]).collect()
}

/// Whether an adapter takes no addresses of IPv6.
pub(crate) fn ipv6_off(adapter: &str) -> String {
    format!("net.ipv6.conf.{}.disable_ipv6", adapter.replace('.', "/"))
}

/// Whether an adapter takes advertisements of routers: 0 for no, 1 if it does not forward, 2 for yes.
fn accept_ra(adapter: &str) -> String {
    format!("net.ipv6.conf.{}.accept_ra", adapter.replace('.', "/"))
}

/// The adapters that forwarding must not keep from taking advertisements of routers; none once forwarding is on, since then whoever still
/// takes them has been told to.
pub(crate) fn hosts_of_ipv6<'a>(adapters: impl Iterator<Item = &'a str>) -> Result<Vec<String>, Error> {
    if read(FORWARDING_IPV6)?.as_deref() != Some("0") {
        return Ok(Vec::new());
    }
    Ok(["default"].into_iter().chain(adapters).map(str::to_owned).collect())
}

/// That an adapter answers ARP for no address of another.
pub(crate) fn ignore(adapter: &str, reason: &'static str) -> Setting {
    let name = format!("net.ipv4.conf.{}.arp_ignore", adapter.replace('.', "/"));
    Setting { name, need: Need::OneOfWith(ARP_IGNORE, ALL_IGNORE), reason }
}

/// That an adapter's ARP requests carry no address of another.
pub(crate) fn announce(adapter: &str, reason: &'static str) -> Setting {
    let name = format!("net.ipv4.conf.{}.arp_announce", adapter.replace('.', "/"));
    Setting { name, need: Need::OneOfWith(ARP_ANNOUNCE, ALL_ANNOUNCE), reason }
}

fn is_before_5_9(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (5, 9),
        // An unreadable release is more likely new than old.
        _ => false,
    }
}

/// The change that the setting needs, if any. `read` gives a setting's value, `None` for one that this kernel does not have.
///
/// # Errors
/// What `read` says; [`Error::Overruled`].
pub(crate) fn drift(
    setting: &Setting,
    mut read: impl FnMut(&str) -> Result<Option<String>, Error>,
) -> Result<Option<SettingChange>, Error> {
    let Some(from) = read(&setting.name)? else { return Ok(None) };
    let number = |text: &str| text.parse::<i64>().ok();
    let (is_fine, to) = match setting.need {
        Need::Exactly(value) => (number(&from) == Some(value.into()), value),
        Need::AtLeast(value) => (number(&from) >= Some(value.into()), value),
        Need::Instead(of, value) => (number(&from) != Some(of.into()), value),
        Need::OneOf(values) => (is_one_of(values, number(&from)), first(values)),
        Need::OneOfWith(values, all) => {
            let of_all = read(all)?.and_then(|all| number(&all));
            let is_fine = is_one_of(values, number(&from).max(of_all));
            if !is_fine && !is_one_of(values, of_all.max(Some(first(values).into()))) {
                let value = of_all.unwrap_or_default();
                return Err(Error::Overruled { name: setting.name.clone(), all, value, values });
            }
            (is_fine, first(values))
        }
    };
    let change = || SettingChange { name: setting.name.clone(), from: from.clone(), to: to.to_string() };
    Ok((!is_fine).then(change))
}

fn is_one_of(values: &[u32], number: Option<i64>) -> bool {
    values.iter().any(|value| number == Some(i64::from(*value)))
}

fn first(values: &[u32]) -> u32 {
    values.first().copied().unwrap_or_default()
}

/// The kernel's release, as `uname -r` says it.
pub(crate) fn release() -> Result<String, Error> {
    Ok(read("kernel.osrelease")?.unwrap_or_default())
}

/// Reads a setting, trimmed; `None` if this kernel does not have it.
pub(crate) fn read(name: &str) -> Result<Option<String>, Error> {
    match fs::read_to_string(path(name)?) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::ReadSetting { name: name.to_owned(), source }),
    }
}

/// Gives a setting a value. One that this kernel does not have, or no longer, has none to give: its adapter or module is gone.
pub(crate) fn write(name: &str, value: &str) -> Result<(), Error> {
    let path = path(name)?;
    // Nothing is created: in /proc that would be refused with another error than "not found".
    let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(value.as_bytes()));
    match written {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::WriteSetting { name: name.to_owned(), value: value.to_owned(), source }),
        Ok(()) => Ok(()),
    }
}

/// Dots and slashes change places, as in sysctl(8). Names come from the store too, so nothing may lead out of /proc/sys.
fn path(name: &str) -> Result<PathBuf, Error> {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = name.chars().map(swap).collect();
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    if path.split('/').all(is_plain) {
        Ok(PathBuf::from("/proc/sys").join(path))
    } else {
        Err(Error::SettingName(name.to_owned()))
    }
}

#[cfg(test)]
mod tests;

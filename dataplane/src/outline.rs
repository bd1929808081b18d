// SPDX-License-Identifier: Apache-2.0
//! What services look like, in less time than it takes to ask for each: by their [entries](crate::entries), or, where there are some of IPv6, by the
//! kernel's short list, `/proc/net/ip_vs`. Nothing is taken from either but whether a service looks as it did before.
//!
//! Entries have all that can be asked for but encapsulation, and the name of a persistence engine; what has destinations of IPv6 never looks as before. The list has addresses, ports, schedulers,
//! persistence, forwarding and weights, and counters, which are left out here; what changes of limits or options of schedulers alone is not to be
//! seen in it (`ip_vs_info_seq_show` in net/netfilter/ipvs/ip_vs_ctl.c). The kernel begins anew for each page of it, so that twice as many services
//! take four times as long.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fs::File,
    hash::{DefaultHasher, Hasher},
    io::{self, BufRead, BufReader},
    net::{IpAddr, Ipv4Addr},
};

use slb_core::model::{Endpoint, Family, Mark, Port, Protocol, ServiceKey, Vip};
use tokio::task::yield_now;

use crate::entries::Entries;

/// Of the network namespace of the calling thread.
const PATH: &str = "/proc/thread-self/net/ip_vs";
/// Lines that are read before others get their turn.
const TURN: usize = 1_024;
/// Up to one service of so many is asked for by itself, which takes longer than among all.
pub const MANY: usize = 4;
/// Active and inactive connections, at the end of a destination's line.
const COUNTERS: usize = 2;

/// What all services that slb could have made look like, as numbers that differ where the look does; `None` where that cannot be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline(Vec<(ServiceKey, Option<u64>)>);

/// What was seen of an outline.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    /// In order. Whose each is needs no saying, since it is made of what tells one from another.
    all: Vec<u64>,
    forgotten: BTreeSet<ServiceKey>,
}

impl From<Vec<u64>> for Looks {
    fn from(mut all: Vec<u64>) -> Self {
        all.sort_unstable();
        Self { all, forgotten: BTreeSet::new() }
    }
}

impl Looks {
    /// How many services there were.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whatever the service looks like later is something else. Of more than one of [`MANY`] services that need not be remembered: then
    /// all are asked for anyway.
    pub fn forget(&mut self, key: ServiceKey) {
        if self.forgotten.len() < self.all.len() / MANY {
            self.forgotten.insert(key);
        } else {
            *self = Self::default();
        }
    }

    fn has(&self, key: ServiceKey, look: u64) -> bool {
        self.all.binary_search(&look).is_ok() && !self.forgotten.contains(&key)
    }
}

impl Outline {
    /// By the entries of services, which are all of IPv4.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn of(mut entries: Entries) -> io::Result<Self> {
        let mut found = Vec::with_capacity(entries.len());
        while let Some(entry) = entries.next().await? {
            found.extend(entry.key.map(|key| (key, entry.look)));
        }
        Ok(Self(found))
    }

    /// By the kernel's list. Room is made for `about` so many services.
    ///
    /// # Errors
    /// There is no such list, or it cannot be read.
    pub async fn read(about: usize) -> io::Result<Self> {
        let mut lines = BufReader::with_capacity(64 << 10, File::open(PATH)?);
        let (mut reader, mut line) = (Reader { found: Vec::with_capacity(about), ..Reader::default() }, Vec::new());
        for number in 1.. {
            line.clear();
            if lines.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            reader.take(&line);
            if number % TURN == 0 {
                yield_now().await;
            }
        }
        Ok(reader.end())
    }

    /// Which services there are, and whether each looks as it was seen.
    pub fn compared<'a>(&'a self, seen: &'a Looks) -> impl Iterator<Item = (ServiceKey, bool)> + 'a {
        self.0.iter().map(|(key, look)| (*key, look.is_some_and(|look| seen.has(*key, look))))
    }

    /// How many services there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What there is to keep of it.
    pub fn looks(&self) -> Looks {
        self.0.iter().filter_map(|(_, look)| *look).collect::<Vec<_>>().into()
    }
}

/// Takes lines, one after the other.
#[derive(Default)]
struct Reader {
    found: Vec<(ServiceKey, u64)>,
    /// The service whose lines these are, in all families that it may be of.
    keys: Vec<ServiceKey>,
    look: DefaultHasher,
}

impl Reader {
    fn take(&mut self, line: &[u8]) {
        let line = line.trim_ascii_end();
        if line.starts_with(b"  ") {
            self.look.write(without_counters(line));
        } else {
            self.end_service();
            self.keys = keys(line);
            self.look.write(line);
        }
        self.look.write_u8(b'\n');
    }

    fn end_service(&mut self) {
        let look = std::mem::take(&mut self.look).finish();
        self.found.extend(self.keys.drain(..).map(|key| (key, look)));
    }

    fn end(mut self) -> Outline {
        self.end_service();
        self.found.sort_unstable();
        // A mark may be there for both families, and the list does not say which is which.
        self.found.dedup_by(|(key, look), (same, both)| {
            let is_same = key == same;
            if is_same {
                *both = both.wrapping_mul(31).wrapping_add(*look);
            }
            is_same
        });
        Outline(self.found.into_iter().map(|(key, look)| (key, Some(look))).collect())
    }
}

fn without_counters(line: &[u8]) -> &[u8] {
    let mut rest = line;
    for _ in 0..COUNTERS {
        let end = rest.iter().rposition(|byte| *byte == b' ').unwrap_or_default();
        rest = rest.get(..end).unwrap_or_default().trim_ascii_end();
    }
    rest
}

/// What tells a service from others, by the line it begins with; nothing for headings and for what slb never makes.
fn keys(line: &[u8]) -> Vec<ServiceKey> {
    let Ok(line) = str::from_utf8(line) else { return Vec::new() };
    let mut words = line.split_ascii_whitespace();
    let (Some(kind), Some(id)) = (words.next(), words.next()) else { return Vec::new() };
    if kind == "FWM" {
        let mark = u32::from_str_radix(id, 16).ok().and_then(|mark| Mark::try_from(mark).ok());
        let of = |mark| [Family::Ipv4, Family::Ipv6].map(|family| ServiceKey::Mark(family, mark));
        return mark.map(of).into_iter().flatten().collect();
    }
    endpoint(kind, id).map(ServiceKey::from).into_iter().collect()
}

/// `TCP`, and `C0A80055:192B` or `[fd00:0000:0000:0000:0000:0000:0000:0055]:192B`.
fn endpoint(protocol: &str, id: &str) -> Option<Endpoint> {
    let protocol = match protocol {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => return None,
    };
    let (address, port) = id.rsplit_once(':')?;
    let address: IpAddr = match address.strip_prefix('[').and_then(|address| address.strip_suffix(']')) {
        Some(address) => IpAddr::V6(address.parse().ok()?),
        None => Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?).into(),
    };
    let port = Port::try_from(i64::from(u16::from_str_radix(port, 16).ok()?)).ok()?;
    Some(Endpoint { vip: Vip::try_from(address).ok()?, port, protocol })
}

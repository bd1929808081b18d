// SPDX-License-Identifier: Apache-2.0
//! The kernel's short list of its services, `/proc/net/ip_vs`: in one piece, and in a tenth of the time that asking for each takes.
//!
//! It has addresses, ports, schedulers, persistence, forwarding and weights, and counters, which are left out here. It has no limits, no
//! options of schedulers and no encapsulation: what changes of those alone is not to be seen in it. So nothing is taken from it but
//! whether a service looks as it did before (`ip_vs_info_seq_show` in net/netfilter/ipvs/ip_vs_ctl.c).

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    hash::{DefaultHasher, Hasher},
    io::{self, BufRead, BufReader},
    net::{IpAddr, Ipv4Addr},
};

use slb_core::model::{Endpoint, Family, Mark, Port, Protocol, ServiceKey, Vip};
use tokio::task::yield_now;

/// Of the network namespace of the calling thread.
const PATH: &str = "/proc/thread-self/net/ip_vs";
/// Lines that are read before others get their turn.
const TURN: usize = 1_024;
/// The look of what looks like nothing that is seen later.
const FORGOTTEN: u64 = 0;
/// Active and inactive connections, at the end of a destination's line.
const COUNTERS: usize = 2;

/// What all services that slb could have made look like, as numbers that differ where the look does. In order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline(Vec<(ServiceKey, u64)>);

impl Outline {
    /// As it is now. Room is made for `about` so many services.
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

    /// Which services there are, and whether each looks as in that other outline.
    pub fn compared<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (ServiceKey, bool)> + 'a {
        let mut others = other.0.iter().peekable();
        self.0.iter().map(move |service| {
            let (key, look) = *service;
            while others.next_if(|(other, _)| *other < key).is_some() {}
            (key, look != FORGOTTEN && others.peek() == Some(&service))
        })
    }

    /// How many services there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// From now on the service looks like nothing that is seen later.
    pub fn forget(&mut self, key: ServiceKey) {
        if let Ok(at) = self.0.binary_search_by_key(&key, |(key, _)| *key)
            && let Some((_, look)) = self.0.get_mut(at)
        {
            *look = FORGOTTEN;
        }
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
        self.found.shrink_to_fit();
        Outline(self.found)
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

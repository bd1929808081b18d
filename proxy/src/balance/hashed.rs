// SPDX-License-Identifier: Apache-2.0
//! Schedulers that look at the client: `sh` and `mh`, with the kernel's hashes and tables (ip_vs_sh.c, ip_vs_mh.c), so that a node in
//! user space and one with IPVS send a client to the same backend. For the same reason tables are filled newest first, as in the kernel.

use std::net::{IpAddr, SocketAddr};

use slb_core::model::SchedulerFlags;

use super::{Destination, Method, rounds::gcd_of};

/// `IP_VS_SH_TAB_BITS`: 256 places.
const SH_BITS: u32 = 8;
/// `GOLDEN_RATIO_32` of linux/hash.h.
const GOLDEN_RATIO: u32 = 0x61c8_8647;
/// `IP_VS_MH_TAB_SIZE` of a kernel that is not configured otherwise.
const MH_SIZE: u32 = 4093;
/// `IP_VS_MH_TAB_BITS` of the same: no destination has more turns in a row.
const MH_BITS: u32 = 6;
/// `hash1` and `hash2`: for places, and for how far apart they are. Both halves of a key are alike.
const MH_PLACE: u64 = 2_654_435_761;
const MH_SKIP: u64 = 2_654_446_892;

/// Which destination each hash stands for.
#[derive(Debug, Default)]
pub enum Table {
    /// None is needed.
    #[default]
    None,
    /// Of `sh`. Empty without destinations.
    Sh(Vec<usize>),
    /// Of `mh`. Empty if no destination has ever had a weight.
    Mh(Vec<usize>),
}

impl Table {
    /// The scheduler's, if it has one.
    pub fn of<H>(method: Method, destinations: &[Destination<H>]) -> Self {
        match method {
            Method::Sh => Self::Sh(sh_table(destinations)),
            Method::Mh => Self::Mh(mh_table(destinations)),
            Method::Rr | Method::Wrr | Method::Lc | Method::Wlc => Self::None,
        }
    }

    /// The place of the client's destination, if it takes connections. Others are looked for if the flag `fallback` says so, or
    /// `anyway`.
    pub fn choose(
        &self,
        client: SocketAddr,
        flags: SchedulerFlags,
        anyway: bool,
        is_available: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let port = if flags.port { client.port() } else { 0 };
        let base = u32::from(port).wrapping_add(folded(client.ip()));
        let (table, hash): (_, fn(u32, u32) -> u32) = match self {
            Self::None => return None,
            Self::Sh(table) => (table, sh_hash),
            Self::Mh(table) => (table, mh_hash),
        };
        let size = u32::try_from(table.len()).ok()?;
        let at = |offset: u32| table.get(usize::try_from(hash(base, offset)).ok()?).copied();
        let first = at(0)?;
        if is_available(first) {
            return Some(first);
        }
        if !flags.fallback && !anyway {
            return None;
        }
        let start = hash(base, 0);
        (0..size).filter_map(|offset| at((offset + start) % size)).find(|index| is_available(*index))
    }
}

/// In host order; of IPv6, the exclusive or of four words.
fn folded(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [96, 64, 32, 0]
                .into_iter()
                .fold(0, |fold, shift| fold ^ u32::try_from(bits >> shift & 0xffff_ffff).unwrap_or(0))
        }
    }
}

fn sh_hash(base: u32, offset: u32) -> u32 {
    let hash = base.wrapping_mul(GOLDEN_RATIO) >> (32 - SH_BITS);
    offset.wrapping_add(hash) & ((1 << SH_BITS) - 1)
}

fn mh_hash(base: u32, offset: u32) -> u32 {
    siphash(base.wrapping_add(offset), MH_PLACE) % MH_SIZE
}

/// Each destination in turn has as many places as its weight; without a weight, one.
fn sh_table<H>(destinations: &[Destination<H>]) -> Vec<usize> {
    let places =
        |(index, each): (usize, &Destination<H>)| std::iter::repeat_n(index, usize::from(each.weight()).max(1));
    destinations.iter().enumerate().rev().flat_map(places).cycle().take(1 << SH_BITS).collect()
}

/// Maglev: each destination takes the next place of its own order that is free, as many in a row as it has turns.
fn mh_table<H>(destinations: &[Destination<H>]) -> Vec<usize> {
    struct Taker {
        index: usize,
        next: u32,
        skip: u32,
        turns: u32,
    }
    let weight = |each: &Destination<H>| u32::from(each.last_weight);
    let divisor = gcd_of(destinations.iter().map(weight));
    if divisor == 0 {
        return Vec::new();
    }
    let highest = destinations.iter().map(weight).max().unwrap_or_default() / divisor;
    let shift = (u32::BITS - highest.leading_zeros()).saturating_sub(MH_BITS);
    let mut takers: Vec<Taker> = destinations
        .iter()
        .enumerate()
        .rev()
        .map(|(index, each)| {
            let base =
                folded(each.target.ip.address()).wrapping_add(each.target.port.map_or(0, |port| port.get().into()));
            Taker {
                index,
                next: siphash(base, MH_PLACE) % MH_SIZE,
                skip: siphash(base, MH_SKIP) % (MH_SIZE - 1) + 1,
                turns: ((weight(each) / divisor) >> shift).max(u32::from(weight(each) != 0)),
            }
        })
        .collect();
    let mut table: Vec<Option<usize>> = vec![None; MH_SIZE as usize];
    let mut free = table.len();
    while free > 0 {
        for taker in &mut takers {
            for _ in 0..taker.turns {
                if free == 0 {
                    break;
                }
                // Ends: a place is free, and the size is prime, so the order meets every place.
                while let Some(place) = table.get_mut(taker.next as usize) {
                    if place.is_none() {
                        *place = Some(taker.index);
                        free -= 1;
                        break;
                    }
                    taker.next = (taker.next + taker.skip) % MH_SIZE;
                }
            }
        }
    }
    table.into_iter().flatten().collect()
}

/// SipHash-1-3 of four bytes, the lower half: `hsiphash` on machines of 64 bits.
fn siphash(word: u32, key: u64) -> u32 {
    let mut v = [
        key ^ 0x736f_6d65_7073_6575,
        key ^ 0x646f_7261_6e64_6f6d,
        key ^ 0x6c79_6765_6e65_7261,
        key ^ 0x7465_6462_7974_6573,
    ];
    let block = 4 << 56 | u64::from(word);
    v[3] ^= block;
    sip_round(&mut v);
    v[0] ^= block;
    v[2] ^= 0xff;
    (0..3).for_each(|_| sip_round(&mut v));
    let hash = v[0] ^ v[1] ^ v[2] ^ v[3];
    u32::try_from(hash & 0xffff_ffff).unwrap_or(0)
}

fn sip_round(v: &mut [u64; 4]) {
    let [a, b, c, d] = v;
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only SipHash-1-3 in the standard library has a key of zeroes.
    #[test]
    fn siphash_is_what_others_compute() {
        use std::hash::{DefaultHasher, Hasher};
        for word in [0, 1, 0xc0a8_0055, u32::MAX] {
            let mut hasher = DefaultHasher::new();
            hasher.write(&word.to_le_bytes());
            assert_eq!(u64::from(siphash(word, 0)), hasher.finish() & 0xffff_ffff, "{word:#x}");
        }
    }

    #[test]
    fn addresses_are_folded_as_in_the_kernel() {
        assert_eq!(folded("192.168.0.85".parse().unwrap()), 0xc0a8_0055);
        assert_eq!(folded("1:2:3:4:5:6:7:8".parse().unwrap()), 0x1_0002 ^ 0x3_0004 ^ 0x5_0006 ^ 0x7_0008);
    }
}

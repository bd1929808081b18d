// SPDX-License-Identifier: Apache-2.0
//! How long the segments may be that clients send into a tunnel.
//!
//! A client believes the backend's SYN: `mss` in it is how much the backend takes at once, by the MTU of its adapter. What the load-balancer
//! wraps has to be shorter. It says so by ICMP, which many a firewall on the way drops: uploads then stand still. The SYN goes to the client
//! directly, so only the backend's host can write the right number into it. That takes a rule of iptables, whichever kind there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::wish::{Family, Tunnel, Wish};
use crate::{
    nat::{Drivers, SourceNat},
    program,
};

/// By what a rule shows that it is slb's.
const MARK: &str = "slb backend";
/// What an adapter whose MTU is not known takes: Ethernet.
const USUAL_MTU: u32 = 1500;
/// A TCP header without options (RFC 9293, section 3.1).
const TCP: u32 = 20;
/// UDP, GUE and its option for a remote checksum, the longest that the kernel's IPVS writes.
const GUE: u32 = 8 + 4 + 8;
/// GRE with a checksum.
const GRE: u32 = 8;

/// A VIP and the longest segment.
pub(super) type Clamp = (IpAddr, u16);

/// What there is to clamp with, and what is clamped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clamps {
    /// `iptables`, or what it is called.
    pub(super) program: String,
    pub(super) set: BTreeSet<Clamp>,
}

/// The wished VIPs of a family, and what fits into the tunnel if its outside is of that MTU; none without a tunnel.
pub(super) fn wanted(wish: &Wish, family: Family, mtu: Option<u32>) -> BTreeSet<Clamp> {
    let header = |family: &Family| if *family == Family::V4 { 20 } else { 40 };
    let Some(tunnel) = wish.tunnel else { return BTreeSet::new() };
    let wrapping = match tunnel {
        Tunnel::Ipip => 0,
        Tunnel::Gre => GRE,
        Tunnel::Gue(_) => GUE,
    };
    let outside = wish.over.iter().map(header).max().unwrap_or_default() + wrapping;
    let room = mtu.unwrap_or(USUAL_MTU).saturating_sub(outside + header(&family) + TCP);
    let length = u16::try_from(room).unwrap_or(u16::MAX);
    wish.of_family(family).map(|vip| (vip, length)).collect()
}

/// The rule of iptables(8), as iptables-save(8) prints it but for the chain.
pub(super) fn rule((vip, length): Clamp) -> String {
    let bits = if vip.is_ipv4() { 32 } else { 128 };
    format!(
        "OUTPUT -s {vip}/{bits} -p tcp -m tcp --tcp-flags SYN,RST SYN -m comment --comment \"{MARK}\" -j TCPMSS --set-mss {length}"
    )
}

/// Reads what there is for each family; nothing for one that this host has no iptables for.
pub(super) async fn find() -> BTreeMap<Family, Clamps> {
    let mut found = BTreeMap::new();
    let Ok(mut drivers) = Drivers::choose().await else { return found };
    for family in [Family::V4, Family::V6] {
        let (kind, name) = match family {
            Family::V4 => (drivers.kind(slb_core::model::Family::Ipv4).await, "iptables"),
            Family::V6 => (drivers.kind(slb_core::model::Family::Ipv6).await, "ip6tables"),
        };
        // The newer variant prints an empty table where the kernel has nothing for it.
        let suffixes: &[&str] = if matches!(kind, Ok(SourceNat::Nftables)) { &[""] } else { &["-legacy", ""] };
        let programs = suffixes.iter().map(|suffix| format!("{name}{suffix}"));
        let installed = programs.into_iter().find_map(|name| Some((program::find(&format!("{name}-save"))?, name)));
        let Some((save, program)) = installed else { continue };
        let mut set = BTreeSet::new();
        if program::run(&save, &["-t", "mangle"], [], |line| set.extend(read(line))).await.is_ok() {
            found.insert(family, Clamps { program, set });
        }
    }
    found
}

/// Reads a line of what `iptables-save` writes.
fn read(line: &str) -> Option<Clamp> {
    let rule = line.strip_prefix("-A OUTPUT -s ")?;
    let (address, _) = rule.split_once('/')?;
    let (rule, length) = rule.rsplit_once(" --set-mss ")?;
    rule.contains(&format!("--comment \"{MARK}\"")).then_some((address.parse().ok()?, length.trim().parse().ok()?))
}

/// Adds the rule, or deletes it.
pub(super) async fn change(program: &str, clamp: Clamp, add: bool) -> Result<(), crate::Error> {
    let Some(restore) = program::find(&format!("{program}-restore")) else {
        return Err(crate::Error::NoIptables { family: family_of(clamp.0), program: "iptables-restore" });
    };
    let text = format!("*mangle\n{} {}\nCOMMIT\n", if add { "-A" } else { "-D" }, rule(clamp));
    program::run(&restore, &["--noflush", "-w", "10"], [text], |_| ()).await
}

fn family_of(address: IpAddr) -> slb_core::model::Family {
    slb_core::model::Family::of(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_what_is_left_of_the_adapters_mtu() {
        let fits = |vip: &str, tunnel, over: &[Family]| {
            let vip: IpAddr = vip.parse().expect("an address");
            let wish = Wish::new([vip], Some(tunnel), over.iter().copied(), []).expect("a wish");
            wanted(&wish, Family::of(vip), Some(1500)).first().map(|(_, length)| *length)
        };
        assert_eq!(fits("192.168.0.85", Tunnel::Ipip, &[]), Some(1440));
        assert_eq!(fits("192.168.0.85", Tunnel::Gre, &[Family::V4, Family::V6]), Some(1500 - 40 - 8 - 40));
        assert_eq!(fits("2001:db8::85", Tunnel::Ipip, &[]), Some(1400));
        assert_eq!(fits("2001:db8::85", Tunnel::Gue(std::num::NonZeroU16::MIN), &[Family::V4]), Some(1400));
        let direct = Wish::new(["192.168.0.85".parse().expect("an address")], None, [], []).expect("a wish");
        assert_eq!(wanted(&direct, Family::V4, None), BTreeSet::new());
    }

    #[test]
    fn rules_are_known_again_and_others_are_not() {
        // Captured from iptables-legacy-save 1.8.9 and ip6tables-legacy-save.
        let text = "*mangle\n:OUTPUT ACCEPT [0:0]\n\
            -A OUTPUT -s 192.168.0.85/32 -p tcp -m tcp --tcp-flags SYN,RST SYN -m comment --comment \"slb backend\" -j TCPMSS --set-mss 1440\n\
            -A OUTPUT -s 2001:db8::85/128 -p tcp -m tcp --tcp-flags SYN,RST SYN -m comment --comment \"slb backend\" -j TCPMSS --set-mss 1400\n\
            -A OUTPUT -s 192.168.0.86/32 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1440\nCOMMIT\n";
        let clamps = [("192.168.0.85", 1440), ("2001:db8::85", 1400)]
            .map(|(vip, length)| (vip.parse().expect("an address"), length));
        assert_eq!(text.lines().filter_map(read).collect::<BTreeSet<_>>(), BTreeSet::from(clamps));
        assert!(clamps.into_iter().all(|clamp| text.contains(&format!("-A {}\n", rule(clamp)))));
    }
}

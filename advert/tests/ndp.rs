// SPDX-License-Identifier: Apache-2.0
//! What the neighbours see of VIPs of IPv6: `Segment` on a real Ethernet segment, watched by tcpdump and by the neighbour's own kernel.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

#[path = "wire/cable.rs"]
#[expect(dead_code, reason = "some of it is for ARP")]
mod cable;
#[path = "wire/log.rs"]
mod log;

use std::{
    net::{Ipv6Addr, UdpSocket},
    num::NonZeroU8,
    time::Duration,
};

use cable::{Cable, NEIGHBOUR};
use log::Log;
use slb_advert::{Segment, Timing, ndp::message::Message, segment::Mac};
use slb_core::{
    model::Vip,
    ports::{Advertiser, Probe, Verdict},
    step::AdvertStep::{self, Advertise, Withdraw},
};

const FOREIGN: Mac = Mac([2, 0, 0, 0, 0, 0x99]);
const IPV6: u16 = 0x86dd;
/// Solicitations and advertisements of addresses of fd00::/32: the adapters have link-local ones.
const NDP: &str = "icmp6 and (ip6[40] == 135 or ip6[40] == 136) and ip6[48:4] == 0xfd000000";

/// Runs a test on the load-balancer's end of a new cable. The neighbour is fd00::20.
fn on_cable(test: impl AsyncFnOnce(&Cable) + Send) {
    // The kernel loads IPv6 for who asks for it.
    drop(UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap());
    let cable = Cable::new();
    cable.neighbour.sh("ip addr add fd00::20/64 dev eth0 nodad");
    cable.balancer.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(&cable));
    });
}

fn open(timing: Timing) -> Segment {
    Segment::open("eth0", timing).unwrap().with_ipv6().unwrap()
}

fn ip(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x12, last)
}

fn vip(last: u16) -> Vip {
    ip(last).try_into().unwrap()
}

/// Announces once.
fn terse() -> Timing {
    Timing { announce_count: NonZeroU8::MIN, refresh_interval: Duration::ZERO, ..Timing::default() }
}

async fn apply(segment: &mut Segment, steps: &[AdvertStep]) {
    let verdicts = segment.apply(steps).await;
    assert!(
        verdicts.len() == steps.len() && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Applied)),
        "{verdicts:?}"
    );
}

fn announcement(vip: Vip, mac: &str) -> String {
    format!(
        "{mac} > 33:33:00:00:00:01, ethertype IPv6 (0x86dd), length 86: {vip} > ff02::1: ICMP6, neighbor advertisement, tgt is {vip}, length 32"
    )
}

/// Lines of tcpdump, without their times.
fn untimed(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.trim_start().split_once(' ').unwrap().1).collect()
}

fn an_announcement_goes_to_all_nodes_and_again_later() {
    on_cable(async |cable| {
        let mut wire = cable.listen_to(NDP);
        let mut segment = open(Timing::default());
        apply(&mut segment, &[Advertise(vip(0x85)), Advertise("10.0.0.85".parse().unwrap())]).await;
        let seen = wire.take(2).await;
        let once = announcement(vip(0x85), &cable.mac("eth0"));
        assert_eq!(untimed(&seen), [&once, &once]);
        assert!(seen[1].trim_start() > "00:00:01", "{seen:?}");
    });
}

fn the_neighbours_entry_moves_here() {
    on_cable(async |cable| {
        let vip = vip(0x85);
        cable.neighbour.sh(&format!("ip neighbour replace {vip} lladdr {FOREIGN} dev eth0 nud reachable"));
        let mut segment = open(terse());
        apply(&mut segment, &[Advertise(vip)]).await;
        let entry = format!("{vip} lladdr {} ", cable.mac("eth0"));
        while !cable.neighbour.sh("ip neighbour show dev eth0").contains(&entry) {
            tokio::task::yield_now().await;
        }
    });
}

fn a_probe_tells_a_used_address_from_a_free_one() {
    on_cable(async |cable| {
        let mut wire = cable.listen_to(&format!("{NDP} and ip6[40] == 135"));
        let segment = open(Timing::default());
        let used = "fd00::20".parse().unwrap();
        let (in_use, free) = tokio::join!(segment.probe(used), segment.probe(vip(0x21)));
        assert_eq!(in_use.unwrap(), Probe::InUse { holder: NEIGHBOUR.to_string() });
        assert_eq!(free.unwrap(), Probe::Free);
        let seen = wire.take(4).await;
        let probes = |vip: Vip| {
            let question = format!(":: > ff02::1:ff{}: ICMP6, neighbor solicitation, who has {vip},", group(vip));
            untimed(&seen).iter().filter(|line| line.contains(&question)).count()
        };
        assert_eq!((probes(used), probes(vip(0x21))), (1, 3), "{seen:?}");
    });
}

/// The last three bytes, as they are written in a group.
fn group(vip: Vip) -> &'static str {
    if vip == self::vip(0x21) { "12:21" } else { "00:20" }
}

fn who_probes_for_the_same_address_is_about_to_take_it() {
    on_cable(async |cable| {
        let mut wire = cable.listen_to(NDP);
        let segment = open(Timing { probe_interval: Duration::from_secs(60), ..Timing::default() });
        let (outcome, ()) = tokio::join!(segment.probe(vip(0x21)), async {
            wire.take(1).await;
            assert!(cable.balancer.sh("ip maddr show dev eth0").contains("33:33:ff:12:00:21"));
            cable.send(FOREIGN, IPV6, &Message::probe(ip(0x21)).encode());
        });
        assert_eq!(outcome.unwrap(), Probe::InUse { holder: FOREIGN.to_string() });
        assert!(!cable.balancer.sh("ip maddr show dev eth0").contains("33:33:ff:12:00:21"));
    });
}

fn a_conflict_is_defended_and_logged_once() {
    on_cable(async |cable| {
        let log = Log::new();
        let mut segment = open(terse());
        let mut wire = cable.listen_to(NDP);
        apply(&mut segment, &[Advertise(vip(0x85))]).await;
        wire.take(1).await;
        let claim = Message::announcement(FOREIGN, ip(0x85)).encode();
        cable.send(FOREIGN, IPV6, &claim);
        let (own, foreign) = (cable.mac("eth0"), FOREIGN.to_string());
        let seen = wire.take(2).await;
        assert_eq!(untimed(&seen)[1], announcement(vip(0x85), &own), "{seen:?}");
        assert!(seen[0].contains(&foreign), "{seen:?}");
        cable.send(FOREIGN, IPV6, &claim);
        wire.take(1).await;
        // The next packet from here is of another VIP: the second claim was not answered.
        apply(&mut segment, &[Withdraw(vip(0x85)), Advertise(vip(0x86))]).await;
        assert_eq!(untimed(&wire.take(1).await), [announcement(vip(0x86), &own)]);
        let lines = log.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("WARN another host claims a VIP"), "{lines:?}");
        assert!(
            lines[0].ends_with(&format!("vip={} adapter=\"eth0\" holder={FOREIGN} claims=1", vip(0x85))),
            "{lines:?}"
        );
    });
}

fn without_ipv6_its_vips_are_refused() {
    on_cable(async |_| {
        let mut segment = Segment::open("eth0", terse()).unwrap();
        let verdicts = segment.apply(&[Advertise(vip(0x85)), Advertise("10.0.0.85".parse().unwrap())]).await;
        let [Verdict::Refused(cause), Verdict::Applied] = verdicts.as_slice() else { panic!("{verdicts:?}") };
        assert_eq!(cause.to_string(), "VIPs of IPv6 are not announced on adapter eth0");
        assert!(segment.probe(vip(0x85)).await.is_err());
    });
}

slb_lab::main! {
    fast: [
        an_announcement_goes_to_all_nodes_and_again_later,
        the_neighbours_entry_moves_here,
        a_probe_tells_a_used_address_from_a_free_one,
        who_probes_for_the_same_address_is_about_to_take_it,
        a_conflict_is_defended_and_logged_once,
        without_ipv6_its_vips_are_refused,
    ],
}

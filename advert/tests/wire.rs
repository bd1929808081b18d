// SPDX-License-Identifier: Apache-2.0
//! What the neighbours see: `Segment` on a real Ethernet segment, watched by tcpdump and by the neighbour's own kernel.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

#[path = "wire/cable.rs"]
mod cable;
#[path = "wire/log.rs"]
mod log;

use std::{net::Ipv4Addr, time::Duration};

use cable::{Cable, NEIGHBOUR};
use caps::{CapSet, Capability};
use log::Log;
use slb_advert::{
    Error, Segment, Timing,
    arp::frame::{Frame, Mac},
};
use slb_core::{
    model::Vip,
    ports::{Advertiser, Probe, Verdict},
    step::AdvertStep::{self, Advertise, Withdraw},
};

/// Runs a test on the load-balancer's end of a new cable.
fn on_cable(test: impl AsyncFnOnce(&Cable) + Send) {
    let cable = Cable::new();
    cable.balancer.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(&cable));
    });
}

const FOREIGN: Mac = Mac([2, 0, 0, 0, 0, 0x99]);

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn vip(last: u8) -> Vip {
    ip(last).try_into().unwrap()
}

/// Announces thrice, 100 ms apart, and then each second.
fn quick() -> Timing {
    let announce_count = 3.try_into().unwrap();
    let announce_interval = Duration::from_millis(100);
    Timing { announce_count, announce_interval, refresh_interval: Duration::from_secs(1), ..Timing::default() }
}

/// Announces once, at once.
fn terse() -> Timing {
    Timing { announce_count: 1.try_into().unwrap(), refresh_interval: Duration::ZERO, ..Timing::default() }
}

/// Waits an hour for the answer to a probe.
fn patient() -> Timing {
    Timing { probe_interval: Duration::from_secs(3_600), ..Timing::default() }
}

async fn apply(arp: &mut Segment, steps: &[AdvertStep]) {
    let verdicts = arp.apply(steps).await;
    assert!(
        verdicts.len() == steps.len() && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Applied)),
        "{verdicts:?}"
    );
}

/// What has to be tried again, in the words of the error.
async fn retry(arp: &mut Segment, step: AdvertStep) -> String {
    match arp.apply(&[step]).await.as_slice() {
        [Verdict::Retry(cause)] => cause.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The two lines of one announcement, without their times.
fn announcement(vip: Vip, mac: &str) -> [String; 2] {
    let header = format!("{mac} > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: ");
    [
        format!("{header}Request who-has {vip} tell {vip}, length 28"),
        format!("{header}Reply {vip} is-at {mac}, length 28"),
    ]
}

/// Lines of tcpdump, without their times.
fn untimed(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.trim_start().split_once(' ').unwrap().1).collect()
}

fn an_announcement_is_seen_in_both_forms_and_again_later() {
    on_cable(async |cable| {
        let mut wire = cable.listen();
        let mut arp = Segment::open("eth0", Timing::default()).unwrap();
        apply(&mut arp, &[Advertise(vip(85))]).await;
        let seen = wire.take(4).await;
        let once = announcement(vip(85), &cable.mac("eth0"));
        assert_eq!(untimed(&seen), [&once[0], &once[1], &once[0], &once[1]]);
        // Two seconds in the kernel's time, of which a slow machine may have used up some before the first was sent.
        assert!(seen[2].trim_start() > "00:00:01", "{seen:?}");
    });
}

fn bridges_vlans_and_bonds_are_adapters_too() {
    on_cable(async |cable| {
        let kinds = [
            ("ip link add br0 type bridge", "ip link set eth0 master br0", "br0"),
            ("ip link add bond0 type bond mode active-backup", "ip link set eth0 down master bond0", "bond0"),
            ("ip link add link eth0 name eth0.7 type vlan id 7", "true", "eth0.7"),
        ];
        for (add, join, adapter) in kinds {
            cable.balancer.sh(add);
            cable.balancer.sh(join);
            cable.balancer.sh(&format!("ip link set {adapter} up"));
            cable.wait_for_link(adapter);
            let mut wire = cable.listen();
            let mut arp = Segment::open(adapter, terse()).unwrap();
            apply(&mut arp, &[Advertise(vip(85))]).await;
            let seen = wire.take(2).await;
            assert!(
                seen[0].contains(&cable.mac(adapter)) && seen[0].contains("Request who-has 10.0.0.85 tell"),
                "{seen:?}"
            );
            assert!(seen[1].contains("Reply 10.0.0.85 is-at"), "{seen:?}");
            cable.balancer.sh(&format!("ip link delete {adapter}"));
            cable.balancer.sh("ip link set eth0 up");
            cable.wait_for_link("eth0");
        }
    });
}

fn the_neighbours_entry_moves_here() {
    on_cable(async |cable| {
        cable.neighbour.sh(&format!("ip neighbour replace 10.0.0.85 lladdr {FOREIGN} dev eth0 nud stale"));
        let mut arp = Segment::open("eth0", terse()).unwrap();
        apply(&mut arp, &[Advertise(vip(85))]).await;
        let entry = format!("10.0.0.85 lladdr {} ", cable.mac("eth0"));
        while !cable.neighbour.sh("ip neighbour show dev eth0").contains(&entry) {
            tokio::task::yield_now().await;
        }
    });
}

fn a_probe_tells_a_used_address_from_a_free_one() {
    on_cable(async |cable| {
        let mut wire = cable.listen();
        let arp = Segment::open("eth0", Timing::default()).unwrap();
        let (used, free) = tokio::join!(arp.probe(vip(20)), arp.probe(vip(21)));
        assert_eq!(used.unwrap(), Probe::InUse { holder: NEIGHBOUR.to_string() });
        assert_eq!(free.unwrap(), Probe::Free);
        let seen = wire.take(5).await;
        let probes = |vip: Vip| {
            untimed(&seen).iter().filter(|line| line.contains(&format!("who-has {vip} tell 0.0.0.0"))).count()
        };
        assert_eq!((probes(vip(20)), probes(vip(21))), (1, 3), "{seen:?}");
    });
}

fn who_probes_for_the_same_address_is_about_to_take_it() {
    on_cable(async |cable| {
        let mut wire = cable.listen();
        let arp = Segment::open("eth0", patient()).unwrap();
        let (outcome, ()) = tokio::join!(arp.probe(vip(21)), async {
            wire.take(1).await;
            cable.say(&Frame::probe(FOREIGN, ip(21)));
        });
        assert_eq!(outcome.unwrap(), Probe::InUse { holder: FOREIGN.to_string() });
    });
}

fn a_conflict_is_defended_and_logged_once() {
    on_cable(async |cable| {
        let log = Log::new();
        let mut arp = Segment::open("eth0", terse()).unwrap();
        let mut wire = cable.listen();
        apply(&mut arp, &[Advertise(vip(85))]).await;
        wire.take(2).await;
        let [claim, _] = Frame::announcement(FOREIGN, ip(85));
        let claimed = announcement(vip(85), &FOREIGN.to_string())[0].clone();
        cable.say(&claim);
        let defended = announcement(vip(85), &cable.mac("eth0"));
        assert_eq!(untimed(&wire.take(3).await), [&claimed, &defended[0], &defended[1]]);
        cable.say(&claim);
        cable.say(&claim);
        // The next frame from here is of another VIP: the claims before it were not answered.
        apply(&mut arp, &[Advertise(vip(86))]).await;
        let other = announcement(vip(86), &cable.mac("eth0"));
        assert_eq!(untimed(&wire.take(4).await), [&claimed, &claimed, &other[0], &other[1]]);
        let lines = log.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("WARN another host claims a VIP"), "{lines:?}");
        assert!(lines[0].ends_with(&format!("vip=10.0.0.85 adapter=\"eth0\" holder={FOREIGN} claims=1")), "{lines:?}");
    });
}

fn a_withdrawn_vip_is_silent() {
    on_cable(async |cable| {
        let mut wire = cable.listen();
        let mut arp = Segment::open("eth0", quick()).unwrap();
        apply(&mut arp, &[Advertise(vip(85)), Advertise(vip(86))]).await;
        wire.take(4).await;
        apply(&mut arp, &[Withdraw(vip(85)), Withdraw(vip(87))]).await;
        cable.say(&Frame::announcement(FOREIGN, ip(85))[0]);
        let [claim, _] = announcement(vip(85), &FOREIGN.to_string());
        while untimed(&wire.take(1).await) != [&claim] {}
        // The last rounds and a refresh of the VIP that stayed.
        let [request, reply] = announcement(vip(86), &cable.mac("eth0"));
        assert_eq!(untimed(&wire.take(6).await), [&request, &reply, &request, &reply, &request, &reply]);
    });
}

fn a_link_that_was_down_is_told_again() {
    on_cable(async |cable| {
        let log = Log::new();
        let mut arp = Segment::open("eth0", terse()).unwrap();
        apply(&mut arp, &[Advertise(vip(85))]).await;
        cable.balancer.sh("ip link set eth0 down");
        assert_eq!(retry(&mut arp, Advertise(vip(85))).await, "adapter eth0 has no link");
        assert_eq!(arp.probe(vip(21)).await.unwrap_err().to_string(), "adapter eth0 has no link");
        apply(&mut arp, &[Withdraw(vip(86))]).await;
        cable.balancer.sh("ip link set eth0 address 02:00:00:00:00:11 up");
        cable.wait_for_link("eth0");
        let mut wire = cable.listen();
        apply(&mut arp, &[Advertise(vip(85))]).await;
        assert_eq!(untimed(&wire.take(2).await), announcement(vip(85), "02:00:00:00:00:11"));
        assert_eq!(arp.probe(vip(20)).await.unwrap(), Probe::InUse { holder: NEIGHBOUR.to_string() });
        let lines = log.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("WARN ARP does not work") && lines[0].contains("Network is down"), "{lines:?}");
        assert!(lines[1].starts_with("INFO ARP works again"), "{lines:?}");
    });
}

fn a_probe_under_way_fails_when_the_link_goes_down() {
    on_cable(async |cable| {
        let mut wire = cable.listen();
        let arp = Segment::open("eth0", patient()).unwrap();
        let (outcome, ()) = tokio::join!(arp.probe(vip(21)), async {
            wire.take(1).await;
            cable.balancer.sh("ip link set eth0 down");
        });
        let error = outcome.unwrap_err();
        assert_eq!(error.to_string(), "probe on adapter eth0");
        assert!(error.source().unwrap().to_string().contains("Network is down"), "{error:?}");
    });
}

fn an_adapter_made_anew_under_its_name_is_found() {
    on_cable(async |cable| {
        let mut arp = Segment::open("eth0", terse()).unwrap();
        apply(&mut arp, &[Advertise(vip(85))]).await;
        cable.balancer.sh("ip link delete eth0");
        assert_eq!(retry(&mut arp, Advertise(vip(85))).await, "there is no adapter eth0");
        cable.plug_in();
        let mut wire = cable.listen();
        apply(&mut arp, &[Advertise(vip(85))]).await;
        assert_eq!(untimed(&wire.take(2).await), announcement(vip(85), &cable.mac("eth0")));
        cable.say(&Frame::announcement(FOREIGN, ip(85))[0]);
        assert_eq!(untimed(&wire.take(3).await)[1..], announcement(vip(85), &cable.mac("eth0")));
    });
}

fn an_adapter_without_arp_is_refused() {
    on_cable(async |cable| {
        let refused = |adapter: &str| Segment::open(adapter, terse()).unwrap_err();
        assert_eq!(
            refused("lo").to_string(),
            "adapter lo does not speak ARP: it is not an Ethernet (hardware type 772)"
        );
        assert!(matches!(refused("lb1"), Error::NoAdapter { .. }));
        assert!(matches!(refused("a name that no adapter can have"), Error::NoAdapter { .. }));
        cable.balancer.sh("ip link set eth0 arp off");
        assert_eq!(refused("eth0").to_string(), "adapter eth0 does not speak ARP: it has the flag NOARP");
    });
}

fn without_its_capability_it_says_so() {
    on_cable(async |_| {
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_RAW).unwrap();
        let error = Segment::open("eth0", terse()).unwrap_err();
        caps::raise(None, CapSet::Effective, Capability::CAP_NET_RAW).unwrap();
        assert_eq!(error.to_string(), "opening a packet socket on adapter eth0 needs the capability CAP_NET_RAW");
    });
}

fn dropped_it_closes_its_socket() {
    on_cable(async |cable| {
        let arp = Segment::open("eth0", Timing::default()).unwrap();
        let kept = arp.probe(vip(21));
        assert_eq!(packet_sockets(cable), 1);
        drop(arp);
        while packet_sockets(cable) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(kept.await.unwrap_err().to_string(), "the ARP task of adapter eth0 has ended");
    });
}

/// Packet sockets of this network namespace (linux: net/packet/af_packet.c).
fn packet_sockets(cable: &Cable) -> usize {
    cable.balancer.sh("cat /proc/net/packet").lines().skip(1).count()
}

slb_lab::main! {
    fast: [
        an_announcement_is_seen_in_both_forms_and_again_later,
        bridges_vlans_and_bonds_are_adapters_too,
        the_neighbours_entry_moves_here,
        a_probe_tells_a_used_address_from_a_free_one,
        who_probes_for_the_same_address_is_about_to_take_it,
        a_conflict_is_defended_and_logged_once,
        a_withdrawn_vip_is_silent,
        a_link_that_was_down_is_told_again,
        a_probe_under_way_fails_when_the_link_goes_down,
        an_adapter_made_anew_under_its_name_is_found,
        an_adapter_without_arp_is_refused,
        without_its_capability_it_says_so,
        dropped_it_closes_its_socket,
    ],
}

// SPDX-License-Identifier: Apache-2.0
//! Who slb is, and who its neighbours are.

use slb_core::uplink::Uplink;
use slb_ipam::equinix::{Which, locate};

use super::*;

/// As a device of the project has them.
fn neighbours() -> serde_json::Value {
    let group = |family: u8, own: &str, peers: &[&str]| {
        json!({
            "address_family": family, "customer_as": 65000, "customer_ip": own, "md5_enabled": true,
            "md5_password": "s3cret", "multihop": true, "peer_as": 65530, "peer_ips": peers,
            "routes_in": [], "routes_out": [],
        })
    };
    json!([
        group(6, "2604:1380::1", &["fc00::e", "fc00::f"]),
        group(4, "10.12.39.1", &["169.254.255.2", "169.254.255.1"]),
    ])
}

fn check(site: &Site, found: Uplink) {
    let Uplink { device, asn, address, peers } = found;
    assert_eq!(device, site.device);
    assert_eq!((asn.get(), address), (65_000, Ipv4Addr::new(10, 12, 39, 1)));
    let peers: Vec<_> = peers
        .iter()
        .map(|peer| {
            (peer.address.to_string(), peer.asn.get(), peer.password.as_ref().map(|password| password.expose()))
        })
        .collect();
    let expected = ["169.254.255.1", "169.254.255.2"].map(|peer| (peer.to_owned(), 65_530, Some("s3cret")));
    assert_eq!(peers, expected);
}

/// It is waited for, for this reason.
async fn check_wait(site: &Site, project: Uuid, which: &Which, why: &str) {
    let client = site.client(QUICK);
    tokio::select! {
        found = locate(&client, project, which, None) => panic!("{found:?}"),
        () = site.until_said(why) => {}
    }
}

#[tokio::test]
async fn this_device_is_found_by_its_name_or_id() {
    let site = Site::new();
    site.metal.with(|books| {
        books.neighbours = neighbours();
        // On the second page.
        let others: Vec<_> = (0..150).map(|number| (Uuid::new_v4(), format!("other-{number}"))).collect();
        books.devices.splice(0..0, others);
    });
    let client = site.client(QUICK);
    for which in [Which::Hostname("AM6-c3.small.x86-01".to_owned()), Which::Id(site.device)] {
        check(&site, locate(&client, site.project(), &which, None).await);
    }
    site.until_said("Querying BGP settings for [am6-c3.small.x86-01]").await;
    let unknown = Which::Id(Uuid::nil());
    check_wait(&site, site.project(), &unknown, "has no device 00000000").await;
    site.metal.with(|books| books.devices.push((Uuid::new_v4(), "other-1".to_owned())));
    let several = Which::Hostname("other-1".to_owned());
    check_wait(&site, site.project(), &several, "has several devices other-1; name this one with --metalDevice").await;
    check_wait(&site, Uuid::nil(), &unknown, "404 Not Found: Not found").await;
    site.metal.fail("GET", &[Fault { done: Effect::None, then: Then::Answer(401, "X-A: b", "") }]);
    check_wait(&site, site.project(), &unknown, "401 Unauthorized").await;
}

/// It says so once for each reason, and goes on by itself.
#[tokio::test]
async fn bgp_is_waited_for() {
    let site = Site::new();
    let away = Fault { done: Effect::None, then: Then::Answer(503, "X-A: b", "") };
    site.metal.fail("GET", &[away; 12]);
    let timing = Timing { longest_pause: Duration::from_millis(2), ..QUICK };
    let (client, project) = (site.client(timing), site.project());
    let which = Which::Id(site.device);
    let waiting = locate(&client, project, &which, None);
    let enabling = async {
        site.until_said("BGP is not enabled for am6-c3.small.x86-01; enable it").await;
        site.until("more questions", |books| books.count("GET /devices/") > 3).await;
        site.metal.with(|books| books.neighbours = neighbours());
    };
    let (found, ()) = tokio::join!(waiting, enabling);
    check(&site, found);
    let waited: Vec<String> =
        site.log.lines().into_iter().filter(|line| line.contains("waiting for Equinix")).collect();
    assert!(waited.len() == 2 && waited[0].contains("503"), "{waited:?}");
    assert!(!site.log.lines().join("\n").contains("s3cret"));
}

#[tokio::test]
async fn neighbours_that_make_no_sense_are_not_believed() {
    let site = Site::new();
    let which = Which::Id(site.device);
    for (key, value, why) in [
        ("customer_as", json!(0), "the own: 0 is no AS number"),
        ("peer_as", json!(0), "the peers': 0 is no AS number"),
        ("customer_ip", json!("fd00::1"), "not of IPv4"),
        ("customer_ip", json!("0.0.0.0"), "0.0.0.0 is not the address of a single host"),
        ("peer_ips", json!(["224.0.0.1"]), "not the address of a single host"),
        ("md5_password", json!("grün"), "ASCII"),
    ] {
        let mut all = neighbours();
        all[1][key] = value;
        site.metal.with(|books| books.neighbours = all);
        check_wait(&site, site.project(), &which, why).await;
    }
    let mut two = neighbours();
    two[0]["address_family"] = json!(4);
    two[0]["customer_ip"] = json!("10.12.39.2");
    site.metal.with(|books| books.neighbours = two);
    check_wait(&site, site.project(), &which, "and 10.12.39.1 of AS 65000").await;
}

/// A machine that boots while the API is away serves all the same. What the API does say counts.
#[tokio::test]
async fn the_routers_of_the_last_start_do_while_the_api_is_away() {
    let site = Site::new();
    site.metal.with(|books| books.neighbours = neighbours());
    let (client, project, which) = (site.client(QUICK), site.project(), Which::Id(site.device));
    let known = locate(&client, project, &which, None).await;
    let away = Fault { done: Effect::None, then: Then::Answer(503, "X-A: b", "") };
    site.metal.fail("GET", &[away; 4]);
    assert_eq!(locate(&client, project, &which, Some(&known)).await, known);
    site.until_said("Equinix Metal is away").await;
    // A token that has expired is no reason to serve nobody after a reboot.
    site.metal.fail("GET", &[Fault { done: Effect::None, then: Then::Answer(401, "X-A: b", "") }]);
    assert_eq!(locate(&client, project, &which, Some(&known)).await, known);
    site.until_said("Equinix Metal refuses the token").await;

    let other = Uplink { asn: 65_001.try_into().unwrap(), ..known.clone() };
    assert_eq!(locate(&client, project, &which, Some(&other)).await, known);
    // Of another device.
    site.metal.fail("GET", &[away; 4]);
    let elsewhere = Uplink { device: Uuid::nil(), ..known.clone() };
    assert_eq!(locate(&client, project, &which, Some(&elsewhere)).await, known);
    // BGP has been switched off.
    site.metal.with(|books| books.neighbours = json!([]));
    let waiting = locate(&client, project, &which, Some(&known));
    tokio::select! {
        found = waiting => panic!("{found:?}"),
        () = site.until_said("BGP is not enabled") => {}
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Which settings drift, and from what to what.
use std::{collections::BTreeMap, path::Component};

use proptest::prelude::*;

use super::*;

/// What would change on a kernel with these settings.
fn drifts(kernel: &[(&str, &str)], beside: &[&str], release: &str) -> BTreeMap<String, (String, String)> {
    let kernel: BTreeMap<&str, &str> = kernel.iter().copied().collect();
    let beside: Vec<String> = beside.iter().map(|name| (*name).to_owned()).collect();
    let read = |name: &str| Ok(kernel.get(name).map(|value| (*value).to_owned()));
    let changes =
        settings("eth0", &beside, &ipv6(), release).into_iter().filter_map(|setting| drift(&setting, read).unwrap());
    changes.map(|change| (change.name, (change.from, change.to))).collect()
}

fn ipv6() -> Ipv6 {
    Ipv6::Forwarded { hosts: ["default", "eth0", "eth1"].map(str::to_owned).into() }
}

fn change(from: &str, to: &str) -> (String, (String, String)) {
    ("net.ipv4.conf.eth1.arp_ignore".to_owned(), (from.to_owned(), to.to_owned()))
}

#[test]
fn a_fresh_kernel_is_told_everything_once() {
    let fresh = [
        ("net.ipv4.ip_forward", "0"),
        ("net.ipv4.vs.conntrack", "0"),
        ("net.ipv4.vs.conn_reuse_mode", "1"),
        ("net.ipv4.vs.expire_nodest_conn", "0"),
        ("net.ipv4.vs.expire_quiescent_template", "0"),
        ("net.ipv4.conf.eth0.arp_announce", "0"),
        ("net.ipv4.conf.all.arp_announce", "0"),
    ];
    let changes = drifts(&fresh, &[], "6.1.0-49-amd64");
    let mut settled: BTreeMap<&str, &str> = fresh.into_iter().collect();
    settled.extend(changes.iter().map(|(name, (_, to))| (name.as_str(), to.as_str())));
    assert_eq!(changes.len(), 5, "all but conn_reuse_mode and the value for all adapters: {changes:?}");
    let settled: Vec<(&str, &str)> = settled.into_iter().collect();
    assert_eq!(drifts(&settled, &[], "6.1.0-49-amd64"), BTreeMap::new());
}

#[test]
fn who_takes_advertisements_of_routers_goes_on_to_before_ipv6_is_forwarded() {
    let kernel = |name: &str| match name {
        "net.ipv6.conf.all.forwarding" => Ok(Some("0".to_owned())),
        "net.ipv6.conf.default.accept_ra" | "net.ipv6.conf.eth1.accept_ra" => Ok(Some("1".to_owned())),
        "net.ipv6.conf.eth0.accept_ra" => Ok(Some("0".to_owned())),
        _ => Ok(None),
    };
    let changes = settings("eth0", &[], &ipv6(), "6.1").into_iter().filter_map(|each| drift(&each, kernel).unwrap());
    let changes: Vec<_> = changes.map(|change| format!("{} = {}", change.name, change.to)).collect();
    assert_eq!(
        changes,
        ["net.ipv6.conf.default.accept_ra = 2", "net.ipv6.conf.eth1.accept_ra = 2", "net.ipv6.conf.all.forwarding = 1"]
    );
}

#[test]
fn redirects_are_off_only_if_both_values_are() {
    let kernel = |name: &str| Ok(Some(if name.contains("all") { "0" } else { "1" }.to_owned()));
    let changes = quiet(&["eth0.7".to_owned()]).into_iter().filter_map(|each| drift(&each, kernel).unwrap());
    let changes: Vec<_> = changes.map(|change| format!("{} = {}", change.name, change.to)).collect();
    assert_eq!(changes, ["net.ipv4.conf.eth0/7.send_redirects = 0"]);
}

#[test]
fn what_the_kernel_does_not_have_is_passed_over() {
    assert_eq!(drifts(&[], &["eth1"], "4.9.0"), BTreeMap::new());
}

#[test]
fn connection_reuse_follows_the_kernels_release() {
    let reuse = |value, release| drifts(&[("net.ipv4.vs.conn_reuse_mode", value)], &[], release).into_values().next();
    let to = |from: &str, to: &str| Some((from.to_owned(), to.to_owned()));
    assert_eq!(reuse("1", "5.9.0-rc1"), None);
    assert_eq!(reuse("3", "6.18.44"), None, "more than is needed is the operator's wish");
    assert_eq!(reuse("0", "5.10.0-35-arm64"), to("0", "1"));
    assert_eq!(reuse("1", "5.8.18-300.fc33.x86_64"), to("1", "0"));
    assert_eq!(reuse("1", "4.19-rpi"), to("1", "0"));
    assert_eq!(reuse("1", "unreadable"), None);
}

#[test]
fn the_larger_of_the_two_values_counts_and_stricter_ones_stay() {
    let ignore = |own, all| {
        let kernel = [("net.ipv4.conf.eth1.arp_ignore", own), ("net.ipv4.conf.all.arp_ignore", all)];
        drifts(&kernel, &["eth1"], "6.1").into_iter().next()
    };
    assert_eq!(ignore("0", "0"), Some(change("0", "1")));
    assert_eq!(ignore("1", "0"), None);
    assert_eq!(ignore("0", "1"), None);
    assert_eq!(ignore("2", "0"), None);
    assert_eq!(ignore("0", "8"), None);
}

/// With those in between the kernel answers for VIPs.
#[test]
fn more_is_not_always_stricter() {
    let kernel = |own: &'static str, all: &'static str| {
        let read = move |name: &str| Ok(Some(if name.contains(".all.") { all } else { own }.to_owned()));
        [drift(&ignore("eth1", "x"), read), drift(&announce("eth1", "x"), read)]
            .map(|drift| drift.map(|change| change.map(|change| change.to)))
    };
    for own in ["3", "4", "7", "9"] {
        let [ignored, announced] = kernel(own, "0").map(Result::unwrap);
        assert_eq!((ignored.as_deref(), announced.as_deref()), (Some("1"), Some("2")), "{own}");
        let [ignored, announced] = kernel("1", own).map(|drift| drift.unwrap_err().to_string());
        assert!(ignored.ends_with(&format!("all.arp_ignore is {own}: set that to 0, or to 1 or 2 or 8")), "{ignored}");
        assert!(announced.ends_with(&format!("all.arp_announce is {own}: set that to 0, or to 2")), "{announced}");
    }
    let [ignored, announced] = kernel("8", "2").map(Result::unwrap);
    assert_eq!((ignored, announced.as_deref()), (None, Some("2")));
}

#[test]
fn adapters_with_dots_keep_them() {
    let name = settings("eth0.100", &[], &Ipv6::Unused, "6.1").pop().unwrap().name;
    assert_eq!(name, "net.ipv4.conf.eth0/100.arp_announce");
    assert_eq!(path(&name).unwrap(), PathBuf::from("/proc/sys/net/ipv4/conf/eth0.100/arp_announce"));
}

#[test]
fn a_setting_that_is_gone_is_empty_and_takes_any_value() {
    assert_eq!(read("net.ipv4.conf.no-such-adapter.arp_announce").unwrap(), None);
    assert!(write("net.ipv4.conf.no-such-adapter.arp_announce", "2").is_ok());
    assert!(read("kernel.osrelease").unwrap().is_some_and(|release| !release.is_empty() && release.trim() == release));
}

proptest! {
    #[test]
    fn no_name_leads_out_of_proc_sys(name in "[./a-z]{0,24}") {
        if let Ok(path) = path(&name) {
            prop_assert!(path.starts_with("/proc/sys"));
            prop_assert!(path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_))));
        }
    }
}

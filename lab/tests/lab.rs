// SPDX-License-Identifier: Apache-2.0
//! The lab itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use slb_lab::{Backend, Segment, Sniffer, http};

/// Hosts on a segment reach each other, and have an IPVS each.
fn hosts_are_apart() {
    let segment = Segment::new();
    let (one, two) = (segment.host("one", "10.1.0.1/24"), segment.host("two", "10.1.0.2/24"));
    one.run("ipvsadm", &["-A", "-t", "10.1.0.9:80", "-s", "rr"]);
    assert_eq!(one.run("ipvsadm", &["-Sn"]), "-A -t 10.1.0.9:80 -s rr\n");
    assert_eq!(two.run("ipvsadm", &["-Sn"]), "");
    let sniffer = Sniffer::start(&two, "eth0", "tcp port 80");
    let backend = Backend::start(&two, 80, "two");
    assert_eq!(http::get(&one, "10.1.0.2:80".parse().unwrap()).unwrap(), "two");
    assert_eq!(backend.served(), 1);
    sniffer.packet(&["10.1.0.1.", "> 10.1.0.2.80: Flags [S]"]);
    assert!(one.tables().contains("10.1.0.9"));
    assert!(!two.tables().contains("10.1.0.9"));
}

/// The stock kernel has what users' machines have.
fn nftables_is_there() {
    let segment = Segment::new();
    let node = segment.host("one", "10.1.0.1/24");
    node.sh("nft add table ip slb && ipvsadm -A -t 10.1.0.9:80 -s rr && grep -c ^processor /proc/cpuinfo");
    assert_eq!(node.run("nft", &["list", "ruleset"]), "table ip slb {\n}\n");
}

slb_lab::main! { fast: [hosts_are_apart], stock: [hosts_are_apart, nftables_is_there] }

// SPDX-License-Identifier: Apache-2.0
//! The lab itself: what it builds inside works.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{io::Read, net::TcpStream};

use slb_lab::{Backend, Segment, Sniffer, Writes, http};

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
    node.sh("nft add table inet slb && ipvsadm -A -t 10.1.0.9:80 -s rr");
    assert_eq!(node.run("nft", &["list", "ruleset"]), "table inet slb {\n}\n");
    assert_eq!(node.sh("grep -c ^processor /proc/cpuinfo"), "2\n");
    let mut writes = Writes::of(&node);
    node.sh("nft list ruleset");
    assert_eq!(writes.take(), [""; 0]);
    node.sh("nft add table ip slb && nft add chain ip slb natural && nft delete table ip slb");
    assert_eq!(writes.take(), ["nfnetlink 10 0", "nfnetlink 10 3", "nfnetlink 10 2"]);
}

/// A web server that is gone accepts nothing, has closed its connections, and leaves its port.
fn a_backend_can_go() {
    let segment = Segment::new();
    let (one, two) = (segment.host("one", "10.1.0.1/24"), segment.host("two", "10.1.0.2/24"));
    let address = "10.1.0.2:80".parse().unwrap();
    let backend = Backend::start(&two, 80, "first");
    let mut connection = one.inside(|| TcpStream::connect(address).unwrap());
    assert_eq!(http::get(&one, address).unwrap(), "first");
    drop(backend);
    assert_eq!(connection.read(&mut [0; 1]).unwrap(), 0);
    assert!(http::get(&one, address).is_err());
    let _backend = Backend::start(&two, 80, "second");
    assert_eq!(http::get(&one, address).unwrap(), "second");
}

/// Requests that change something are seen, once each, and those that only ask are not.
fn writes_are_counted() {
    let segment = Segment::new();
    let node = segment.host("one", "10.1.0.1/24");
    node.sh("ipvsadm -A -t 10.1.0.8:80");
    let mut writes = Writes::of(&node);
    node.sh("ip addr; ip route; ip neigh; ipvsadm -ln");
    assert_eq!(writes.take(), [""; 0]);
    node.sh("ip addr add 10.1.0.9/32 dev eth0");
    assert_eq!(writes.take(), ["rtnetlink 20"]);
    node.sh("ipvsadm -A -t 10.1.0.9:80; ipvsadm -a -t 10.1.0.9:80 -r 10.1.0.2 -m; ipvsadm -D -t 10.1.0.9:80");
    let commands: Vec<String> = writes.take().iter().map(|name| name.rsplit(' ').next().unwrap().to_owned()).collect();
    assert_eq!(commands, ["1", "5", "3"]);
    node.sh("ip addr del 10.1.0.9/32 dev eth0");
    assert_eq!(writes.take(), ["rtnetlink 21"]);
}

slb_lab::main! {
    fast: [hosts_are_apart, a_backend_can_go, writes_are_counted],
    stock: [hosts_are_apart, nftables_is_there],
}

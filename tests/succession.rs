// SPDX-License-Identifier: Apache-2.0
//! An upgrade of a server with privileges: IPVS goes on by itself, the API stays open, and nobody else gets hold of the host in between.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use rustix::process::Signal;
use slb_lab::site::Site;

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

fn a_successor_goes_on_with_ipvs() {
    goes_on("ipvs");
}

fn a_successor_goes_on_relaying() {
    goes_on("user");
}

fn goes_on(dataplane: &str) {
    let site = Site::new(SLB);
    let _backends = site.web();
    let mut server = site.start(&["--dataplane", dataplane]);
    let created = site.balanced(&server);
    let services = site.lb.sh("ipvsadm -Sn");
    server.process().signal(Signal::USR2);
    let said = server.process().line("a handover", |line| line.contains("a successor has taken over"));
    assert!(server.process().wait().success());
    let successor = said.rsplit_once("process=").unwrap().1.to_owned();
    assert_eq!(site.lb.sh("ipvsadm -Sn"), services);
    assert!(site.get(&created).is_ok());
    assert!(site.lb.sh("ss -xl").contains("@slb"), "the host is claimed");
    server.delete(&created);
    assert!(!site.lb.sh("ip -o addr show dev eth0").contains("192.168.0.85/32"));
    assert_eq!(site.lb.sh("ipvsadm -Sn"), "");
    site.lb.sh(&format!("kill -KILL {successor}"));
}

slb_lab::main! { fast: [a_successor_goes_on_with_ipvs, a_successor_goes_on_relaying] }

// SPDX-License-Identifier: Apache-2.0
//! In user space with privileges: VIPs are bound and announced as ever, and IPVS is left to others.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use slb_lab::site::Site;

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

fn neighbours_reach_what_is_relayed() {
    let site = Site::new(SLB);
    let _backends = site.web();
    let server = site.start(&["--dataplane", "user"]);
    assert!(server.ask("GET", "/", "").body.contains(r#""dataplane":"user""#));
    let created = site.balanced(&server);
    let [first, second, third] = [0; 3].map(|_| site.get(&created).unwrap());
    assert!(first != second && first == third, "{first} {second} {third}");
    assert!(site.lb.sh("ip -o addr show dev eth0").contains("192.168.0.85/32"));
    assert_eq!(site.lb.sh("ipvsadm -Sn"), "");
    server.delete(&created);
    assert!(!site.lb.sh("ip -o addr show dev eth0").contains("192.168.0.85/32"));
}

/// What IPVS still had would take packets away from who listens.
fn there_and_back_again() {
    let site = Site::new(SLB);
    let _backends = site.web();
    let server = site.start(&[]);
    let created = site.balanced(&server);
    assert!(site.get(&created).is_ok());
    server.stop();
    let server = site.start(&["--dataplane", "user"]);
    assert_eq!(site.lb.sh("ipvsadm -Sn"), "");
    assert!(site.get(&created).is_ok());
    server.stop();
    assert!(site.get(&created).is_err(), "what is relayed ends with slb");
    let _server = site.start(&["--dataplane", "ipvs"]);
    assert!(site.lb.sh("ipvsadm -Sn").contains("-A -t 192.168.0.85:"));
    assert!(site.get(&created).is_ok());
}

slb_lab::main! { fast: [neighbours_reach_what_is_relayed, there_and_back_again] }

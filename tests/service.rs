// SPDX-License-Identifier: Apache-2.0
//! The unit that packages install lets slb do what it has to, and little more.

use std::process::Command;

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/slb.service");

/// systemd's own opinion, from 0.0 to 10.0; half of what is left is that a load-balancer is on the network.
#[test]
fn systemd_rates_the_unit_2_0_or_lower() {
    let words = ["security", "--offline=true", "--no-pager", "--threshold=20", UNIT];
    let output = Command::new("systemd-analyze").args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("Overall exposure level"), "{said}");
}

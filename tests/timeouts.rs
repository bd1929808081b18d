// SPDX-License-Identifier: Apache-2.0
//! How long IPVS remembers connections on which nothing is sent: as it was told, until that is taken back.

use slb_lab::{Node, site::Site, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

/// Of TCP, of TCP that one end has closed, and of UDP, in seconds.
fn timeouts(lb: &Node) -> String {
    let shown = lb.run("ipvsadm", &["-L", "--timeout"]);
    shown.trim().rsplit(": ").next().unwrap_or_default().to_owned()
}

fn timeouts_are_kept_and_given_back() {
    let site = Site::new(SLB);
    assert_eq!(timeouts(&site.lb), "900 120 300");
    site.lb.run("ipvsadm", &["--set", "0", "0", "200"]);
    let server = site.start(&["--tcpTimeout", "1h", "--udpTimeout", "30s", "--reconcileInterval", "100ms"]);
    assert_eq!(timeouts(&site.lb), "3600 120 30");
    site.lb.run("ipvsadm", &["--set", "5", "60", "5"]);
    wait::until("what was asked for to be back", || (timeouts(&site.lb) == "3600 60 30").then_some(()));
    server.stop();
    assert_eq!(timeouts(&site.lb), "3600 60 30", "what was balanced goes on");
    site.start(&["--tcpTimeout", "10m", "--tcpFinTimeout", "1m"]).stop();
    assert_eq!(timeouts(&site.lb), "600 60 30", "what nobody asks for any more stays");
    site.lb.run(SLB, &["cleanup", "--stateDir", &site.state_dir()]);
    assert_eq!(timeouts(&site.lb), "900 60 200", "as it was; that of a FIN was so already");
}

slb_lab::main! { fast: [timeouts_are_kept_and_given_back], stock: [timeouts_are_kept_and_given_back] }

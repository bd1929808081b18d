// SPDX-License-Identifier: Apache-2.0
//! The module ip_vs can be unloaded, be loaded anew, or be missing. These tests take it away from the whole kernel, so they
//! have one of their own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use slb_lab::{site::Site, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");
/// What the kernel starts to load a module.
const MODPROBE: &str = "/proc/sys/kernel/modprobe";

/// Takes all of IPVS out of the kernel; who still uses it lets go in a moment.
fn unload(site: &Site) {
    site.lb.sh("ipvsadm -C; iptables-legacy -t nat -F; iptables-legacy -t nat -X");
    wait::until("ip_vs to be unloaded", || {
        let _ = site.lb.output("rmmod", &["xt_ipvs", "ip_vs_rr", "ip_vs"]);
        (!fs::exists("/proc/net/ip_vs").unwrap()).then_some(())
    });
}

fn cleanup_and_auto_do_without() {
    let site = Site::new(SLB);
    let server = site.start(&[]);
    let _ = site.balanced(&server);
    server.stop();
    unload(&site);
    let modprobe = fs::read_to_string(MODPROBE).unwrap();
    fs::write(MODPROBE, "/bin/false").unwrap();
    let before = site.segment.host("fresh", "192.168.0.1/24").kernel_state();
    assert_ne!(site.lb.kernel_state(), before);
    site.lb.run(SLB, &["cleanup", "--stateDir", &site.state_dir()]);
    assert_eq!(site.lb.kernel_state(), before);

    let options = site.options();
    let words: Vec<&str> =
        ["server", "--dataplane", "ipvs"].into_iter().chain(options.iter().map(String::as_str)).collect();
    let output = site.lb.output(SLB, &words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("kernel module ip_vs") && said.contains("CONFIG_IP_VS"),
        "{said}"
    );
    assert_eq!(site.lb.kernel_state(), before);

    let _backends = site.web();
    let mut server = site.start(&[]);
    let said = server.process().said().join("\n");
    assert!(said.contains("not by IPVS") && said.contains("modprobe ip_vs"), "{said}");
    let balanced = slb_lab::site::endpoint(&server.ask("GET", "/loadbalancers", "").json()[0]);
    assert!(slb_lab::http::get(&site.client, balanced).is_ok());
    server.stop();
    fs::write(MODPROBE, modprobe).unwrap();
}

fn loaded_anew_it_serves_again() {
    let site = Site::new(SLB);
    let server = site.start(&["--reconcileInterval", "1h"]);
    unload(&site);
    let created = server.create(r#"{"name":"x","port":80}"#);
    assert_eq!(site.lb.sh("ipvsadm -Sn"), "-A -t 192.168.0.85:80 -s rr\n");
    server.delete(&created);
}

/// A container or a service has few capabilities. The kernel loads it for whoever is to use it.
fn who_may_not_load_it_has_it_loaded() {
    let confined = "/run/confined";
    let script =
        format!("#!/bin/sh\nexec setpriv --bounding-set=-all,+net_admin,+net_raw --inh-caps=-all {SLB} \"$@\"\n");
    fs::write(confined, script).unwrap();
    fs::set_permissions(confined, Permissions::from_mode(0o755)).unwrap();
    let site = Site::new(confined);
    for wanted in ["auto", "ipvs"] {
        unload(&site);
        let server = site.start(&["--dataplane", wanted]);
        let created = server.create(r#"{"name":"x","port":80,"eip":"192.168.0.85"}"#);
        assert_eq!(site.lb.sh("ipvsadm -Sn"), "-A -t 192.168.0.85:80 -s rr\n");
        server.delete(&created);
        server.stop();
    }
}

slb_lab::main! {
    fast: [cleanup_and_auto_do_without, loaded_anew_it_serves_again, who_may_not_load_it_has_it_loaded]
}

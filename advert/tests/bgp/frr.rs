// SPDX-License-Identifier: Apache-2.0
//! FRR on a router: zebra for the kernel's routes, bgpd for the sessions.

use std::fs;

use slb_lab::{Node, Process};

/// An FRR that runs, with the load-balancer as its one peer.
pub struct Frr {
    _processes: [Process; 2],
}

impl Frr {
    /// Starts it, in an AS of its own.
    pub fn start(router: &Node, address: &str, peer: u32, asn: u32, password: Option<&str>) -> Self {
        let folder = format!("/run/frr-{}", router.name());
        fs::create_dir_all(&folder).unwrap();
        let neighbour = if address.contains(':') { "fd00::1" } else { "10.0.0.1" };
        let password =
            password.map_or_else(String::new, |password| format!("neighbor {neighbour} password {password}\n"));
        let extended = if address.contains(':') { "neighbor fd00::1 capability extended-nexthop\n" } else { "" };
        let config = format!(
            "router bgp {asn}\n\
             bgp router-id 10.0.0.254\n\
             no bgp ebgp-requires-policy\n\
             neighbor {neighbour} remote-as {peer}\n\
             {password}{extended}\
             address-family ipv4 unicast\n\
             neighbor {neighbour} activate\n\
             exit-address-family\n\
             address-family ipv6 unicast\n\
             neighbor {neighbour} activate\n\
             exit-address-family\n"
        );
        fs::write(format!("{folder}/bgpd.conf"), config).unwrap();
        fs::write(format!("{folder}/zebra.conf"), "").unwrap();
        // The daemons become a user of their own.
        router.sh(&format!("chown -R frr:frr {folder}"));
        let zapi = format!("{folder}/zserv.api");
        let start = |daemon: &str| {
            let [config, id] = ["conf", "pid"].map(|end| format!("{folder}/{daemon}.{end}"));
            let words = ["-f", &config, "-i", &id, "-z", &zapi, "--vty_socket", &folder, "--log", "stdout"];
            router.spawn(&format!("/usr/lib/frr/{daemon}"), &words)
        };
        let zebra = start("zebra");
        slb_lab::wait::until("zebra's socket", || fs::exists(&zapi).unwrap().then_some(()));
        Self { _processes: [zebra, start("bgpd")] }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! GoBGP on a router. It has a table of its own and leaves the kernel's alone.

use std::fs;

use slb_lab::{Node, Process};

/// A gobgpd that runs, with the load-balancer as its one peer.
pub struct Gobgp {
    _process: Process,
}

impl Gobgp {
    /// Starts it, in an AS of its own.
    pub fn start(router: &Node, address: &str, peer: u32, asn: u32, password: Option<&str>) -> Self {
        let file = format!("/run/gobgp-{}.toml", router.name());
        let neighbour = if address.contains(':') { "fd00::1" } else { "10.0.0.1" };
        let password = password.map_or_else(String::new, |password| format!("auth-password = \"{password}\"\n"));
        let config = format!(
            "[global.config]\n\
             as = {asn}\n\
             router-id = \"10.0.0.254\"\n\
             [[neighbors]]\n\
             [neighbors.config]\n\
             neighbor-address = \"{neighbour}\"\n\
             peer-as = {peer}\n\
             {password}\
             [neighbors.transport.config]\n\
             passive-mode = true\n\
             [[neighbors.afi-safis]]\n\
             [neighbors.afi-safis.config]\n\
             afi-safi-name = \"ipv4-unicast\"\n\
             [[neighbors.afi-safis]]\n\
             [neighbors.afi-safis.config]\n\
             afi-safi-name = \"ipv6-unicast\"\n"
        );
        fs::write(&file, config).unwrap();
        Self { _process: router.spawn("gobgpd", &["-f", &file, "--log-plain"]) }
    }

    /// The prefixes in its table.
    pub fn routes(router: &Node) -> Vec<String> {
        let of = |family: &str| {
            let table = router.output("gobgp", &["global", "rib", "-a", family, "-j"]);
            let table: serde_json::Value = serde_json::from_slice(&table.stdout).unwrap_or_default();
            table.as_object().into_iter().flatten().map(|(prefix, _)| prefix.clone()).collect::<Vec<_>>()
        };
        [of("ipv4"), of("ipv6")].concat()
    }
}

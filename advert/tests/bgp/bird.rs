// SPDX-License-Identifier: Apache-2.0
//! BIRD on a router.

use std::fs;

use slb_lab::{Node, Process};

/// A BIRD that runs, with the load-balancer as its one peer.
pub struct Bird {
    _process: Process,
}

impl Bird {
    /// Starts it, in an AS of its own, with its end of the session at an address.
    pub fn start(router: &Node, address: &str, peer: u32, asn: u32, password: Option<&str>) -> Self {
        let neighbour = if address.contains(':') { "fd00::1" } else { "10.0.0.1" };
        let password = password.map_or_else(String::new, |password| format!("password \"{password}\";"));
        let session = format!("local {address} as {asn}; neighbor {neighbour} as {peer}; {password}");
        Self::run(router, &session)
    }

    /// Starts it with one session, or a range of them, that BIRD's words describe.
    pub fn run(router: &Node, session: &str) -> Self {
        let folder = format!("/run/bird-{}", router.name());
        fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "router id 10.0.0.254;
             protocol device {{ scan time 1; }}
             protocol direct {{ ipv4; ipv6; }}
             protocol kernel {{ merge paths on; ipv4 {{ export all; }}; }}
             protocol kernel {{ ipv6 {{ export all; }}; }}
             protocol bgp slb {{
                 {session}
                 graceful restart on;
                 error wait time 1, 1;
                 ipv4 {{ import all; export none; extended next hop on; }};
                 ipv6 {{ import all; export none; }};
             }}"
        );
        fs::write(format!("{folder}/bird.conf"), config).unwrap();
        let words = ["-f", "-c", &format!("{folder}/bird.conf"), "-s", &format!("{folder}/bird.ctl")];
        Self { _process: router.spawn("bird", &words) }
    }

    /// What BIRD knows of a route, in its words: attributes are lines like `BGP.med: 7`.
    pub fn route(router: &Node, prefix: &str) -> String {
        let control = format!("/run/bird-{}/bird.ctl", router.name());
        let words = ["-s", &control, "show", "route", "for", prefix, "all"];
        String::from_utf8_lossy(&router.output("birdc", &words).stdout).into_owned()
    }
}

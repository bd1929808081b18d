// SPDX-License-Identifier: Apache-2.0
//! GoBGP on the load-balancer, in the version of Debian's stable suite or of its testing suite.

use std::fs;

use slb_lab::{Node, Process, wait};

/// Where the programs of a version are.
#[derive(Clone, Copy, Debug)]
pub enum Version {
    Three,
    Four,
}

impl Version {
    fn program(self, name: &str) -> String {
        match self {
            Self::Three => format!("/usr/bin/{name}"),
            // By lab/gobgp4.
            Self::Four => format!("/var/cache/slb-lab/gobgp4/{name}"),
        }
    }
}

/// A gobgpd that runs, with the router as its one peer.
pub struct Daemon<'a> {
    node: &'a Node,
    version: Version,
    pub process: Process,
}

impl<'a> Daemon<'a> {
    /// Starts it, and returns when it has its session.
    pub fn start(node: &'a Node, version: Version) -> Self {
        let config = "[global.config]\nas = 65000\nrouter-id = \"10.0.0.1\"\n\
                      [[neighbors]]\n[neighbors.config]\nneighbor-address = \"10.0.0.254\"\npeer-as = 65530\n\
                      [neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 60\n\
                      [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"ipv4-unicast\"\n\
                      [neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n\
                      [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"ipv6-unicast\"\n\
                      [neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n";
        let file = format!("/run/daemon-{}.toml", node.name());
        fs::write(&file, config).unwrap();
        let process = node.spawn(&version.program("gobgpd"), &["-f", &file, "--log-plain"]);
        let daemon = Self { node, version, process };
        wait::until("a session of gobgpd", || {
            let said = node.output(&version.program("gobgp"), &["neighbor", "-j"]);
            String::from_utf8_lossy(&said.stdout).contains("\"uptime\"").then_some(())
        });
        daemon
    }

    /// What its own command line does.
    pub fn gobgp(&self, words: &[&str]) -> String {
        self.node.run(&self.version.program("gobgp"), words)
    }
}

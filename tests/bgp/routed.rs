// SPDX-License-Identifier: Apache-2.0
//! A load-balancer, its backends, a router and a client behind it.

use slb_lab::{Backend, Node, Segment};

/// A router between the segment of the load-balancer and its backends, and that of the clients.
pub struct Site {
    pub segments: [Segment; 2],
    pub lb: Node,
    pub router: Node,
    pub client: Node,
    pub backends: [Node; 2],
}

impl Site {
    pub fn new() -> Self {
        let (inside, outside) = (Segment::new(), Segment::new());
        let site = Self {
            lb: inside.host("lb", "10.0.0.1/24"),
            router: inside.host("router", "10.0.0.254/24"),
            client: outside.host("client", "10.1.0.10/24"),
            backends: [inside.host("one", "10.0.0.11/24"), inside.host("two", "10.0.0.12/24")],
            segments: [inside, outside],
        };
        site.segments[1].connect(&site.router, "eth1", "10.1.0.254/24");
        site.router.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        site.lb.sh("ip link set lo up && ip route add default via 10.0.0.254");
        site.client.sh("ip route add default via 10.1.0.254");
        let [one, two] = &site.backends;
        for (node, adapter, address) in [
            (&site.lb, "eth0", "fd00::1/64"),
            (one, "eth0", "fd00::11/64"),
            (two, "eth0", "fd00::12/64"),
            (&site.router, "eth0", "fd00::fe/64"),
            (&site.router, "eth1", "fd01::fe/64"),
            (&site.client, "eth0", "fd01::10/64"),
        ] {
            node.sh(&format!("ip addr add {address} dev {adapter} nodad"));
        }
        site.lb.sh("ip -6 route add default via fd00::fe");
        site.client.sh("ip -6 route add default via fd01::fe");
        site
    }

    /// Web servers that say who they are.
    pub fn web(&self) -> [Backend; 2] {
        let [one, two] = &self.backends;
        [Backend::start(one, 80, "one"), Backend::start(two, 80, "two")]
    }

    /// Whether the router sends packets for the VIP to the load-balancer.
    pub fn has_route(&self, vip: &str) -> bool {
        let ways = [format!("{vip} via 10.0.0.1 "), format!("{vip} via fd00::1 ")];
        let table = self.router.sh("ip -4 route show; ip -6 route show");
        table.lines().any(|line| ways.iter().any(|way| line.starts_with(way)))
    }
}

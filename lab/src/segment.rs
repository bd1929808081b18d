// SPDX-License-Identifier: Apache-2.0
//! An Ethernet segment: a bridge in a namespace of its own, with hosts on it.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::node::{Node, outside};

/// A switch that hosts are connected to. Their adapters are called `eth0`, unless they have one.
#[derive(Debug)]
pub struct Segment {
    switch: Node,
    ports: AtomicU32,
}

impl Default for Segment {
    fn default() -> Self {
        Self::new()
    }
}

impl Segment {
    /// A segment with no host on it.
    ///
    /// # Panics
    /// The kernel refuses.
    #[must_use]
    pub fn new() -> Self {
        let switch = Node::new("switch");
        switch.sh("ip link add br0 type bridge && ip link set br0 up");
        Self { switch, ports: AtomicU32::new(0) }
    }

    /// A new host with an address, like `192.168.0.10/24`, on its adapter `eth0`.
    ///
    /// # Panics
    /// The kernel refuses.
    #[must_use]
    pub fn host(&self, name: &str, address: &str) -> Node {
        let node = Node::new(name);
        self.connect(&node, "eth0", address);
        node
    }

    /// Connects a host by a new adapter with an address.
    ///
    /// # Panics
    /// The kernel refuses.
    pub fn connect(&self, node: &Node, adapter: &str, address: &str) {
        let port = format!("port{}", self.ports.fetch_add(1, Ordering::Relaxed));
        let switch = self.switch.name();
        outside(
            "ip",
            &["link", "add", adapter, "netns", node.name(), "type", "veth", "peer", "name", &port, "netns", switch],
        );
        self.switch.sh(&format!("ip link set {port} master br0 up"));
        node.sh(&format!("ip addr add {address} dev {adapter} && ip link set {adapter} up"));
    }
}

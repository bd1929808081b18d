// SPDX-License-Identifier: Apache-2.0
//! The load-balancer and a neighbour, joined by a cable: what one sends, the other sees at once.

use std::fmt::Write;

use slb_advert::arp::frame::{Frame, Mac};
use slb_lab::{Node, Sniffer};

/// The neighbour's hardware address; its IP is 10.0.0.20.
pub const NEIGHBOUR: Mac = Mac([2, 0, 0, 0, 0, 0x20]);

/// Two hosts; the adapters at both ends of the cable are called `eth0`.
pub struct Cable {
    pub balancer: Node,
    pub neighbour: Node,
}

impl Cable {
    pub fn new() -> Self {
        let cable = Self { balancer: Node::new("balancer"), neighbour: Node::new("neighbour") };
        cable.plug_in();
        cable
    }

    /// Adds both adapters.
    pub fn plug_in(&self) {
        let other = self.neighbour.name();
        self.balancer.sh(&format!("ip link add eth0 type veth peer name eth0 netns {other}"));
        self.neighbour.sh(&format!("ip link set eth0 address {NEIGHBOUR} up; ip addr add 10.0.0.20/24 dev eth0"));
        self.balancer.sh("ip link set eth0 up");
        self.wait_for_link("eth0");
    }

    /// Waits until an adapter of the load-balancer carries frames.
    pub fn wait_for_link(&self, adapter: &str) {
        slb_lab::wait::until("a link", || self.link(adapter).contains("LOWER_UP").then_some(()));
    }

    /// The hardware address of an adapter of the load-balancer.
    pub fn mac(&self, adapter: &str) -> String {
        self.link(adapter).split_whitespace().nth(2).expect("a hardware address").to_owned()
    }

    fn link(&self, adapter: &str) -> String {
        self.balancer.sh(&format!("ip -br link show {adapter}"))
    }

    /// Sends a frame from the neighbour to everybody.
    pub fn say(&self, frame: &Frame) {
        self.send(frame.sender_mac, 0x0806, &frame.encode());
    }

    /// Sends a packet from a host on the neighbour's end to everybody.
    pub fn send(&self, sender: Mac, ethertype: u16, packet: &[u8]) {
        let bytes = [&Mac::BROADCAST.0[..], &sender.0, &ethertype.to_be_bytes(), packet].concat();
        let octal = bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "\\{byte:03o}").expect("a string takes all");
            text
        });
        self.neighbour.sh(&format!("printf '{octal}' | socat -u STDIN INTERFACE:eth0"));
    }

    /// ARP as the neighbour sees it from now on.
    pub fn listen(&self) -> Wire {
        self.listen_to("arp or (vlan and arp)")
    }

    /// What matches a filter of tcpdump, as the neighbour sees it from now on.
    pub fn listen_to(&self, filter: &str) -> Wire {
        Wire { sniffer: Sniffer::start(&self.neighbour, "eth0", filter), taken: 0 }
    }
}

/// Lines of tcpdump: the time since the last packet, a blank, `SOURCE > TARGET, ethertype ARP …: Request who-has …`.
pub struct Wire {
    sniffer: Sniffer,
    taken: usize,
}

impl Wire {
    /// The next packets, once there are so many.
    pub async fn take(&mut self, count: usize) -> Vec<String> {
        let from = self.taken;
        self.taken += count;
        loop {
            if let Some(lines) = self.sniffer.packets().get(from..self.taken) {
                return lines.to_vec();
            }
            // The program that is tested runs on this thread too.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

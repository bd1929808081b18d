// SPDX-License-Identifier: Apache-2.0
//! What was on the wire: tcpdump.

use crate::{Node, Process};

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Sniffer(Process);

impl Sniffer {
    /// Listens on an adapter for what the filter (pcap-filter(7)) selects; returns when it does.
    ///
    /// # Panics
    /// tcpdump does not start.
    #[must_use]
    pub fn start(node: &Node, adapter: &str, filter: &str) -> Self {
        let process = node.spawn("tcpdump", &["-lnnettt", "--immediate-mode", "-i", adapter, filter]);
        process.line("that it listens", |line| line.starts_with("listening on"));
        Self(process)
    }

    /// Waits for a packet whose line has all of these words, and returns the line.
    ///
    /// # Panics
    /// There is none for a minute.
    pub fn packet(&self, words: &[&str]) -> String {
        self.0.line(&words.join(" "), |line| words.iter().all(|word| line.contains(word)))
    }

    /// The lines of all packets so far.
    #[must_use]
    pub fn packets(&self) -> Vec<String> {
        self.0.said().into_iter().filter(|line| line.contains("ethertype")).collect()
    }
}

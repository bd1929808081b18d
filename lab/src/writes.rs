// SPDX-License-Identifier: Apache-2.0
//! What programs asked a host's kernel to change over netlink, seen on an adapter of the kind nlmon.
//!
//! A pcap file of such an adapter (LINKTYPE_NETLINK) has 16 octets before the messages of a packet, the last two of them the
//! netlink protocol in network order. In doubt a request counts as one that changes something.
//! Not seen: settings written under /proc/sys, and `iptables-legacy`, which uses socket options.

use std::{
    io::{self, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use crate::Node;

/// Longer than anything that works takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// The adapter that sees all netlink packets of its network namespace.
const ADAPTER: &str = "writes0";

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Writes<'a> {
    node: &'a Node,
    tcpdump: Child,
    seen: Receiver<Request>,
}

/// What a program asked.
#[derive(Debug)]
struct Request {
    /// What it changes, for people.
    change: Option<String>,
    /// All of the message.
    message: Vec<u8>,
}

impl<'a> Writes<'a> {
    /// Watches a host; returns when it does.
    ///
    /// # Panics
    /// The kernel refuses, or tcpdump does not start.
    #[must_use]
    pub fn of(node: &'a Node) -> Self {
        node.sh(&format!("ip link add {ADAPTER} type nlmon && ip link set {ADAPTER} up"));
        let mut command = Command::new("tcpdump");
        command.args(["--immediate-mode", "-U", "-w", "-", "-s", "0", "-B", "65536", "-i", ADAPTER]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut tcpdump = node.inside(|| command.spawn().expect("tcpdump"));
        let mut capture = BufReader::new(tcpdump.stdout.take().expect("an output"));
        // The file's head comes when it listens.
        capture.read_exact(&mut [0; 24]).expect("tcpdump listens");
        let (send, seen) = mpsc::channel();
        thread::spawn(move || {
            while let Ok(packet) = next_packet(&mut capture) {
                for request in requests_of(&packet) {
                    drop(send.send(request));
                }
            }
        });
        let mut watching = Self { node, tcpdump, seen };
        watching.take();
        watching
    }

    /// The writes since the last time, in their order; `"rtnetlink 20"` has message type 20.
    ///
    /// # Panics
    /// tcpdump ended.
    pub fn take(&mut self) -> Vec<String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // When a question of our own has been seen, everything before it has.
        let mark = format!("mark-{}.", COUNT.fetch_add(1, Ordering::Relaxed));
        self.node.output("ip", &["neigh", "show", "dev", &mark]);
        let mut names = Vec::new();
        loop {
            let request = self.seen.recv_timeout(DEADLINE).expect("a mark");
            if request.message.windows(mark.len()).any(|part| part == mark.as_bytes()) {
                return names;
            }
            names.extend(request.change);
        }
    }
}

impl Drop for Writes<'_> {
    fn drop(&mut self) {
        drop(self.tcpdump.kill());
        drop(self.tcpdump.wait());
        drop(self.node.output("ip", &["link", "del", ADAPTER]));
    }
}

fn next_packet(capture: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = [0; 16];
    capture.read_exact(&mut head)?;
    let [.., a, b, c, d, _, _, _, _] = head;
    let mut packet = vec![0; u32::from_ne_bytes([a, b, c, d]) as usize];
    capture.read_exact(&mut packet)?;
    Ok(packet)
}

fn requests_of(packet: &[u8]) -> Vec<Request> {
    let Some((&[.., high, low], bytes)) = packet.split_first_chunk::<16>() else { return Vec::new() };
    let protocol = u16::from_be_bytes([high, low]);
    let (messages, rest) = split(bytes);
    let is_trial = protocol == NETLINK_NETFILTER && rest.is_empty() && is_trial(&messages);
    let requests = messages.iter().filter(|message| message.flags & NLM_F_REQUEST != 0);
    let request = |message: &Message<'_>| {
        let command = message.bytes.get(16).copied().unwrap_or_default();
        let change = if is_trial { None } else { change(protocol, message.kind, command) };
        Request { change, message: message.bytes.to_vec() }
    };
    requests.map(request).collect()
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    /// All of it.
    bytes: &'a [u8],
}

/// The messages of a packet, and what is left that is none.
fn split(mut rest: &[u8]) -> (Vec<Message<'_>>, &[u8]) {
    let mut messages = Vec::new();
    while let Some((&[a, b, c, d, e, f, g, h], _)) = rest.split_first_chunk::<8>() {
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let Some(bytes) = rest.get(..length).filter(|bytes| bytes.len() >= 16) else { break };
        messages.push(Message { kind: u16::from_ne_bytes([e, f]), flags: u16::from_ne_bytes([g, h]), bytes });
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    (messages, rest)
}

/// A batch without an end: the kernel checks it and drops it (`nfnetlink_rcv_batch`), which is how to ask what it can do.
fn is_trial(messages: &[Message<'_>]) -> bool {
    let has = |kind| messages.iter().any(|message| message.kind == kind);
    has(NFNL_MSG_BATCH_BEGIN) && !has(NFNL_MSG_BATCH_END)
}

/// linux/netlink.h
const NLM_F_REQUEST: u16 = 1;
const NETLINK_ROUTE: u16 = 0;
const NETLINK_NETFILTER: u16 = 12;
const NETLINK_GENERIC: u16 = 16;
/// linux/netfilter/nfnetlink.h
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;

/// Nothing for a request that changes nothing.
fn change(protocol: u16, kind: u16, command: u8) -> Option<String> {
    match protocol {
        // linux/rtnetlink.h: NEW, DEL, GET and SET of each object, from 16 on.
        NETLINK_ROUTE => (kind >= 16 && kind % 4 != 2).then(|| format!("rtnetlink {kind}")),
        // linux/netfilter/nfnetlink.h: the subsystem, and its message.
        NETLINK_NETFILTER => match kind.to_be_bytes() {
            // The frame of a batch.
            [0, _] => None,
            // linux/netfilter/nf_tables.h: GET stands between NEW and DEL, and from GETGEN on alone or behind NEW.
            [10, 1 | 4 | 7 | 10 | 13 | 16 | 19 | 21 | 23 | 25..] => None,
            // linux/netfilter/nfnetlink_conntrack.h: from GET_CTRZERO on all only ask.
            [1, 1 | 4..] => None,
            [subsystem, message] => Some(format!("nfnetlink {subsystem} {message}")),
        },
        // linux/ip_vs.h; 16 is the controller, which tells numbers of families.
        NETLINK_GENERIC => {
            (kind > 16 && !matches!(command, 4 | 8 | 11 | 13 | 15)).then(|| format!("generic {kind} {command}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NFT_MSG_NEWTABLE: u16 = 10 << 8;

    /// What the messages of these types, sent at once to netfilter, are said to change; the last is cut short by some octets.
    fn changes(kinds: &[u16], cut: usize) -> Vec<String> {
        let mut packet = vec![0; 14];
        packet.extend(NETLINK_NETFILTER.to_be_bytes());
        for kind in kinds {
            packet.extend(20_u32.to_ne_bytes());
            packet.extend(kind.to_ne_bytes());
            packet.extend(NLM_F_REQUEST.to_ne_bytes());
            packet.extend([0; 12]);
        }
        packet.truncate(packet.len() - cut);
        requests_of(&packet).into_iter().filter_map(|request| request.change).collect()
    }

    #[test]
    fn a_batch_counts_if_it_has_an_end() {
        let batch = [NFNL_MSG_BATCH_BEGIN, NFT_MSG_NEWTABLE, NFNL_MSG_BATCH_END];
        assert_eq!(changes(&batch, 0), ["nfnetlink 10 0"]);
        assert_eq!(changes(&batch[..2], 0), [""; 0]);
        assert_eq!(changes(&batch[1..2], 0), ["nfnetlink 10 0"], "no batch at all");
        assert_eq!(changes(&batch, 4), ["nfnetlink 10 0"], "the end was not captured");
    }
}

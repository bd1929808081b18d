// SPDX-License-Identifier: Apache-2.0
//! A host: a network namespace.

use std::{
    fs::File,
    net::{Ipv6Addr, UdpSocket},
    os::fd::AsFd,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::Process;

/// A host of its own: adapters, addresses, routes, IPVS, netfilter and sysctls. It goes when this is dropped.
#[derive(Debug)]
pub struct Node {
    name: String,
}

impl Node {
    /// A host with nothing but a loopback adapter that is up.
    ///
    /// # Panics
    /// The kernel refuses.
    #[must_use]
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // The kernel loads IPv6 for who asks for it first. It puts addresses on all adapters, so it had better be there from the start.
        drop(UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)));
        let node = Self { name: format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed)) };
        outside("ip", &["netns", "add", &node.name]);
        node.run("ip", &["link", "set", "lo", "up"]);
        node
    }

    /// The name of its network namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does something in the host, on a thread of its own.
    ///
    /// # Panics
    /// As `work` does.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = PathBuf::from("/run/netns").join(&self.name);
        let enter = move || {
            let namespace = File::open(&path).expect("a namespace");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
            work()
        };
        let ended = thread::scope(|scope| scope.spawn(enter).join());
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs a program to its end and returns what it printed.
    ///
    /// # Panics
    /// It fails; shows what it said.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        succeeded(program, args, &self.output(program, args))
    }

    /// Runs a program to its end.
    ///
    /// # Panics
    /// There is no such program.
    pub fn output(&self, program: &str, args: &[&str]) -> Output {
        self.inside(|| Command::new(program).args(args).stdin(Stdio::null()).output().expect(program))
    }

    /// Runs a line of shell to its end and returns what it printed.
    ///
    /// # Panics
    /// It fails; shows what it said.
    pub fn sh(&self, line: &str) -> String {
        self.run("sh", &["-euc", line])
    }

    /// Starts a program.
    ///
    /// # Panics
    /// There is no such program.
    pub fn spawn(&self, program: &str, args: &[&str]) -> Process {
        self.inside(|| Process::start(Command::new(program).args(args)))
    }

    /// What slb may change, as text: addresses, services, source NAT and the settings that it touches.
    ///
    /// # Panics
    /// It cannot be read.
    #[must_use]
    pub fn kernel_state(&self) -> String {
        let settings = "cat /proc/sys/net/ipv4/ip_forward; head /proc/sys/net/ipv4/vs/* 2>/dev/null || true; \
                        head /proc/sys/net/ipv4/conf/*/arp_ignore /proc/sys/net/ipv4/conf/*/arp_announce \
                        /proc/sys/net/ipv6/conf/*/forwarding /proc/sys/net/ipv6/conf/*/accept_ra";
        [self.tables(), self.sh(settings)].concat()
    }

    /// Addresses, services and source NAT, as text.
    ///
    /// # Panics
    /// They cannot be read.
    #[must_use]
    pub fn tables(&self) -> String {
        // Link-local addresses come when the kernel finds the time.
        let addresses = "ip -o addr show | grep -v 'inet6 fe80' | sed 's/^[0-9]*: *//; s/ *valid_lft.*//' | sort";
        let services: String = self.services().into_iter().map(|line| line + "\n").collect();
        let legacy = "for save in iptables-legacy-save ip6tables-legacy-save; do \
                      $save -t nat 2>/dev/null | grep -v '^#' | sed 's/\\[.*\\]//' || true; done";
        let nft = "nft list ruleset 2>/dev/null || true";
        [self.sh(addresses), services, self.sh(&format!("{legacy}; {nft}"))].concat()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", &self.name]).output());
    }
}

/// Runs a program in the lab kernel's first namespace.
pub(crate) fn outside(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().expect(program);
    succeeded(program, args, &output)
}

fn succeeded(program: &str, args: &[&str], output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {}: {said}", args.join(" "), output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

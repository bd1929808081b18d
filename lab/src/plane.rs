// SPDX-License-Identifier: Apache-2.0
//! What balances in the tests that run now, and what it has, in the same words for both.

use std::{
    collections::BTreeSet,
    env,
    net::{Ipv4Addr, SocketAddr},
};

use serde_json::Value;

use crate::{Node, Server, http};

/// What `slb server` reads for `--dataplane`.
pub(crate) const VARIABLE: &str = "SLB_DATAPLANE";

/// What balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// The kernel.
    Ipvs,
    /// slb itself.
    User,
}

impl Plane {
    /// Of the tests that run now, for every server that is not told otherwise.
    #[must_use]
    pub fn here() -> Self {
        if env::var_os(VARIABLE).is_some_and(|value| value == "user") { Self::User } else { Self::Ipvs }
    }

    /// Whether connections go on when slb is gone.
    #[must_use]
    pub fn outlives_slb(self) -> bool {
        self == Self::Ipvs
    }
}

impl Node {
    /// Services and their backends, as `ipvsadm -Sn` prints them. In user space a service is what is listened on, its settings are
    /// those that the API shows, once it says that they are programmed, and so are its backends; a listener that the API does not know has
    /// no settings.
    ///
    /// # Panics
    /// They cannot be read.
    #[must_use]
    pub fn services(&self) -> BTreeSet<String> {
        let ipvs = self.sh("ipvsadm -Sn 2>/dev/null || true");
        let ipvs = ipvs.lines().map(|line| line.trim_end().to_owned());
        match Plane::here() {
            Plane::Ipvs => ipvs.collect(),
            // Nothing of slb's is to be there.
            Plane::User => ipvs.chain(self.relayed()).collect(),
        }
    }

    fn relayed(&self) -> BTreeSet<String> {
        let asked = http::ask(self, Server::api(), "GET", "/loadbalancers", &[], "");
        let listed = asked.map(|response| response.json()).unwrap_or_default();
        let known: BTreeSet<(String, String)> = listed.as_array().into_iter().flatten().flat_map(programmed).collect();
        let sockets = self.sh("ss -Hltun");
        let sockets = sockets.lines().filter_map(listener).filter(|(_, at)| at.port() != Server::api().port());
        let lines = sockets.flat_map(|(protocol, at)| {
            let service = format!("{protocol} {at}");
            let lines: Vec<String> =
                known.iter().filter(|(of, _)| *of == service).map(|(_, line)| line.clone()).collect();
            if lines.is_empty() { vec![format!("-A {service}")] } else { lines }
        });
        lines.collect()
    }
}

/// A line of ss: protocol, state, two queues, and where it listens.
fn listener(line: &str) -> Option<(&'static str, SocketAddr)> {
    let mut words = line.split_whitespace();
    let protocol = match words.next()? {
        "tcp" => "-t",
        "udp" => "-u",
        _ => return None,
    };
    Some((protocol, words.nth(3)?.parse().ok()?))
}

/// Each service of a load-balancer, and a line for it or a backend of its.
fn programmed(load_balancer: &Value) -> Vec<(String, String)> {
    let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    let at = |ip: &Value, port: &Value| {
        let port = port.as_u64().and_then(|port| u16::try_from(port).ok());
        Some(SocketAddr::new(text(ip).parse().ok()?, port?))
    };
    let protocol = if load_balancer["protocol"] == "udp" { "-u" } else { "-t" };
    let mut lines = Vec::new();
    for eip in load_balancer["eips"].as_array().into_iter().flatten() {
        let Some(vip) = at(eip, &load_balancer["port"]) else { continue };
        let service = format!("{protocol} {vip}");
        let is_programmed = load_balancer["observed"]["programmed"]["is"] == true;
        let settings = if is_programmed { settings(load_balancer, vip.is_ipv4()) } else { String::new() };
        lines.push((service.clone(), format!("-A {service}{settings}")));
        for backend in load_balancer["backends"].as_array().into_iter().flatten() {
            let is_programmed = backend["observed"]["programmed"]["is"] == true;
            if let Some(to) =
                at(&backend["ip"], &backend["port"]).filter(|to| is_programmed && to.is_ipv4() == vip.is_ipv4())
            {
                lines.push((service.clone(), format!("-a {service} -r {to} -m -w {}", backend["weight"])));
            }
        }
    }
    lines
}

/// Of a service, in the order of ipvsadm.
fn settings(load_balancer: &Value, is_ipv4: bool) -> String {
    let scheduler = load_balancer["scheduler"].as_str().unwrap_or_default();
    let mut line = format!(" -s {scheduler}");
    let persistence = &load_balancer["persistence"];
    if let Some(timeout) = persistence["timeout"].as_str() {
        line += &format!(" -p {}", timeout.trim_end_matches('s'));
    }
    match persistence["granularity"].as_u64().and_then(|bits| u32::try_from(bits).ok()) {
        Some(bits) if is_ipv4 => {
            line += &format!(" -M {}", Ipv4Addr::from(u32::MAX.checked_shl(32 - bits).unwrap_or_default()));
        }
        Some(bits) => line += &format!(" -M {bits}"),
        None => {}
    }
    let flags = load_balancer["schedulerFlags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut flags: Vec<String> = flags.map(|flag| format!("{scheduler}-{flag}")).collect();
    flags.sort_unstable();
    if !flags.is_empty() {
        line += &format!(" -b {}", flags.join(","));
    }
    if load_balancer["onePacket"] == true {
        line += " -o";
    }
    line
}

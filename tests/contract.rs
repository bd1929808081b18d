// SPDX-License-Identifier: Apache-2.0
//! The server does what `openapi.yaml` says: schemathesis asks for all that the file allows, and for much that it does not.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use serde_json::Value;
use slb_lab::{Node, Schemathesis, Server, site::Site};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/api/schemathesis.toml");
const DESCRIPTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml");
/// More than are asked for. Some are those of other hosts, one is the server's own.
const RANGE: &str = "192.168.0.0/21, fd00::/117";

/// That would leave nothing to look at; tests/bulk.rs has it.
const NOT_ALL: [&str; 2] = ["--exclude-operation-id", "replaceLoadBalancers"];

fn as_described() {
    let site = Site::new(SLB);
    // These bring settings of their own when they are first asked for, and keep them.
    site.lb.sh("for name in lblc lblcr; do ipvsadm -A -f 9 -s $name && ipvsadm -D -f 9; done");
    let before = site.lb.kernel_state();
    let state_dir = site.state_dir();
    let options = options(&state_dir, "ipvs");
    let server = Server::start(&site.lb, SLB, &options);
    drive(&site, &server);
    let programmed = programmed(&site.lb);
    let missing: Vec<String> = expected(&plain(&server)).difference(&programmed).cloned().collect();
    assert!(missing.is_empty(), "{missing:#?}");
    delete_all(&server);
    server.stop();
    site.lb.run(SLB, &[&["cleanup"], &options[..]].concat());
    assert_eq!(site.lb.kernel_state(), before);
}

/// What cannot be done without IPVS is refused with 422.
fn as_described_in_user_space() {
    let site = Site::new(SLB);
    let before = site.lb.kernel_state();
    let state_dir = site.state_dir();
    let options = options(&state_dir, "user");
    let server = Server::start(&site.lb, SLB, &options);
    drive(&site, &server);
    for load_balancer in plain(&server) {
        assert_eq!(load_balancer["observed"]["programmed"]["is"], true, "{load_balancer:#}");
    }
    assert!(programmed(&site.lb).is_empty());
    delete_all(&server);
    server.stop();
    site.lb.run(SLB, &[&["cleanup"], &options[..]].concat());
    assert_eq!(site.lb.kernel_state(), before);
}

fn options<'a>(state_dir: &'a str, dataplane: &'a str) -> Vec<&'a str> {
    let options = ["--arp", "--adapter", "eth0", "--ipamRange", RANGE, "--arpProbeInterval", "1ms"];
    [&options[..], &["--stateDir", state_dir, "--dataplane", dataplane]].concat()
}

/// Asks for all that the description allows, and for much that it does not.
fn drive(site: &Site, server: &Server<'_>) {
    let url = format!("http://{}", Server::api());
    let drive = |config: &str, what: &[&str]| {
        let server = Schemathesis { config, description: DESCRIPTION, url: &url };
        server.drive(what, |program, args| site.lb.output(program, args));
    };
    // One after the other. Request by request, all that is allowed and, by chance, some that is not; api/tests/contract.rs has the rest
    // of that, which never reaches the kernel:
    drive(CONFIG, &[&["--phases", "examples,coverage", "--mode", "positive"][..], &NOT_ALL].concat());
    drive(CONFIG, &[&["--phases", "fuzzing", "--max-examples", "50"][..], &NOT_ALL].concat());
    // Then in sequences, which have to know of all objects that they meet.
    drive(CONFIG, &[&["--phases", "stateful"][..], &NOT_ALL].concat());
    // Chance alone hardly ever names a backend together with its load-balancer.
    let known = known(server);
    let changes = ["showBackend", "replaceBackend", "updateBackend", "addBackend", "replaceLoadBalancer"];
    let changes: Vec<&str> = changes.iter().flat_map(|operation| ["--include-operation-id", operation]).collect();
    drive(&known, &[&["--phases", "coverage,fuzzing", "--mode", "positive"], &changes[..]].concat());
}

/// Those of which it is plain what the data plane is to hold: of others that depends on what checks find, or is known by a mark.
fn plain(server: &Server<'_>) -> Vec<Value> {
    let listed = server.list();
    let load_balancers = listed.as_array().unwrap();
    assert!(load_balancers.len() > 20, "only {} load-balancers are left", load_balancers.len());
    let plain: Vec<Value> = load_balancers.iter().filter(|each| is_plain(each)).cloned().collect();
    assert!(plain.len() > 9, "only {} of {}", plain.len(), load_balancers.len());
    plain
}

fn delete_all(server: &Server<'_>) {
    for load_balancer in server.list().as_array().unwrap() {
        let path = format!("/loadbalancer/{}", load_balancer["uuid"].as_str().unwrap());
        let status = server.ask("DELETE", &path, "").status;
        // One that was to be drained first may be gone by now.
        assert!([204, 404].contains(&status), "{status}: {load_balancer}");
    }
}

/// A configuration that names a load-balancer and a backend of it in every path.
fn known(server: &Server<'_>) -> String {
    let load_balancer = server.create(r#"{"port":80}"#);
    let backend = server.add_backend(&load_balancer, r#"{"ip":"192.168.0.11","port":80}"#);
    let (uuid, backend) = (&load_balancer["uuid"], &backend["uuid"]);
    let config = fs::read_to_string(CONFIG).unwrap();
    let path = "/run/schemathesis.toml".to_owned();
    fs::write(&path, format!("{config}uuid = {uuid}\nbackenduuid = {backend}\n")).unwrap();
    path
}

/// What the kernel balances, in ipvsadm's words but for addresses: there is more than one way to write some of IPv6.
fn programmed(lb: &Node) -> BTreeSet<String> {
    let word = |word: &str| word.parse().map_or_else(|_| word.to_owned(), |at: SocketAddr| at.to_string());
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    lb.sh("ipvsadm -Sn").lines().map(line).collect()
}

/// What it should balance by what the API shows.
fn expected(load_balancers: &[Value]) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for load_balancer in load_balancers {
        let protocol = match load_balancer["protocol"].as_str() {
            Some("tcp") => "-t",
            Some("udp") => "-u",
            Some("sctp") => "--sctp-service",
            other => panic!("{other:?}"),
        };
        for eip in load_balancer["eips"].as_array().unwrap() {
            let eip: IpAddr = eip.as_str().unwrap().parse().unwrap();
            let service = format!("{protocol} {}", SocketAddr::new(eip, port(load_balancer)));
            lines.insert(format!("-A {service}{}", settings(load_balancer, eip)));
            for backend in load_balancer["backends"].as_array().into_iter().flatten() {
                let ip: IpAddr = backend["ip"].as_str().unwrap().parse().unwrap();
                if ip.is_ipv4() != eip.is_ipv4() && backend["type"] != "TUN" {
                    continue;
                }
                let at = SocketAddr::new(ip, port(backend));
                let ([forward, tunnel], weight) = (forwarding(backend), &backend["weight"]);
                lines.insert(format!("-a {service} -r {at} {forward} -w {weight}{tunnel}"));
            }
        }
    }
    lines
}

fn port(of: &Value) -> u16 {
    of["port"].as_u64().unwrap().try_into().unwrap()
}

/// Without health checks and drains, and on a single port: which mark several have, only the kernel says.
fn is_plain(load_balancer: &Value) -> bool {
    let is_asked =
        |object: &Value| ["healthCheck", "fallback", "drain", "ports"].iter().any(|name| object.get(name).is_some());
    !is_asked(load_balancer) && !load_balancer["backends"].as_array().into_iter().flatten().any(is_asked)
}

/// Of a service on that address.
fn settings(load_balancer: &Value, eip: IpAddr) -> String {
    let scheduler = load_balancer["scheduler"].as_str().unwrap();
    let mut words = format!(" -s {scheduler}");
    if let Some(timeout) = load_balancer["persistence"]["timeout"].as_str() {
        words += &format!(" -p {}", timeout.trim_end_matches('s'));
    }
    match load_balancer["persistence"]["granularity"].as_u64() {
        None => {}
        Some(bits) if eip.is_ipv6() => {
            words += &if bits == 128 { String::new() } else { format!(" -M {bits}") };
        }
        Some(32..) => {}
        Some(bits) => words += &format!(" -M {}", Ipv4Addr::from(u32::MAX << (32 - bits))),
    }
    if load_balancer["onePacket"] == true {
        words += " -o";
    }
    let flags = load_balancer["schedulerFlags"].as_array().unwrap();
    let flags: Vec<String> = ["fallback", "port"]
        .into_iter()
        .filter(|name| flags.iter().any(|flag| flag == name))
        .map(|name| format!("{scheduler}-{name}"))
        .collect();
    if flags.is_empty() { words } else { format!("{words} -b {}", flags.join(",")) }
}

/// How a backend is reached, before and after the weight; ipvsadm calls the local one direct.
fn forwarding(backend: &Value) -> [String; 2] {
    let tunnel = match (backend["type"].as_str(), backend["tunnel"]["type"].as_str()) {
        (Some("MASQ"), _) => return ["-m".to_owned(), String::new()],
        (Some("LOCAL" | "DR"), _) => return ["-g".to_owned(), String::new()],
        (Some("TUN"), Some("ipip")) => "ipip".to_owned(),
        (Some("TUN"), Some("gre")) => "gre --tun-nocsum".to_owned(),
        (Some("TUN"), Some("gue")) => format!("gue --tun-port {} --tun-nocsum", backend["tunnel"]["port"]),
        other => panic!("{other:?}"),
    };
    ["-i".to_owned(), format!(" --tun-type {tunnel}")]
}

slb_lab::main! { fast: [as_described, as_described_in_user_space] }

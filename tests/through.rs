// SPDX-License-Identifier: Apache-2.0
//! A check that asks a backend for the VIP itself, as clients do: one that listens but does not have the VIP is taken out, whatever way leads
//! to it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::UdpSocket, thread};

use serde_json::{Value, json};
use slb_lab::{Server, site::Site, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");
const RANGE: &str = "192.168.0.85-192.168.0.90, fd00::85-fd00::90";
const ACCEPT_LOCAL: &str = "sysctl -n net.ipv4.conf.eth0.accept_local";

/// How IPVS reaches the backends, and what their hosts are told of it.
struct Way {
    vip: &'static str,
    backends: [&'static str; 2],
    settings: Value,
    set_up: &'static [&'static str],
}

fn ways() -> [Way; 7] {
    let (four, six) = ("192.168.0.85", "fd00::85");
    let (v4, v6) = (["192.168.0.11", "192.168.0.12"], ["fd00::11", "fd00::12"]);
    let tunnel = |of: &str| json!({"type": "TUN", "tunnel": {"type": of}});
    let gue = json!({"type": "TUN", "tunnel": {"type": "gue", "port": 6080}});
    let mixed = json!({"type": "TUN", "healthCheck": {
        "type": "tcp", "address": "vip", "source": "192.168.0.1", "interval": "200ms", "timeout": "150ms",
    }});
    [
        Way { vip: four, backends: v4, settings: json!({"type": "DR"}), set_up: &[] },
        Way { vip: six, backends: v6, settings: json!({"type": "DR"}), set_up: &[] },
        Way { vip: four, backends: v4, settings: tunnel("ipip"), set_up: &["--tunnel", "ipip"] },
        Way { vip: six, backends: v6, settings: tunnel("ipip"), set_up: &["--tunnel", "ipip"] },
        Way { vip: four, backends: v4, settings: tunnel("gre"), set_up: &["--tunnel", "gre"] },
        Way { vip: four, backends: v4, settings: gue, set_up: &["--tunnel", "gue"] },
        Way { vip: four, backends: v6, settings: mixed, set_up: &["--tunnel", "ipip", "--over", "ipv6"] },
    ]
}

/// Both hosts have addresses of both families, and web servers on all of them.
fn site() -> Site {
    let site = Site::new(SLB);
    for (node, last) in [(&site.lb, 1), (&site.one, 11), (&site.two, 12)] {
        node.sh(&format!("ip addr add fd00::{last}/64 dev eth0 nodad"));
    }
    site
}

fn start(site: &Site) -> Server<'_> {
    let options = site.options();
    let options = options.iter().map(|word| if word.starts_with("192.168.0.85-") { RANGE } else { word.as_str() });
    Server::start(&site.lb, SLB, &options.collect::<Vec<_>>())
}

/// A load-balancer whose backends are asked for its VIP.
fn asking(server: &Server<'_>, Way { vip, backends, settings, .. }: &Way) -> Value {
    let backends = backends.map(|ip| {
        let mut backend = settings.clone();
        backend.as_object_mut().unwrap().extend([("ip".to_owned(), json!(ip)), ("port".to_owned(), json!(80))]);
        backend
    });
    let check = json!({
        "type": "http", "address": "vip", "source": null, "interval": "200ms", "timeout": "150ms", "rise": 1, "fall": 2,
    });
    // What a backend has of its own leaves nothing to be asked of all.
    let check = if settings["healthCheck"].is_object() { Value::Null } else { check };
    let body = json!({"name": "web", "eip": vip, "port": 80, "backends": backends, "healthCheck": check});
    server.create(&body.to_string())
}

fn path(load_balancer: &Value) -> String {
    format!("/loadbalancer/{}", load_balancer["uuid"].as_str().unwrap())
}

fn becomes(server: &Server<'_>, load_balancer: &Value, expected: [&str; 2]) {
    wait::until(&format!("the backends to be {expected:?}"), || {
        let shown = server.ask("GET", &path(load_balancer), "").json();
        let health = |backend: &Value| backend["observed"]["health"].as_str().unwrap().to_owned();
        let found: Vec<_> = shown["backends"].as_array().unwrap().iter().map(health).collect();
        (found == expected).then_some(())
    });
}

fn a_backend_without_the_vip_is_out_until_it_has_it() {
    let site = site();
    // Strictness does not matter.
    site.lb.sh("sysctl -w net.ipv4.conf.all.rp_filter=1");
    let _web = site.web();
    let server = start(&site);
    let before = site.lb.tables();
    for way in ways() {
        let set_up = [&["backend", "setup", "--vip", way.vip][..], way.set_up].concat();
        let undo = ["backend", "setup", "--undo"];
        site.one.run(SLB, &set_up);
        let web = asking(&server, &way);
        becomes(&server, &web, ["up", "down"]);
        site.two.run(SLB, &set_up);
        becomes(&server, &web, ["up", "up"]);
        site.one.run(SLB, &undo);
        becomes(&server, &web, ["down", "up"]);
        site.two.run(SLB, &undo);
        server.delete(&web);
        assert_eq!(site.lb.tables(), before, "{}", way.settings);
    }
}

/// No entry of IPVS's leads a later question from the same port to another backend.
fn datagrams_reach_whom_they_are_for() {
    let site = site();
    let server = start(&site);
    let vip = "192.168.0.85";
    for node in [&site.one, &site.two] {
        node.run(SLB, &["backend", "setup", "--vip", vip]);
    }
    let echo = site.one.inside(|| UdpSocket::bind((vip, 53)).unwrap());
    thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok((length, asker)) = echo.recv_from(&mut bytes) {
            drop(echo.send_to(&bytes[..length], asker));
        }
    });
    let backends = ["192.168.0.11", "192.168.0.12"].map(|ip| json!({"type": "DR", "ip": ip, "port": 53}));
    let check =
        json!({"type": "udp", "address": "vip", "payload": "ping", "expectAnswer": "ping", "interval": "100ms"});
    let body = json!({"name": "dns", "port": 53, "protocol": "udp", "backends": backends, "healthCheck": check});
    let dns = server.create(&body.to_string());
    becomes(&server, &dns, ["up", "down"]);
    let last = || server.ask("GET", &path(&dns), "").json()["backends"][0]["observed"]["lastCheck"]["at"].clone();
    let first = last();
    wait::until("a later answer", || (last() != first).then_some(()));
    let entries = site.lb.sh("ipvsadm -Lcn");
    assert!(!entries.contains("UDP"), "{entries}");
}

/// The rules that mark packets to several ports leave questions the mark that leads them to whom they ask: those for another load-balancer's
/// backends, and those for its own.
fn several_ports_of_the_vip_take_no_question() {
    let site = site();
    let _web = [site.web(), site.web_on(8080)];
    let server = start(&site);
    let undo = ["backend", "setup", "--undo"];
    let [of_ipv4, of_ipv6, ..] = ways();
    for Way { vip, backends: [one, two], .. } in [of_ipv4, of_ipv6] {
        let set_up = ["backend", "setup", "--vip", vip];
        let create = |ports: Value, backends: Value, asked: Value| {
            let check = json!({
                "type": "http", "address": "vip", "port": asked, "interval": "200ms", "timeout": "150ms", "rise": 1, "fall": 2,
            });
            let body = json!({"eip": vip, "backends": backends, "healthCheck": check});
            let body = [&ports, &body].into_iter().flat_map(|part| part.as_object().unwrap().clone());
            server.create(&Value::Object(body.collect()).to_string())
        };
        site.one.run(SLB, &set_up);
        let several = json!({"ports": ["80", "8000-8100"]});
        let several = create(several, json!([{"ip": one, "type": "DR"}]), Value::Null);
        let both = [one, two].map(|ip| json!({"ip": ip, "port": 443, "type": "DR"}));
        let another = create(json!({"port": 443}), json!(both), json!(8080));
        // Whoever is behind the several ports would answer for the other one.
        becomes(&server, &another, ["up", "down"]);
        let second = json!({"ip": two, "type": "DR"}).to_string();
        let added = server.ask("POST", &format!("{}/backend", path(&several)), &second);
        assert_eq!(added.status, 201, "{}", added.body);
        becomes(&server, &several, ["up", "down"]);
        site.two.run(SLB, &set_up);
        site.one.run(SLB, &undo);
        [&several, &another].iter().for_each(|asking| becomes(&server, asking, ["down", "up"]));
        site.two.run(SLB, &undo);
        [&several, &another].iter().for_each(|asking| server.delete(asking));
    }
}

/// What leads questions to the backends is found again, and goes with what it is for.
fn kill_9_leaves_nothing_behind() {
    let site = site();
    let _web = site.web();
    site.one.run(SLB, &["backend", "setup", "--vip", "192.168.0.85"]);
    let before = site.lb.tables();
    assert_eq!(site.lb.sh(ACCEPT_LOCAL).trim(), "0");
    let [way, ..] = ways();
    let server = start(&site);
    assert_eq!(site.lb.sh(ACCEPT_LOCAL).trim(), "0", "it is for those who ask");
    let web = asking(&server, &way);
    becomes(&server, &web, ["up", "down"]);
    let programmed = site.lb.sh("ipvsadm -Sn | sort");
    assert_eq!(programmed.matches("-A -f ").count(), 2, "{programmed}");
    assert_eq!(site.lb.sh(ACCEPT_LOCAL).trim(), "1");
    server.kill();
    let server = start(&site);
    assert_eq!(site.lb.sh("ipvsadm -Sn | sort"), programmed);
    becomes(&server, &web, ["up", "down"]);
    let removed = format!("{}/backend/{}", path(&web), web["backends"][0]["uuid"].as_str().unwrap());
    assert_eq!(server.ask("DELETE", &removed, "").status, 204);
    server.kill();
    let server = start(&site);
    assert_eq!(site.lb.sh("ipvsadm -Sn").matches("-A -f ").count(), 1);
    server.stop();
    site.lb.run(SLB, &["cleanup", "--stateDir", &site.state_dir()]);
    assert_eq!((site.lb.tables(), site.lb.sh(ACCEPT_LOCAL).trim()), (before.clone(), "0"));
    let server = start(&site);
    server.delete(&web);
    server.stop();
    site.lb.run(SLB, &["cleanup", "--stateDir", &site.state_dir()]);
    assert_eq!(site.lb.tables(), before);
}

fn who_cannot_have_the_vip_is_not_asked_for_it() {
    let site = site();
    let server = start(&site);
    let refused = |body: Value| {
        let response = server.ask("POST", "/loadbalancer", &body.to_string());
        assert_eq!(response.status, 409, "{}", response.body);
        response.json()["field"].as_str().unwrap().to_owned()
    };
    let with = |backend: Value| json!({"name": "web", "port": 80, "healthCheck": {"type": "tcp", "address": "vip"}, "backends": [backend]});
    for kind in ["MASQ", "LOCAL"] {
        assert_eq!(refused(with(json!({"ip": "192.168.0.11", "port": 80, "type": kind}))), "healthCheck.address");
    }
    assert_eq!(refused(with(json!({"ip": "fd00::11", "port": 80, "type": "TUN"}))), "healthCheck.source");
}

slb_lab::main! {
    fast: [
        a_backend_without_the_vip_is_out_until_it_has_it,
        datagrams_reach_whom_they_are_for,
        kill_9_leaves_nothing_behind,
        who_cannot_have_the_vip_is_not_asked_for_it,
    ],
    fast, stock: [several_ports_of_the_vip_take_no_question],
}

// SPDX-License-Identifier: Apache-2.0
//! Everything that IPVS can do: each combination of family, protocol, scheduler and way to the backend is asked for over the API, and
//! ipvsadm shows it, or it is refused with the reason; in user space, with what it takes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use slb_lab::{Backend, Node, Plane, Server, site::Site, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

const SCHEDULERS: [&str; 14] =
    ["rr", "wrr", "lc", "wlc", "sh", "mh", "dh", "sed", "nq", "fo", "ovf", "lblc", "lblcr", "twos"];
/// With what ipvsadm says for it.
const PROTOCOLS: [(&str, &str); 3] = [("tcp", "-t"), ("udp", "-u"), ("sctp", "--sctp-service")];

struct Family {
    name: &'static str,
    vip: &'static str,
    backend: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family { name: "ipv4", vip: "192.168.0.85", backend: "192.168.0.11" },
    Family { name: "ipv6", vip: "[fd00::85]", backend: "[fd00::11]" },
];

/// What is asked for, and what ipvsadm says for it, before and after the weight. It calls local backends direct.
fn ways() -> [(Value, [&'static str; 2]); 6] {
    [
        (json!({"type": "MASQ"}), ["-m", ""]),
        (json!({"type": "LOCAL"}), ["-g", ""]),
        (json!({"type": "DR"}), ["-g", ""]),
        (json!({"type": "TUN"}), ["-i", " --tun-type ipip"]),
        (json!({"type": "TUN", "tunnel": {"type": "gre"}}), ["-i", " --tun-type gre --tun-nocsum"]),
        (
            json!({"type": "TUN", "tunnel": {"type": "gue", "port": 6080}}),
            ["-i", " --tun-type gue --tun-port 6080 --tun-nocsum"],
        ),
    ]
}

fn site() -> Site {
    let site = Site::new(SLB);
    site.lb.sh("ip addr add fd00::1/64 dev eth0 nodad");
    // These bring settings of their own when they are first asked for, and keep them.
    site.lb.sh("for name in lblc lblcr; do ipvsadm -A -f 9 -s $name && ipvsadm -D -f 9; done");
    site
}

fn start(site: &Site) -> Server<'_> {
    let range = "192.168.0.85, fd00::85";
    let words = ["--arp", "--adapter", "eth0", "--ipamRange", range, "--arpProbeInterval", "1ms", "--stateDir"];
    Server::start(&site.lb, SLB, &[&words[..], &[&site.state_dir()]].concat())
}

fn programmed(lb: &Node) -> BTreeSet<String> {
    lb.services()
}

/// What README's "In user space" says.
fn is_served(plane: Plane, protocol: &str, scheduler: &str, way: &Value) -> bool {
    plane == Plane::Ipvs
        || ["tcp", "udp"].contains(&protocol)
            && ["rr", "wrr", "lc", "wlc", "sh", "mh"].contains(&scheduler)
            && way["type"] == "MASQ"
}

fn with(mut object: Value, more: &Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

fn every_combination_is_programmed_or_refused() {
    let site = site();
    let server = start(&site);
    let before = site.lb.tables();
    let mut expected = BTreeSet::new();
    let mut created = Vec::new();
    let mut port = 1000;
    for Family { vip, backend, .. } in FAMILIES {
        for (protocol, flag) in PROTOCOLS {
            for scheduler in SCHEDULERS {
                for (way, [forward, tunnel]) in ways() {
                    port += 1;
                    let ip = backend.trim_matches(['[', ']']);
                    let wish = json!({
                        "port": port, "eip": vip.trim_matches(['[', ']']), "protocol": protocol, "scheduler": scheduler,
                        "backends": [with(json!({"ip": ip, "port": port, "weight": 3}), &way)],
                    });
                    let answer = server.ask("POST", "/loadbalancer", &wish.to_string());
                    if !is_served(Plane::here(), protocol, scheduler, &way) {
                        assert_eq!(
                            (answer.status, &answer.json()["type"]),
                            (422, &json!("/problems/unserved")),
                            "{wish}"
                        );
                        assert!(answer.body.contains("(--dataplane ipvs)"), "{wish}: {}", answer.body);
                        continue;
                    }
                    if answer.status == 409 && scheduler == "twos" {
                        // Debian's kernels are built without it.
                        assert_eq!(answer.json()["type"], "/problems/unsupported", "{wish}: {}", answer.body);
                        continue;
                    }
                    assert_eq!(answer.status, 201, "{wish}: {}", answer.body);
                    created.push(answer.json());
                    expected.insert(format!("-A {flag} {vip}:{port} -s {scheduler}"));
                    expected.insert(format!("-a {flag} {vip}:{port} -r {backend}:{port} {forward} -w 3{tunnel}"));
                }
            }
        }
    }
    let least = if Plane::here() == Plane::Ipvs { 2 * 3 * 13 * 6 } else { 2 * 2 * 6 };
    assert!(created.len() >= least, "only {}", created.len());
    let programmed = programmed(&site.lb);
    let differences: Vec<_> = expected.symmetric_difference(&programmed).take(9).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    let after = site.lb.tables();
    server.kill();
    let server = start(&site);
    assert_eq!(site.lb.tables(), after, "all of it is known after a restart");
    created.iter().for_each(|each| server.delete(each));
    assert_eq!(site.lb.tables(), before);
}

/// What belongs to a service, in place.
fn settings_of_a_service_are_changed_in_place() {
    let site = site();
    let server = start(&site);
    for Family { vip, .. } in FAMILIES {
        let is_ipv4 = !vip.starts_with('[');
        for (protocol, flag) in PROTOCOLS {
            if !is_served(Plane::here(), protocol, "rr", &json!({"type": "MASQ"})) {
                continue;
            }
            let eip = vip.trim_matches(['[', ']']);
            let web = server.create(&json!({"port": 53, "eip": eip, "protocol": protocol}).to_string());
            let path = format!("/loadbalancer/{}", web["uuid"].as_str().unwrap());
            let netmask = if is_ipv4 { "255.255.240.0" } else { "20" };
            for (change, shown) in [
                (json!({"persistence": {"timeout": "5m"}}), " -s rr -p 300".to_owned()),
                (json!({"persistence": {"granularity": 20}}), format!(" -s rr -p 300 -M {netmask}")),
                (
                    json!({"persistence": null, "scheduler": "sh", "schedulerFlags": ["port"]}),
                    " -s sh -b sh-port".to_owned(),
                ),
                (
                    json!({"schedulerFlags": ["fallback", "port"], "scheduler": "mh"}),
                    " -s mh -b mh-fallback,mh-port".to_owned(),
                ),
                (json!({"scheduler": "wrr", "schedulerFlags": []}), " -s wrr".to_owned()),
            ] {
                let answer = server.ask("PATCH", &path, &change.to_string());
                assert_eq!(answer.status, 200, "{change}: {}", answer.body);
                assert_eq!(programmed(&site.lb), [format!("-A {flag} {vip}:53{shown}")].into(), "{change}");
            }
            let before = site.lb.tables();
            let one_packet = server.ask("PATCH", &path, r#"{"onePacket":true}"#);
            if protocol == "udp" {
                assert_eq!(one_packet.status, 200, "{}", one_packet.body);
                assert!(programmed(&site.lb).iter().any(|line| line.contains(&format!("{vip}:53 -s wrr -o"))));
            } else {
                assert_eq!((one_packet.status, one_packet.json()["field"].as_str()), (409, Some("onePacket")));
                assert_eq!(site.lb.tables(), before);
            }
            for (change, field) in [
                (json!({"schedulerFlags": ["port"]}), "schedulerFlags"),
                (json!({"persistence": {"granularity": if is_ipv4 { 33 } else { 129 }}}), "persistence"),
                (json!({"protocol": if protocol == "tcp" { "udp" } else { "tcp" }}), "protocol"),
            ] {
                let refused = server.ask("PATCH", &path, &change.to_string());
                assert_eq!((refused.status, refused.json()["field"].as_str()), (409, Some(field)), "{change}");
            }
            server.delete(&web);
        }
    }
}

/// It takes the data plane in user space: nothing is taken that would not be done.
fn backends_are_told_of_no_clients() {
    let site = site();
    let server = start(&site);
    let unserved = |method, path: &str, body: &str| {
        let refused = server.ask(method, path, body);
        let problem = refused.json();
        assert_eq!((refused.status, problem["type"].as_str()), (422, Some("/problems/unserved")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("--dataplane user"), "{problem}");
    };
    let before = site.lb.tables();
    let with_a_backend = r#"{"port":80,"proxyProtocol":"v1","backends":[{"ip":"10.80.96.25","port":80}]}"#;
    unserved("POST", "/loadbalancer", with_a_backend);
    assert_eq!((server.list(), site.lb.tables()), (json!([]), before));
    let web = server.create(r#"{"port":80}"#);
    let path = format!("/loadbalancer/{}", web["uuid"].as_str().unwrap());
    let before = site.lb.tables();
    unserved("PATCH", &path, r#"{"proxyProtocol":"v2"}"#);
    assert_eq!(server.ask("GET", &path, "").json()["proxyProtocol"], Value::Null);
    assert_eq!(site.lb.tables(), before);
}

/// From one kind to another, with everything that there is to set.
fn settings_of_a_backend_are_changed_in_place() {
    let site = site();
    let server = start(&site);
    for Family { name, vip, backend } in FAMILIES {
        let web = server.create(&json!({"port": 80, "family": name}).to_string());
        let ip = backend.trim_matches(['[', ']']);
        let added = server.add_backend(&web, &json!({"ip": ip, "port": 80}).to_string());
        let (web_id, id) = (web["uuid"].as_str().unwrap(), added["uuid"].as_str().unwrap());
        let path = format!("/loadbalancer/{web_id}/backend/{id}");
        for (way, [forward, tunnel]) in ways() {
            let before = site.lb.tables();
            let answer = server.ask("PATCH", &path, &with(json!({"weight": 7}), &way).to_string());
            if !is_served(Plane::here(), "tcp", "rr", &way) {
                assert_eq!((answer.status, &answer.json()["type"]), (422, &json!("/problems/unserved")), "{way}");
                assert_eq!(site.lb.tables(), before, "{way}");
                continue;
            }
            assert_eq!(answer.status, 200, "{way}: {}", answer.body);
            assert_eq!(server.ask("GET", &path, "").json()["type"], way["type"]);
            let line = format!("-a -t {vip}:80 -r {backend}:80 {forward} -w 7{tunnel}");
            assert!(programmed(&site.lb).contains(&line), "{line}: {:?}", programmed(&site.lb));
        }
        let limited = server.ask("PATCH", &path, r#"{"upperThreshold":100,"lowerThreshold":50}"#);
        assert_eq!(limited.status, 200, "{}", limited.body);
        if Plane::here() == Plane::Ipvs {
            let listed = site.lb.sh("ipvsadm -ln --thresholds");
            let line = listed.lines().find(|line| line.contains(&format!("{backend}:80"))).unwrap();
            let words: Vec<_> = line.split_whitespace().collect();
            assert!(words.windows(2).any(|pair| pair == ["100", "50"]), "{listed}");
        }
        let before = site.lb.tables();
        for body in [json!({"lowerThreshold": 101}), json!({"ip": "10.0.0.1"}), json!({"port": 81})] {
            assert_eq!(server.ask("PATCH", &path, &body.to_string()).status, 409, "{body}");
        }
        assert_eq!(site.lb.tables(), before);
        server.delete(&web);
    }
}

/// Packets are not translated: they arrive where clients sent them, and the backend's own port is asked how it is.
fn a_directly_routed_backend_is_asked_on_a_port_of_its_own() {
    let site = Site::new(SLB);
    site.one.run(SLB, &["backend", "setup", "--vip", "192.168.0.85"]);
    let _web = Backend::start(&site.one, 80, "web");
    let admin = Backend::start(&site.one, 8080, "admin");
    let mut server = site.start(&["--reconcileInterval", "1s"]);
    let web = server.create(
        r#"{"name":"web","port":80,"protocol":"tcp","scheduler":"wlc","persistence":{"timeout":300},
        "healthCheck":{"type":"http","path":"/","expectStatus":"200-399","interval":"1s","timeout":"500ms","rise":2,"fall":2},
        "backends":[{"ip":"192.168.0.11","port":8080,"weight":5,"type":"DR"}]}"#,
    );
    server.process().line("where packets arrive", |line| line.contains("packets arrive") && line.contains("port=80"));
    let expected = ["-A -t 192.168.0.85:80 -s wlc -p 300", "-a -t 192.168.0.85:80 -r 192.168.0.11:8080 -g -w 5"];
    assert_eq!(programmed(&site.lb), expected.map(str::to_owned).into());
    wait::until("checks on its own port", || (admin.served() >= 4).then_some(()));
    assert_eq!(site.get(&web).unwrap(), "web");
    let path = format!("/loadbalancer/{}/backend", web["uuid"].as_str().unwrap());
    let other = server.ask("POST", &path, r#"{"ip":"192.168.0.11","port":8081,"type":"DR"}"#);
    assert_eq!((other.status, other.json()["field"].as_str()), (409, Some("type")), "{}", other.body);

    let path = format!("{path}/{}", web["backends"][0]["uuid"].as_str().unwrap());
    assert_eq!(server.ask("PATCH", &path, r#"{"weight":0}"#).status, 200);
    assert!(site.lb.sh("ipvsadm -Sn").contains("-r 192.168.0.11:8080 -g -w 0"));
    assert_eq!(server.ask("POST", &format!("{path}/drain?deadline=30s"), "").status, 202);
    let said = server.process().said();
    assert!(!said.iter().any(|line| line.contains("repairing")), "{said:#?}");
}

slb_lab::main! {
    fast: [
        a_directly_routed_backend_is_asked_on_a_port_of_its_own,
        backends_are_told_of_no_clients,
    ],
    fast, user: [
        every_combination_is_programmed_or_refused,
        settings_of_a_service_are_changed_in_place,
        settings_of_a_backend_are_changed_in_place,
    ],
}

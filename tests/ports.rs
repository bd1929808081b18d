// SPDX-License-Identifier: Apache-2.0
//! Several ports of one VIP: one service by mark, whatever the way to the backends, and nothing is left of it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use slb_lab::{Backend, Node, Server, http, site::Site, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");
/// Where the backends listen; 8080 is no port of any load-balancer.
const LISTENED: [u16; 4] = [80, 443, 8005, 8080];
/// The first mark of slb's.
const MARK: u32 = 0x51b0_0001;
/// What a load-balancer has.
const PORTS: [&str; 3] = ["80", "443", "8000-8010"];

struct Family {
    name: &'static str,
    vip: &'static str,
    backends: [&'static str; 2],
    client: &'static str,
}

impl Family {
    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.vip.parse().unwrap(), port)
    }
}

const FAMILIES: [Family; 2] = [
    Family { name: "ipv4", vip: "192.168.0.85", backends: ["192.168.0.11", "192.168.0.12"], client: "192.168.0.10" },
    Family { name: "ipv6", vip: "fd00::85", backends: ["fd00::11", "fd00::12"], client: "fd00::10" },
];

/// Everybody has an address of IPv6 with the same last number.
fn site() -> Site {
    let site = Site::new(SLB);
    for (node, last) in [(&site.lb, 1), (&site.client, 10), (&site.one, 11), (&site.two, 12)] {
        node.sh(&format!("ip addr add fd00::{last}/64 dev eth0 nodad"));
    }
    site
}

fn start<'a>(site: &'a Site, more: &[&str]) -> Server<'a> {
    let range = "192.168.0.85, fd00::85";
    let words = ["--arp", "--adapter", "eth0", "--ipamRange", range, "--arpProbeInterval", "1ms", "--stateDir"];
    Server::start(&site.lb, SLB, &[&words[..], &[&site.state_dir()], more].concat())
}

/// Web servers on both hosts that answer with their name and port.
fn web(site: &Site) -> Vec<Backend> {
    let on = |port: u16| {
        [(&site.one, "one"), (&site.two, "two")]
            .map(|(node, name)| Backend::start(node, port, &format!("{name} {port}")))
    };
    LISTENED.into_iter().flat_map(on).collect()
}

fn create(server: &Server<'_>, family: &Family, settings: &Value, backend: &Value) -> Value {
    let backends = family.backends.map(|ip| with(json!({ "ip": ip }), backend));
    let wish = json!({"name": "web", "ports": PORTS, "eip": family.vip, "backends": backends});
    server.create(&with(wish, settings).to_string())
}

fn with(mut object: Value, more: &Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

/// What a host is answered on that port of the VIP.
fn ask(node: &Node, family: &Family, port: u16) -> std::io::Result<String> {
    http::get(node, family.at(port))
}

/// Who answers in four attempts.
fn answers(node: &Node, family: &Family, port: u16) -> BTreeSet<String> {
    (0..4).map(|_| ask(node, family, port).unwrap()).collect()
}

fn both(port: u16) -> BTreeSet<String> {
    ["one", "two"].map(|name| format!("{name} {port}")).into()
}

/// Addresses, services, source NAT, and the rules that mark, line by line: a table that is made anew is listed behind the others.
fn tables(lb: &Node) -> String {
    let mangle = "for save in iptables-legacy-save ip6tables-legacy-save; do \
                  $save -t mangle 2>/dev/null | grep -v '^#' | sed 's/\\[.*\\]//' || true; done";
    let text = [lb.tables(), lb.sh(mangle)].concat();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn each_way_reaches_the_backends_on_the_same_port() {
    let site = site();
    let _web = web(&site);
    let before = tables(&site.lb);
    let server = start(&site, &[]);
    let ways: [(Value, &[&str]); 3] = [
        (json!({"type": "MASQ"}), &[]),
        (json!({"type": "DR"}), &["--adapter", "eth0"]),
        (json!({"type": "TUN"}), &["--tunnel", "ipip"]),
    ];
    for family in &FAMILIES {
        for (way, set_up) in &ways {
            let what = format!("{} {way}", family.name);
            if !set_up.is_empty() {
                let over = if set_up.contains(&"--tunnel") { vec!["--over", family.name] } else { Vec::new() };
                let words = [&["backend", "setup", "--vip", family.vip][..], set_up, &over].concat();
                [&site.one, &site.two].iter().for_each(|node| drop(node.run(SLB, &words)));
            }
            let web = create(&server, family, &json!({}), way);
            assert_eq!(web["ports"], json!(PORTS), "{web}");
            assert!(web.get("port").is_none() && web["backends"][0].get("port").is_none(), "{web}");
            let services = site.lb.sh("ipvsadm -Sn");
            let of = if family.name == "ipv6" { " -6" } else { "" };
            assert!(services.contains(&format!("-A -f {MARK}{of} -s rr")), "{what}: {services}");
            for port in [80, 443, 8005] {
                assert_eq!(answers(&site.client, family, port), both(port), "{what}");
            }
            assert!(ask(&site.client, family, 8080).is_err(), "{what}: no port of the load-balancer");
            server.delete(&web);
            if !set_up.is_empty() {
                [&site.one, &site.two].iter().for_each(|node| drop(node.run(SLB, &["backend", "setup", "--undo"])));
            }
        }
    }
    assert_eq!(tables(&site.lb), before);
}

/// One mark is a service in each family.
fn clients_of_both_families_reach_all_ports() {
    let site = site();
    let _web = web(&site);
    let before = tables(&site.lb);
    let server = start(&site, &[]);
    let backends: Vec<Value> =
        FAMILIES.iter().flat_map(|family| family.backends).map(|ip| json!({ "ip": ip })).collect();
    let web = server.create(&json!({"ports": PORTS, "family": "dual", "backends": backends}).to_string());
    let services = site.lb.sh("ipvsadm -Sn");
    for line in ["", " -6"].map(|of| format!("-A -f {MARK}{of} -s rr")) {
        assert!(services.contains(&line), "{line} in:\n{services}");
    }
    for family in &FAMILIES {
        for port in [80, 443, 8005] {
            assert_eq!(answers(&site.client, family, port), both(port), "{}", family.name);
        }
        assert!(ask(&site.client, family, 8080).is_err(), "{}: no port of the load-balancer", family.name);
    }
    server.delete(&web);
    assert_eq!(tables(&site.lb), before);
}

fn all_ports_lead_to_the_port_of_a_backend_that_has_one() {
    let site = site();
    let _web = web(&site);
    let server = start(&site, &[]);
    for family in &FAMILIES {
        let web = create(&server, family, &json!({}), &json!({"port": 8080}));
        for node in [&site.client, &site.lb] {
            for port in [80, 443, 8005, 8010] {
                assert_eq!(answers(node, family, port), both(8080), "{}", family.name);
            }
        }
        // What cannot be is said: only NAT changes ports, and not those of who is remembered.
        let path = format!("/loadbalancer/{}", web["uuid"].as_str().unwrap());
        let refused = server.ask("PATCH", &path, r#"{"persistence":{}}"#);
        assert_eq!((refused.status, refused.json()["field"].as_str()), (409, Some("persistence")), "{}", refused.body);
        let refused = server.ask(
            "POST",
            &format!("{path}/backend"),
            &json!({"ip": family.client, "port": 80, "type": "DR"}).to_string(),
        );
        assert_eq!((refused.status, refused.json()["field"].as_str()), (409, Some("port")), "{}", refused.body);
        server.delete(&web);
    }
}

/// That is what one mark for all ports is for.
fn a_client_that_is_remembered_has_one_backend_on_all_ports() {
    let site = site();
    let _web = web(&site);
    let server = start(&site, &[]);
    for family in &FAMILIES {
        let web = create(&server, family, &json!({"persistence": {"timeout": "60s"}}), &json!({}));
        let mut names = BTreeSet::new();
        for port in [80, 443, 8005, 80, 443] {
            let answer = ask(&site.client, family, port).unwrap();
            let (name, its_port) = answer.split_once(' ').unwrap();
            assert_eq!(its_port, port.to_string());
            names.insert(name.to_owned());
        }
        assert_eq!(names.len(), 1, "{names:?}");
        server.delete(&web);
    }
}

/// This is why slb refuses a backend's port together with persistence.
fn the_kernel_keeps_the_port_of_who_is_remembered() {
    let site = site();
    let _web = web(&site);
    let rules = "ip addr add 192.168.0.85/32 dev eth0; sysctl -w net.ipv4.ip_forward=1 net.ipv4.vs.conntrack=1; \
                 ipvsadm -A -f 7 -s rr -p 60; ipvsadm -a -f 7 -r 192.168.0.11:8080 -m; \
                 iptables-legacy -t mangle -A PREROUTING -d 192.168.0.85 -p tcp -j MARK --set-mark 7; \
                 iptables-legacy -t nat -A POSTROUTING -m ipvs --ipvs -j MASQUERADE";
    site.lb.sh("ipvsadm -C");
    site.lb.sh(rules);
    assert_eq!(ask(&site.client, &FAMILIES[0], 80).unwrap(), "one 80");
    site.lb.sh("ipvsadm -C; iptables-legacy -t mangle -F; iptables-legacy -t nat -F");
}

fn packets_of_udp_are_balanced_as_well() {
    let site = site();
    for (node, name) in [(&site.one, "one"), (&site.two, "two")] {
        for port in [53, 5353] {
            let socket = node.inside(|| UdpSocket::bind((IpAddr::from([0_u16; 8]), port))).unwrap();
            thread::spawn(move || echo(&socket, name));
        }
    }
    let server = start(&site, &[]);
    for family in &FAMILIES {
        for protocol in ["sctp", "udp"] {
            let backends = family.backends.map(|ip| json!({ "ip": ip }));
            let wish = json!({"ports": [53, "5353"], "eip": family.vip, "protocol": protocol, "backends": backends});
            let _ = server.create(&wish.to_string());
        }
        for port in [53, 5353] {
            let heard: BTreeSet<String> = (0..4)
                .map(|_| {
                    let any = if family.name == "ipv6" { "[::]:0" } else { "0.0.0.0:0" };
                    let socket = site.client.inside(|| UdpSocket::bind(any)).unwrap();
                    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    socket.send_to(b"?", family.at(port)).unwrap();
                    let mut answer = [0; 16];
                    let length = socket.recv(&mut answer).unwrap();
                    String::from_utf8_lossy(&answer[..length]).into_owned()
                })
                .collect();
            assert_eq!(heard, both(port));
        }
        let list = server.list();
        list.as_array().unwrap().iter().for_each(|each| server.delete(each));
    }
}

/// Answers one packet after the other with its name and port, as long as the test runs.
fn echo(socket: &UdpSocket, name: &str) {
    let port = socket.local_addr().unwrap().port();
    let mut packet = [0; 16];
    while let Ok((_, from)) = socket.recv_from(&mut packet) {
        drop(socket.send_to(format!("{name} {port}").as_bytes(), from));
    }
}

fn killed_and_started_it_is_as_it_was_and_what_is_missing_comes_back() {
    let site = site();
    let _web = web(&site);
    let server = start(&site, &[]);
    for family in &FAMILIES {
        let _ = create(&server, family, &json!({}), &json!({}));
    }
    let before = tables(&site.lb);
    assert!(before.contains("51b00002"), "{before}");
    server.kill();
    let server = start(&site, &["--reconcileInterval", "100ms"]);
    assert_eq!(tables(&site.lb), before);
    let has_nft = site.lb.sh("nft list ruleset 2>/dev/null || true").contains("slb-marks");
    let damages: &[&str] = if has_nft {
        &[
            "nft flush map ip slb-marks marks",
            "nft delete table ip6 slb-marks",
            "nft flush chain ip slb-marks prerouting",
            // As an earlier version wrote it.
            "nft flush chain ip slb-marks output; nft 'add rule ip slb-marks output meta mark set \
             ip daddr . meta l4proto . th dport map @marks comment \"slb, mark rule 1\"'",
            "nft add element ip slb-marks marks '{ 192.168.0.85 . tcp . 22 : 0x51b00001 }'",
            "nft add element ip slb-marks marks '{ 192.168.0.99 . tcp . 22 : 7 }'",
            "ipvsadm -C",
        ]
    } else {
        &[
            "iptables-legacy -t mangle -F SLB-MARK",
            "ip6tables-legacy -t mangle -F",
            "iptables-legacy -t mangle -D PREROUTING -j SLB-MARK",
            // As an earlier version wrote it.
            "iptables-legacy -t mangle -F OUTPUT; iptables-legacy -t mangle -A OUTPUT -j SLB-MARK",
            "iptables-legacy -t mangle -A SLB-MARK -d 192.168.0.85 -p tcp --dport 22 -j MARK --set-mark 0x51b00001",
            "iptables-legacy -t mangle -A SLB-MARK -d 192.168.0.99 -p tcp --dport 22 -j MARK --set-mark 7",
            "ipvsadm -C",
        ]
    };
    for damage in damages {
        site.lb.sh(damage);
        wait::until("it to be put right", || (tables(&site.lb) == before).then_some(()));
        for family in &FAMILIES {
            assert_eq!(answers(&site.client, family, 443), both(443), "{damage}");
        }
    }
    server.stop();
    site.lb.run(SLB, &["cleanup", "--stateDir", &site.state_dir()]);
    assert!(!tables(&site.lb).contains("51b0") && !tables(&site.lb).contains("SLB-MARK"), "{}", tables(&site.lb));
}

fn ports_are_changed_while_it_serves() {
    let site = site();
    let _web = web(&site);
    let server = start(&site, &[]);
    for family in &FAMILIES {
        let web = create(&server, family, &json!({}), &json!({}));
        let path = format!("/loadbalancer/{}", web["uuid"].as_str().unwrap());
        let services = site.lb.sh("ipvsadm -Sn");
        let changed = server.ask("PATCH", &path, r#"{"ports":["8000-8004","8003-8090", 443]}"#);
        assert_eq!((changed.status, &changed.json()["ports"]), (200, &json!(["443", "8000-8090"])), "{}", changed.body);
        assert_eq!(site.lb.sh("ipvsadm -Sn"), services);
        for port in [443, 8005, 8080] {
            assert_eq!(answers(&site.client, family, port), both(port));
        }
        assert!(ask(&site.client, family, 80).is_err());
        let shown = server.ask("GET", &path, "").body;
        assert_eq!(server.ask("PUT", &path, &shown).status, 200, "what is shown may be sent back");
        for (body, status, problem) in [
            (json!({"port": 8005}), 409, "endpoint-taken"),
            (json!({"ports": ["22", "8090-9000"]}), 409, "endpoint-taken"),
            (json!({"ports": [80], "port": 80}), 422, "invalid"),
            (json!({"ports": []}), 422, "invalid"),
            (json!({"ports": ["90-80"]}), 422, "invalid"),
        ] {
            let refused =
                server.ask("POST", "/loadbalancer", &with(body.clone(), &json!({"eip": family.vip})).to_string());
            let kind = format!("/problems/{problem}");
            assert_eq!((refused.status, refused.json()["type"].as_str()), (status, Some(&*kind)), "{body}");
        }
        let counted = || server.ask("GET", &format!("{path}/statistics"), "").json()["connections"].as_u64();
        wait::until("the kernel to have counted", || counted().filter(|connections| *connections >= 12));
        server.delete(&web);
    }
}

slb_lab::main! {
    fast, stock: [
        each_way_reaches_the_backends_on_the_same_port,
        clients_of_both_families_reach_all_ports,
        a_client_that_is_remembered_has_one_backend_on_all_ports,
        killed_and_started_it_is_as_it_was_and_what_is_missing_comes_back,
        ports_are_changed_while_it_serves,
    ],
    fast: [
        all_ports_lead_to_the_port_of_a_backend_that_has_one,
        the_kernel_keeps_the_port_of_who_is_remembered,
        packets_of_udp_are_balanced_as_well,
    ],
}

// SPDX-License-Identifier: Apache-2.0
//! The original's layer-2 walk-through, verbatim: its commands, typed into a shell on the load-balancer, and what they print.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use slb_lab::{Node, Plane, Sniffer, site::Site, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

/// For IPVS.
const ENABLED: [&str; 2] = ["Enabled IPv4 Forwarding in the kernel", "Enabled Connection tracking in the kernel"];

fn walkthrough() {
    let site = Site::new(SLB);
    let [_one, _two] = site.web_on(6443);
    let before = site.lb.tables();
    let sniffer = Sniffer::start(&site.client, "eth0", "arp");

    let command = format!("{SLB} server --arp --adapter eth0 --ipamRange 192.168.0.85-192.168.0.90");
    let mut server = site.lb.spawn("sh", &["-c", &format!("exec {command}")]);
    // Who relays needs neither from the kernel.
    let enabled = if Plane::here() == Plane::Ipvs { &ENABLED[..] } else { &[] };
    for words in
        ["Starting the Steel Load-Balancer", "API Server will be exposed on [0.0.0.0:10001]"].iter().chain(enabled)
    {
        server.line(words, |said| said.starts_with("INFO[00") && said.ends_with(&format!("] {words}")));
    }
    server.line("ready", |said| said.contains("] ready"));

    let created = site.client.sh(
        r#"curl -si -X POST http://192.168.0.1:10001/loadbalancer -H 'Content-Type: application/json' -d '{"name":"test loadbalancer", "port": 6443}'"#,
    );
    assert!(created.starts_with("HTTP/1.1 201 Created\r\n"), "{created}");
    sniffer.packet(&["Request who-has 192.168.0.85 tell 192.168.0.85"]);
    sniffer.packet(&["Reply 192.168.0.85 is-at"]);

    let listed = site.client.sh("curl -s http://192.168.0.1:10001/loadbalancers | jq");
    let uuid = listed.split('"').nth(3).unwrap().to_owned();
    let location = format!("location: /loadbalancer/{uuid}\r\n");
    assert!(created.to_lowercase().contains(&location), "{created}");
    let since = |condition: &str| {
        let shown: serde_json::Value = serde_json::from_str(&listed).unwrap();
        shown[0]["observed"][condition]["since"].to_string()
    };
    let (programmed, advertised) = (since("programmed"), since("advertised"));
    let expected = format!(
        r#"[
  {{
    "uuid": "{uuid}",
    "name": "test loadbalancer",
    "eip": "192.168.0.85",
    "port": 6443,
    "backends": null,
    "status": "active",
    "eips": [
      "192.168.0.85"
    ],
    "advertise": "always",
    "scheduler": "rr",
    "schedulerFlags": [],
    "persistence": null,
    "onePacket": false,
    "proxyProtocol": null,
    "protocol": "tcp",
    "sourceNat": "always",
    "origin": "api",
    "observed": {{
      "programmed": {{
        "is": true,
        "since": {programmed}
      }},
      "advertised": {{
        "is": true,
        "since": {advertised}
      }}
    }}
  }}
]
"#
    );
    assert_eq!(listed, expected);

    for ip in ["192.168.0.11", "192.168.0.12"] {
        site.client.sh(&format!(
            r#"curl -sf -X POST http://192.168.0.1:10001/loadbalancer/{uuid}/backend -d '{{"ip":"{ip}", "port": 6443}}'"#
        ));
    }
    let listed = site
        .client
        .sh("curl -s http://192.168.0.1:10001/loadbalancers | jq -c '.[0].backends[] | [.ip, .port, .type]'");
    assert_eq!(listed, "[\"192.168.0.11\",6443,\"MASQ\"]\n[\"192.168.0.12\",6443,\"MASQ\"]\n");

    match Plane::here() {
        Plane::Ipvs => ipvsadm_prints_both(&site.lb),
        Plane::User => assert_eq!(site.lb.services().len(), 3, "{:?}", site.lb.services()),
    }
    let answers = site.client.sh("for i in 1 2 3 4 5 6 7 8 9 10; do curl -s http://192.168.0.85:6443; done");
    let answers: Vec<&str> = answers.lines().collect();
    assert!(answers.chunks(2).all(|pair| pair == ["one", "two"] || pair == ["two", "one"]), "{answers:?}");
    // The kernel adds its counters up every two seconds.
    wait::until("equal connections on both", || (connections(&site, &uuid) == ["5", "5"]).then_some(()));

    let deleted = site.client.sh(&format!(
        "curl -s -o /dev/null -w '%{{http_code}}' -X DELETE http://192.168.0.1:10001/loadbalancer/{uuid}"
    ));
    assert_eq!(deleted, "204");
    assert_eq!(site.lb.tables(), before);
    assert_eq!(site.client.sh("curl -s http://192.168.0.1:10001/loadbalancers"), "[]\n");
    assert!(server.ended().is_none());
    let said = server.said().join("\n");
    assert!(!said.contains("\"port\""), "the log repeats what clients send:\n{said}");
}

fn ipvsadm_prints_both(lb: &Node) {
    let table = lb.run("ipvsadm", &["-ln"]);
    let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
    assert_eq!(lines[3], "TCP  192.168.0.85:6443 rr");
    let mut backends = lines[4..].to_vec();
    backends.sort_unstable();
    assert_eq!(
        backends,
        [
            "  -> 192.168.0.11:6443            Masq    1      0          0",
            "  -> 192.168.0.12:6443            Masq    1      0          0"
        ]
    );
}

/// How many each backend has had.
fn connections(site: &Site, uuid: &str) -> Vec<String> {
    let counted = match Plane::here() {
        Plane::Ipvs => site.lb.sh("ipvsadm -ln --stats | awk '/-> 192/ { print $3 }'"),
        Plane::User => site.client.sh(&format!(
            "curl -s http://192.168.0.1:10001/loadbalancer/{uuid}/statistics | jq '.backends[].connections'"
        )),
    };
    counted.lines().map(str::to_owned).collect()
}

slb_lab::main! { fast: [walkthrough], stock: [walkthrough], user: [walkthrough] }

// SPDX-License-Identifier: Apache-2.0
//! Addresses that other hosts have, and hosts that take addresses of slb's.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use slb_lab::Sniffer;

use slb_lab::site::Site;

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

fn an_address_that_answers_is_set_aside() {
    let site = Site::new(SLB);
    let other = site.segment.host("other", "192.168.0.85/24");
    let link = other.sh("ip -o link show eth0");
    let mac = link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap().to_owned();
    let mut server = site.start(&[]);
    assert_eq!(server.create(r#"{"name":"x","port":80}"#)["eip"], "192.168.0.86");
    let line = server.process().line("who has it", |line| line.contains("in use on the network"));
    assert!(line.contains("192.168.0.85") && line.contains(&mac), "{line} {mac}");
    let wanted = server.ask("POST", "/loadbalancer", r#"{"name":"y","port":80,"eip":"192.168.0.85"}"#);
    assert_eq!(wanted.status, 409, "{}", wanted.body);
}

fn the_hosts_own_address_and_gateway_are_never_handed_out() {
    let site = Site::new(SLB);
    site.lb.sh("ip addr add 192.168.0.86/24 dev eth0 && ip route add default via 192.168.0.87");
    let server = site.start(&[]);
    let eips: Vec<String> =
        (0..4).map(|_| server.create(r#"{"name":"x","port":80}"#)["eip"].as_str().unwrap().to_owned()).collect();
    assert_eq!(eips, ["192.168.0.85", "192.168.0.88", "192.168.0.89", "192.168.0.90"]);
}

fn a_claim_is_defended_once_and_reported() {
    let site = Site::new(SLB);
    let _web = site.web();
    let mut server = site.start(&[]);
    let web = site.balanced(&server);
    let sniffer = Sniffer::start(&site.client, "eth0", "arp");
    let thief = site.segment.host("thief", "192.168.0.85/24");
    thief.output("arping", &["-U", "-c", "1", "-I", "eth0", "192.168.0.85"]);
    let line = server.process().line("the conflict", |line| line.contains("WARN") && line.contains("192.168.0.85"));
    assert!(line.contains("eth0"), "{line}");
    sniffer.packet(&["Reply 192.168.0.85 is-at"]);
    drop(thief);
    site.client.sh("ip neigh flush dev eth0");
    site.get(&web).unwrap();
}

slb_lab::main! {
    fast, user: [
        an_address_that_answers_is_set_aside,
        the_hosts_own_address_and_gateway_are_never_handed_out,
        a_claim_is_defended_once_and_reported,
    ],
}

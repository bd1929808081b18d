// SPDX-License-Identifier: Apache-2.0
//! Damage from outside is put right, and what slb did not make is left alone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use slb_lab::{Sniffer, site::Site, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

/// Long enough never to come due in a test: what is repaired was repaired because of an event.
const NEVER: [&str; 2] = ["--reconcileInterval", "1h"];
/// Short: what has no event is repaired by this.
const SOON: [&str; 2] = ["--reconcileInterval", "1s"];

fn a_flushed_address_comes_back_at_once() {
    let site = Site::new(SLB);
    let _web = site.web();
    let server = site.start(&NEVER);
    let web = site.balanced(&server);
    let before = site.lb.tables();
    let sniffer = Sniffer::start(&site.client, "eth0", "arp");
    // It looks whether all are gone, and gives up after ten rounds if the VIP is back each time.
    site.lb.sh("ip addr flush dev eth0 || :; ip addr add 192.168.0.1/24 dev eth0");
    wait::until("the VIP to be bound again", || (site.lb.tables() == before).then_some(()));
    sniffer.packet(&["Reply 192.168.0.85 is-at"]);
    site.get(&web).unwrap();
}

fn a_link_that_went_down_and_up_is_announced_again() {
    let site = Site::new(SLB);
    let _web = site.web();
    let server = site.start(&NEVER);
    let web = site.balanced(&server);
    let before = site.lb.tables();
    site.lb.sh("ip link set eth0 down");
    let sniffer = Sniffer::start(&site.client, "eth0", "arp");
    site.lb.sh("ip link set eth0 up");
    sniffer.packet(&["Request who-has 192.168.0.85 tell 192.168.0.85"]);
    sniffer.packet(&["Reply 192.168.0.85 is-at"]);
    assert_eq!(site.lb.tables(), before);
    site.get(&web).unwrap();
}

fn cleared_ipvs_and_source_nat_come_back_within_the_interval() {
    let site = Site::new(SLB);
    let _web = site.web();
    let server = site.start(&SOON);
    let web = site.balanced(&server);
    let before = site.lb.tables();
    for damage in [
        "ipvsadm -C",
        "ipvsadm -E -t 192.168.0.85:80 -s wlc -p 60",
        "ipvsadm -e -t 192.168.0.85:80 -r 192.168.0.11 -m -w 9",
        "ipvsadm -d -t 192.168.0.85:80 -r 192.168.0.11",
        "ipvsadm -a -t 192.168.0.85:80 -r 192.168.0.99 -m",
        "iptables-legacy -t nat -F",
        "ip addr del 192.168.0.85/32 dev eth0",
    ] {
        site.lb.sh(damage);
        wait::until(damage, || (site.lb.tables() == before).then_some(()));
    }
    site.get(&web).unwrap();
}

fn what_others_made_is_untouched() {
    let site = Site::new(SLB);
    let foreign = "ipvsadm -A -t 192.168.0.85:80 -s wlc && ipvsadm -a -t 192.168.0.85:80 -r 10.0.0.1 -g -w 5 && \
                   ipvsadm -A -u 192.168.0.86:53 -s rr && ipvsadm -A -f 7 -s sh && \
                   ip addr add 192.168.0.87/32 dev eth0 && iptables-legacy -t nat -A POSTROUTING -s 10.9.0.0/16 -j ACCEPT";
    site.lb.sh(foreign);
    let before = site.lb.tables();
    let server = site.start(&SOON);
    let refused = server.ask("POST", "/loadbalancer", r#"{"name":"taken","port":80,"eip":"192.168.0.85"}"#);
    assert_eq!(refused.status, 409, "{}", refused.body);
    let web = site.balanced(&server);
    assert!(!["192.168.0.85", "192.168.0.87"].contains(&web["eip"].as_str().unwrap()), "{web}");
    let all = site.lb.tables();
    assert!(before.lines().all(|line| all.contains(line)), "{all}");
    server.delete(&web);
    assert_eq!(site.lb.tables(), before);
    server.stop();
    site.lb.run(SLB, &["cleanup", "--stateDir", &site.state_dir()]);
    assert_eq!(site.lb.tables(), before);
}

fn cleanup_puts_everything_back() {
    let site = Site::new(SLB);
    site.lb.sh("ipvsadm -ln; iptables-legacy -t nat -L -n");
    let before = site.lb.kernel_state();
    let server = site.start(&[]);
    let _ = site.balanced(&server);
    assert_ne!(site.lb.kernel_state(), before);
    let elsewhere = format!("{}-else", site.state_dir());
    std::fs::create_dir(&elsewhere).unwrap();
    site.lb.run(SLB, &["cleanup", "--stateDir", &elsewhere]);
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0, "a store was made only to clean it up");
    std::fs::write(format!("{elsewhere}/slb.redb"), "").unwrap();
    let during = site.lb.kernel_state();
    for dir in [&site.state_dir(), &elsewhere] {
        let output = site.lb.output(SLB, &["cleanup", "--stateDir", dir]);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("another slb server"), "{output:?}");
    }
    assert_eq!(site.lb.kernel_state(), during);
    server.stop();
    site.lb.run(SLB, &["cleanup", "--stateDir", &site.state_dir()]);
    assert_eq!(site.lb.kernel_state(), before);
    let server = site.start(&[]);
    assert_eq!(server.list().as_array().map(Vec::len), Some(1));
}

fn another_adapter_takes_the_addresses_along() {
    let site = Site::new(SLB);
    let server = site.start(&[]);
    let _ = site.balanced(&server);
    server.stop();
    site.segment.connect(&site.lb, "eth1", "192.168.0.2/24");
    let options = site.options();
    let options = options.iter().map(|word| if word == "eth0" { "eth1" } else { word.as_str() });
    let _server = slb_lab::Server::start(&site.lb, SLB, &options.collect::<Vec<_>>());
    let addresses = site.lb.sh("ip -o -4 addr show");
    let vips: Vec<&str> = addresses.lines().filter(|line| line.contains("192.168.0.85")).collect();
    assert_eq!(vips.len(), 1, "{addresses}");
    assert!(vips[0].contains("eth1"), "{addresses}");
}

slb_lab::main! {
    fast, user: [
        a_flushed_address_comes_back_at_once,
        a_link_that_went_down_and_up_is_announced_again,
        what_others_made_is_untouched,
        cleanup_puts_everything_back,
        another_adapter_takes_the_addresses_along,
    ],
    fast: [cleared_ipvs_and_source_nat_come_back_within_the_interval],
}

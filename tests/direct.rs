// SPDX-License-Identifier: Apache-2.0
//! Direct routing and tunnels with real backends, made ready by `slb backend setup`: traffic passes, nobody but the load-balancer answers
//! for the VIP, and what was done is taken back without a trace.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "direct/host.rs"]
mod host;
#[path = "direct/site.rs"]
mod site;

use std::collections::BTreeSet;

use host::{Here, own, same, trace};
use site::{How, SLB, Site, VIP, VIP6, WEB};
use slb_lab::{Node, Server, Sniffer};

/// Every request of a client elsewhere is answered by one of both, directly: they see its address.
fn both_answer(site: &Site, vip: &str) {
    let answers: BTreeSet<String> = (0..4).map(|_| site.ask(vip)).collect();
    let client = if vip.contains(':') { "2001:db8:1::10" } else { "10.1.0.10" };
    let expected = ["one", "two"].map(|name| format!("{name} {client}"));
    assert_eq!(answers, BTreeSet::from(expected));
}

fn directly_routed_packets_are_answered_directly() {
    let site = Site::new();
    site.direct(VIP, How::Dr, ["192.168.0.11", "192.168.0.12"]);
    site.direct(VIP6, How::Dr, ["2001:db8::11", "2001:db8::12"]);
    site.set_up(&["--vip", VIP, "--vip", VIP6, "--adapter", "eth0"]);
    let _web = site.web();
    both_answer(&site, VIP);
    both_answer(&site, VIP6);
}

fn the_backends_do_not_answer_for_the_vip() {
    let site = Site::new();
    site.direct(VIP, How::Dr, ["192.168.0.11", "192.168.0.12"]);
    let place = |node: &Node| {
        let line = node.sh("ip -o link show eth0");
        line.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap().to_owned()
    };
    let one = place(&site.one);
    let answered = |who: &str| {
        let sniffer = Sniffer::start(&site.router, "eth0", "arp[6:2] == 2");
        site.router.sh("ip neigh flush all; ping -c 1 -W 5 192.168.0.85; ping -c 1 -W 5 192.168.0.11");
        // Asked after the other, by the same host.
        sniffer.packet(&[&format!("192.168.0.11 is-at {one}")]);
        sniffer.packets().iter().any(|line| line.contains(&format!("{VIP} is-at {who}")))
    };
    site.one.sh("ip addr add 192.168.0.85/32 dev lo");
    assert!(answered(&one), "the topology needs the set-up");
    site.one.sh("ip addr del 192.168.0.85/32 dev lo");
    for adapter in [&["--adapter", "eth0"] as &[&str], &[]] {
        site.set_up(&[&["--vip", VIP], adapter].concat());
        assert!(!answered(&one));
        let requests = Sniffer::start(&site.router, "eth0", "arp[6:2] == 1");
        site.one.sh("ip neigh flush all; ping -c 1 -W 1 -I 192.168.0.85 192.168.0.254 || true");
        requests.packet(&["who-has 192.168.0.254 tell 192.168.0.11"]);
        site.one.run(SLB, &["backend", "setup", "--undo"]);
        site.two.run(SLB, &["backend", "setup", "--undo"]);
    }
}

/// Answers carry the VIP as their source, which is the load-balancer's own: by default it does not forward them (martians).
fn answers_pass_the_load_balancer_only_if_it_is_told_to_let_them() {
    let site = Site::new();
    site.direct(VIP, How::Dr, ["192.168.0.11", "192.168.0.12"]);
    site.set_up(&["--vip", VIP]);
    let _web = site.web();
    site.lb
        .sh("sysctl -w net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0");
    for node in [&site.one, &site.two] {
        node.sh("ip route replace default via 192.168.0.1");
    }
    assert!(site.try_ask(VIP).is_err(), "dropped");
    site.lb.sh("sysctl -w net.ipv4.conf.eth0.accept_local=1");
    both_answer(&site, VIP);
}

fn tunnels_end_at_the_backends() {
    let site = Site::new();
    // Strict, as many distributions have it: what comes out of a tunnel has come another way than its answer goes.
    for node in [&site.one, &site.two] {
        node.sh("sysctl -w net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1");
    }
    let _web = site.web();
    let (v4, v6) = (["192.168.0.11", "192.168.0.12"], ["2001:db8::11", "2001:db8::12"]);
    for (how, tunnel) in [(How::Ipip, "ipip"), (How::Gre, "gre"), (How::Gue(6080), "gue"), (How::Gue(5000), "gue:5000")]
    {
        for (vip, over, backends) in [(VIP, "ipv4", v4), (VIP, "ipv6", v6), (VIP6, "ipv4", v4), (VIP6, "ipv6", v6)] {
            site.direct(vip, how, backends);
            site.set_up(&["--vip", vip, "--tunnel", tunnel, "--over", over]);
            both_answer(&site, vip);
            site.no_more(vip);
        }
    }
}

/// What is wrapped has to be shorter than what is not, and many a firewall drops the ICMP that says so.
fn uploads_fit_into_tunnels_also_where_no_icmp_passes() {
    let site = Site::new();
    let deaf = "iptables-legacy -A INPUT -p icmp --icmp-type destination-unreachable -j DROP; \
                ip6tables-legacy -A INPUT -p icmpv6 --icmpv6-type packet-too-big -j DROP";
    site.client.sh(deaf);
    let _web = site.web();
    let (v4, v6) = (["192.168.0.11", "192.168.0.12"], ["2001:db8::11", "2001:db8::12"]);
    let refusals = Sniffer::start(&site.router, "eth0", "icmp[0] == 3 or icmp6[0] == 2");
    for (how, tunnel) in [(How::Ipip, "ipip"), (How::Gre, "gre"), (How::Gue(6080), "gue")] {
        for (vip, over, backends) in [(VIP, "ipv4", v4), (VIP, "ipv6", v6), (VIP6, "ipv4", v4), (VIP6, "ipv6", v6)] {
            site.direct(vip, how, backends);
            site.set_up(&["--vip", vip, "--tunnel", tunnel, "--over", over]);
            assert!(!site.send(vip, &[7; 100_000]).is_empty(), "{tunnel} {vip} over {over}");
            site.no_more(vip);
        }
    }
    assert_eq!(refusals.packets(), Vec::<String>::new());
}

fn it_is_taken_back_without_a_trace() {
    let site = Site::new();
    let host = Here::Node(&site.one);
    // With the modules loaded and the devices there that come with them.
    for tunnel in ["ipip", "gre", "gue"] {
        host.set_up(&["--vip", VIP, "--vip", VIP6, "--tunnel", tunnel, "--over", "ipv4", "--over", "ipv6"]);
    }
    host.set_up(&["--undo"]);
    let before = trace(&host);
    for tunnel in [&[] as &[&str], &["--tunnel", "ipip"], &["--tunnel", "gre"], &["--tunnel", "gue:5000"]] {
        host.set_up(&[&["--vip", VIP, "--vip", VIP6, "--adapter", "eth0"], tunnel].concat());
        let changed = trace(&host);
        assert!(changed != before);
        host.set_up(&[&["--vip", VIP, "--vip", VIP6, "--adapter", "eth0"], tunnel].concat());
        same(&changed, &trace(&host), "a second time does nothing");
        host.set_up(&["--vip", "192.168.0.86"]);
        assert!(!trace(&host).contains(VIP), "what is not named any more goes");
        host.set_up(&["--undo"]);
        same(&before, &trace(&host), "taken back");
    }
    host.set_up(&["--undo"]);
    same(&before, &trace(&host), "taken back");
}

/// In the first network namespace the kernel would add devices of its own for good when it loads the modules.
fn modules_that_are_loaded_leave_no_devices_behind() {
    let host = Here::First;
    host.sh(
        "ip link add eth7 type dummy; ip link set eth7 up; ip addr add 10.7.0.2/24 dev eth7; $(cat /proc/sys/kernel/modprobe) ipv6",
    );
    let before = trace(&host);
    for tunnel in ["ipip", "gre", "gue"] {
        host.set_up(&["--vip", VIP, "--vip", VIP6, "--tunnel", tunnel, "--over", "ipv4", "--over", "ipv6"]);
        assert!(trace(&host).contains("slb0"));
        host.set_up(&["--undo"]);
        same(&before, &trace(&host), "taken back");
    }
    host.sh("ip link del eth7");
}

/// slb itself programs the load-balancer: each way to a backend, for both families, as far as the kernel goes.
fn the_api_leads_to_backends_by_every_way() {
    let site = Site::new();
    let _web = site.web();
    let range = format!("{VIP}, {VIP6}");
    let words = ["--arp", "--adapter", "eth0", "--ipamRange", &range, "--arpProbeInterval", "20ms", "--stateDir"];
    let state_dir = format!("/run/state-{}", site.lb.name());
    let server = Server::start(&site.lb, SLB, &[&words[..], &[&state_dir]].concat());
    let before = site.lb.tables();
    let (v4, v6) = (["192.168.0.11", "192.168.0.12"], ["2001:db8::11", "2001:db8::12"]);
    let tunnels =
        [("ipip", r#"{"type":"ipip"}"#), ("gre", r#"{"type":"gre"}"#), ("gue", r#"{"type":"gue","port":6080}"#)];
    for (vip, own, other) in [(VIP, v4, v6), (VIP6, v6, v4)] {
        let create = |backends: [&str; 2], more: &str| {
            let [one, two] = backends.map(|ip| format!(r#"{{"ip":"{ip}","port":{WEB},{more}}}"#));
            server.create(&format!(r#"{{"port":{WEB},"eip":"{vip}","backends":[{one},{two}]}}"#))
        };
        let masqueraded = create(own, r#""type":"MASQ""#);
        let answers: BTreeSet<String> = (0..4).map(|_| site.ask(vip)).collect();
        let here = if vip == VIP { "192.168.0.1" } else { "2001:db8::1" };
        assert_eq!(answers, ["one", "two"].map(|name| format!("{name} {here}")).into());
        server.delete(&masqueraded);

        site.set_up(&["--vip", vip, "--adapter", "eth0"]);
        let direct = create(own, r#""type":"DR""#);
        both_answer(&site, vip);
        server.delete(&direct);

        for (name, tunnel) in tunnels {
            for (backends, over) in [(v4, "ipv4"), (v6, "ipv6")] {
                site.set_up(&["--vip", vip, "--tunnel", name, "--over", over]);
                let tunneled = create(backends, &format!(r#""type":"TUN","tunnel":{tunnel}"#));
                both_answer(&site, vip);
                server.delete(&tunneled);
            }
        }
        for kind in ["MASQ", "LOCAL", "DR"] {
            let body = format!(
                r#"{{"port":80,"eip":"{vip}","backends":[{{"ip":"{}","port":80,"type":"{kind}"}}]}}"#,
                other[0]
            );
            let refused = server.ask("POST", "/loadbalancer", &body);
            assert_eq!((refused.status, refused.json()["field"].as_str()), (409, Some("ip")), "{}", refused.body);
        }
        assert_eq!(site.lb.tables(), before);
    }
}

/// Backends of one family serve the VIPs of both, in tunnels.
fn one_load_balancer_with_two_vips_leads_through_tunnels_of_one_family() {
    let site = Site::new();
    let _web = site.web();
    let range = format!("{VIP}, {VIP6}");
    let words = ["--arp", "--adapter", "eth0", "--ipamRange", &range, "--arpProbeInterval", "20ms", "--stateDir"];
    let state_dir = format!("/run/state-{}", site.lb.name());
    let server = Server::start(&site.lb, SLB, &[&words[..], &[&state_dir]].concat());
    let before = site.lb.tables();
    for (backends, over) in [(["192.168.0.11", "192.168.0.12"], "ipv4"), (["2001:db8::11", "2001:db8::12"], "ipv6")] {
        site.set_up(&["--vip", VIP, "--vip", VIP6, "--tunnel", "gue", "--over", over]);
        let tunnel = r#""type":"TUN","tunnel":{"type":"gue","port":6080}"#;
        let [one, two] = backends.map(|ip| format!(r#"{{"ip":"{ip}","port":{WEB},{tunnel}}}"#));
        let both = server.create(&format!(r#"{{"port":{WEB},"family":"dual","backends":[{one},{two}]}}"#));
        both_answer(&site, VIP);
        both_answer(&site, VIP6);
        server.delete(&both);
        assert_eq!(site.lb.tables(), before);
    }
}

/// One line that says what is wrong, and nothing has been changed.
fn refused(host: &Here<'_>, args: &[&str], says: &str) {
    let before = trace(host);
    let (success, said) = host.try_set_up(args);
    assert!(!success, "{args:?}");
    assert!(said.contains(says), "{args:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    same(&before, &trace(host), &format!("{args:?}"));
}

fn what_cannot_be_is_refused_and_nothing_changed() {
    let site = Site::new();
    let host = Here::Node(&site.one);
    refused(&host, &["--vip", "224.0.0.1"], "224.0.0.1 is no address that clients could connect to");
    refused(&host, &["--vip", "127.0.0.1"], "127.0.0.1 is no address that clients could connect to");
    refused(&host, &["--vip", VIP, "--tunnel", "vxlan"], "\"vxlan\" is no tunnel: ipip, gre, gue or gue:PORT");
    refused(&host, &["--vip", VIP, "--tunnel", "gue:0"], "\"gue:0\" is no tunnel");
    refused(&host, &["--vip", VIP, "--over", "ipv6"], "name the --tunnel");
    refused(&host, &["--vip", VIP, "--tunnel", "gre", "--over", "ip"], "\"ip\" is no family");
    refused(&host, &["--vip", VIP, "--adapter", "eth9"], "there is no adapter eth9; there are lo, ");
    refused(&host, &["--vip", "192.168.0.11"], "192.168.0.11 is an address of eth0, which answers ARP for it");
    host.set_up(&["--vip", VIP, "--tunnel", "gue"]);
    host.set_up(&["--undo"]);
    site.one.sh("ip fou add port 6080 gue");
    refused(&host, &["--vip", VIP, "--tunnel", "gue"], "UDP port 6080 takes tunnels already");
    site.one.sh("ip fou del port 6080; ip link add slb0 type dummy");
    refused(&host, &["--vip", VIP], "there is a device slb0");
    refused(&host, &["--undo"], "there is a device slb0");
    site.one.sh("ip link del slb0; ip link add slb-gre type dummy");
    refused(&host, &["--vip", VIP], "there is a device slb-gre");
    site.one.sh("ip link del slb-gre");
    // What is refused at the last step. A device that was never up is not quite the same again (its qdisc).
    host.set_up(&["--vip", VIP6, "--tunnel", "ipip", "--over", "ipv4"]);
    host.set_up(&["--undo"]);
    site.one.sh("sysctl -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
    refused(
        &host,
        &["--vip", VIP, "--vip", VIP6, "--tunnel", "ipip", "--over", "ipv4"],
        "could not `ip addr add 2001:db8::85/128",
    );
    let nobody = ["--reuid=65534", "--clear-groups", SLB, "backend", "setup", "--vip", VIP];
    let output = site.two.output("setpriv", &nobody);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("`ip link add slb0") && said.contains("not permitted") && said.lines().count() == 1,
        "{said}"
    );
}

/// What is printed does the same when it is typed.
fn a_dry_run_prints_commands_that_do_the_same() {
    let site = Site::new();
    let (one, two) = (Here::Node(&site.one), Here::Node(&site.two));
    let load = ["--vip", VIP, "--vip", VIP6, "--tunnel", "gue", "--over", "ipv4", "--over", "ipv6"];
    for host in [&one, &two] {
        host.set_up(&load);
        host.set_up(&["--undo"]);
    }
    for tunnel in [&[] as &[&str], &["--tunnel", "ipip"], &["--tunnel", "gre"], &["--tunnel", "gue"]] {
        let args = [&["--vip", VIP, "--vip", VIP6], tunnel].concat();
        let before = trace(&one);
        let commands = one.set_up(&[&args as &[&str], &["--dry-run"]].concat());
        same(&before, &trace(&one), "a dry run changes nothing");
        // The modules are loaded, and where this modprobe looks there are none.
        one.sh(&commands.replace("modprobe fou && ", ""));
        two.set_up(&args);
        same(&own(&two), &own(&one), &commands);
        assert_eq!(one.set_up(&[&args as &[&str], &["--dry-run"]].concat()), "", "it is so already");
        let commands = one.set_up(&["--undo", "--dry-run"]);
        one.sh(&commands);
        same(&before, &trace(&one), &commands);
        two.set_up(&["--undo"]);
    }
}

slb_lab::main! {
    fast: [
        modules_that_are_loaded_leave_no_devices_behind,
        directly_routed_packets_are_answered_directly,
        the_backends_do_not_answer_for_the_vip,
        answers_pass_the_load_balancer_only_if_it_is_told_to_let_them,
        tunnels_end_at_the_backends,
        uploads_fit_into_tunnels_also_where_no_icmp_passes,
        it_is_taken_back_without_a_trace,
        what_cannot_be_is_refused_and_nothing_changed,
        a_dry_run_prints_commands_that_do_the_same,
        the_api_leads_to_backends_by_every_way,
        one_load_balancer_with_two_vips_leads_through_tunnels_of_one_family,
    ],
}

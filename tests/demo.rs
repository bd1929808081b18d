// SPDX-License-Identifier: Apache-2.0
//! `make demo`: the README's walk-through on a kernel of its own, with real traffic, for people to watch.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "it shows what it does and stops where that fails")]

use slb_lab::{Node, wait};

use slb_lab::site::{RANGE, Site};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

fn demo() {
    let site = Site::new(SLB);
    let [_one, _two] = site.web_on(6443);
    println!(
        "\nFour hosts on one network: the load-balancer 192.168.0.1, a client .10, two web servers .11 and .12.\n"
    );
    println!("lb$ slb server --arp --adapter eth0 --ipamRange {}", RANGE);
    let server = site.lb.spawn(SLB, &["server", "--arp", "--adapter", "eth0", "--ipamRange", RANGE]);
    server.line("that it is ready", |line| line.contains("] ready"));
    server.said().iter().for_each(|line| println!("{line}"));

    let api = "http://192.168.0.1:10001";
    let json = "-H 'Content-Type: application/json'";
    show(
        &site.client,
        "client",
        &format!("curl -s -X POST {api}/loadbalancer {json} -d '{{\"name\":\"test loadbalancer\", \"port\": 6443}}'"),
    );
    let listed = show(&site.client, "client", &format!("curl -s {api}/loadbalancers | jq"));
    let uuid = listed.split('"').nth(3).unwrap().to_owned();
    for ip in ["192.168.0.11", "192.168.0.12"] {
        show(
            &site.client,
            "client",
            &format!("curl -s -X POST {api}/loadbalancer/{uuid}/backend -d '{{\"ip\":\"{ip}\", \"port\": 6443}}'"),
        );
    }
    show(&site.lb, "lb", "ipvsadm -ln");
    show(&site.client, "client", "for i in 1 2 3 4 5 6; do curl -s http://192.168.0.85:6443; done");
    // The kernel adds its counters up every two seconds.
    wait::until("connections to be counted", || site.lb.sh("ipvsadm -ln --stats").contains(" 3 ").then_some(()));
    show(&site.lb, "lb", "ipvsadm -ln --stats");
    show(&site.client, "client", "ip neigh show 192.168.0.85");
    show(&site.client, "client", &format!("curl -s -X DELETE {api}/loadbalancer/{uuid}"));
    show(&site.lb, "lb", "ipvsadm -ln; ip -br addr show eth0");
}

fn show(node: &Node, name: &str, command: &str) -> String {
    println!("\n{name}$ {command}");
    let said = node.sh(command);
    print!("{said}");
    said
}

slb_lab::main! { fast: [demo] }

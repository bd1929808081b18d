// SPDX-License-Identifier: Apache-2.0
//! The site of deploy/compose with its own files, each container a host of the lab: a router is told of the VIP, and reaches both
//! backends by it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use slb_lab::{Backend, Segment, http, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");
const SITE: &str = include_str!("../deploy/compose/compose.yaml");
const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/compose/slb.toml");
const ROUTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/compose/bird.conf");
/// The container's capabilities.
const CAPABILITIES: [&str; 2] = ["--bounding-set=-all,+net_admin,+net_raw", "--inh-caps=-all"];

fn a_router_reaches_the_backends_by_the_vip() {
    let segment = Segment::new();
    let host = |name: &str, address: &str| {
        assert!(SITE.contains(&format!("{{ ipv4_address: {address} }}")), "{address}");
        segment.host(name, &format!("{address}/24"))
    };
    let (lb, router) = (host("slb", "10.99.0.2"), host("router", "10.99.0.254"));
    let [one, two] = [host("one", "10.99.0.11"), host("two", "10.99.0.12")];
    let _web = [Backend::start(&one, 80, "one"), Backend::start(&two, 80, "two")];
    let _bird = router.spawn("bird", &["-f", "-c", ROUTER, "-s", "/run/bird.ctl"]);
    let slb = lb.spawn("setpriv", &[&CAPABILITIES[..], &[SLB, "server", "--config", SETTINGS]].concat());
    slb.line("that it is ready", |line| line.contains("] ready"));

    let route = "203.0.113.10 via 10.99.0.2 ";
    wait::until("the route", || router.sh("ip route show").lines().any(|line| line.starts_with(route)).then_some(()));
    let mut answers: Vec<_> = (0..4).map(|_| http::get(&router, ([203, 0, 113, 10], 80).into()).unwrap()).collect();
    answers.sort_unstable();
    assert_eq!(answers, ["one", "one", "two", "two"]);
}

slb_lab::main! { stock: [a_router_reaches_the_backends_by_the_vip] }

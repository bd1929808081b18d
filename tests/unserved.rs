// SPDX-License-Identifier: Apache-2.0
//! What this data plane can never do is said once, and waits for a change; all else is served as if it were not there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
};

use serde_json::{Value, json};
use slb_core::{
    model::{Forwarding, LoadBalancer, Scheduler, Vip},
    ports::{Store, Write},
};
use slb_lab::{
    Loopback,
    loopback::{free_port, greeter},
    site::endpoint,
    wait,
};
use slb_store::Redb;

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

const VIP: Ipv4Addr = Ipv4Addr::new(127, 0, 8, 85);
const ELSEWHERE: &str = "192.0.2.1";

fn state_dir(name: &str) -> String {
    let path = format!("{}/unserved-{name}", env!("CARGO_TARGET_TMPDIR"));
    let _ = fs::remove_dir_all(&path);
    path
}

fn start(state_dir: &str) -> Loopback {
    let range = VIP.to_string();
    let options = ["--adapter", "lo", "--ipamRange", &range, "--stateDir", state_dir, "--reconcileInterval", "100ms"];
    Loopback::start(SLB, &options)
}

fn create(server: &Loopback, name: &str, backends: &[u16]) -> Value {
    let backends: Vec<Value> = backends.iter().map(|port| json!({"ip": "127.0.0.1", "port": port})).collect();
    let body = json!({"name": name, "eip": VIP, "port": free_port(VIP), "backends": backends});
    server.create("/loadbalancer", &body.to_string())
}

fn ask(at: SocketAddr) -> String {
    let mut name = [0];
    TcpStream::connect(at).unwrap().read_exact(&mut name).unwrap();
    String::from_utf8_lossy(&name).into_owned()
}

/// Changes what is in the store while no server runs.
#[tokio::main(flavor = "current_thread")]
async fn rewrite(state_dir: &str, change: impl Fn(&mut LoadBalancer)) {
    let mut store = Redb::open(Path::new(state_dir)).unwrap();
    let changed = store.load().await.unwrap().load_balancers.into_iter().map(|each| {
        let mut load_balancer = LoadBalancer::clone(&each);
        change(&mut load_balancer);
        Write::Put(load_balancer.into())
    });
    store.commit(changed.collect()).await.unwrap();
}

/// As an upgrade from a server that had IPVS leaves it.
fn as_ipvs_serves_it(load_balancer: &mut LoadBalancer) {
    match load_balancer.name.as_str() {
        "whole" => load_balancer.service.scheduler = Scheduler::Sed,
        "part" => {
            let mut backends = load_balancer.backends().to_vec();
            backends.first_mut().unwrap().forwarding = Forwarding::DirectRoute;
            load_balancer.backends = Some(backends.into());
        }
        _ => load_balancer.vips = ELSEWHERE.parse::<Vip>().unwrap().into(),
    }
}

#[test]
fn a_store_of_another_data_plane_is_served_as_far_as_it_goes() {
    let state_dir = state_dir("store");
    let server = start(&state_dir);
    let whole = create(&server, "whole", &[greeter("a")]);
    let part = create(&server, "part", &[greeter("a"), greeter("b")]);
    let _ = create(&server, "elsewhere", &[greeter("a")]);
    drop(server);
    rewrite(&state_dir, as_ipvs_serves_it);

    let server = start(&state_dir);
    let lines = |words: &str| server.process().said().iter().filter(|line| line.contains(words)).count();
    // Each time that all is looked at: the address might have come to this host.
    wait::until("reconciles", || (lines("192.0.2.1 is no address of this host") >= 5).then_some(()));
    let said = server.process().said().join("\n");
    assert_eq!(lines("cannot be served as it is"), 2, "{said}");
    assert_eq!((lines("no scheduler sed"), lines("the type DR needs IPVS")), (1, 1), "{said}");
    assert_eq!((lines("there is no service"), lines("repairing: ")), (0, 0), "{said}");

    assert_eq!([ask(endpoint(&part)), ask(endpoint(&part))], ["b", "b"]);
    let path = format!("/loadbalancer/{}", whole["uuid"].as_str().unwrap());
    let shown = server.show(&path);
    let of_backend = &shown["backends"][0]["observed"]["programmed"];
    for programmed in [&shown["observed"]["programmed"], of_backend] {
        assert_eq!(programmed["is"], false, "{shown}");
        assert!(programmed["why"].as_str().unwrap().contains("no scheduler sed"), "{shown}");
    }
    let answer = server.ask("PATCH", &path, r#"{"scheduler":"wrr"}"#);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(ask(endpoint(&whole)), "a");
}

#[test]
fn a_file_that_asks_for_it_is_broken() {
    let state_dir = state_dir("file");
    fs::create_dir_all(&state_dir).unwrap();
    let file = format!("{state_dir}/config.toml");
    let of = |scheduler: &str, port: u16| {
        format!("[[loadbalancer]]\nname = \"web\"\nport = {port}\nscheduler = \"{scheduler}\"\n")
    };
    let port = free_port(VIP);
    fs::write(&file, of("sed", port)).unwrap();
    let range = VIP.to_string();
    let options = ["--adapter", "lo", "--ipamRange", &range, "--stateDir", &state_dir, "--config", &file];
    let server = Loopback::start(SLB, &options);
    let hear = |words: &str| server.process().line(words, |line| line.contains(words));
    let line = hear("no scheduler sed");
    assert!(line.contains("ERRO") && line.contains("until the file is mended"), "{line}");
    fs::write(&file, of("wrr", port)).unwrap();
    let _ = hear("is carried out: ");
}

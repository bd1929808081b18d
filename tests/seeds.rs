// SPDX-License-Identifier: Apache-2.0
//! What nucleon, mini-balancer and l4loadbalancer show in their documentation, done with slb: without root, on the loopback adapter.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::Ipv4Addr, net::SocketAddr, process::Command};

use serde_json::{Value, json};
use slb_lab::{Backend, Loopback, Process, http, loopback::free_port, site::endpoint, wait};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

/// An empty folder for the state of a test's server.
fn state_dir(name: &str) -> String {
    let path = format!("{}/seeds-{name}", env!("CARGO_TARGET_TMPDIR"));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A server with one VIP.
fn start(name: &str, vip: &str) -> Loopback {
    Loopback::start(SLB, &["--adapter", "lo", "--ipamRange", vip, "--stateDir", &state_dir(name)])
}

fn path(load_balancer: &Value) -> String {
    format!("/loadbalancer/{}", load_balancer["uuid"].as_str().unwrap())
}

fn of(backend: &Backend) -> Value {
    json!({"ip": "127.0.0.1", "port": backend.port()})
}

fn get(at: SocketAddr) -> String {
    http::ask_here(at, "GET", "/", &[], "").unwrap().body.trim_end().to_owned()
}

/// Who answers so many, one after the other, by name.
fn answers(at: SocketAddr, many: usize) -> Vec<String> {
    let mut names: Vec<String> = (0..many).map(|_| get(at)).collect();
    names.sort_unstable();
    names
}

/// `nucleon --bind 0.0.0.0:8000 10.0.0.1:80 10.0.0.2:80`, `PUBLISH backend_add 10.0.0.3:80`, `PUBLISH backend_remove 10.0.0.2:80`.
#[test]
fn nucleons_web_servers_come_and_go_at_run_time() {
    let vip = Ipv4Addr::new(127, 0, 4, 85);
    let server = start("nucleon", &vip.to_string());
    let [first, second, third] = ["one", "two", "three"].map(|name| Backend::local(0, name));
    let body = json!({"port": free_port(vip), "backends": [of(&first), of(&second)]});
    let web = server.create("/loadbalancer", &body.to_string());
    let at = endpoint(&web);
    assert_eq!(answers(at, 4), ["one", "one", "two", "two"]);

    let _ = server.create(&format!("{}/backend", path(&web)), &of(&third).to_string());
    assert_eq!(answers(at, 6), ["one", "one", "three", "three", "two", "two"]);

    let second = format!("{}/backend/{}", path(&web), web["backends"][1]["uuid"].as_str().unwrap());
    assert_eq!(server.ask("DELETE", &second, "").status, 204);
    assert_eq!(answers(at, 4), ["one", "one", "three", "three"]);
}

/// The example of its README but for the ports, which may be in use here.
const MINI_BALANCER: &str = include_str!("seeds/mini-balancer.toml");

/// The same, `socat -v tcp-l:8080,fork exec:'/bin/cat'`; it shows what it is sent.
fn echo(port: u16) -> Process {
    let listen = format!("tcp-l:{port},bind=127.0.0.1,reuseaddr,fork");
    let socat = Process::here("socat", &["-dd", "-v", &listen, "exec:/bin/cat"]);
    socat.line("that it listens", |line| line.contains("listening on"));
    socat
}

#[test]
fn mini_balancers_file_sends_the_third_connection_to_the_first_backend() {
    let [front, first, second] = [(); 3].map(|()| free_port(Ipv4Addr::LOCALHOST));
    let backends = [echo(first), echo(second)];
    let state_dir = state_dir("mini-balancer");
    let file = format!("{state_dir}/mini-balancer.local.toml");
    let with_ports = [("7070", front), ("8080", first), ("9090", second)]
        .into_iter()
        .fold(MINI_BALANCER.to_owned(), |text, (from, to)| text.replace(&format!(":{from}\""), &format!(":{to}\"")));
    std::fs::write(&file, with_ports).unwrap();
    let server = Loopback::start(SLB, &["--config", &file, "--stateDir", &state_dir]);
    server.process().line("that the file is carried out", |line| line.contains("is carried out"));
    for (words, backend) in
        [("first connection", &backends[0]), ("second connection", &backends[1]), ("third connection", &backends[0])]
    {
        let client = format!("echo '{words}' | socat tcp:127.0.0.1:{front} -");
        let output = Command::new("sh").args(["-c", &client]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), words, "{output:?}");
        backend.line(words, |line| line == words);
    }
}

/// `set serverPool '["127.0.0.1:6000","127.0.0.1:3000","127.0.0.1:4000"]'`: one of them dies for a while.
#[test]
fn l4loadbalancers_dead_server_is_retired_and_brought_back() {
    let vip = Ipv4Addr::new(127, 0, 5, 85);
    let server = start("l4loadbalancer", &vip.to_string());
    let [first, second, third] = ["6000", "3000", "4000"].map(|name| Backend::local(0, name));
    let body = json!({
        "port": free_port(vip), "backends": [of(&first), of(&second), of(&third)],
        "healthCheck": {"type": "tcp", "interval": "100ms", "timeout": "100ms", "rise": 2, "fall": 2},
    });
    let pool = server.create("/loadbalancer", &body.to_string());
    let at = endpoint(&pool);
    let becomes = |expected: [&str; 3]| {
        wait::until(&format!("the servers to be {expected:?}"), || {
            let shown = server.show(&path(&pool));
            let is = [0, 1, 2].map(|each| shown["backends"][each]["observed"]["health"].clone());
            (is == expected).then_some(())
        });
    };
    becomes(["up"; 3]);
    assert_eq!(answers(at, 3), ["3000", "4000", "6000"]);

    let port = second.port();
    drop(second);
    // Nobody notices, also before it is found out.
    assert!(answers(at, 6).iter().all(|name| name != "3000"));
    becomes(["up", "down", "up"]);
    assert_eq!(answers(at, 4), ["4000", "4000", "6000", "6000"]);

    let _second = Backend::local(port, "3000");
    becomes(["up"; 3]);
    assert_eq!(answers(at, 3), ["3000", "4000", "6000"]);
}

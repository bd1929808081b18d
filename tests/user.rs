// SPDX-License-Identifier: Apache-2.0
//! The README's first command: without root and without IPVS, on addresses that every host has. No kernel of our own is needed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "user/client.rs"]
mod client;

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
};

use rustix::process::Signal;
use serde_json::Value;
use slb_lab::{
    Loopback,
    loopback::{free_port, greeter},
    site::endpoint,
};

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

fn start(state_dir: &str, range: &str) -> Loopback {
    Loopback::start(SLB, &["--adapter", "lo", "--ipamRange", range, "--stateDir", state_dir])
}

/// Waits until it says that.
fn hear(server: &Loopback, words: &str) {
    server.process().line(words, |line| line.contains(words));
}

fn path(load_balancer: &Value) -> String {
    format!("/loadbalancer/{}", load_balancer["uuid"].as_str().unwrap())
}

/// That it is refused, and what the answer says.
fn refused(server: &Loopback, method: &str, path: &str, body: &str, status: u16) -> Value {
    let answer = server.ask(method, path, body);
    assert_eq!(answer.status, status, "{}", answer.body);
    answer.json()
}

fn connect(at: SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    let mut name = [0];
    stream.read_exact(&mut name).unwrap();
    (stream, String::from_utf8_lossy(&name).into_owned())
}

fn state_dir(name: &str) -> String {
    let path = format!("{}/user-{name}", env!("CARGO_TARGET_TMPDIR"));
    let _ = std::fs::remove_dir_all(&path);
    path
}

#[test]
fn three_commands_balance_and_survive_a_restart() {
    let state_dir = state_dir("walk");
    let range = "127.0.1.85-127.0.1.90";
    let server = start(&state_dir, range);
    let said = server.process().said().join("\n");
    assert_eq!(said.matches("WARN").count(), 1, "{said}");
    assert!(said.contains("user space") && said.contains("neither bound nor announced"), "{said}");
    assert_eq!(server.show("/")["dataplane"], "user");

    let port = free_port(Ipv4Addr::new(127, 0, 1, 85));
    let created = server.create("/loadbalancer", &format!(r#"{{"name":"web","port":{port}}}"#));
    let (path, at) = (path(&created), endpoint(&created));
    assert_eq!(at.to_string(), format!("127.0.1.85:{port}"));
    assert_eq!((&created["status"], &created["observed"]["programmed"]["is"]), (&"active".into(), &true.into()));
    let advertised = &created["observed"]["advertised"];
    assert_eq!((&advertised["is"], &advertised["why"]), (&false.into(), &"this server announces no VIPs".into()));
    let of = |port: u16, more: &str| format!(r#"{{"ip":"127.0.0.1","port":{port}{more}}}"#);
    for name in ["a", "b"] {
        let _ = server.create(&format!("{path}/backend"), &of(greeter(name), ""));
    }
    let names: Vec<String> = (0..4).map(|_| connect(at).1).collect();
    assert_eq!(names, ["a", "b", "a", "b"]);

    let problem = refused(&server, "POST", &format!("{path}/backend"), &of(1, r#","type":"DR""#), 422);
    assert_eq!(problem["type"], "/problems/unserved");
    assert!(problem["detail"].as_str().unwrap().contains("--dataplane ipvs"), "{problem}");
    let statistics = server.show(&format!("{path}/statistics"));
    assert_eq!(statistics["connections"], 4, "{statistics}");
    assert_eq!(statistics["backends"].as_array().unwrap().len(), 2, "what was refused has been undone");

    drop(server);
    let server = start(&state_dir, range);
    let mut names: Vec<String> = (0..2).map(|_| connect(at).1).collect();
    names.sort();
    assert_eq!(names, ["a", "b"]);
    let by_option = ["--stateDir", &state_dir];
    let (_, said) = clean_up(&by_option);
    assert!(said.contains("another slb server uses this state directory"), "{said}");
    drop(server);
    let (_, said) = clean_up(&by_option);
    assert!(said.contains("nothing to clean up") && said.contains(&format!("stay in {state_dir}")), "{said}");

    let server = start(&state_dir, range);
    assert_eq!(server.ask("DELETE", &path, "").status, 204);
    assert!(TcpStream::connect(at).is_err());
}

/// The exit status, and what it says.
fn clean_up(options: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(SLB).arg("cleanup").args(options).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A package is removed by it, whatever has become of its file: of that only the state directory counts.
#[test]
fn a_cleanup_needs_no_more_of_a_file_than_where_the_state_is() {
    let folder = state_dir("mistakes");
    std::fs::create_dir_all(&folder).unwrap();
    let (file, state_dir) = (format!("{folder}/slb.toml"), format!("{folder}/state"));
    let server = start(&state_dir, "127.0.4.85");
    let of_a_file = |text: String| {
        std::fs::write(&file, text).unwrap();
        clean_up(&["--config", &file])
    };
    let stated = format!("stateDir = \"{state_dir}\"\n");
    for mistake in ["", "adaptor = \"eth0\"\n", "port = \"x\"\n", "ipamRange = \"x\"\n", "[[loadbalancer]]\nport = 0\n"]
    {
        let (code, said) = of_a_file(format!("{stated}{mistake}"));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("another slb server uses this state directory"), "{said}");
    }
    drop(server);
    let (code, said) = of_a_file(format!("{stated}adaptor = \"eth0\"\n"));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("WARN") && said.contains(&format!("{file}:2: unknown field")), "{said}");
    let (code, said) = clean_up(&["--config", &format!("{folder}/none")]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("none: No such file"), "{said}");
}

/// Nobody reads what it says: that is no failure. A disk without space is.
#[test]
fn the_version_is_told_to_whoever_reads_it() {
    let said_to = |to: Stdio| Command::new(SLB).arg("version").stdout(to).stderr(Stdio::piped()).output().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = said_to(writer.into());
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let output = said_to(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("standard output cannot be written to: No space left"), "{said}");
}

#[test]
fn a_drain_waits_for_connections() {
    let server = start(&state_dir("drain"), "127.0.2.85");
    let port = free_port(Ipv4Addr::new(127, 0, 2, 85));
    let (first, second) = (greeter("a"), greeter("b"));
    let body = format!(
        r#"{{"name":"web","port":{port},"backends":[{{"ip":"127.0.0.1","port":{first}}},{{"ip":"127.0.0.1","port":{second}}}]}}"#
    );
    let created = server.create("/loadbalancer", &body);
    let at = endpoint(&created);
    let (client, name) = std::iter::from_fn(|| Some(connect(at))).find(|(_, name)| name == "a").unwrap();
    assert_eq!(name, "a");
    let backend = format!("{}/backend/{}", path(&created), created["backends"][0]["uuid"].as_str().unwrap());
    let drained = server.ask("POST", &format!("{backend}/drain"), "");
    assert_eq!(drained.status, 202, "{}", drained.body);
    assert!((0..3).all(|_| connect(at).1 == "b"), "nothing new");
    let shown = server.show(&backend);
    assert_eq!(shown["drain"]["left"]["activeConnections"], 1, "{shown}");
    client.shutdown(Shutdown::Both).unwrap();
    hear(&server, "drained backend");
}

/// The pool passes over an address whose port belongs to another program.
#[test]
fn what_another_program_listens_on_is_left_to_it() {
    let server = start(&state_dir("foreign"), "127.0.3.85-127.0.3.86");
    let other = TcpListener::bind("127.0.3.85:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let created = server.create("/loadbalancer", &format!(r#"{{"name":"web","port":{port}}}"#));
    assert_eq!(created["eip"], "127.0.3.86");
    let body = format!(r#"{{"name":"web","port":{port},"eip":"127.0.3.85"}}"#);
    let problem = refused(&server, "POST", "/loadbalancer", &body, 409);
    assert!(problem["detail"].as_str().unwrap().contains("another program"), "{problem}");
}

/// What is of mini-balancer's file, as far as `tests/seeds.rs` does not show it.
#[test]
fn the_frontend_of_a_file_is_marked_and_stays() {
    let state_dir = state_dir("frontend");
    std::fs::create_dir_all(&state_dir).unwrap();
    let port = free_port(Ipv4Addr::LOCALHOST);
    let file = format!("{state_dir}/config.toml");
    let frontend = format!("[frontend]\nbind_on = \"127.0.0.1:{port}\"\n\n");
    let forward = |to: u16| format!("[[frontend.backend]]\nforward_to = \"127.0.0.1:{to}\"\n\n");
    std::fs::write(&file, [frontend, forward(greeter("a")), forward(greeter("b"))].concat()).unwrap();
    let server = Loopback::start(SLB, &["--config", &file, "--stateDir", &state_dir]);
    while server.ask("GET", "/readyz", "").status != 200 {}
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let names: Vec<String> = (0..4).map(|_| connect(at).1).collect();
    assert_eq!(names, ["a", "b", "a", "b"]);
    let listed = server.show("/loadbalancers");
    assert_eq!(listed[0]["origin"], "file");
    let _ = refused(&server, "DELETE", &path(&listed[0]), "", 409);
}

/// As a shell gives it for `--config <(…)`: it can be read once, and asked to, slb does not take it for empty.
#[test]
fn load_balancers_of_a_pipe_stay() {
    let state_dir = state_dir("pipe");
    std::fs::create_dir_all(&state_dir).unwrap();
    let port = free_port(Ipv4Addr::LOCALHOST);
    let pipe = format!("{state_dir}/pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = thread::spawn({
        let (pipe, text) = (pipe.clone(), format!("[frontend]\nbind_on = \"127.0.0.1:{port}\"\n"));
        move || std::fs::write(pipe, text)
    });
    let server = Loopback::start(SLB, &["--config", &pipe, "--stateDir", &state_dir]);
    writer.join().unwrap().unwrap();
    hear(&server, "is carried out");
    hear(&server, "not a regular file");
    server.process().signal(Signal::HUP);
    hear(&server, "asked to read the file");
    let listed = server.show("/loadbalancers");
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["origin"]), (1, &Value::from("file")), "{listed}");
}

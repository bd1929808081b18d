// SPDX-License-Identifier: Apache-2.0
//! The README's first command: without root and without IPVS, on addresses that every host has. No kernel of our own is needed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "user/client.rs"]
mod client;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
};

use serde_json::Value;

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

/// A server, killed at the end.
struct Server {
    child: Child,
    said: BufReader<ChildStderr>,
    port: u16,
}

impl Server {
    /// Once it says that it is ready, with what it has said until then.
    fn start(state_dir: &str, range: &str) -> (Self, String) {
        Self::start_with(&["--adapter", "lo", "--ipamRange", range, "--stateDir", state_dir])
    }

    fn start_with(options: &[&str]) -> (Self, String) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new(SLB)
            .arg("server")
            .args(options)
            .args(["--address", "127.0.0.1", "--port", &port.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self { child, said, port };
        let until_ready = server.hear("] ready");
        (server, until_ready)
    }

    /// What it says until that.
    fn hear(&mut self, word: &str) -> String {
        let mut said = String::new();
        while !said.contains(word) {
            assert_ne!(self.said.read_line(&mut said).unwrap(), 0, "{said}");
        }
        said
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    fn create(&self, path: &str, body: &str) -> Value {
        let (status, created) = self.ask("POST", path, body);
        assert_eq!(status, 201, "{created}");
        created
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Says its name to whoever comes, and waits for the end of what they say.
fn backend(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            thread::spawn(move || {
                let mut client = client.unwrap();
                client.write_all(name.as_bytes()).unwrap();
                let _ = client.read_to_end(&mut Vec::new());
            });
        }
    });
    port
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
    let (server, said) = Server::start(&state_dir, range);
    assert_eq!(said.matches("WARN").count(), 1, "{said}");
    assert!(said.contains("user space") && said.contains("neither bound nor announced"), "{said}");
    assert_eq!(server.ask("GET", "/", "").1["dataplane"], "user");

    let port = TcpListener::bind("127.0.1.85:0").unwrap().local_addr().unwrap().port();
    let created = server.create("/loadbalancer", &format!(r#"{{"name":"web","port":{port}}}"#));
    let path = format!("/loadbalancer/{}", created["uuid"].as_str().unwrap());
    let at = SocketAddr::new(created["eip"].as_str().unwrap().parse().unwrap(), port);
    assert_eq!(at.ip().to_string(), "127.0.1.85");
    assert_eq!((&created["status"], &created["observed"]["programmed"]["is"]), (&"active".into(), &true.into()));
    let advertised = &created["observed"]["advertised"];
    assert_eq!((&advertised["is"], &advertised["why"]), (&false.into(), &"this server announces no VIPs".into()));
    let of = |port: u16, more: &str| format!(r#"{{"ip":"127.0.0.1","port":{port}{more}}}"#);
    server.create(&format!("{path}/backend"), &of(backend("a"), ""));
    server.create(&format!("{path}/backend"), &of(backend("b"), ""));
    let names: Vec<String> = (0..4).map(|_| connect(at).1).collect();
    assert_eq!(names, ["a", "b", "a", "b"]);

    let (status, problem) = server.ask("POST", &format!("{path}/backend"), &of(1, r#","type":"DR""#));
    assert_eq!((status, &problem["type"]), (422, &Value::from("/problems/unserved")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("--dataplane ipvs"), "{problem}");
    let (_, statistics) = server.ask("GET", &format!("{path}/statistics"), "");
    assert_eq!(statistics["connections"], 4, "{statistics}");
    assert_eq!(statistics["backends"].as_array().unwrap().len(), 2, "what was refused has been undone");

    drop(server);
    let (server, _) = Server::start(&state_dir, range);
    let mut names: Vec<String> = (0..2).map(|_| connect(at).1).collect();
    names.sort();
    assert_eq!(names, ["a", "b"]);
    assert!(clean_up(&state_dir).contains("another slb server uses this state directory"));
    drop(server);
    let said = clean_up(&state_dir);
    assert!(said.contains("nothing to clean up") && said.contains(&format!("stay in {state_dir}")), "{said}");

    let (server, _) = Server::start(&state_dir, range);
    assert_eq!(server.ask("DELETE", &path, "").0, 204);
    assert!(TcpStream::connect(at).is_err());
}

fn clean_up(state_dir: &str) -> String {
    let output = Command::new(SLB).args(["cleanup", "--stateDir", state_dir]).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_drain_waits_for_connections() {
    let (mut server, _) = Server::start(&state_dir("drain"), "127.0.2.85");
    let port = TcpListener::bind("127.0.2.85:0").unwrap().local_addr().unwrap().port();
    let (first, second) = (backend("a"), backend("b"));
    let body = format!(
        r#"{{"name":"web","port":{port},"backends":[{{"ip":"127.0.0.1","port":{first}}},{{"ip":"127.0.0.1","port":{second}}}]}}"#
    );
    let created = server.create("/loadbalancer", &body);
    let path = format!("/loadbalancer/{}", created["uuid"].as_str().unwrap());
    let at = SocketAddr::new(created["eip"].as_str().unwrap().parse().unwrap(), port);
    let (client, name) = std::iter::from_fn(|| Some(connect(at))).find(|(_, name)| name == "a").unwrap();
    assert_eq!(name, "a");
    let backend = created["backends"][0]["uuid"].as_str().unwrap();
    let (status, drained) = server.ask("POST", &format!("{path}/backend/{backend}/drain"), "");
    assert_eq!(status, 202, "{drained}");
    assert!((0..3).all(|_| connect(at).1 == "b"), "nothing new");
    let (_, shown) = server.ask("GET", &format!("{path}/backend/{backend}"), "");
    assert_eq!(shown["drain"]["left"]["activeConnections"], 1, "{shown}");
    client.shutdown(Shutdown::Both).unwrap();
    server.hear("drained backend");
}

/// The pool passes over an address whose port belongs to another program.
#[test]
fn what_another_program_listens_on_is_left_to_it() {
    let (server, _) = Server::start(&state_dir("foreign"), "127.0.3.85-127.0.3.86");
    let other = TcpListener::bind("127.0.3.85:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let created = server.create("/loadbalancer", &format!(r#"{{"name":"web","port":{port}}}"#));
    assert_eq!(created["eip"], "127.0.3.86");
    let body = format!(r#"{{"name":"web","port":{port},"eip":"127.0.3.85"}}"#);
    let (status, problem) = server.ask("POST", "/loadbalancer", &body);
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("another program"), "{problem}");
}

/// Its example, but for the ports: the first connection goes to the first backend, the second to the second, and the third where the first went.
#[test]
fn the_file_of_mini_balancer_balances_as_it_stands() {
    let state_dir = state_dir("mini-balancer");
    std::fs::create_dir_all(&state_dir).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (first, second) = (backend("a"), backend("b"));
    let file = format!("{state_dir}/config.toml");
    let text = format!(
        "[frontend]\nbind_on = \"127.0.0.1:{port}\"\n\n[[frontend.backend]]\nforward_to = \"127.0.0.1:{first}\"\n\n\
         [[frontend.backend]]\nforward_to = \"127.0.0.1:{second}\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let (mut server, said) = Server::start_with(&["--config", &file, "--stateDir", &state_dir]);
    if !said.contains("is carried out") {
        server.hear("is carried out");
    }
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let names: Vec<String> = (0..4).map(|_| connect(at).1).collect();
    assert_eq!(names, ["a", "b", "a", "b"]);
    let (_, listed) = server.ask("GET", "/loadbalancers", "");
    assert_eq!(listed[0]["origin"], "file");
    let path = format!("/loadbalancer/{}", listed[0]["uuid"].as_str().unwrap());
    assert_eq!(server.ask("DELETE", &path, "").0, 409);
}

/// As a shell gives it for `--config <(…)`: it can be read once, and asked to, slb does not take it for empty.
#[test]
fn load_balancers_of_a_pipe_stay() {
    let state_dir = state_dir("pipe");
    std::fs::create_dir_all(&state_dir).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let pipe = format!("{state_dir}/pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = thread::spawn({
        let (pipe, text) = (pipe.clone(), format!("[frontend]\nbind_on = \"127.0.0.1:{port}\"\n"));
        move || std::fs::write(pipe, text)
    });
    let (mut server, mut said) = Server::start_with(&["--config", &pipe, "--stateDir", &state_dir]);
    writer.join().unwrap().unwrap();
    if !said.contains("is carried out") {
        said += &server.hear("is carried out");
    }
    assert!(said.contains("not a regular file"), "{said}");
    let id = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
    server.hear("asked to read the file");
    let (_, listed) = server.ask("GET", "/loadbalancers", "");
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["origin"]), (1, &Value::from("file")), "{listed}");
}

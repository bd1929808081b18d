// SPDX-License-Identifier: Apache-2.0
//! Whom backends take for the client, told by a real server: HAProxy, which answers with the addresses of the connection.

use super::*;

/// HAProxy, killed at the end.
struct Haproxy {
    child: Child,
    port: u16,
}

impl Haproxy {
    /// One that takes nobody who does not begin with the PROXY protocol.
    fn start(name: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = format!("{}/haproxy-{name}.cfg", env!("CARGO_TARGET_TMPDIR"));
        let config = format!(
            "defaults\n mode http\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
             frontend told\n bind 127.0.0.1:{port} accept-proxy\n \
             http-request return status 200 content-type text/plain lf-string \"%ci:%cp to %fi:%fp\"\n"
        );
        std::fs::write(&file, config).unwrap();
        let child = Command::new("haproxy").args(["-db", "-q", "-f", &file]).spawn().unwrap();
        let haproxy = Self { child, port };
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            thread::yield_now();
        }
        haproxy
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Who asked, and what the answer was; nothing, if there was none.
fn ask_for_page(at: SocketAddr) -> (SocketAddr, String) {
    let mut client = TcpStream::connect(at).unwrap();
    let from = client.local_addr().unwrap();
    let mut answer = String::new();
    let asked = client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let _ = asked.and_then(|()| client.read_to_string(&mut answer));
    (from, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// How the last check ended, once there is one that ended so.
fn checked(server: &Server, path: &str, is_up: bool) {
    loop {
        let shown = server.ask("GET", path, "").1;
        let health = shown["backends"][0]["observed"]["health"].as_str().unwrap_or_default().to_owned();
        if !shown["backends"][0]["observed"]["lastCheck"].is_null() && (health == "up") == is_up {
            return;
        }
        thread::yield_now();
    }
}

#[test]
fn a_server_is_told_who_its_clients_are() {
    let haproxy = Haproxy::start("told");
    let (server, _) = Server::start(&state_dir("told"), "127.0.6.85");
    let port = TcpListener::bind("127.0.6.85:0").unwrap().local_addr().unwrap().port();
    let at = SocketAddr::from(([127, 0, 6, 85], port));
    let body = format!(
        r#"{{"port":{port},"proxyProtocol":"v1","healthCheck":{{"type":"http","interval":"100ms"}},"backends":[{{"ip":"127.0.0.1","port":{}}}]}}"#,
        haproxy.port
    );
    let created = server.create("/loadbalancer", &body);
    let path = format!("/loadbalancer/{}", created["uuid"].as_str().unwrap());
    for version in ["v1", "v2"] {
        let (status, changed) = server.ask("PATCH", &path, &format!(r#"{{"proxyProtocol":"{version}"}}"#));
        assert_eq!((status, &changed["proxyProtocol"]), (200, &Value::from(version)), "{changed}");
        // Checks begin with a header as well, or they would be refused.
        checked(&server, &path, true);
        let (from, answer) = ask_for_page(at);
        assert_eq!(answer, format!("{from} to {at}"), "{version}");
    }
    let (status, changed) = server.ask("PATCH", &path, r#"{"proxyProtocol":null}"#);
    assert_eq!((status, &changed["proxyProtocol"]), (200, &Value::Null), "{changed}");
    checked(&server, &path, false);
}

/// Nothing is taken that would not be done.
#[test]
fn what_backends_cannot_see_is_refused() {
    let (server, _) = Server::start(&state_dir("sources"), "127.0.7.85");
    let port = TcpListener::bind("127.0.7.85:0").unwrap().local_addr().unwrap().port();
    let refused = |(status, problem): (u16, Value)| {
        assert_eq!((status, &problem["type"]), (422, &Value::from("/problems/unserved")), "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("proxyProtocol") && detail.contains("--dataplane ipvs"), "{detail}");
    };
    let of = |choice: &str| format!(r#"{{"port":{port},"sourceNat":"{choice}"}}"#);
    for choice in ["never", "sameNetwork"] {
        refused(server.ask("POST", "/loadbalancer", &of(choice)));
    }
    assert_eq!(server.ask("GET", "/loadbalancers", "").1, Value::Array(Vec::new()), "nothing is left of them");
    let created = server.create("/loadbalancer", &of("always"));
    let path = format!("/loadbalancer/{}", created["uuid"].as_str().unwrap());
    refused(server.ask("PATCH", &path, r#"{"sourceNat":"never"}"#));
    assert_eq!(server.ask("GET", &path, "").1["sourceNat"], "always");
}

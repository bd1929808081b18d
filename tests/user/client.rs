// SPDX-License-Identifier: Apache-2.0
//! Whom backends take for the client, told by a real server: HAProxy, which answers with the addresses of the connection.

use slb_lab::{Process, wait};

use super::*;

/// HAProxy that takes nobody who does not begin with the PROXY protocol, and its port.
fn haproxy(name: &str) -> (Process, u16) {
    let port = free_port(Ipv4Addr::LOCALHOST);
    let file = format!("{}/haproxy-{name}.cfg", env!("CARGO_TARGET_TMPDIR"));
    let config = format!(
        "defaults\n mode http\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
         frontend told\n bind 127.0.0.1:{port} accept-proxy\n \
         http-request return status 200 content-type text/plain lf-string \"%ci:%cp to %fi:%fp\"\n"
    );
    std::fs::write(&file, config).unwrap();
    let haproxy = Process::here("haproxy", &["-db", "-q", "-f", &file]);
    wait::until("HAProxy to listen", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    (haproxy, port)
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

/// Waits until the last check has ended so.
fn checked(server: &Loopback, path: &str, is_up: bool) {
    wait::until(if is_up { "a check that passes" } else { "a check that fails" }, || {
        let observed = server.show(path)["backends"][0]["observed"].clone();
        (!observed["lastCheck"].is_null() && (observed["health"] == "up") == is_up).then_some(())
    });
}

/// One that does not tell, where that is expected, in between: so that each version is found up by its own checks.
#[test]
fn a_server_is_told_who_its_clients_are() {
    let (_haproxy, backend) = haproxy("told");
    let server = start(&state_dir("told"), "127.0.6.85");
    let port = free_port(Ipv4Addr::new(127, 0, 6, 85));
    let body = format!(
        r#"{{"port":{port},"healthCheck":{{"type":"http","interval":"100ms"}},"backends":[{{"ip":"127.0.0.1","port":{backend}}}]}}"#
    );
    let created = server.create("/loadbalancer", &body);
    let (path, at) = (path(&created), endpoint(&created));
    for version in ["v1", "v2"] {
        checked(&server, &path, false);
        let changed = server.ask("PATCH", &path, &format!(r#"{{"proxyProtocol":"{version}"}}"#));
        assert_eq!((changed.status, &changed.json()["proxyProtocol"]), (200, &Value::from(version)));
        checked(&server, &path, true);
        let (from, answer) = ask_for_page(at);
        assert_eq!(answer, format!("{from} to {at}"), "{version}");
        let changed = server.ask("PATCH", &path, r#"{"proxyProtocol":null}"#);
        assert_eq!((changed.status, &changed.json()["proxyProtocol"]), (200, &Value::Null));
    }
    checked(&server, &path, false);
}

/// Nothing is taken that would not be done.
#[test]
fn what_backends_cannot_see_is_refused() {
    let server = start(&state_dir("sources"), "127.0.7.85");
    let port = free_port(Ipv4Addr::new(127, 0, 7, 85));
    let unserved = |method, path: &str, body: &str| {
        let problem = refused(&server, method, path, body, 422);
        assert_eq!(problem["type"], "/problems/unserved");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("proxyProtocol") && detail.contains("--dataplane ipvs"), "{detail}");
    };
    let of = |choice: &str| format!(r#"{{"port":{port},"sourceNat":"{choice}"}}"#);
    for choice in ["never", "sameNetwork"] {
        unserved("POST", "/loadbalancer", &of(choice));
    }
    assert_eq!(server.show("/loadbalancers"), Value::Array(Vec::new()), "nothing is left of them");
    let path = path(&server.create("/loadbalancer", &of("always")));
    unserved("PATCH", &path, r#"{"sourceNat":"never"}"#);
    assert_eq!(server.show(&path)["sourceNat"], "always");
}

// SPDX-License-Identifier: Apache-2.0
//! Every way to say no.

use std::io;

use slb_core::{
    command::{Answer, Failure, mailbox},
    model::{Endpoint, Vip},
    ports::PoolError,
};

use crate::client::{Server, text};

#[derive(Debug, thiserror::Error)]
#[error("writing slb.redb")]
struct Writing(#[source] io::Error);

fn vip() -> Vip {
    "192.0.2.9".parse().unwrap()
}

#[tokio::test]
async fn what_the_core_fails_at_is_told() {
    let endpoint = Endpoint::tcp(vip(), 80_i64.try_into().unwrap());
    let disk = |errno| Box::new(Writing(io::Error::from_raw_os_error(errno)));
    let refused = || Box::new(io::Error::from(io::ErrorKind::ConnectionRefused));
    for (failure, status, kind, words) in [
        (Failure::Store(disk(5)), 503, "store-failed", "writing slb.redb: Input/output error"),
        (Failure::Store(disk(28)), 507, "store-full", "No space left"),
        (Failure::Store(disk(122)), 507, "store-full", "quota"),
        (Failure::Ask { doing: "list the services".to_owned(), cause: refused() }, 503, "system-unreadable", "list"),
        (Failure::Foreign(endpoint), 409, "foreign-service", "192.0.2.9:80"),
        (
            Failure::AddressInUse { vip: vip(), holder: "52:54:00:12:34:56".to_owned() },
            409,
            "address-in-use",
            "52:54:00:12:34:56",
        ),
        (Failure::Stopping, 503, "stopping", "stopping"),
        (
            Failure::Pool(PoolError::Unavailable { wanted: vip(), why: "the gateway".to_owned() }),
            409,
            "address-unavailable",
            "the gateway",
        ),
        (Failure::Pool(PoolError::Provider(refused())), 502, "provider-failed", "connection refused"),
    ] {
        let server = Server::new();
        server.fail(failure);
        let reply = server.post("/loadbalancer", r#"{"port":80}"#).await;
        assert_eq!(reply.problem(), (status, kind.to_owned()));
        assert!(text(&reply.json()["detail"]).contains(words), "{}", reply.body);
        assert_eq!(server.get("/loadbalancers").await.body, "null\n");
    }
}

#[tokio::test]
async fn a_controller_that_is_gone_or_confused_is_told() {
    let (gone, requests) = mailbox();
    drop(requests);
    let reply = Server::before(gone).post("/loadbalancer", r#"{"port":80}"#).await;
    assert_eq!(reply.problem(), (503, "stopping".to_owned()));
    assert_ne!(reply.header("retry-after"), "");

    let (confused, mut requests) = mailbox();
    tokio::spawn(async move {
        let request = futures_util::StreamExt::next(&mut requests).await.unwrap();
        request.answer.send(Ok(Answer::Gone)).unwrap();
    });
    let reply = Server::before(confused).post("/loadbalancer", r#"{"port":80}"#).await;
    assert_eq!(reply.problem(), (500, "internal".to_owned()));
}

#[tokio::test]
async fn all_that_is_wrong_with_a_body_is_told_at_once() {
    let server = Server::new();
    let body =
        r#"{"Port":80,"name":"a","name":"b","eip":"ff02::1","backends":[{"ip":"10.0.0.300","port":0},7],"vip":1}"#;
    let reply = server.post("/loadbalancer", body).await;
    assert_eq!(reply.problem(), (422, "invalid".to_owned()));
    assert_eq!(
        reply.pointers(),
        ["#/port", "#/eip", "#/backends/0/ip", "#/backends/0/port", "#/backends/1", "#/name", "#/Port", "#/vip"]
    );
    let errors = reply.json()["errors"].clone();
    let words = |pointer: &str| {
        let error = errors.as_array().unwrap().iter().find(|error| error["pointer"] == pointer).unwrap();
        text(&error["detail"]).to_owned()
    };
    assert_eq!(words("#/port"), "is missing");
    assert!(words("#/eip").contains("multicast"));
    assert_eq!(words("#/name"), "is given more than once");
    assert!(words("#/Port").contains("did you mean \"port\""));
    assert_eq!(words("#/backends/1"), "must be an object in {}, not a number");
}

#[tokio::test]
async fn addresses_that_no_host_has_are_refused() {
    let server = Server::new();
    let ipv4 = ["", "x", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1/32", "0.0.0.0", "224.0.0.1", "255.255.255.255"];
    let ipv6 = ["::", "fd00::1/128", "fe80::1", "fe80::1%eth0", "ff02::1", "::ffff:10.0.0.1", "fd00::g"];
    for address in ipv4.into_iter().chain(ipv6) {
        let reply = server.post("/loadbalancer", &format!(r#"{{"port":80,"eip":"{address}"}}"#)).await;
        assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec!["#/eip".to_owned()]), "{address}");
    }
}

#[tokio::test]
async fn names_are_bounded() {
    let server = Server::new();
    for name in [r"a\u0000b".to_owned(), r"\n".to_owned(), "x".repeat(256), "ü".repeat(256)] {
        let reply = server.post("/loadbalancer", &format!(r#"{{"port":80,"name":"{name}"}}"#)).await;
        assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec!["#/name".to_owned()]), "{name}");
    }
    for name in ["x".repeat(255), "ü".repeat(255), "🦀".repeat(255)] {
        assert_eq!(server.create(&format!(r#"{{"port":80,"name":"{name}"}}"#)).await["name"], name);
    }
}

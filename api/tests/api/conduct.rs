// SPDX-License-Identifier: Apache-2.0
//! What every path does alike: methods, heads, slashes, limits, ids, logs, and the guard.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::Request,
};
use slb_api::{Options, routes::ROUTES};

use crate::client::{Server, text};

#[tokio::test]
async fn other_methods_are_405_and_allow_says_which_there_are() {
    let server = Server::new();
    for (path, allow) in [
        ("/", "GET, HEAD, OPTIONS"),
        ("/loadbalancer", "POST, OPTIONS"),
        ("/loadbalancers", "GET, HEAD, POST, PUT, OPTIONS"),
        ("/loadbalancer/x", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
        ("/loadbalancer/x/backend", "GET, HEAD, POST, PUT, OPTIONS"),
        ("/loadbalancer/x/backend/y", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
    ] {
        let reply = server.send("OPTIONS", path, "").await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (204, allow), "{path}");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
            if !allow.split(", ").any(|allowed| allowed == method) {
                let reply = server.send(method, path, "").await;
                assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, allow), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let server = Server::new();
    server.create_with_backend().await;
    for path in ["/", "/loadbalancers", "/readyz", "/loadbalancer/x", "/nowhere"] {
        let (get, head) = (server.get(path).await, server.send("HEAD", path, "").await);
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-length"), get.body.len().to_string(), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[tokio::test]
async fn a_slash_too_many_is_redirected() {
    let server = Server::new();
    for path in ROUTES.iter().map(|route| route.path).filter(|path| *path != "/") {
        for (uri, place) in [(format!("{path}/"), path.to_owned()), (format!("{path}/?a=b"), format!("{path}?a=b"))] {
            let (uri, place) = (uri.replace(['{', '}'], ""), place.replace(['{', '}'], ""));
            let reply = server.send("POST", &uri, "").await;
            assert_eq!((reply.status.as_u16(), reply.header("location")), (301, place.as_str()));
        }
    }
}

#[tokio::test]
async fn health_and_readiness() {
    let server = Server::new();
    assert_eq!(server.get("/healthz").await.status, 200);
    let reply = server.get("/readyz").await;
    assert_eq!(reply.problem(), (503, "not-ready".to_owned()));
    assert_ne!(reply.header("retry-after"), "");
    server.board.post_ready();
    assert_eq!(server.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn the_front_page_leads_to_the_rest() {
    let server = Server::new();
    server.board.post_ready();
    for path in server.get("/").await.json()["links"].as_object().unwrap().values() {
        assert_eq!(server.send("HEAD", text(path), "").await.status, 200, "{path}");
    }
    assert_eq!(server.get("/openapi.yaml").await.body, include_str!("../../../openapi.yaml"));
}

fn post(body: Body) -> Request<Body> {
    Request::post("/loadbalancer").body(body).unwrap()
}

#[tokio::test]
async fn a_body_is_at_most_a_mebibyte() {
    let server = Server::new();
    let padded = |length: usize| format!(r#"{{"port":80{}}}"#, " ".repeat(length - 11));
    let announced =
        |length: &str| Request::post("/loadbalancer").header("content-length", length).body(Body::from("x")).unwrap();
    assert_eq!(server.request(post(Body::from(padded(1 << 20)))).await.status, 201);
    let streamed =
        Body::from_stream(futures_util::stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from_static(&[b' '; 4096]))));
    for request in [post(Body::from(padded((1 << 20) + 1))), announced("67108865"), post(streamed)] {
        assert_eq!(server.request(request).await.problem(), (413, "too-large".to_owned()));
    }
}

/// Most clients look for an answer only once they have sent all: a broken pipe would be all they saw.
#[tokio::test]
async fn a_body_that_is_too_large_is_read_to_its_end_all_the_same() {
    let pieces = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&pieces);
    let stream = futures_util::stream::iter((0..512).map(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok::<_, io::Error>(Bytes::from_static(&[b' '; 4096]))
    }));
    let reply = Server::new().request(post(Body::from_stream(stream))).await;
    assert_eq!(reply.problem(), (413, "too-large".to_owned()));
    assert_eq!(pieces.load(Ordering::Relaxed), 512);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_408() {
    let server = Server::with(Options { body_timeout: Duration::from_secs(7), ..Options::default() });
    let silent = Body::from_stream(futures_util::stream::pending::<io::Result<Bytes>>());
    let reply = server.request(post(silent)).await;
    assert_eq!(reply.problem(), (408, "body-slow".to_owned()));
    assert!(reply.body.contains("within 7 seconds"), "{}", reply.body);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_400() {
    let pieces = [Ok(Bytes::from_static(b"{\"port\":80")), Err(io::Error::from(io::ErrorKind::ConnectionReset))];
    let reply = Server::new().request(post(Body::from_stream(futures_util::stream::iter(pieces)))).await;
    assert_eq!(reply.problem(), (400, "body-incomplete".to_owned()));
    assert!(reply.body.contains("connection reset"), "{}", reply.body);
}

#[tokio::test]
async fn sane_request_ids_are_kept_and_others_replaced() {
    let server = Server::new();
    let longest = "x".repeat(64);
    for id in ["a", "build-17/step:3", "%20", &longest] {
        let request = Request::get("/nowhere").header("x-request-id", id).body(Body::empty()).unwrap();
        let reply = server.request(request).await;
        assert_eq!((reply.header("x-request-id"), text(&reply.json()["requestId"])), (id, id));
    }
    for id in ["", "a b", "é", &"x".repeat(65)] {
        let request = Request::get("/loadbalancers").header("x-request-id", id).body(Body::empty()).unwrap();
        let reply = server.request(request).await;
        assert_eq!(reply.header("x-request-id").len(), 36, "{id}");
    }
    let one = server.get("/").await.header("x-request-id").to_owned();
    assert_ne!(one, server.get("/").await.header("x-request-id"));
}

#[tokio::test]
async fn web_pages_of_other_sites_change_nothing() {
    let server = Server::new();
    let (path, backend) = server.create_with_backend().await;
    let before = server.get("/loadbalancers").await.body;
    let send = |method: &str, path: &str, origin: &str, body: &str| {
        let request = Request::builder().method(method).uri(path).header("host", "192.0.2.200:10001");
        request.header("origin", origin).header("content-type", "text/plain").body(Body::from(body.to_owned())).unwrap()
    };
    for (method, path, body) in [
        ("POST", "/loadbalancer", r#"{"port":81}"#),
        ("POST", "/loadbalancer/", r#"{"port":81}"#),
        ("PUT", &path, r#"{"name":"evil"}"#),
        ("PATCH", &path, r#"{"name":"evil"}"#),
        ("DELETE", &path, ""),
        ("POST", &format!("{path}/backend"), r#"{"ip":"10.6.6.6","port":666}"#),
        ("DELETE", &backend, ""),
    ] {
        let reply = server.request(send(method, path, "https://evil.example", body)).await;
        assert_eq!(reply.problem(), (403, "cross-site".to_owned()), "{method} {path}");
    }
    let reply = server.request(send("GET", "/loadbalancers", "https://evil.example", "")).await;
    assert_eq!((reply.status.as_u16(), &reply.body), (200, &before));
    assert!(!reply.headers.contains_key("access-control-allow-origin"));
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    let reply = server.request(send("DELETE", &path, "http://192.0.2.200:10001", "")).await;
    assert_eq!(reply.status, 204, "a page of this server's own may");
}

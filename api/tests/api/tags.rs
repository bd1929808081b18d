// SPDX-License-Identifier: Apache-2.0
//! What was changed meanwhile is not overwritten, and what was not is not sent again.

use axum::{body::Body, http::Request};
use serde_json::json;

use crate::client::{Reply, Server};

async fn ask(server: &Server, method: &str, path: &str, header: (&str, &str), body: &str) -> Reply {
    let request = Request::builder().method(method).uri(path).header(header.0, header.1);
    server.request(request.body(Body::from(body.to_owned())).unwrap()).await
}

async fn tag(server: &Server, path: &str) -> String {
    server.get(path).await.header("etag").to_owned()
}

#[tokio::test]
async fn what_is_known_is_not_sent_again() {
    let server = Server::new();
    assert_eq!(server.get("/loadbalancers").await.header("etag"), "", "there is nothing yet");
    let (path, backend) = server.create_with_backend().await;
    for path in ["/loadbalancers", &path, &format!("{path}/backend"), &backend] {
        let known = tag(&server, path).await;
        assert!(known.starts_with('"') && known.ends_with('"'), "{known}");
        let reply = ask(&server, "GET", path, ("if-none-match", &known), "").await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str(), reply.header("etag")), (304, "", known.as_str()));
        let weak = format!("\"x\", W/{known}");
        assert_eq!(ask(&server, "HEAD", path, ("if-none-match", &weak), "").await.status, 304);
        assert_eq!(ask(&server, "GET", path, ("if-none-match", "\"0123456789abcdef\""), "").await.status, 200);
        assert_eq!(ask(&server, "GET", path, ("if-match", "\"0123456789abcdef\""), "").await.status, 412);
        server.send("PATCH", &backend, r#"{"weight":7}"#).await;
        assert_eq!(ask(&server, "GET", path, ("if-none-match", &known), "").await.status, 200, "{path}");
        server.send("PATCH", &backend, r#"{"weight":1}"#).await;
        assert_eq!(tag(&server, path).await, known, "it is what it was");
    }
}

#[tokio::test]
async fn what_was_changed_meanwhile_is_not_overwritten() {
    let server = Server::new();
    let (path, backend) = server.create_with_backend().await;
    let backends = format!("{path}/backend");
    for (method, at, of, body) in [
        ("PATCH", &path, &path, r#"{"name":"one"}"#),
        ("PUT", &path, &path, r#"{"name":"two"}"#),
        ("POST", &backends, &backends, r#"{"ip":"10.0.0.2","port":80}"#),
        ("PATCH", &backend, &backend, r#"{"weight":3}"#),
        ("POST", &format!("{path}/drain"), &path, ""),
        ("PUT", &backends, &backends, r#"[{"ip":"10.0.0.3","port":80}]"#),
        ("PUT", &"/loadbalancers".to_owned(), &"/loadbalancers".to_owned(), r#"[{"port":80}]"#),
    ] {
        let known = tag(&server, of).await;
        for stale in ["\"0123456789abcdef\"", &format!("W/{known}"), "\"x\""] {
            let reply = ask(&server, method, at, ("if-match", stale), body).await;
            assert_eq!(reply.problem(), (412, "not-as-expected".to_owned()), "{method} {at} {stale}");
        }
        let reply = ask(&server, method, at, ("if-none-match", "*"), body).await;
        assert_eq!(reply.problem(), (412, "not-as-expected".to_owned()), "{method} {at}");
        let rehearsed = ask(&server, method, &format!("{at}?dryRun=true"), ("if-match", "\"x\""), body).await;
        assert_eq!(rehearsed.status, 412, "{method} {at}");
        assert_eq!(tag(&server, of).await, known, "{method} {at}");
        let reply = ask(&server, method, at, ("if-match", &known), body).await;
        assert!(reply.status.is_success(), "{method} {at}: {}", reply.body);
        let now = tag(&server, of).await;
        assert_ne!(now, known, "{method} {at}");
        assert!(["", now.as_str()].contains(&reply.header("etag")), "{method} {at}");
    }
}

#[tokio::test]
async fn a_tag_comes_with_what_is_made() {
    let server = Server::new();
    let reply = server.post("/loadbalancer", r#"{"port":80}"#).await;
    assert_eq!(reply.header("etag"), tag(&server, reply.header("location")).await);
    // There is nothing at the path that things are made at.
    assert_eq!(ask(&server, "POST", "/loadbalancer", ("if-match", "*"), r#"{"port":81}"#).await.status, 412);
    assert_eq!(ask(&server, "POST", "/loadbalancer", ("if-none-match", "*"), r#"{"port":81}"#).await.status, 201);
    let reply = ask(&server, "PATCH", reply.header("location"), ("if-match", "abc"), "{}").await;
    assert_eq!((reply.problem(), reply.json()["status"].clone()), ((400, "bad-header".to_owned()), json!(400)));
}

// SPDX-License-Identifier: Apache-2.0
//! Who asks again under a key gets the answer of the first time, and nothing is done a second time.

use axum::{body::Body, http::Request};

use crate::client::{Reply, Server};

async fn under(server: &Server, key: &str, method: &str, path: &str, body: &str) -> Reply {
    let request = Request::builder().method(method).uri(path).header("idempotency-key", key);
    server.request(request.body(Body::from(body.to_owned())).unwrap()).await
}

/// All of an answer but the id of the request.
fn said(reply: &Reply) -> (u16, String, [String; 2]) {
    (reply.status.as_u16(), reply.body.clone(), ["etag", "location"].map(|name| reply.header(name).to_owned()))
}

#[tokio::test]
async fn who_asks_again_gets_the_same_answer() {
    let server = Server::new();
    let (path, backend) = server.create_with_backend().await;
    let before = server.get("/loadbalancers").await.json().as_array().unwrap().len();
    let mut answers = Vec::new();
    for (key, path, body, status) in [
        ("one", "/loadbalancer", r#"{"port":80}"#, 201),
        ("list", "/loadbalancers", r#"[{"port":81},{"port":82}]"#, 201),
        ("backend", &format!("{path}/backend"), r#"{"ip":"10.0.0.8","port":80}"#, 201),
        ("backends", &format!("{path}/backend"), r#"[{"ip":"10.0.0.9","port":80}]"#, 201),
        ("drain", &format!("{backend}/drain?deadline=1h"), "", 202),
        ("undrain", &format!("{backend}/undrain"), "", 200),
        ("drain all", &format!("{path}/drain"), "", 202),
    ] {
        let key = key.replace(' ', "-");
        let first = under(&server, &key, "POST", path, body).await;
        assert_eq!(first.status, status, "{path}: {}", first.body);
        let again = under(&server, &format!("\"{key}\""), "POST", path, body).await;
        assert_eq!(said(&again), said(&first), "{path}");
        answers.push((key, path.to_owned(), body, first));
    }
    assert_eq!(server.get("/loadbalancers").await.json().as_array().unwrap().len(), before + 3);
    assert_eq!(server.get(&format!("{path}/backend")).await.json().as_array().unwrap().len(), 3);
    // What has become of it since makes no difference, but for how it is doing.
    let [(.., one), ..] = answers.as_slice() else { panic!() };
    assert_eq!(server.send("DELETE", one.header("location"), "").await.status, 204);
    for (key, path, body, first) in &answers {
        let again = under(&server, key, "POST", path, body).await;
        assert_eq!((again.status, again.header("etag")), (first.status, first.header("etag")), "{path}");
        let ids = |reply: &Reply| reply.body.matches("\"uuid\":\"").count();
        assert_eq!((again.header("location"), ids(&again)), (first.header("location"), ids(first)), "{path}");
    }
    assert_eq!(server.get(one.header("location")).await.status, 404);
}

/// The first time it is programmed, and beside one that still is.
#[tokio::test]
async fn of_a_backend_that_is_gone_nothing_is_observed() {
    let server = Server::new();
    let (path, _) = server.create_with_backend().await;
    let backends = format!("{path}/backend");
    let add = || under(&server, "k", "POST", &backends, r#"{"ip":"10.0.0.8","port":80}"#);
    let first = add().await;
    assert!(first.json()["observed"].is_object(), "{}", first.body);
    assert_eq!(server.send("DELETE", first.header("location"), "").await.status, 204);
    assert!(server.get(&path).await.json()["backends"][0]["observed"].is_object());
    let again = add().await;
    assert_eq!((again.status, again.json()["uuid"].clone()), (first.status, first.json()["uuid"].clone()));
    assert_eq!(again.json().get("observed"), None, "{}", again.body);
}

#[tokio::test]
async fn a_key_is_one_requests() {
    let server = Server::new();
    let (path, _) = server.create_with_backend().await;
    assert_eq!(under(&server, "k", "POST", "/loadbalancer", r#"{"port":80}"#).await.status, 201);
    let before = server.get("/loadbalancers").await.json();
    for (path, body) in [
        ("/loadbalancer", r#"{"port": 80}"#),
        ("/loadbalancer", r#"{"port":81}"#),
        ("/loadbalancers", r#"[{"port":80}]"#),
        (&format!("{path}/backend"), r#"{"ip":"10.0.0.8","port":80}"#),
        (&format!("{path}/drain"), ""),
    ] {
        let reply = under(&server, "k", "POST", path, body).await;
        assert_eq!(reply.problem(), (422, "key-of-another".to_owned()), "{path} {body}");
    }
    assert_eq!(server.get("/loadbalancers").await.json(), before);
}

#[tokio::test]
async fn what_was_refused_or_only_rehearsed_may_be_asked_again() {
    let server = Server::new();
    let refused = under(&server, "k", "POST", "/loadbalancer", r#"{"port":80,"eip":"10.9.9.9"}"#).await;
    assert_eq!(refused.problem(), (409, "address-outside-range".to_owned()));
    assert_eq!(under(&server, "k", "POST", "/loadbalancer", r#"{"port":0}"#).await.status, 422);
    assert_eq!(under(&server, "k", "POST", "/loadbalancer?dryRun=true", r#"{"port":80}"#).await.status, 200);
    assert_eq!(under(&server, "k", "POST", "/loadbalancer", r#"{"port":80}"#).await.status, 201);
    // Rehearsing under a key that is taken asks for a plan.
    assert_eq!(under(&server, "k", "POST", "/loadbalancer?dryRun=true", r#"{"port":81}"#).await.status, 200);
}

#[tokio::test]
async fn what_is_no_key_is_refused_where_keys_count() {
    let server = Server::new();
    let (path, backend) = server.create_with_backend().await;
    for key in ["", "\"\"", "a b", "\"a", &"k".repeat(256)] {
        for (path, body) in [
            ("/loadbalancer", r#"{"port":80}"#),
            ("/loadbalancers", r#"[{"port":80}]"#),
            (&format!("{path}/backend"), r#"{"ip":"10.0.0.8","port":80}"#),
            (&format!("{backend}/drain"), ""),
            ("/bgp/peers", r#"{"address":"10.0.0.254","as":65530}"#),
        ] {
            let reply = under(&server, key, "POST", path, body).await;
            assert_eq!(reply.problem(), (400, "bad-header".to_owned()), "{key:?} {path}");
        }
    }
    // The others may be asked again anyway.
    for (method, body) in [("PATCH", r#"{"name":"x"}"#), ("GET", ""), ("DELETE", "")] {
        assert!(under(&server, "", method, &path, body).await.status.is_success(), "{method}");
    }
}

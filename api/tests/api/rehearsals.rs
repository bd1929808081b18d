// SPDX-License-Identifier: Apache-2.0
//! `?dryRun=true`: what would be done is said, and nothing is done.

use serde_json::json;

use crate::client::Server;

#[tokio::test]
async fn every_change_can_be_asked_for_without_being_made() {
    let server = Server::new();
    let (path, backend) = server.create_with_backend().await;
    let shown = server.get("/loadbalancers").await.json();
    for (method, path, body, tally) in [
        ("POST", "/loadbalancer", r#"{"port":80}"#, [1, 0, 0]),
        ("POST", "/loadbalancers", r#"[{"port":80},{"port":81,"eip":"192.0.2.1"}]"#, [2, 0, 0]),
        ("PUT", "/loadbalancers", r#"[{"port":90}]"#, [1, 0, 1]),
        ("PATCH", &path, r#"{"name":"other"}"#, [0, 1, 0]),
        ("PUT", &path, r#"{"name":"web"}"#, [0, 0, 0]),
        ("DELETE", &path, "", [0, 0, 1]),
        ("POST", &format!("{path}/backend"), r#"{"ip":"10.0.0.2","port":80}"#, [0, 1, 0]),
        ("PUT", &format!("{path}/backend"), "[]", [0, 1, 0]),
        ("PATCH", &backend, r#"{"weight":0}"#, [0, 1, 0]),
        ("PUT", &backend, r#"{"weight":0}"#, [0, 1, 0]),
        ("DELETE", &backend, "", [0, 1, 0]),
        ("POST", &format!("{path}/drain"), "", [0, 1, 0]),
        ("POST", &format!("{backend}/drain"), "", [0, 1, 0]),
        ("POST", &format!("{backend}/undrain"), "", [0, 0, 0]),
    ] {
        let reply = server.send(method, &format!("{path}?dryRun=true"), body).await;
        let plan = reply.json();
        assert_eq!((reply.status.as_u16(), &plan["dryRun"]), (200, &json!(true)), "{method} {path}");
        assert_eq!(json!([plan["created"], plan["changed"], plan["deleted"]]), json!(tally), "{method} {path}");
        assert_eq!(server.get("/loadbalancers").await.json(), shown, "{method} {path}");
    }
    let plan =
        server.post("/loadbalancer?dryRun=true", r#"{"port":80,"backends":[{"ip":"10.0.0.1","port":1}]}"#).await.json();
    let stages: Vec<_> = plan["steps"].as_array().unwrap().iter().map(|step| step["stage"].clone()).collect();
    assert_eq!(stages, ["program", "program", "enableSourceNat", "bind", "advertise"]);
    let reply = server.send("DELETE", &format!("{path}?drain=30s&dryRun=true"), "").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["changed"]), (200, &json!(1)));
    assert_eq!(server.send("PATCH", &format!("{path}?dryRun=false"), r#"{"name":"x"}"#).await.json()["name"], "x");
}

#[tokio::test]
async fn what_is_wrong_is_refused_as_without_it() {
    let server = Server::new();
    let (path, _) = server.create_with_backend().await;
    for (method, path, body, status) in [
        ("POST", "/loadbalancer", r#"{"port":0}"#, 422),
        ("POST", "/loadbalancer", r#"{"port":80,"eip":"10.9.9.9"}"#, 409),
        ("POST", "/loadbalancers", r#"[{"port":80},{"port":80,"eip":"10.9.9.9"}]"#, 409),
        ("PATCH", &path, r#"{"port":81}"#, 409),
        ("DELETE", "/loadbalancer/00000000-0000-4000-8000-000000000000", "", 404),
        ("POST", &format!("{path}/backend"), r#"{"ip":"10.0.0.1","port":8080}"#, 409),
    ] {
        let dry = server.send(method, &format!("{path}?dryRun=true"), body).await;
        let wet = server.send(method, path, body).await;
        assert_eq!((dry.status.as_u16(), dry.problem()), (status, wet.problem()), "{method} {path} {body}");
    }
}

/// A slip of the pen must not do what was only to be rehearsed.
#[tokio::test]
async fn what_cannot_be_said_is_refused() {
    let server = Server::new();
    for query in ["dryrun=true", "dryRun", "dryRun=1", "dryRun=true&dryRun=true", "drain=3s", "x"] {
        let reply = server.post(&format!("/loadbalancer?{query}"), r#"{"port":80}"#).await;
        assert_eq!(reply.problem(), (400, "bad-query".to_owned()), "{query}");
    }
    for (method, path) in [("POST", "/bgp/peers"), ("DELETE", "/bgp/peers/10.0.0.1"), ("DELETE", "/bgp/shutdown")] {
        let reply = server.send(method, &format!("{path}?dryRun=true"), r#"{"address":"10.0.0.1","as":1}"#).await;
        assert_eq!(reply.problem(), (400, "bad-query".to_owned()), "{method} {path}");
    }
    assert_eq!(server.get("/loadbalancers").await.body, "null\n");
}

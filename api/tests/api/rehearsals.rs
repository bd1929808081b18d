// SPDX-License-Identifier: Apache-2.0
//! `?dryRun=true`: what would be done is said, and nothing is done.

use axum::{body::Body, http::Request};
use serde_json::json;
use slb_core::command::{Failure, Rejected};

use crate::{
    bgp::with_routers,
    client::{Reply, Server},
};

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
    assert_eq!(server.get("/loadbalancers").await.body, "null\n");
    let server = with_routers();
    let peer = r#"{"address":"10.0.0.1","as":1}"#;
    assert_eq!(server.post("/bgp/peers", peer).await.status, 201);
    assert_eq!(server.send("PUT", "/bgp/shutdown", "{}").await.status, 200);
    for (method, path, body) in [
        ("POST", "/bgp/peers", r#"{"address":"10.0.0.2","as":1}"#),
        ("DELETE", "/bgp/peers/10.0.0.1", ""),
        ("PUT", "/bgp/shutdown", r#"{"after":"0s"}"#),
        ("DELETE", "/bgp/shutdown", ""),
    ] {
        for query in ["dryrun=true", "dryRun", "dryRun=1", "dryRun=true&dryRun=true", "dryRun=true&x", "drain=3s", "x"]
        {
            let reply = server.send(method, &format!("{path}?{query}"), body).await;
            assert_eq!(reply.problem(), (400, "bad-query".to_owned()), "{method} {path}?{query}");
        }
    }
    assert_eq!(server.get("/bgp/peers").await.json().as_array().map(Vec::len), Some(1));
    assert_eq!(server.get("/bgp/shutdown").await.json()["state"], "draining");
}

/// The plan of a change of routes alone.
fn plan_of(steps: &[(&str, &str)]) -> serde_json::Value {
    let steps: Vec<_> =
        steps.iter().map(|(stage, step)| json!({"stage": stage, "eip": "203.0.113.0", "step": step})).collect();
    json!({"dryRun": true, "created": 0, "changed": 0, "deleted": 0, "tentative": [], "steps": steps})
}

#[tokio::test]
async fn a_peer_can_be_added_and_removed_without_being_told() {
    let server = with_routers();
    let add = |path: &'static str, last: u8, key: &'static str| {
        let request = Request::builder().method("POST").uri(path).header("idempotency-key", key);
        let body = json!({"address": format!("10.0.0.{last}"), "as": 65_530}).to_string();
        server.request(request.body(Body::from(body)).unwrap())
    };
    let dry = |reply: Reply| {
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    };
    for _ in 0..2 {
        let plan = plan_of(&[("advertise", "advertise 203.0.113.0/24 to 10.0.0.1")]);
        assert_eq!(dry(add("/bgp/peers?dryRun=true", 1, "first").await), plan);
        assert_eq!(server.get("/bgp/peers").await.body, "[]\n");
    }
    // Nobody remembers the key: it is another request's.
    assert_eq!(add("/bgp/peers?dryRun=false", 1, "first").await.status, 201);
    for last in 2..=6 {
        assert_eq!(add("/bgp/peers", last, ["2", "3", "4", "5", "6"][usize::from(last) - 2]).await.status, 201);
    }
    let shown = server.get("/bgp/peers").await.json();
    // Of the routers the sixth has a session.
    for (path, steps) in [
        ("/bgp/peers/10.0.0.1", &[][..]),
        ("/bgp/peers/10.0.0.6", &[("withdraw", "withdraw 203.0.113.0/24 from 10.0.0.6 as its session ends")]),
    ] {
        assert_eq!(dry(server.send("DELETE", &format!("{path}?dryRun=true"), "").await), plan_of(steps), "{path}");
    }
    assert_eq!(server.get("/bgp/peers").await.json(), shown);
    assert_eq!(server.send("DELETE", "/bgp/peers/10.0.0.6?dryRun=false", "").await.status, 204);
}

#[tokio::test]
async fn a_shutdown_can_be_asked_for_and_taken_back_without_beginning() {
    let server = with_routers();
    for last in 1..=6 {
        let body = json!({"address": format!("10.0.0.{last}"), "as": 65_530}).to_string();
        assert_eq!(server.post("/bgp/peers", &body).await.status, 201);
    }
    let asked = ("advertise", "advertise 203.0.113.0/24 to 10.0.0.6 with the community graceful-shutdown");
    let again = ("advertise", "advertise 203.0.113.0/24 to 10.0.0.6");
    let ended = |words| [asked, ("withdraw", words)];
    let all: Vec<_> = (1..=6).map(|last| format!("advertise 203.0.113.0/24 to 10.0.0.{last}")).collect();
    let all: Vec<_> = all.iter().map(|step| ("advertise", step.as_str())).collect();
    for (begun, state, asks, takes_back) in [
        (None, "off", &ended("withdraw 203.0.113.0/24 from 10.0.0.6 as its session ends in 60 s")[..], &[][..]),
        (
            Some(r#"{"after":"1h"}"#),
            "draining",
            &ended("withdraw 203.0.113.0/24 from 10.0.0.6 as its session ends in 60 s"),
            &[again],
        ),
        (Some(r#"{"after":"0s"}"#), "down", &[], &all),
    ] {
        if let Some(body) = begun {
            assert_eq!(server.send("PUT", "/bgp/shutdown?dryRun=false", body).await.status, 200);
        }
        let shown = server.get("/bgp/shutdown").await.json();
        assert_eq!(shown["state"], state);
        for (method, body, steps) in [("PUT", r#"{"words":"new disks"}"#, asks), ("DELETE", "", takes_back)] {
            let reply = server.send(method, "/bgp/shutdown?dryRun=true", body).await;
            assert_eq!((reply.status.as_u16(), reply.json()), (200, plan_of(steps)), "{method} {state}");
            assert_eq!(server.get("/bgp/shutdown").await.json(), shown, "{method}");
        }
    }
    assert_eq!(server.send("DELETE", "/bgp/shutdown?dryRun=false", "").await.status, 204);
    let at_once = server.send("PUT", "/bgp/shutdown?dryRun=true", r#"{"after":"0s"}"#).await.json();
    assert_eq!(at_once, plan_of(&ended("withdraw 203.0.113.0/24 from 10.0.0.6 as its session ends")));
}

#[tokio::test]
async fn routers_that_cannot_be_told_are_refused_as_without_it() {
    let (server, arp) = (with_routers(), Server::new());
    assert_eq!(server.post("/bgp/peers", r#"{"address":"10.0.0.1","as":1}"#).await.status, 201);
    let elsewhere = Some(Rejected::PeersElsewhere("GoBGP at 127.0.0.1:50051".to_owned()));
    let of_option = "10.0.0.1".parse::<std::net::IpAddr>().unwrap().try_into().unwrap();
    let of_option = Some(Rejected::PeerIsAnOption(of_option));
    for (server, refusal, method, path, body, problem) in [
        (&server, None, "POST", "/bgp/peers", r#"{"address":"10.0.0.1","as":1}"#, (409, "peer-exists")),
        (&server, None, "POST", "/bgp/peers", r#"{"address":"10.0.0.2","as":0}"#, (422, "invalid")),
        (&server, None, "DELETE", "/bgp/peers/10.0.0.2", "", (404, "unknown-peer")),
        (&server, of_option, "DELETE", "/bgp/peers/10.0.0.1", "", (409, "peer-is-an-option")),
        (
            &server,
            elsewhere.clone(),
            "POST",
            "/bgp/peers",
            r#"{"address":"10.0.0.2","as":1}"#,
            (409, "peers-elsewhere"),
        ),
        (&server, elsewhere, "DELETE", "/bgp/peers/10.0.0.1", "", (409, "peers-elsewhere")),
        (&server, None, "PUT", "/bgp/shutdown", r#"{"after":"25h"}"#, (422, "invalid")),
        (&arp, None, "POST", "/bgp/peers", r#"{"address":"10.0.0.1","as":1}"#, (409, "no-bgp")),
        (&arp, None, "DELETE", "/bgp/peers/10.0.0.1", "", (409, "no-bgp")),
        (&arp, None, "PUT", "/bgp/shutdown", "{}", (409, "no-bgp")),
        (&arp, None, "DELETE", "/bgp/shutdown", "", (409, "no-bgp")),
    ] {
        for path in [format!("{path}?dryRun=true"), path.to_owned()] {
            refusal.clone().into_iter().for_each(|rejected| server.fail(Failure::Rejected(rejected)));
            let (status, kind) = server.send(method, &path, body).await.problem();
            assert_eq!((status, kind.as_str()), problem, "{method} {path}");
        }
    }
}

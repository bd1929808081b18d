// SPDX-License-Identifier: Apache-2.0
//! Creating, showing, renaming and deleting load-balancers.

use serde_json::{Value, json};

use crate::client::{Server, text};

#[tokio::test]
async fn an_address_of_choice_is_taken() {
    let server = Server::new();
    assert_eq!(server.create(r#"{"port":80,"eip":"192.0.2.3"}"#).await["eip"], "192.0.2.3");
    assert_eq!(server.create(r#"{"port":81,"eip":"192.0.2.3"}"#).await["eip"], "192.0.2.3");
    assert_eq!(server.create(r#"{"port":80,"eip":null,"backends":null}"#).await["eip"], "192.0.2.1");
    let reply = server.post("/loadbalancer", r#"{"port":80,"eip":"192.0.2.3"}"#).await;
    assert_eq!(reply.problem(), (409, "endpoint-taken".to_owned()));
    assert_eq!(reply.json()["takenBy"], server.get("/loadbalancers").await.json()[0]["uuid"]);
    let reply = server.post("/loadbalancer", r#"{"port":80,"eip":"10.0.0.1"}"#).await;
    assert_eq!(reply.problem(), (409, "address-outside-range".to_owned()));
}

#[tokio::test]
async fn the_name_may_be_left_out() {
    assert_eq!(Server::new().create(r#"{"port":80}"#).await["name"], "");
}

#[tokio::test]
async fn an_exhausted_range_is_503_until_something_is_deleted() {
    let server = Server::new();
    let first = server.create(r#"{"port":80}"#).await;
    for _ in 0..3 {
        server.create(r#"{"port":80}"#).await;
    }
    let reply = server.post("/loadbalancer", r#"{"port":80}"#).await;
    assert_eq!(reply.problem(), (503, "pool-exhausted".to_owned()));
    assert_eq!(reply.header("retry-after"), "", "waiting alone does not help");
    server.send("DELETE", &format!("/loadbalancer/{}", text(&first["uuid"])), "").await;
    assert_eq!(server.create(r#"{"port":80}"#).await["eip"], first["eip"]);
}

#[tokio::test]
async fn what_get_shows_can_be_put_back_edited() {
    let server = Server::new();
    let (path, _) = server.create_with_backend().await;
    for name in ["renamed", "web <b>\"&", "ünïcode"] {
        let mut shown = server.get(&path).await.json();
        shown["name"] = json!(name);
        let reply = server.send("PUT", &path, &shown.to_string()).await;
        assert_eq!((reply.status.as_u16(), reply.json()), (200, shown.clone()));
        assert_eq!(server.get(&path).await.json(), shown);
    }
}

#[tokio::test]
async fn a_load_balancer_without_backends_is_put_back_with_null_or_with_none() {
    let server = Server::new();
    let path = format!("/loadbalancer/{}", text(&server.create(r#"{"port":80}"#).await["uuid"]));
    for backends in ["null", "[]"] {
        let reply = server.send("PUT", &path, &format!(r#"{{"name":"x","backends":{backends}}}"#)).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["backends"]), (200, &Value::Null));
    }
}

#[tokio::test]
async fn what_cannot_be_changed_may_be_repeated_but_not_changed() {
    let server = Server::new();
    let (path, _) = server.create_with_backend().await;
    let shown = server.get(&path).await.json();
    for (field, other) in [
        ("uuid", json!("00000000-0000-4000-8000-000000000000")),
        ("eip", json!("192.0.2.4")),
        ("port", json!(81)),
        ("status", json!("deleting")),
        ("backends", json!([])),
        ("backends", json!([{"ip": "10.0.0.2", "port": 8080}])),
        ("backends", json!([{"ip": "10.0.0.1", "port": 8080, "weight": 2}])),
    ] {
        for method in ["PUT", "PATCH"] {
            let reply = server.send(method, &path, &json!({"name": "new", field: other}).to_string()).await;
            assert_eq!(reply.problem(), (409, "immutable".to_owned()), "{field}");
            assert_eq!(reply.json()["field"], field);
            let reply =
                server.send(method, &path, &json!({"name": shown["name"], field: shown[field]}).to_string()).await;
            assert_eq!((reply.status.as_u16(), reply.json()), (200, shown.clone()), "{field}");
        }
    }
}

#[tokio::test]
async fn an_address_of_each_family_is_shown_repeated_and_never_changed() {
    let server = Server::new();
    let body = r#"{"port":80,"family":"dual","backends":[{"ip":"10.0.0.1","port":80},{"ip":"fd00::1","port":80}]}"#;
    let shown = server.create(body).await;
    assert_eq!((&shown["eip"], &shown["eips"]), (&json!("192.0.2.1"), &json!(["192.0.2.1", "2001:db8::c000:201"])));
    let each = shown["observed"]["vips"].as_array().unwrap().iter().map(|vip| &vip["eip"]);
    assert!(each.eq(shown["eips"].as_array().unwrap()));
    let path = format!("/loadbalancer/{}", text(&shown["uuid"]));
    assert_eq!(server.send("PUT", &path, &shown.to_string()).await.json(), shown);
    let other_way_round = json!({"eips": [shown["eips"][1], shown["eips"][0]]}).to_string();
    assert_eq!(server.send("PATCH", &path, &other_way_round).await.json(), shown);
    for other in [json!(["192.0.2.1"]), json!(["192.0.2.1", "2001:db8::1"])] {
        let reply = server.send("PATCH", &path, &json!({"eips": other}).to_string()).await;
        assert_eq!((reply.problem(), &reply.json()["field"]), ((409, "immutable".to_owned()), &json!("eips")));
    }
    for vip in ["2001:db8::c000:201", "192.0.2.1"] {
        let reply = server.post(&format!("{path}/backend"), &json!({"ip": vip, "port": 81}).to_string()).await;
        assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec!["#/ip".to_owned()]));
    }
    let taken = server.post("/loadbalancer", r#"{"port":80,"eip":"2001:db8::c000:201"}"#).await;
    assert_eq!((taken.problem(), &taken.json()["takenBy"]), ((409, "endpoint-taken".to_owned()), &shown["uuid"]));
}

#[tokio::test]
async fn put_takes_the_whole_and_patch_a_part() {
    let server = Server::new();
    let (path, _) = server.create_with_backend().await;
    let shown = server.get(&path).await.json();
    let reply = server.send("PUT", &path, "{}").await;
    assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec!["#/name".to_owned()]));
    assert_eq!(server.send("PATCH", &path, "{}").await.json(), shown);
    assert_eq!(server.send("PATCH", &path, r#"{"name":"new"}"#).await.json()["name"], "new");
}

#[tokio::test]
async fn what_is_being_deleted_is_shown_and_changed_no_more() {
    let server = Server::new();
    let (path, _) = server.create_with_backend().await;
    let id = path.rsplit('/').next().unwrap().parse().unwrap();
    let mut doomed = (*server.board.get(slb_core::model::LoadBalancerId(id)).unwrap()).clone();
    doomed.phase = slb_core::model::Phase::Deleting;
    server.board.post(doomed.into());
    let shown = server.get(&path).await.json();
    assert_eq!(shown["status"], "deleting");
    for body in [shown.to_string(), r#"{"name":"new","status":"active"}"#.to_owned()] {
        assert_eq!(server.send("PUT", &path, &body).await.problem(), (409, "being-deleted".to_owned()));
    }
}

#[tokio::test]
async fn settings_are_shown_as_they_were_asked_for_and_changed_in_place() {
    let server = Server::new();
    let body = r#"{"port":80,"scheduler":"sh","schedulerFlags":["fallback","port"],"persistence":{"timeout":300}}"#;
    let created = server.create(body).await;
    let path = format!("/loadbalancer/{}", text(&created["uuid"]));
    assert_eq!(created["schedulerFlags"], json!(["port", "fallback"]));
    assert_eq!((&created["persistence"], &created["protocol"]), (&json!({"timeout": "300s"}), &json!("tcp")));
    assert_eq!(server.send("PUT", &path, &created.to_string()).await.json(), created);
    for (change, field, expected) in [
        (
            r#"{"persistence":{"timeout":"2m","granularity":24}}"#,
            "persistence",
            json!({"timeout": "120s", "granularity": 24}),
        ),
        (r#"{"persistence":null}"#, "persistence", json!(null)),
        (r#"{"persistence":{}}"#, "persistence", json!({"timeout": "300s"})),
        (r#"{"scheduler":"wlc","schedulerFlags":[]}"#, "scheduler", json!("wlc")),
        (r#"{"proxyProtocol":"v2"}"#, "proxyProtocol", json!("v2")),
        (r#"{"proxyProtocol":null}"#, "proxyProtocol", json!(null)),
    ] {
        let reply = server.send("PATCH", &path, change).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.json()[field], expected, "{change}");
    }
    let before = server.get(&path).await.body;
    for (change, status, expected) in [
        (r#"{"protocol":"udp"}"#, 409, "protocol is tcp and cannot be changed"),
        (r#"{"onePacket":true}"#, 409, "onePacket is for udp"),
        (r#"{"proxyProtocol":"v3"}"#, 422, "must be \"v1\", \"v2\" or null"),
        (r#"{"schedulerFlags":["port"]}"#, 409, "schedulerFlags are for sh and mh"),
        (r#"{"persistence":{"granularity":33}}"#, 409, "1 to 32"),
        (r#"{"persistence":{"granularity":0}}"#, 409, "1 to 32"),
        (r#"{"schedulerFlags":["ports"]}"#, 422, "no flag of a scheduler"),
        (r#"{"persistence":{"timeout":0}}"#, 422, "whole seconds"),
        (r#"{"persistence":{"timeout":"1500ms"}}"#, 422, "whole seconds"),
        (r#"{"persistence":{"timeout":"32days"}}"#, 422, "whole seconds"),
        (r#"{"persistence":300}"#, 422, "must be an object"),
    ] {
        let reply = server.send("PATCH", &path, change).await;
        assert_eq!(reply.status, status, "{change}: {}", reply.body);
        assert!(text(&reply.json()["detail"]).contains(expected), "{change}: {}", reply.body);
        assert_eq!(server.get(&path).await.body, before, "{change}");
    }
}

#[tokio::test]
async fn protocols_share_an_address_and_a_port() {
    let server = Server::new();
    let created = server.create(r#"{"port":53,"protocol":"udp","onePacket":true}"#).await;
    assert_eq!((&created["protocol"], &created["onePacket"]), (&json!("udp"), &json!(true)));
    let same = |protocol: &str| json!({"port": 53, "protocol": protocol, "eip": created["eip"]}).to_string();
    server.create(&same("tcp")).await;
    server.create(&same("sctp")).await;
    assert_eq!(server.post("/loadbalancer", &same("udp")).await.problem(), (409, "endpoint-taken".to_owned()));
    assert_eq!(server.post("/loadbalancer", &same("icmp")).await.pointers(), ["#/protocol"]);
}

#[tokio::test]
async fn a_fallback_that_cannot_be_is_blamed_itself() {
    let server = Server::new();
    let (path, _) = server.create_with_backend().await;
    for (method, path, body) in [
        ("POST", "/loadbalancer", r#"{"port":81,"eip":"192.0.2.2","fallback":{"ip":"192.0.2.2","port":80}}"#),
        ("PATCH", &path, r#"{"fallback":{"ip":"192.0.2.1","port":80}}"#),
    ] {
        let reply = server.send(method, path, body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.pointers()),
            (422, vec!["#/fallback/ip".to_owned()]),
            "{}",
            reply.body
        );
    }
    for (method, path, body) in [
        ("POST", "/loadbalancer", r#"{"port":81,"fallback":{"ip":"fd00::9","port":80,"type":"DR"}}"#),
        ("PATCH", &path, r#"{"fallback":{"ip":"fd00::9","port":80}}"#),
    ] {
        let reply = server.send(method, path, body).await;
        assert_eq!(reply.problem(), (409, "backend-unfit".to_owned()));
        assert_eq!(reply.json()["field"], "fallback");
    }
    let reply = server.send("PATCH", &path, r#"{"fallback":{"ip":"10.0.0.1","port":8080}}"#).await;
    assert_eq!(reply.problem(), (409, "backend-exists".to_owned()));
    assert!(text(&reply.json()["detail"]).ends_with("cannot be both a backend and the fallback"), "{}", reply.body);
}

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

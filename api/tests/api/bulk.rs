// SPDX-License-Identifier: Apache-2.0
//! Many load-balancers in one request.

use serde_json::{Value, json};

use crate::client::{Server, text};

const PLACE: &str = "/loadbalancers";

fn column(list: &Value, field: &str) -> Vec<Value> {
    list.as_array().unwrap().iter().map(|each| each[field].clone()).collect()
}

#[tokio::test]
async fn a_list_is_answered_in_its_order() {
    let server = Server::new();
    let body = r#"[{"name":"any","port":80,"backends":[{"ip":"10.0.0.1","port":8080}]},
        {"name":"named","port":81,"eip":"192.0.2.1"},{"name":"both","port":82,"family":"dual"}]"#;
    let reply = server.post(PLACE, body).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (201, PLACE));
    let made = reply.json();
    assert_eq!(column(&made, "name"), ["any", "named", "both"]);
    assert_eq!(made[0]["observed"]["programmed"]["is"], true);
    assert_eq!(server.get(PLACE).await.json(), made);
}

#[tokio::test]
async fn one_that_is_wrong_is_named_and_none_is_made() {
    let server = Server::new();
    server.create(r#"{"name":"there","port":80,"eip":"192.0.2.1"}"#).await;
    let before = server.get(PLACE).await.json();
    let invalid = |pointer: &str| (422, "invalid".to_owned(), json!([pointer]), Value::Null);
    let conflict = |kind: &str, pointer: &str| (409, kind.to_owned(), json!([]), json!(pointer));
    for (second, expected) in [
        (r#"{"port":0}"#, invalid("#/1/port")),
        (r#"{"port":80,"backends":[{"ip":"10.0.0.1","port":1},{"ip":"x","port":1}]}"#, invalid("#/1/backends/1/ip")),
        (r#"{"port":80,"uuid":"00000000-0000-4000-8000-000000000000"}"#, invalid("#/1/uuid")),
        (
            r#"{"port":80,"eip":"192.0.2.2","backends":[{"ip":"10.0.0.1","port":1},{"ip":"192.0.2.2","port":1}]}"#,
            invalid("#/1/backends/1/ip"),
        ),
        (r#"{"port":80,"eip":"192.0.2.1"}"#, conflict("endpoint-taken", "#/1")),
        (r#"{"port":80,"eip":"10.9.9.9"}"#, conflict("address-outside-range", "#/1")),
        (r#"{"port":80,"onePacket":true}"#, conflict("settings-discord", "#/1")),
        (
            r#"{"port":80,"backends":[{"ip":"10.0.0.1","port":1},{"ip":"10.0.0.2"}]}"#,
            conflict("backend-unfit", "#/1/backends/1"),
        ),
        (
            r#"{"port":80,"backends":[{"ip":"10.0.0.1","port":1},{"ip":"10.0.0.1","port":1}]}"#,
            conflict("backend-exists", "#/1"),
        ),
    ] {
        let reply = server.post(PLACE, &format!(r#"[{{"port":81}},{second}]"#)).await;
        let problem = reply.json();
        let (status, kind) = reply.problem();
        assert_eq!(
            (status, kind, json!(reply.pointers()), problem["pointer"].clone()),
            expected,
            "{second}: {problem}"
        );
        assert_eq!(server.get(PLACE).await.json(), before, "{second}");
    }
    let reply = server.post(PLACE, "[]").await;
    assert_eq!((reply.problem(), reply.pointers()), ((422, "invalid".to_owned()), vec!["#".to_owned()]));
    for (body, status) in [("{}", 422), ("[{]", 400), ("", 400), ("[{\"port\":80}", 400)] {
        assert_eq!(server.post(PLACE, body).await.status, status, "{body}");
    }
}

#[tokio::test]
async fn what_get_shows_can_be_put_back_whole() {
    let server = Server::new();
    let (path, _) = server.create_with_backend().await;
    server.create(r#"{"name":"dns","protocol":"udp","ports":["53","5353"],"family":"dual"}"#).await;
    server.send("POST", &format!("{path}/drain"), "").await;
    let shown = server.get(PLACE).await.json();
    let reply = server.send("PUT", PLACE, &shown.to_string()).await;
    assert_eq!((reply.status.as_u16(), reply.json()), (200, shown.clone()));

    let mut edited = shown.clone();
    edited.as_array_mut().unwrap().reverse();
    edited[1]["name"] = json!("renamed");
    edited[1]["backends"].as_array_mut().unwrap().push(json!({"ip": "10.0.0.2", "port": 8080}));
    edited.as_array_mut().unwrap().push(json!({"name": "new", "port": 80}));
    let put = server.send("PUT", PLACE, &edited.to_string()).await.json();
    assert_eq!(column(&put, "name"), ["dns", "renamed", "new"]);
    assert_eq!(put[1]["backends"].as_array().unwrap().len(), 2);
    assert_eq!(put[1]["backends"][0], shown[0]["backends"][0]);
    assert_eq!(column(&server.get(PLACE).await.json(), "name"), ["renamed", "dns", "new"]);

    // Without uuids they are known by their names.
    let named = r#"[{"name":"new","port":80,"scheduler":"lc"},{"name":"renamed","port":80}]"#;
    let again = server.send("PUT", PLACE, named).await.json();
    assert_eq!(column(&again, "uuid"), [put[2]["uuid"].clone(), put[1]["uuid"].clone()]);
    assert_eq!(again[0]["scheduler"], "lc");
    assert_eq!(server.send("PUT", PLACE, "[]").await.json(), json!([]));
    assert_eq!(server.get(PLACE).await.json(), json!([]));
}

#[tokio::test]
async fn a_uuid_is_of_one_that_is_there_and_stays_where_it_is() {
    let server = Server::new();
    let there = server.create(r#"{"name":"web","port":80}"#).await;
    let uuid = text(&there["uuid"]);
    let put = async |list: Value| server.send("PUT", PLACE, &list.to_string()).await;
    let reply = put(json!([{"uuid": uuid, "port": 80}, {"uuid": uuid, "port": 80}])).await;
    assert_eq!((reply.problem(), reply.pointers()), ((422, "invalid".to_owned()), vec!["#/1/uuid".to_owned()]));
    let reply = put(json!([{"port": 90}, {"uuid": uuid, "port": 81}])).await;
    assert_eq!((reply.problem(), &reply.json()["pointer"]), ((409, "immutable".to_owned()), &json!("#/1")));
    let reply = put(json!([{"uuid": "00000000-0000-4000-8000-000000000000", "port": 80}])).await;
    assert_eq!((reply.problem(), &reply.json()["pointer"]), ((404, "unknown-load-balancer".to_owned()), &json!("#/0")));
    assert_eq!(server.get(PLACE).await.json(), json!([there]));
}

/// A list of load-balancers may be longer than any other body.
#[tokio::test]
async fn a_long_list_is_read_and_one_that_is_too_long_is_413() {
    let server = Server::new();
    let filled = |bytes: usize| format!("{}[{{\"port\":0}}]", " ".repeat(bytes));
    assert_eq!(server.post(PLACE, &filled(8 << 20)).await.problem(), (422, "invalid".to_owned()));
    let reply = server.post(PLACE, &filled(16 << 20)).await;
    assert_eq!(reply.problem(), (413, "too-large".to_owned()));
    assert!(text(&reply.json()["detail"]).contains("16777216"), "{}", reply.body);
    assert_eq!(server.post("/loadbalancer", &filled(1 << 20)).await.problem(), (413, "too-large".to_owned()));
}

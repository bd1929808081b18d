// SPDX-License-Identifier: Apache-2.0
//! Adding, showing, weighing and removing backends.

use serde_json::json;

use crate::client::{Server, text};

#[tokio::test]
async fn a_backend_that_is_there_is_not_added_again() {
    let server = Server::new();
    let (path, backend) = server.create_with_backend().await;
    let reply = server.post(&format!("{path}/backend"), r#"{"ip":"10.0.0.1","port":8080,"weight":9}"#).await;
    assert_eq!(reply.problem(), (409, "backend-exists".to_owned()));
    assert!(backend.ends_with(text(&reply.json()["takenBy"])));
    let twice = r#"{"port":81,"backends":[{"ip":"10.0.0.1","port":1},{"ip":"10.0.0.1","port":1,"weight":2}]}"#;
    let reply = server.post("/loadbalancer", twice).await;
    assert_eq!(reply.problem(), (409, "backend-exists".to_owned()));
    assert!(text(&reply.json()["detail"]).starts_with("#/backends/0 and #/backends/1"), "{}", reply.body);
}

#[tokio::test]
async fn a_backend_is_not_the_load_balancer_itself() {
    let server = Server::new();
    let (path, _) = server.create_with_backend().await;
    let reply = server.post(&format!("{path}/backend"), r#"{"ip":"192.0.2.1","port":8080}"#).await;
    assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec!["#/ip".to_owned()]));
    let body = r#"{"port":80,"eip":"192.0.2.2","backends":[{"ip":"10.0.0.1","port":1},{"ip":"192.0.2.2","port":2}]}"#;
    let reply = server.post("/loadbalancer", body).await;
    assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec!["#/backends/1/ip".to_owned()]));
    assert_eq!(server.get("/loadbalancers").await.json().as_array().unwrap().len(), 1);
}

/// It is a share of all of them.
#[tokio::test]
async fn a_panic_threshold_is_the_load_balancers_alone() {
    let server = Server::new();
    let check = json!({"type": "tcp", "panicThreshold": 50});
    let backend = json!({"ip": "10.0.0.1", "port": 80, "healthCheck": check});
    let reply = server.post("/loadbalancer", &json!({"port": 80, "backends": [backend]}).to_string()).await;
    assert_eq!(
        (reply.status.as_u16(), reply.pointers()),
        (422, vec!["#/backends/0/healthCheck/panicThreshold".to_owned()])
    );
    assert!(reply.body.contains("the load-balancer's healthCheck"), "{}", reply.body);
    let own = json!({"ip": "10.0.0.1", "port": 80, "healthCheck": {"type": "icmp"}});
    let created = server.create(&json!({"port": 80, "healthCheck": check, "backends": [own]}).to_string()).await;
    let shown = &created["backends"][0];
    assert_eq!((&shown["healthCheck"]["type"], shown["healthCheck"].get("panicThreshold")), (&json!("icmp"), None));
    let path = format!("/loadbalancer/{}/backend/{}", text(&created["uuid"]), text(&shown["uuid"]));
    let reply = server.send("PATCH", &path, &json!({"healthCheck": check}).to_string()).await;
    assert_eq!(reply.pointers(), ["#/healthCheck/panicThreshold"]);
    assert_eq!(server.send("PUT", &path, &shown.to_string()).await.json(), *shown, "what is shown can be sent back");
}

/// What GET shows can be sent back edited; what stays keeps its id.
#[tokio::test]
async fn all_backends_are_replaced_at_once() {
    let server = Server::new();
    let (path, backend) = server.create_with_backend().await;
    let path = format!("{path}/backend");
    let shown = server.get(&backend).await.json();
    let more =
        json!([{"ip": "10.0.0.2", "port": 80}, shown, {"ip": "10.0.0.3", "port": 80, "weight": 7, "type": "masq"}]);
    let reply = server.send("PUT", &path, &more.to_string()).await;
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.body);
    let now = reply.json();
    assert_eq!((&now[1], &now[0]["weight"], &now[2]["weight"]), (&shown, &json!(1), &json!(7)));
    assert_eq!(server.get(&path).await.json(), now);

    let before = server.get(&path).await.body;
    let strange = json!({"ip": "10.0.0.9", "port": 80, "uuid": shown["uuid"]});
    for (body, status, expected) in [
        (json!([strange]), 422, "#/0/uuid"),
        (json!([{"ip": "10.0.0.2", "port": 80}, {"ip": "192.0.2.1", "port": 80}]), 422, "#/1/ip"),
        (json!([{"ip": "10.0.0.2", "port": 0}]), 422, "#/0/port"),
        (json!([{"ip": "10.0.0.2", "port": 80}, 7]), 422, "#/1"),
        (json!({"ip": "10.0.0.2", "port": 80}), 422, "#"),
        (json!(null), 422, "#"),
        (
            json!([{"ip": "10.0.0.2", "port": 80}, {"ip": "10.0.0.2", "port": 80}]),
            409,
            "#/0 and #/1 are both 10.0.0.2:80",
        ),
    ] {
        let reply = server.send("PUT", &path, &body.to_string()).await;
        assert_eq!(reply.status.as_u16(), status, "{body}: {}", reply.body);
        match status {
            422 => assert_eq!(reply.pointers(), [expected], "{body}"),
            _ => assert_eq!(reply.json()["detail"], expected, "{body}"),
        }
        assert_eq!(server.get(&path).await.body, before, "{body}");
    }
    assert_eq!(server.send("PUT", &path, "").await.status.as_u16(), 400);
    assert_eq!(server.send("PUT", &path, "[]").await.body, "[]\n");
}

#[tokio::test]
async fn settings_can_be_changed_and_where_it_is_cannot() {
    let server = Server::new();
    let (_, backend) = server.create_with_backend().await;
    let mut shown = server.get(&backend).await.json();
    shown["weight"] = json!(0);
    let reply = server.send("PUT", &backend, &shown.to_string()).await;
    assert_eq!((reply.status.as_u16(), reply.json()), (200, shown.clone()));
    let reply = server.send("PATCH", &backend, r#"{"weight":65535}"#).await;
    assert_eq!(reply.json()["weight"], 65535);
    let reply = server.send("PUT", &backend, r#"{"ip":"10.0.0.1","port":8080}"#).await;
    assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec!["#/weight".to_owned()]));
    for (field, other, same) in [
        ("uuid", json!("00000000-0000-4000-8000-000000000000"), shown["uuid"].clone()),
        ("ip", json!("10.0.0.2"), json!("10.0.0.1")),
        ("port", json!(8081), json!(8080.0)),
    ] {
        for method in ["PUT", "PATCH"] {
            let reply = server.send(method, &backend, &json!({"weight": 5, field: other}).to_string()).await;
            assert_eq!(reply.problem(), (409, "immutable".to_owned()), "{field}");
            assert_eq!(reply.json()["field"], field);
            let reply = server.send(method, &backend, &json!({"weight": 5, field: same}).to_string()).await;
            assert_eq!((reply.status.as_u16(), &reply.json()["weight"]), (200, &json!(5)), "{field}");
        }
    }
    for weight in ["-1", "65536", "0.5", "\"1\"", "null"] {
        let reply = server.send("PATCH", &backend, &format!(r#"{{"weight":{weight}}}"#)).await;
        assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec!["#/weight".to_owned()]), "{weight}");
    }
}

#[tokio::test]
async fn the_list_is_never_null() {
    let server = Server::new();
    let path = format!("/loadbalancer/{}", text(&server.create(r#"{"port":80}"#).await["uuid"]));
    assert_eq!(server.get(&format!("{path}/backend")).await.body, "[]\n");
}

#[tokio::test]
async fn each_way_to_a_backend_is_shown_as_it_was_asked_for() {
    let server = Server::new();
    let path = format!("/loadbalancer/{}/backend", text(&server.create(r#"{"port":80}"#).await["uuid"]));
    let all = json!([
        {"ip": "10.0.0.1", "port": 80, "type": "DR"},
        {"ip": "10.0.0.2", "port": 80, "type": "TUN"},
        {"ip": "10.0.0.3", "port": 80, "type": "TUN", "tunnel": {"type": "gre"}},
        {"ip": "10.0.0.4", "port": 80, "type": "tun", "tunnel": {"type": "gue", "port": 6080}},
        {"ip": "10.0.0.5", "port": 8080, "upperThreshold": 100, "lowerThreshold": 80},
    ]);
    let reply = server.post(&path, &all.to_string()).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (201, path.as_str()), "{}", reply.body);
    let shown = server.get(&path).await.json();
    assert_eq!(reply.json(), shown);
    let tunnels: Vec<_> = shown.as_array().unwrap().iter().map(|backend| backend["tunnel"].clone()).collect();
    let gue = json!({"type": "gue", "port": 6080});
    assert_eq!(tunnels, [json!(null), json!({"type": "ipip"}), json!({"type": "gre"}), gue, json!(null)]);
    assert_eq!((&shown[4]["upperThreshold"], &shown[4]["lowerThreshold"]), (&json!(100), &json!(80)));
    assert_eq!(server.send("PUT", &path, &shown.to_string()).await.json(), shown, "what is shown can be sent back");

    let gue = format!("{path}/{}", text(&shown[3]["uuid"]));
    let reply = server.send("PATCH", &gue, r#"{"weight":3}"#).await;
    assert_eq!(reply.json()["tunnel"]["port"], 6080, "what is not mentioned stays");
    let reply = server.send("PATCH", &gue, r#"{"type":"MASQ"}"#).await;
    assert_eq!((&reply.json()["type"], reply.json().get("tunnel")), (&json!("MASQ"), None));
}

#[tokio::test]
async fn settings_of_backends_that_do_not_go_together_change_nothing() {
    let server = Server::new();
    let path = format!("/loadbalancer/{}/backend", text(&server.create(r#"{"port":80}"#).await["uuid"]));
    let good = json!({"ip": "10.0.0.1", "port": 80, "type": "DR"});
    for (more, status, field) in [
        (json!({"ip": "10.0.0.1", "type": "DR", "port": 81}), 409, "type"),
        (json!({"ip": "10.0.0.1", "type": "TUN", "port": 81}), 409, "type"),
        (json!({"type": "DR", "tunnel": {"type": "gre"}}), 409, "tunnel"),
        (json!({"upperThreshold": 5, "lowerThreshold": 6}), 409, "lowerThreshold"),
        (json!({"lowerThreshold": 1}), 409, "lowerThreshold"),
        (json!({"type": "TUN", "tunnel": {"type": "gue"}}), 422, "#/1/tunnel/type"),
        (json!({"type": "TUN", "tunnel": {"type": "gre", "port": 1}}), 422, "#/1/tunnel/type"),
        (json!({"type": "TUN", "tunnel": {"type": "vxlan"}}), 422, "#/1/tunnel/type"),
        (json!({"type": "TUN", "tunnel": {"type": "gue", "port": 0}}), 422, "#/1/tunnel/port"),
        (json!({"type": "TUN", "tunnel": "gre"}), 422, "#/1/tunnel"),
        (json!({"upperThreshold": -1}), 422, "#/1/upperThreshold"),
    ] {
        let mut bad = json!({"ip": "10.0.0.2", "port": 80});
        bad.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = server.post(&path, &json!([good, bad]).to_string()).await;
        assert_eq!(reply.status.as_u16(), status, "{more}: {}", reply.body);
        match status {
            409 => assert_eq!(reply.json()["field"], field, "{more}"),
            _ => assert!(reply.pointers().contains(&field.to_owned()), "{more}: {}", reply.body),
        }
        assert_eq!(server.get(&path).await.body, "[]\n", "{more}");
    }
    assert_eq!(server.post(&path, "[]").await.status, 422);
}

// SPDX-License-Identifier: Apache-2.0
//! Draining, and taking back in.

use std::sync::Arc;

use serde_json::{Value, json};
use slb_core::{
    drain::ByBackend,
    model::{LoadBalancerId, Target},
    statistics::Connections,
};

use crate::client::{Server, text};

#[tokio::test]
async fn a_drain_is_shown_until_it_is_called_off() {
    let server = Server::new();
    let (path, backend) = server.create_with_backend().await;
    for at in [&path, &backend] {
        let reply = server.post(&format!("{at}/drain?deadline=30s"), "").await;
        assert_eq!(reply.status.as_u16(), 202, "{}", reply.body);
        let drain = json!({"since": "1970-01-01T00:00:00Z", "deadline": "1970-01-01T00:00:30Z", "then": "stay"});
        assert_eq!(reply.json()["drain"], drain);
        let reply = server.send("DELETE", &format!("{at}?drain"), "").await;
        assert_eq!((reply.status.as_u16(), &reply.json()["drain"]["then"]), (202, &json!("delete")));
        let reply = server.post(&format!("{at}/undrain"), "").await;
        assert_eq!((reply.status.as_u16(), &reply.json()["drain"]), (200, &Value::Null), "{}", reply.body);
    }
}

#[tokio::test]
async fn a_drain_shows_what_it_waits_for() {
    let server = Server::new();
    for (protocol, inactive) in [("tcp", Value::Null), ("udp", json!(2))] {
        let body = format!(r#"{{"port":53,"protocol":"{protocol}","backends":[{{"ip":"10.0.0.1","port":53}}]}}"#);
        let created = server.create(&body).await;
        let path = format!("/loadbalancer/{}", text(&created["uuid"]));
        let backend = format!("{path}/backend/{}", text(&created["backends"][0]["uuid"]));
        for at in [&path, &backend] {
            assert_eq!(server.post(&format!("{at}/drain"), "").await.json()["drain"]["left"], Value::Null);
        }
        let target = Target { ip: "10.0.0.1".parse().unwrap(), port: Some(53_i64.try_into().unwrap()) };
        let connections = Connections { active: 3, inactive: 2, persistent: 1 };
        let id = LoadBalancerId(text(&created["uuid"]).parse().unwrap());
        server.board.post_connections(id, Arc::new(ByBackend::from([(target, connections)])));
        for at in [&path, &backend] {
            let left = server.get(at).await.json()["drain"]["left"].clone();
            assert_eq!((&left["activeConnections"], &left["persistentConnections"]), (&json!(3), &json!(1)));
            assert_eq!(left["inactiveConnections"], inactive, "{protocol}");
        }
    }
}

/// Each would have begun a drain without an end.
#[tokio::test]
async fn a_deadline_that_is_said_elsewhere_is_not_passed_over() {
    let server = Server::new();
    let (path, backend) = server.create_with_backend().await;
    for at in [&path, &backend] {
        for query in ["?deadlin=30s", "?deadline=30", "?deadline=30s&deadline=1m", "?drain=30s"] {
            let reply = server.post(&format!("{at}/drain{query}"), "").await;
            assert_eq!(reply.problem(), (400, "bad-query".to_owned()));
        }
        let reply = server.post(&format!("{at}/drain"), r#"{"deadline":"30s"}"#).await;
        assert_eq!(reply.problem(), (422, "invalid".to_owned()));
        assert_eq!(server.get(at).await.json()["drain"], Value::Null);
    }
}

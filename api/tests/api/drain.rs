// SPDX-License-Identifier: Apache-2.0
//! Draining, and taking back in.

use serde_json::{Value, json};

use crate::client::Server;

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

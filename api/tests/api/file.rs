// SPDX-License-Identifier: Apache-2.0
//! Load-balancers of the configuration file: they are shown, and changed there alone.

use std::time::{Duration, SystemTime};

use serde_json::json;
use slb_core::{
    command::{Answer, Declaration},
    declared::{FileProblem, FileReport},
};

use crate::client::{Server, text};

const FILE: &str =
    "[[loadbalancer]]\nname = \"web\"\nport = 80\n[[loadbalancer.backend]]\nip = \"10.0.0.1\"\nport = 8080\n";

#[tokio::test]
async fn what_is_of_the_file_is_marked_and_cannot_be_changed() {
    let server = Server::new();
    let declared = slb_api::declaration::Document::parse(FILE).unwrap().load_balancers(false).unwrap();
    let declaration = Declaration::of_file(declared.into_iter().map(|each| each.load_balancer).collect());
    assert!(matches!(server.mailbox.ask(declaration).await, Ok(Answer::Declared(..))));
    let shown = server.get("/loadbalancers").await.json()[0].clone();
    assert_eq!((&shown["name"], &shown["origin"]), (&json!("web"), &json!("file")));
    let path = format!("/loadbalancer/{}", text(&shown["uuid"]));
    let backend = format!("{path}/backend/{}", text(&shown["backends"][0]["uuid"]));
    let list = format!("{path}/backend");
    for (method, path, body) in [
        ("PUT", &path, shown.to_string()),
        ("PATCH", &path, json!({"name": "other"}).to_string()),
        ("DELETE", &path, String::new()),
        ("DELETE", &format!("{path}?drain=1s"), String::new()),
        ("POST", &format!("{path}/drain"), String::new()),
        ("POST", &format!("{path}/undrain"), String::new()),
        ("POST", &list, json!({"ip": "10.0.0.2", "port": 80}).to_string()),
        ("PUT", &list, "[]".to_owned()),
        ("PATCH", &backend, json!({"weight": 0}).to_string()),
        ("PUT", &backend, shown["backends"][0].to_string()),
        ("DELETE", &backend, String::new()),
        ("POST", &format!("{backend}/drain"), String::new()),
    ] {
        let reply = server.send(method, path, &body).await;
        assert_eq!(reply.problem(), (409, "of-file".to_owned()), "{method} {path}");
        assert!(text(&reply.json()["detail"]).contains("change it there"), "{}", reply.body);
    }
    assert_eq!(server.get("/loadbalancers").await.json()[0], shown);
    let own = server.create(r#"{"port":81}"#).await;
    assert_eq!(own["origin"], "api");
    let path = format!("/loadbalancer/{}", text(&own["uuid"]));
    assert_eq!(server.send("PUT", &path, &own.to_string()).await.status, 200, "it may be sent back");
}

#[tokio::test]
async fn a_broken_edit_is_shown_until_it_is_mended() {
    let server = Server::new();
    assert_eq!(server.get("/file").await.problem(), (409, "no-file".to_owned()));
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let well = FileReport { path: "/etc/slb.toml".into(), applied: Some(at(1)), problem: None };
    server.board.post_file(well.clone());
    let shown = json!({"path": "/etc/slb.toml", "applied": "1970-01-01T00:00:01Z", "problem": null});
    assert_eq!(server.get("/file").await.json(), shown);
    let why = "loadbalancer/0/port: is missing".to_owned();
    server.board.post_file(FileReport { problem: Some(FileProblem { since: at(2), line: Some(3), why }), ..well });
    let problem = json!({"since": "1970-01-01T00:00:02Z", "line": 3, "why": "loadbalancer/0/port: is missing"});
    assert_eq!(server.get("/file").await.json()["problem"], problem);
}

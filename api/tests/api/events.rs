// SPDX-License-Identifier: Apache-2.0
//! Clients that follow what happens.

use std::sync::LazyLock;

use axum::{
    body::{Body, BodyDataStream},
    http::Request,
};
use futures_util::{FutureExt, StreamExt};
use jsonschema::Validator;
use serde_json::{Value, json};
use slb_core::{
    events::{Event, KEPT},
    model::LoadBalancerId,
    status::{Report, VipReport},
};
use tower::ServiceExt;

use crate::{
    client::{Server, text},
    description::{DOCUMENT, validator},
};

static EVENT: LazyLock<Validator> = LazyLock::new(|| validator(&DOCUMENT["components"]["schemas"]["Event"]));

/// A stream that is open.
struct Follower {
    body: BodyDataStream,
    read: String,
}

#[derive(Debug, PartialEq)]
struct Heard {
    id: String,
    data: Value,
}

impl Follower {
    async fn open(server: &Server, query: &str, last: Option<&str>) -> Self {
        let mut request = Request::get(format!("/events{query}"));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = server.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { body: response.into_body().into_data_stream(), read: String::new() }
    }

    /// What there is to hear now; the end is an error.
    fn hear(&mut self) -> Vec<Heard> {
        while let Some(frame) = self.body.next().now_or_never() {
            self.read += std::str::from_utf8(&frame.unwrap().unwrap()).unwrap();
        }
        let whole = std::mem::take(&mut self.read);
        whole.split_terminator("\n\n").map(heard).collect()
    }

    fn names(&mut self) -> Vec<String> {
        self.hear().iter().map(|heard| text(&heard.data["event"]).to_owned()).collect()
    }
}

fn heard(block: &str) -> Heard {
    let field =
        |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{block}"));
    let data: Value = serde_json::from_str(field("data: ")).unwrap();
    assert!(EVENT.is_valid(&data), "{data}");
    assert_eq!(field("event: "), text(&data["event"]));
    Heard { id: field("id: ").to_owned(), data }
}

#[tokio::test]
async fn everything_is_told_in_order_with_the_words_of_the_api() {
    let server = Server::new();
    let mut follower = Follower::open(&server, "", None).await;
    assert_eq!(follower.names(), ["reset"]);
    let (path, backend) = server.create_with_backend().await;
    let heard = follower.hear();
    let names: Vec<&str> = heard.iter().map(|heard| text(&heard.data["event"])).collect();
    assert_eq!(names, ["created", "backendAdded", "programmed", "programmed", "advertised"]);
    let mut shown = server.get(&path).await.json();
    let mut shown_backend = server.get(&backend).await.json();
    for shown in [&mut shown, &mut shown_backend] {
        shown.as_object_mut().unwrap().retain(|name, _| name != "observed" && name != "backends");
    }
    assert_eq!(heard[0].data["is"], shown);
    assert_eq!(heard[1].data["is"], shown_backend);
    assert_eq!((&heard[1].data["loadbalancer"], &heard[1].data["backend"]), (&shown["uuid"], &shown_backend["uuid"]));
    assert_eq!((heard[2].data.get("backend"), &heard[3].data["backend"]), (None, &shown_backend["uuid"]));

    server.send("PATCH", &backend, r#"{"weight":7}"#).await;
    let heard = follower.hear();
    assert_eq!((heard.len(), &heard[0].data["event"]), (1, &json!("backendChanged")));
    assert_eq!(heard[0].data["is"]["weight"], 7);
    server.send("PATCH", &path, r#"{"name":"new\nline"}"#).await;
    assert_eq!(follower.names(), Vec::<String>::new(), "what is refused is no event");
    server.send("PATCH", &path, r#"{"name":"renamed"}"#).await;
    assert_eq!(follower.hear()[0].data["is"]["name"], "renamed");
    server.send("DELETE", &backend, "").await;
    server.send("DELETE", &path, "").await;
    assert_eq!(follower.names(), ["backendRemoved", "deleted"]);
}

#[tokio::test]
async fn whatever_goes_wrong_is_told_with_the_reason() {
    let server = Server::new();
    let (path, _) = server.create_with_backend().await;
    let id = LoadBalancerId(text(&server.get(&path).await.json()["uuid"]).parse().unwrap());
    let mut follower = Follower::open(&server, "", None).await;
    assert_eq!(follower.names(), ["reset"]);
    let why = "the kernel says \"no\"\nand nothing else";
    let vip = server.board.get(id).unwrap().vips.first();
    let bad = VipReport { vip, programmed: Err(why.into()), advertised: Err(why.into()) };
    server.board.report(id, Report { vips: vec![bad], backends: Vec::new() });
    let journal = server.board.journal();
    let peer = "192.0.2.254".parse::<std::net::IpAddr>().unwrap().try_into().unwrap();
    journal.tell(Event::Conflict { vip: "192.0.2.1".parse().unwrap(), holder: "02:00:00:00:00:01".to_owned() });
    journal.tell(Event::PeerUp(peer));
    journal.tell(Event::PeerDown(peer));
    let heard = follower.hear();
    assert_eq!((&heard[0].data["event"], &heard[0].data["why"]), (&json!("failed"), &json!(why)));
    assert_eq!((&heard[1].data["event"], &heard[1].data["why"]), (&json!("withdrawn"), &json!(why)));
    assert_eq!(heard[1].data["eip"], json!(vip));
    assert_eq!((&heard[2].data["eip"], &heard[2].data["holder"]), (&json!("192.0.2.1"), &json!("02:00:00:00:00:01")));
    assert_eq!((&heard[3].data["event"], &heard[3].data["peer"]), (&json!("peerUp"), &json!("192.0.2.254")));
    assert_eq!(heard[4].data["event"], "peerDown");
}

#[tokio::test]
async fn whoever_comes_back_goes_on_where_it_was() {
    let server = Server::new();
    let mut follower = Follower::open(&server, "", None).await;
    assert_eq!(follower.names(), ["reset"]);
    let (path, _) = server.create_with_backend().await;
    let all = follower.hear();
    drop(follower);
    server.send("PATCH", &path, r#"{"name":"renamed"}"#).await;
    let mut back = Follower::open(&server, "", Some(&all[2].id)).await;
    let rest = back.hear();
    assert_eq!(rest[..all.len() - 3], all[3..]);
    assert_eq!(rest.last().unwrap().data["event"], "changed");
    for unknown in ["", "7", "00000000000000000000000000000001-1", "00000000000000000000000000000000-99"] {
        assert_eq!(Follower::open(&server, "", Some(unknown)).await.names(), ["reset"], "{unknown}");
    }
}

#[tokio::test]
async fn a_slow_follower_is_told_to_look_anew_and_holds_up_nobody() {
    let server = Server::new();
    let [mut slow, mut quick] = [Follower::open(&server, "", None).await, Follower::open(&server, "", None).await];
    assert_eq!((slow.names(), quick.names()), (vec!["reset".to_owned()], vec!["reset".to_owned()]));
    let peer = "192.0.2.254".parse::<std::net::IpAddr>().unwrap().try_into().unwrap();
    for _ in 0..=KEPT {
        server.board.journal().tell(Event::PeerUp(peer));
        assert_eq!(quick.names(), ["peerUp"]);
    }
    assert_eq!(slow.names(), ["reset"]);
    server.create(r#"{"port":80}"#).await;
    assert_eq!(slow.names()[0], "created");
}

#[tokio::test]
async fn one_load_balancer_can_be_followed() {
    let server = Server::new();
    let web = server.create(r#"{"port":80}"#).await;
    let query = format!("?loadbalancer={}", text(&web["uuid"]));
    let mut follower = Follower::open(&server, &query, None).await;
    assert_eq!(follower.names(), ["reset"]);
    server.create(r#"{"port":81}"#).await;
    server.send("DELETE", &format!("/loadbalancer/{}", text(&web["uuid"])), "").await;
    assert_eq!(follower.names(), ["deleted"]);
    let reply = server.get("/events?loadbalancer=web").await;
    assert_eq!(reply.problem(), (404, "unknown-load-balancer".to_owned()));
}

#[tokio::test]
async fn one_follower_too_many_is_turned_away_until_another_goes() {
    let server = Server::new();
    let mut followers = Vec::new();
    for _ in 0..128 {
        followers.push(Follower::open(&server, "", None).await);
    }
    let reply = server.get("/events").await;
    assert_eq!(reply.problem(), (503, "too-many-streams".to_owned()));
    assert_eq!(reply.header("retry-after"), "5");
    followers.pop();
    assert_eq!(Follower::open(&server, "", None).await.names(), ["reset"]);
}

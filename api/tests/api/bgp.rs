// SPDX-License-Identifier: Apache-2.0
//! Which routers are told and how they are doing, as clients see it.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::json;
use slb_core::{
    command::{Failure, Rejected},
    model::Vip,
    peer::{Peer, PeerAddress},
    prefix::Prefix,
    routing::{Agreed, Messages, PeerState, PeerStatus, Routing, Shutdown, ShutdownStatus, Traffic},
};

use crate::client::Server;

/// Routers that are in every state there is, one after the other.
#[derive(Debug, Default)]
struct Routers(Mutex<BTreeMap<IpAddr, PeerStatus>>, Mutex<Option<ShutdownStatus>>);

const STATES: [PeerState; 6] = [
    PeerState::Idle,
    PeerState::Connect,
    PeerState::Active,
    PeerState::OpenSent,
    PeerState::OpenConfirm,
    PeerState::Established,
];

impl Routing for Routers {
    fn peers(&self) -> Vec<PeerStatus> {
        self.0.lock().unwrap().values().cloned().collect()
    }

    fn routes(&self) -> Vec<Prefix> {
        vec![Prefix::around("203.0.113.10".parse().unwrap(), 24)]
    }

    fn add(&self, peer: &Peer) {
        let mut peers = self.0.lock().unwrap();
        let state = STATES[peers.len() % STATES.len()];
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let agreed = Agreed {
            local_address: "10.0.0.1".parse().unwrap(),
            router_id: "10.0.0.254".parse().unwrap(),
            hold_time: Duration::from_secs(30),
            four_octet_as: true,
            graceful_restart: false,
            next_hop: Some("10.0.0.1".parse().unwrap()),
            next_hop_ipv6: None,
        };
        let status = PeerStatus {
            state,
            times_established: 3,
            connection_attempts: 4,
            last_error: (state == PeerState::Idle).then(|| "the peer was silent for 90 s".to_owned()),
            traffic: Traffic { sent: Messages { update: 5, ..Messages::default() }, ..Traffic::default() },
            session: (state == PeerState::Established).then_some(agreed),
            routes_announced: 6,
            ..PeerStatus::new(peer.clone(), since)
        };
        peers.insert(peer.address.address(), status);
    }

    fn remove(&self, address: PeerAddress) {
        self.0.lock().unwrap().remove(&address.address());
    }

    fn shut_down(&self, Shutdown { after, words }: Shutdown) {
        let ends = SystemTime::UNIX_EPOCH + after;
        *self.1.lock().unwrap() = Some(ShutdownStatus { ends, is_down: after.is_zero(), words });
    }

    fn come_back(&self) {
        *self.1.lock().unwrap() = None;
    }

    fn shutdown(&self) -> Option<ShutdownStatus> {
        self.1.lock().unwrap().clone()
    }
}

pub fn with_routers() -> Server {
    let server = Server::new();
    server.board.post_routing(Arc::new(Routers::default()));
    server
}

#[tokio::test]
async fn without_bgp_there_are_no_peers_and_no_routes() {
    let server = Server::new();
    assert_eq!(server.get("/bgp/peers").await.body, "[]\n");
    assert_eq!(server.get("/bgp/routes").await.body, "[]\n");
    let refused = server.post("/bgp/peers", r#"{"address":"10.0.0.254","as":65530}"#).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(server.send("DELETE", "/bgp/peers/10.0.0.254", "").await.status, StatusCode::CONFLICT);
    assert_eq!(server.get("/bgp/shutdown").await.json()["state"], "off");
    assert_eq!(server.send("PUT", "/bgp/shutdown", "{}").await.status, StatusCode::CONFLICT);
    assert_eq!(server.send("DELETE", "/bgp/shutdown", "").await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn who_asks_again_for_a_peer_is_not_told_of_another_one() {
    let server = with_routers();
    let add = |key: &'static str, asn: u32| {
        let request = Request::builder().method("POST").uri("/bgp/peers").header("idempotency-key", key);
        let body = json!({"address": "10.0.0.254", "as": asn}).to_string();
        server.request(request.body(Body::from(body)).unwrap())
    };
    let first = add("first", 65_530).await;
    assert_eq!((first.status, &add("first", 65_530).await.body), (StatusCode::CREATED, &first.body));
    assert_eq!(server.send("DELETE", "/bgp/peers/10.0.0.254", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(add("second", 65_531).await.status, StatusCode::CREATED);
    assert_eq!(add("first", 65_530).await.json()["as"], 65_530);
}

#[tokio::test]
async fn peers_come_and_go() {
    let server = with_routers();
    for (address, asn, password) in [
        ("fd00::fe", 4_294_967_295_u32, Some("secret")),
        ("10.0.0.1", 65_530, None),
        ("10.0.0.2", 1, None),
        ("10.0.0.3", 1, None),
        ("10.0.0.4", 1, None),
        ("10.0.0.5", 1, None),
    ] {
        let mut body = json!({"address": address, "as": asn});
        if let Some(password) = password {
            body["password"] = json!(password);
        }
        let created = server.post("/bgp/peers", &body.to_string()).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
        assert_eq!(created.headers["location"], format!("/bgp/peers/{address}"));
        assert!(!created.body.contains("secret"), "{}", created.body);
    }
    let shown = json!({
        "address": "fd00::fe", "as": 4_294_967_295_u32, "state": "idle", "since": "2026-11-18T11:06:40Z",
        "timesEstablished": 3, "connectionAttempts": 4, "lastError": "the peer was silent for 90 s", "routesAnnounced": 6,
        "session": null,
        "messages": {
            "sent": {"open": 0, "update": 5, "notification": 0, "keepalive": 0, "routeRefresh": 0},
            "received": {"open": 0, "update": 0, "notification": 0, "keepalive": 0, "routeRefresh": 0}
        },
        "port": 179, "passive": false, "source": null, "holdTime": "90s",
        "gtsm": false, "restartTime": "120s", "nextHop": null, "med": null, "localPref": 100, "prepend": 0, "communities": []
    });
    assert_eq!(server.get("/bgp/peers/fd00::fe").await.json(), shown);
    // However it is written.
    assert_eq!(server.get("/bgp/peers/FD00:0::fe").await.json(), shown);
    let agreed = json!({
        "localAddress": "10.0.0.1", "routerId": "10.0.0.254", "holdTime": "30s", "fourOctetAs": true, "gracefulRestart": false,
        "nextHop": "10.0.0.1", "nextHopIpv6": null
    });
    assert_eq!(server.get("/bgp/peers/10.0.0.5").await.json()["session"], agreed);
    assert_eq!(server.post("/bgp/peers", r#"{"address":"10.0.0.1","as":2}"#).await.status, StatusCode::CONFLICT);
    assert_eq!(server.send("DELETE", "/bgp/peers/fd00::fe", "").await.status, StatusCode::NO_CONTENT);
    for path in ["/bgp/peers/fd00::fe", "/bgp/peers/10.0.0.99", "/bgp/peers/x", "/bgp/peers/0.0.0.0"] {
        assert_eq!(server.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(server.send("DELETE", path, "").await.status, StatusCode::NOT_FOUND, "{path}");
    }
    server.fail(Failure::Rejected(Rejected::PeerIsAnOption("10.0.0.1".parse::<IpAddr>().unwrap().try_into().unwrap())));
    assert_eq!(server.send("DELETE", "/bgp/peers/10.0.0.1", "").await.status, StatusCode::CONFLICT);
    assert_eq!(server.get("/bgp/routes").await.json(), json!([{"prefix": "203.0.113.0/24"}]));
}

/// What is asked for is shown, and what is shown can be asked for again.
#[tokio::test]
async fn settings_are_shown_as_they_were_asked_for() {
    let server = with_routers();
    let settings = json!({
        "port": 1179, "passive": true, "source": "10.0.0.1", "holdTime": "30s", "gtsm": true, "restartTime": "0s", "nextHop": "10.0.0.7",
        "med": 0, "localPref": 4_294_967_295_u32, "prepend": 2, "communities": ["65000:80", "no-export", "65000:1:2"]
    });
    let mut body = json!({"address": "10.0.0.254", "as": 65_530});
    body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let created = server.post("/bgp/peers", &body.to_string()).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    let shown = created.json();
    for (name, value) in settings.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }
    assert_eq!(server.send("DELETE", "/bgp/peers/10.0.0.254", "").await.status, StatusCode::NO_CONTENT);
    let mut again = shown;
    for name in [
        "state",
        "since",
        "timesEstablished",
        "connectionAttempts",
        "lastError",
        "routesAnnounced",
        "session",
        "messages",
    ] {
        again.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(server.post("/bgp/peers", &again.to_string()).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let server = with_routers();
    for (field, value) in [
        ("port", json!(0)),
        ("source", json!("fd00::1")),
        ("source", json!("host")),
        ("holdTime", json!("2s")),
        ("holdTime", json!("1500ms")),
        ("holdTime", json!(90)),
        ("gtsm", json!("yes")),
        ("restartTime", json!("2h")),
        ("nextHop", json!("127.0.0.1")),
        ("nextHop", json!("next")),
        ("med", json!(-1)),
        ("localPref", json!(4_294_967_296_u64)),
        ("prepend", json!(33)),
        ("communities", json!("65000:1")),
        ("communities", json!(["65536:1"])),
        ("communities", json!((0..65).map(|low| format!("65000:{low}")).collect::<Vec<_>>())),
    ] {
        let body = json!({"address": "10.0.0.1", "as": 1, field: value});
        let reply = server.post("/bgp/peers", &body.to_string()).await;
        assert_eq!(
            (reply.status.as_u16(), reply.pointers()),
            (422, vec![format!("#/{field}")]),
            "{body}: {}",
            reply.body
        );
    }
}

#[tokio::test]
async fn a_shutdown_is_asked_for_shown_and_taken_back() {
    let server = with_routers();
    let off = json!({"state": "off", "ends": null, "words": null});
    assert_eq!(server.get("/bgp/shutdown").await.json(), off);
    for (body, state, ends, words) in [
        ("{}", "draining", "1970-01-01T00:01:00Z", ""),
        (r#"{"after":"1h","words":"new disks"}"#, "draining", "1970-01-01T01:00:00Z", "new disks"),
        (r#"{"after":"0s"}"#, "down", "1970-01-01T00:00:00Z", ""),
    ] {
        let asked = server.send("PUT", "/bgp/shutdown", body).await;
        let expected = json!({"state": state, "ends": ends, "words": words});
        assert_eq!((asked.status, asked.json()), (StatusCode::OK, expected.clone()), "{body}");
        assert_eq!(server.get("/bgp/shutdown").await.json(), expected);
    }
    for (body, pointer) in [
        (r#"{"after":"25h"}"#, "#/after"),
        (r#"{"after":5}"#, "#/after"),
        (r#"{"words":"\n"}"#, "#/words"),
        (r#"{"state":"off"}"#, "#/state"),
    ] {
        let refused = server.send("PUT", "/bgp/shutdown", body).await;
        assert_eq!((refused.status.as_u16(), refused.pointers()), (422, vec![pointer.to_owned()]), "{body}");
    }
    for _ in 0..2 {
        assert_eq!(server.send("DELETE", "/bgp/shutdown", "").await.status, StatusCode::NO_CONTENT);
        assert_eq!(server.get("/bgp/shutdown").await.json(), off);
    }
}

#[tokio::test]
async fn what_is_no_peer_is_refused_without_its_password() {
    let server = with_routers();
    for (body, pointer) in [
        (r#"{"as":1}"#, "#/address"),
        (r#"{"address":"10.0.0.1"}"#, "#/as"),
        (r#"{"address":"224.0.0.1","as":1}"#, "#/address"),
        (r#"{"address":"host","as":1}"#, "#/address"),
        (r#"{"address":"10.0.0.1","as":0}"#, "#/as"),
        (r#"{"address":"10.0.0.1","as":4294967296}"#, "#/as"),
        (r#"{"address":"10.0.0.1","as":1,"password":""}"#, "#/password"),
        ("{\"address\":\"10.0.0.1\",\"as\":1,\"password\":\"secr\u{e4}t\"}", "#/password"),
        (r#"{"address":"10.0.0.1","as":1,"state":"idle"}"#, "#/state"),
        (r#"{"address":"10.0.0.1","as":1,"pasword":"secret"}"#, "#/pasword"),
    ] {
        let reply = server.post("/bgp/peers", body).await;
        assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec![pointer.to_owned()]), "{body}");
        assert!(!reply.body.contains("secr"), "{}", reply.body);
    }
    assert_eq!(server.get("/bgp/peers").await.body, "[]\n");
}

/// A routing daemon that may be away.
#[derive(Debug)]
struct Daemon {
    trouble: Option<String>,
}

impl Routing for Daemon {
    fn peers(&self) -> Vec<PeerStatus> {
        Vec::new()
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn peers_belong_to(&self) -> Option<String> {
        Some("GoBGP at 127.0.0.1:50051".to_owned())
    }

    fn routes(&self) -> Vec<Prefix> {
        vec![Prefix::from("203.0.113.10".parse::<Vip>().unwrap())]
    }

    fn add(&self, _: &Peer) {}

    fn remove(&self, _: PeerAddress) {}

    fn shut_down(&self, shutdown: Shutdown) {
        panic!("{shutdown:?}");
    }

    fn come_back(&self) {
        panic!("it is not slb's to come back");
    }

    fn shutdown(&self) -> Option<ShutdownStatus> {
        None
    }
}

#[tokio::test]
async fn a_daemon_that_is_away_is_not_one_without_peers() {
    let server = Server::new();
    let why = "GoBGP at 127.0.0.1:50051: could not connect: Connection refused (os error 111)";
    server.board.post_routing(Arc::new(Daemon { trouble: Some(why.to_owned()) }));
    for path in ["/bgp/peers", "/bgp/peers/10.0.0.254"] {
        let reply = server.get(path).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!((&reply.json()["type"], &reply.json()["detail"]), (&json!("/problems/daemon-away"), &json!(why)));
    }
    assert_eq!(server.get("/bgp/routes").await.json(), json!([{"prefix": "203.0.113.10/32"}]));
    let server = Server::new();
    server.board.post_routing(Arc::new(Daemon { trouble: None }));
    assert_eq!(server.get("/bgp/peers").await.body, "[]\n");
    server.fail(Failure::Rejected(Rejected::PeersElsewhere("GoBGP at 127.0.0.1:50051".to_owned())));
    let refused = server.post("/bgp/peers", r#"{"address":"10.0.0.1","as":1}"#).await;
    assert_eq!((refused.status, &refused.json()["type"]), (StatusCode::CONFLICT, &json!("/problems/peers-elsewhere")));
    for (method, body) in [("PUT", "{}"), ("DELETE", "")] {
        for path in ["/bgp/shutdown", "/bgp/shutdown?dryRun=true"] {
            let refused = server.send(method, path, body).await;
            assert_eq!(refused.json()["type"], json!("/problems/peers-elsewhere"), "{method} {path}");
        }
    }
}

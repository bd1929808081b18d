// SPDX-License-Identifier: Apache-2.0
//! Which routers are told and how they are doing, as clients see it.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::http::StatusCode;
use serde_json::json;
use slb_core::{
    command::{Failure, Rejected},
    model::Vip,
    peer::{Peer, PeerAddress},
    routing::{PeerState, PeerStatus, Routing},
};

use crate::client::Server;

/// Routers that are in every state there is, one after the other.
#[derive(Debug, Default)]
struct Routers(Mutex<BTreeMap<IpAddr, PeerStatus>>);

const STATES: [PeerState; 5] =
    [PeerState::Idle, PeerState::Connect, PeerState::OpenSent, PeerState::OpenConfirm, PeerState::Established];

impl Routing for Routers {
    fn peers(&self) -> Vec<PeerStatus> {
        self.0.lock().unwrap().values().cloned().collect()
    }

    fn routes(&self) -> Vec<Vip> {
        vec!["203.0.113.10".parse().unwrap()]
    }

    fn add(&self, peer: &Peer) {
        let mut peers = self.0.lock().unwrap();
        let state = STATES[peers.len() % STATES.len()];
        let status = PeerStatus {
            address: peer.address.address(),
            asn: peer.asn.get(),
            state,
            since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000),
            times_established: 3,
            last_error: (state == PeerState::Idle).then(|| "the peer was silent for 90 s".to_owned()),
        };
        peers.insert(status.address, status);
    }

    fn remove(&self, address: PeerAddress) {
        self.0.lock().unwrap().remove(&address.address());
    }
}

fn with_routers() -> Server {
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
}

#[tokio::test]
async fn peers_come_and_go() {
    let server = with_routers();
    for (address, asn, password) in [
        ("fd00::fe", 4_294_967_295_u32, Some("secret")),
        ("10.0.0.1", 65_530, None),
        ("10.0.0.2", 1, None),
        ("10.0.0.3", 1, None),
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
        "timesEstablished": 3, "lastError": "the peer was silent for 90 s"
    });
    assert_eq!(server.get("/bgp/peers/fd00::fe").await.json(), shown);
    // However it is written.
    assert_eq!(server.get("/bgp/peers/FD00:0::fe").await.json(), shown);
    assert_eq!(server.post("/bgp/peers", r#"{"address":"10.0.0.1","as":2}"#).await.status, StatusCode::CONFLICT);
    assert_eq!(server.send("DELETE", "/bgp/peers/fd00::fe", "").await.status, StatusCode::NO_CONTENT);
    for path in ["/bgp/peers/fd00::fe", "/bgp/peers/10.0.0.99", "/bgp/peers/x", "/bgp/peers/0.0.0.0"] {
        assert_eq!(server.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(server.send("DELETE", path, "").await.status, StatusCode::NOT_FOUND, "{path}");
    }
    server.fail(Failure::Rejected(Rejected::PeerIsAnOption("10.0.0.1".parse::<IpAddr>().unwrap().try_into().unwrap())));
    assert_eq!(server.send("DELETE", "/bgp/peers/10.0.0.1", "").await.status, StatusCode::CONFLICT);
    assert_eq!(server.get("/bgp/routes").await.json(), json!([{"prefix": "203.0.113.10/32"}]));
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

    fn routes(&self) -> Vec<Vip> {
        vec!["203.0.113.10".parse().unwrap()]
    }

    fn add(&self, _: &Peer) {}

    fn remove(&self, _: PeerAddress) {}
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
}

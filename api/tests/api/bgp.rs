// SPDX-License-Identifier: Apache-2.0
//! How routers are doing, as clients see it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::json;
use slb_core::{
    model::Vip,
    routing::{PeerState, PeerStatus, Routing},
};

use crate::client::Server;

#[tokio::test]
async fn without_bgp_there_are_no_peers_and_no_routes() {
    let server = Server::new();
    assert_eq!(server.get("/bgp/peers").await.body, "[]\n");
    assert_eq!(server.get("/bgp/routes").await.body, "[]\n");
}

#[derive(Debug)]
struct Routers;

impl Routing for Routers {
    fn peers(&self) -> Vec<PeerStatus> {
        let states =
            [PeerState::Idle, PeerState::Connect, PeerState::OpenSent, PeerState::OpenConfirm, PeerState::Established];
        let status = |(last, state)| PeerStatus {
            address: if last == 0 { "fd00::fe".parse().unwrap() } else { [10, 0, 0, last].into() },
            asn: u32::MAX,
            state,
            since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000),
            times_established: 3,
            last_error: (last == 0).then(|| "the peer was silent for 90 s".to_owned()),
        };
        (0..).zip(states).map(status).collect()
    }

    fn routes(&self) -> Vec<Vip> {
        vec!["203.0.113.10".parse().unwrap()]
    }
}

#[tokio::test]
async fn peers_and_routes_are_shown() {
    let server = Server::new();
    server.board.post_routing(Arc::new(Routers));
    let peers = server.get("/bgp/peers").await.json();
    let expected = json!({
        "address": "fd00::fe", "as": 4_294_967_295_u32, "state": "idle", "since": "2026-11-18T11:06:40Z",
        "timesEstablished": 3, "lastError": "the peer was silent for 90 s"
    });
    assert_eq!(peers[0], expected);
    assert_eq!((&peers[4]["state"], &peers[4]["lastError"]), (&json!("established"), &json!(null)));
    assert_eq!(server.get("/bgp/routes").await.json(), json!([{"prefix": "203.0.113.10/32"}]));
}

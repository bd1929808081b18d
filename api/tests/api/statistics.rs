// SPDX-License-Identifier: Apache-2.0
//! How load-balancers are doing, and what is counted of them.

use std::{
    collections::BTreeMap,
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use slb_core::{
    errors::Shared,
    model::{Endpoint, LoadBalancerId, Target},
    statistics::{Answer, BackendCount, Connections, Counters, Counts, Reading, ServiceCount, Statistics},
    status::{Report, VipReport},
};

use crate::client::{Server, text};

#[derive(Debug)]
struct Counted(Answer);

impl Statistics for Counted {
    fn read(&self) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        Box::pin(ready(self.0.clone()))
    }
}

fn counts(connections: u64) -> Counts {
    Counts { connections, packets_in: 5, packets_out: 4, bytes_in: u64::MAX, bytes_out: 1 << 33 }
}

#[tokio::test]
async fn what_is_counted_is_shown_by_load_balancer_and_backend() {
    let server = Server::new();
    let (path, backend) = server.create_with_backend().await;
    let idle = server.create(r#"{"port":81}"#).await;
    let endpoint = Endpoint::tcp("192.0.2.1".parse().unwrap(), 80_i64.try_into().unwrap());
    let target = Target { ip: "10.0.0.1".parse().unwrap(), port: 8080_i64.try_into().ok() };
    let rate = Counts { connections: 2, ..Counts::default() };
    let connections = Connections { active: 3, inactive: 2, persistent: 1 };
    let count = BackendCount { traffic: Counters { total: counts(7), rate }, connections };
    let gone = Target { ip: "10.0.0.2".parse().unwrap(), ..target };
    let backends = BTreeMap::from([(target, count), (gone, count)]);
    let service = ServiceCount { traffic: Counters { total: counts(9), rate }, backends };
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
    let reading = Reading { at, services: BTreeMap::from([(endpoint.into(), service)]) };
    server.board.post_statistics(Arc::new(Counted(Ok(Arc::new(reading)))));

    let shown = server.get(&format!("{path}/statistics")).await.json();
    assert_eq!((&shown["time"], &shown["connections"]), (&json!("1970-01-02T00:00:00Z"), &json!(9)));
    assert_eq!((&shown["bytesIn"], &shown["bytesOut"]), (&json!(u64::MAX), &json!(1_u64 << 33)));
    assert_eq!(shown["perSecond"]["connections"], 2);
    assert_eq!((&shown["activeConnections"], &shown["persistentConnections"]), (&json!(3), &json!(1)));
    assert_eq!(shown["backends"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&shown["backends"][0]["connections"], &shown["backends"][0]["inactiveConnections"]),
        (&json!(7), &json!(2))
    );
    assert!(backend.ends_with(text(&shown["backends"][0]["uuid"])));

    let all = server.get("/statistics").await.json();
    assert_eq!(all[0], shown);
    assert_eq!((&all[1]["uuid"], &all[1]["connections"], &all[1]["backends"]), (&idle["uuid"], &json!(0), &json!([])));
}

#[tokio::test]
async fn what_cannot_be_read_is_said() {
    let server = Server::new();
    let (path, _) = server.create_with_backend().await;
    server.board.post_statistics(Arc::new(Counted(Err(Shared::from(slb_core::ports::Cause::from("no answer"))))));
    for path in ["/statistics".to_owned(), format!("{path}/statistics")] {
        let reply = server.get(&path).await;
        assert_eq!(reply.problem(), (503, "system-unreadable".to_owned()));
        assert!(reply.body.contains("no answer"), "{}", reply.body);
    }
    let nobody = server.get("/loadbalancer/00000000-0000-4000-8000-000000000000/statistics").await;
    assert_eq!(nobody.problem(), (404, "unknown-load-balancer".to_owned()));
}

#[tokio::test]
async fn how_it_is_doing_is_shown_and_may_be_sent_back() {
    let server = Server::new();
    let (path, backend) = server.create_with_backend().await;
    let is = json!({"is": true, "since": "1970-01-01T00:00:00Z"});
    let shown = server.get(&path).await.json();
    assert_eq!(shown["observed"], json!({"programmed": is, "advertised": is}));
    assert_eq!(shown["backends"][0]["observed"], json!({"programmed": is, "health": "unknown"}));
    assert_eq!(server.get(&backend).await.json(), shown["backends"][0]);
    assert_eq!(server.get("/loadbalancers").await.json(), json!([shown]));

    let id = LoadBalancerId(text(&shown["uuid"]).parse().unwrap());
    let refused = || Err("the kernel says no".into());
    let is_there = server.board.get(id).unwrap();
    let of_backends = is_there.backends().iter().map(|each| (each.id, refused())).collect();
    let untold = VipReport { vip: is_there.vips.first(), programmed: Ok(()), advertised: refused() };
    server.board.report(id, Report { vips: vec![untold], backends: of_backends });
    let troubled = server.get(&path).await.json();
    assert_eq!(troubled["observed"]["programmed"], is);
    let is_not = json!({"is": false, "since": "1970-01-01T00:00:00Z", "why": "the kernel says no"});
    assert_eq!(troubled["observed"]["advertised"], is_not);
    assert_eq!(server.get(&backend).await.json()["observed"]["programmed"], is_not);

    // What was shown before is still fit to be sent back.
    assert_eq!(server.send("PUT", &path, &shown.to_string()).await.status, 200);
    assert_eq!(server.send("PUT", &backend, &shown["backends"][0].to_string()).await.status, 200);
    let list = Value::Array(vec![shown["backends"][0].clone()]).to_string();
    assert_eq!(server.send("PUT", &format!("{path}/backend"), &list).await.status, 200);
    for (path, body) in [
        ("/loadbalancer".to_owned(), r#"{"port":80,"observed":{}}"#),
        (format!("{path}/backend"), r#"{"ip":"10.0.0.9","port":80,"observed":{}}"#),
    ] {
        let reply = server.post(&path, body).await;
        assert_eq!((reply.status.as_u16(), reply.pointers()), (422, vec!["#/observed".to_owned()]));
    }
}
